// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What every tap is given.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{Config, pipe::Pipe};

/// What a tap needs: the configuration, the way for its facts, and the signal to end.
///
/// A tap is an `async fn run(tap: Tap)` that returns once [`Stop`] says so, after it has given back what others see of it (a discovery
/// entry first, connections next). It deals with the faults of its source itself: it logs a change of state once and goes on trying.
#[derive(Clone, Debug)]
pub struct Tap {
    pub config: Arc<Config>,
    pub pipe: Pipe,
    pub stop: Stop,
}

/// The signal to end, given once.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of [`Stop`]. Dropping it is the signal too, so that no task outlives its owner.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

impl Stop {
    pub fn channel() -> (StopSender, Stop) {
        let (sender, receiver) = watch::channel(false);
        (StopSender(sender), Stop(receiver))
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Ends when the signal was given. Safe to drop and call again.
    pub async fn stopped(&self) {
        let mut receiver = self.0.clone();
        // An error means that the sender is gone, which is the signal too.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

impl StopSender {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
