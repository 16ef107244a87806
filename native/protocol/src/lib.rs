// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The wire between a gateway and the collector.
//!
//! One QUIC connection per gateway carries
//! - a bidirectional *control stream*, opened by the gateway: [`control::ToService`] up, [`control::ToGateway`] down, the first message of
//!   each side being its greeting ([`control::Hello`], then [`control::Welcome`] or [`control::Refusal`]);
//! - one unidirectional *data stream* per [`Kind`], opened by the gateway, that carries [`batch::Envelope`]s in the order of their
//!   sequence numbers. The service acknowledges on the control stream, after the batch is durable.
//!
//! Every message on every stream is a frame: a big-endian `u32` length, then that many bytes ([`frame`]). A batch is compressed on its
//! own ([`batch`]), so that it can wait on disk and be sent again after a reconnect, to whichever collector answers. On its way a batch of
//! flows is coded by what both sides remember of the stream ([`stream`]), which ends with it.
//!
//! The crate holds bytes and bounds only: no sockets, no clock, no files. bincode stays behind [`codec`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod batch;
pub mod codec;
pub mod control;
pub mod event;
pub mod flow;
pub mod frame;
pub mod meters;
pub mod order;
pub mod stream;
pub mod topology;

mod column;
mod kind;

#[cfg(test)]
mod tests;

pub use codec::WireError;
pub use kind::{Kind, Kinds};

/// Version of everything in this crate. A gateway and a service that disagree part with [`control::RefusalCode::Protocol`].
pub const PROTOCOL_VERSION: u16 = 4;

/// ALPN name of the connection. It never changes: versions are told apart in the greeting, where a refusal can say why.
pub const ALPN: &[u8] = b"midoinsights";
