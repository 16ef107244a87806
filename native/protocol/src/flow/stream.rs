// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows as they travel on a stream: each row by what both sides remember of the rows before it.
//!
//! - Values (hosts, ports, addresses, paths, actions) are said once a stream and numbered; most of a row that comes together is one number, its
//!   *frame*.
//! - Records of one connection follow from each other ([`links`]): the packet at the far end of its tunnel, the answer, the answer there.
//! - Everything else follows from what the same values led to the last time ([`keys`], [`table`]), and what does not is coded by how often it comes
//!   ([`coder`]).
//! - What was not used for long is forgotten when there is too much of it ([`dictionary`]).
//!
//! The model is one for both sides ([`model`]); who writes tells it the numbers ([`write`]), who reads is told them ([`read`]).

mod actions;
mod coder;
mod dictionary;
mod expected;
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
