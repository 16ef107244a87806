// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What MidoNet writes: pure decoders and encoders.
//!
//! Bytes in, values out, and back: no sockets, no files, no clock. Everything here accepts arbitrary bytes without panicking and allocates no
//! more than a small multiple of its input.
//!
//! | module | what |
//! | --- | --- |
//! | [`flow`] | flow records that agents send to a recorder: framing, binary and JSON form, actions |
//! | [`text`] | the protobuf text format of the NSDB |
//! | [`model`] | the object classes of the NSDB: fields, links, secrets |
//! | [`nsdb`] | paths, state tables, learned routes and state values |
//! | [`ids`] | ids that MidoNet derives from other ids |
//! | [`discovery`] | service-discovery entries |
//! | [`meters`] | the agents' traffic meters |
//! | [`config`] | the layers of `mn-conf` |
//!
//! Facts are those of MidoNet 5.4.1; later releases up to 5.6 differ only where a comment says so.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod discovery;
pub mod flow;
pub mod ids;
pub mod meters;
pub mod model;
pub mod nsdb;
pub mod text;

mod mac;

pub use mac::{Mac, ParseMacError};
