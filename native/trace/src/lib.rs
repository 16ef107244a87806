// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Where a packet would go: the simulation that a MidoNet agent makes of a packet, over the topology of any moment.
//!
//! A [`Tracer`] walks the ports, networks, routers, load balancers and chains of a [`Topology`] in the order of MidoNet's `Port`, `Bridge`,
//! `RouterBase`, `LoadBalancer` and `Chain`, and keeps each [`Step`]: which device, which rule with which verdict and, where it did not match,
//! by which part of its condition; what NAT made of the packet; which route was taken. What the topology alone doesn't decide, such as the choice
//! among equal routes, is told as a [`Doubt`]; what is not modelled ends in [`End::Unknown`].
//!
//! | module | what |
//! | --- | --- |
//! | [`topology`] | what has to be known of a site, and changes laid over it |
//! | [`packet`] | packets, connections, the packet that a port would send |
//! | [`condition`], [`compiled`] | rules and devices, ready to be walked |
//! | [`walk`] | the simulation |
//! | [`step`] | what it tells |
//! | [`compare`] | a trace against a flow record |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compare;
pub mod compiled;
pub mod condition;
pub mod packet;
pub mod step;
pub mod topology;
pub mod walk;

pub use compare::{Difference, Fit, Outcome, Seen};
pub use packet::{Choices, Connection, NoPacket, Packet, Translation};
pub use step::{Doubt, End, Limit, Reason, Step, Trace};
pub use topology::{Edited, Topology};
pub use walk::Tracer;
