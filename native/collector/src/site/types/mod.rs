// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Typed views of a site's objects, as pages, reports and the API show them.
//!
//! Views are values made on demand from a [`Site`](super::Site) snapshot. What they derive (names, tenants, kinds of ports, states) follows
//! MidoNet's own definitions. Lists of ids keep the order that MidoNet gives them where it means something (rules of a chain), else they
//! are as stored.

mod devices;
mod entries;
mod filters;
mod kind;
mod physical;
mod port;
mod prefix;
mod services;
mod site;

use midonet::Mac;
use serde::Serializer;

pub use devices::*;
pub use entries::*;
pub use filters::*;
pub use kind::*;
pub use physical::*;
pub use port::*;
pub use prefix::*;
pub use services::*;
pub use site::*;

fn mac<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(mac)
}

fn optional_mac<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    match mac {
        Some(mac) => serializer.collect_str(mac),
        None => serializer.serialize_none(),
    }
}
