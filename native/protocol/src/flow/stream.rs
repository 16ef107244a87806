// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows as they travel on a stream: each row by what both sides remember of the rows before it.
//!
//! - Values (hosts, ports, addresses, paths, actions) are said once a stream and numbered; most of a row that comes together is one number, its
//!   *frame*.
//! - Records of one connection follow from each other ([`links`]): the packet at the far end of its tunnel, the answer, the answer there.
//! - Everything else follows from what the same values led to the last time ([`keys`], [`table`]), and what does not is coded by how often it comes
//!   ([`coder`]).
//!
//! The model is one for both sides ([`model`]); who writes tells it the numbers ([`write`]), who reads is told them ([`read`]).

mod actions;
mod coder;
mod fields;
mod guess;
mod hosts;
mod keys;
mod links;
mod literals;
mod model;
mod numbers;
mod read;
mod table;
mod write;

pub(crate) use read::FlowReader;
pub(crate) use write::FlowWriter;

/// What the dictionaries of a stream may take between batches; with tables, rows and chances beside it a reader keeps 12 MiB at most. Above it, both
/// sides forget everything. A simulated cloud of 30 tenants and 600 ports gets there after some 200,000 records of new connections.
const MAX_WEIGHT: usize = 8 << 20;
