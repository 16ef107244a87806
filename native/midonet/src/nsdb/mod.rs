// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tree of the NSDB in ZooKeeper: where things are ([`Root`], [`Node`]), and what stands in tables and state.

pub mod state;
pub mod table;

mod path;
mod route;

pub use path::{InvalidRoot, Node, Root, TABLES, TableSpec, ZERO_NAMESPACE};
pub use route::{LearnedRoute, RouteError};
