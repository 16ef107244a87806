// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::Duration;

use log::LevelFilter;
use tokio::time::{Instant, sleep_until};

/// Finer logs are for a while only.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The level of the log: the configured one, or for a while the one that the service asked for.
#[derive(Debug)]
pub(super) struct LogLevel {
    configured: LevelFilter,
    until: Option<Instant>,
}

impl LogLevel {
    pub(super) fn new(configured: LevelFilter) -> LogLevel {
        LogLevel { configured, until: None }
    }

    pub(super) fn set(&mut self, level: &str, seconds: u32) -> Result<String, String> {
        let wanted: LevelFilter = level
            .parse()
            .map_err(|_| "the level must be one of error, warn, info, debug, trace".to_owned())?;
        let time = Duration::from_secs(seconds.into()).min(LONGEST);
        self.until = Some(Instant::now() + time);
        log::set_max_level(wanted);
        log::info!("The service set the log level to {wanted} for {} s", time.as_secs());
        Ok(format!("{wanted} for {} s", time.as_secs()))
    }

    /// Ends when the time of the level that was asked for is over.
    pub(super) async fn over(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn reset(&mut self) {
        if self.until.take().is_some() {
            log::set_max_level(self.configured);
        }
    }
}
