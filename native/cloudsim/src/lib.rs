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
//! | [`view`] | the topology as agents simulate it, and the simulation of a packet |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
pub mod clock;
pub mod ids;
pub mod ledger;
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
