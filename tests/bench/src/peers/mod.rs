// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What others use for flows, each as its own program. One that is not installed is left out, with a line that says so.

pub mod clickhouse;
pub mod goflow2;
pub mod nfdump;
pub mod raw;
mod udp;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What taking flows in cost a peer, and what they take at rest.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Taken {
    pub name: String,
    pub version: String,
    pub command: String,
    /// Flows that arrived, of those sent.
    pub flows: u64,
    pub sent: u64,
    /// CPU seconds of its process until all flows were taken in.
    pub cpu: f64,
    /// CPU seconds of merging or packing later on.
    pub later_cpu: f64,
    /// Bytes at rest, by the way in which they are kept.
    pub bytes: Vec<(String, u64)>,
}

/// A program on the path, or in the tools that `make bench` installs.
pub fn program(tools: &Path, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools.join("bin")].into_iter().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
