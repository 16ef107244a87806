// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The topology of a site, now and as of any past time.

mod shards;
mod types;

pub use midonet::Mac;
pub use types::*;
