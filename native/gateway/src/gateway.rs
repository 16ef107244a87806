// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::Duration;

use crate::{Config, config::ConfigError};

/// The running gateway. It owns its runtime; several may live in one process, one after the other or at once.
#[derive(Debug)]
pub struct Gateway {}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("start the runtime")]
    Runtime(#[source] std::io::Error),
}

impl Gateway {
    /// Reads the configuration ([`Config::from_json`]) and spawns all work. Returns in milliseconds: disk, network and ZooKeeper are
    /// touched by the tasks, which log what they meet.
    pub fn start(config_json: &str) -> Result<Gateway, StartError> {
        let _config = Config::from_json(config_json)?;
        Ok(Gateway {})
    }

    /// Ends everything and returns when it has ended, or at the deadline whatever happens. Calling it again does nothing.
    pub fn stop(&self, _deadline: Duration) {}

    /// How it is, as JSON text.
    pub fn statistics(&self) -> String {
        String::from("{}")
    }
}
