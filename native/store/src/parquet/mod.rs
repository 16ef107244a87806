// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Files of the column store: one site, one table and one day each, sorted, and never changed once they are there.

mod file;
mod sort;
mod writer;

pub(crate) use file::DataFile;
pub(crate) use sort::{write_ends, write_flows, write_sorted};
pub(crate) use writer::{Effort, FileWriter, span};
