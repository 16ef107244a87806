// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A simulated MidoNet cloud, for demonstrations, tests and load.
//!
//! From a size and a seed it plans an OpenStack cloud, writes its NSDB into a real ZooKeeper in MidoNet's own encodings, and runs an agent for
//! each host: a ZooKeeper session with the host's state, flow records over TCP to whatever is registered under `insights`, and meters over HTTP.
//!
//! | module | what |
//! | --- | --- |
//! | [`plan`] | what the cloud consists of |
//! | [`translate`] | Neutron's objects into MidoNet's, as MidoNet's translators do it |
//! | [`obj`], [`zoom`] | objects, their references, and the changes to be written |
//! | [`nsdb`], [`zk`] | the NSDB's transactions in ZooKeeper |
//! | [`view`] | the topology as agents simulate it, and the simulation of a packet |
//! | [`traffic`] | connections, and the flow records and meters that come of them |
//! | [`agent`] | sessions, flow senders and meter end points |
//! | [`life`] | what happens to the cloud while it runs |
//! | [`incident`] | incidents by name, as a script plays them |
//! | [`ledger`] | the truth about all of it |
//! | [`flood`] | load without a cloud |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
pub mod clock;
pub mod flood;
pub mod ids;
pub mod incident;
pub mod ledger;
pub mod life;
pub mod nsdb;
pub mod obj;
pub mod plan;
pub mod run;
pub mod size;
pub mod traffic;
pub mod translate;
pub mod view;
pub mod zk;
pub mod zoom;

mod ledger_http;
mod record;
