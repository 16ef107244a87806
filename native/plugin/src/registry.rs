// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The gateways that run in this process, by the keys that Java holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use insights_gateway::{Gateway, StartError};
use jni::strings::JNIStr;
use parking_lot::Mutex;

use crate::policy::Exception;

/// Gateways at a time. One is the rule; a second may start while the first still stops.
const MAX_GATEWAYS: usize = 4;
/// Longest configuration, in bytes; a real one has one or two thousand.
const MAX_CONFIG: usize = 1024 * 1024;
/// Longest time that Java may give a stop.
const MAX_STOP: Duration = Duration::from_secs(60);

static RUNNING: Mutex<Running> = Mutex::new(Running {
    next: 1,
    gateways: BTreeMap::new(),
});

struct Running {
    /// Keys are never used twice.
    next: i64,
    /// `None` holds the place of a gateway that is being started.
    gateways: BTreeMap<i64, Option<Arc<Gateway>>>,
}

/// Why a call of Java failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the configuration has {0} bytes, allowed are up to {MAX_CONFIG}")]
    ConfigSize(usize),
    #[error("the configuration is not UTF-8")]
    ConfigText(#[source] std::str::Utf8Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{MAX_GATEWAYS} gateways run in this process already")]
    TooMany,
    #[error("no gateway runs under the handle {0}")]
    StaleHandle(i64),
    #[error("talk to the JVM")]
    Jni(#[from] jni::errors::Error),
}

impl Exception for CallError {
    fn class(&self) -> &'static JNIStr {
        match self {
            CallError::ConfigSize(_) | CallError::ConfigText(_) => jni::jni_str!("java/lang/IllegalArgumentException"),
            CallError::Start(_) | CallError::TooMany | CallError::StaleHandle(_) | CallError::Jni(_) => {
                jni::jni_str!("java/lang/IllegalStateException")
            }
        }
    }
}

/// Starts a gateway and gives its key, which is above 0.
pub fn start(config: &[u8]) -> Result<i64, CallError> {
    if config.len() > MAX_CONFIG {
        return Err(CallError::ConfigSize(config.len()));
    }
    let config = std::str::from_utf8(config).map_err(CallError::ConfigText)?;
    let place = Place::take()?;
    // Not under the lock: others must be able to stop theirs meanwhile.
    let gateway = Gateway::start(config)?;
    Ok(place.fill(gateway))
}

/// What the gateway counts, as JSON.
pub fn statistics(key: i64) -> Result<String, CallError> {
    // The lock is not held while the gateway answers.
    let gateway = RUNNING.lock().gateways.get(&key).cloned().flatten();
    gateway.map(|gateway| gateway.statistics()).ok_or(CallError::StaleHandle(key))
}

/// Stops a gateway, which has until `limit` to do it in order. Its key is stale from the beginning of the call.
pub fn stop(key: i64, limit: Duration) -> Result<(), CallError> {
    let gateway = RUNNING.lock().gateways.remove(&key).flatten().ok_or(CallError::StaleHandle(key))?;
    gateway.stop(limit.min(MAX_STOP));
    Ok(())
}

/// A key whose gateway is being started; gives it up again unless it is filled, also when the start panics.
struct Place {
    key: i64,
    filled: bool,
}

impl Place {
    fn take() -> Result<Place, CallError> {
        let mut running = RUNNING.lock();
        if running.gateways.len() >= MAX_GATEWAYS {
            return Err(CallError::TooMany);
        }
        let key = running.next;
        running.next += 1;
        running.gateways.insert(key, None);
        Ok(Place { key, filled: false })
    }

    fn fill(mut self, gateway: Gateway) -> i64 {
        RUNNING.lock().gateways.insert(self.key, Some(Arc::new(gateway)));
        self.filled = true;
        self.key
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.filled {
            RUNNING.lock().gateways.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_never_given_is_stale() {
        assert_eq!(
            statistics(-1).map_err(|error| error.to_string()),
            Err("no gateway runs under the handle -1".to_owned())
        );
        assert_eq!(
            stop(0, Duration::ZERO).map_err(|error| error.to_string()),
            Err("no gateway runs under the handle 0".to_owned())
        );
    }

    #[test]
    fn a_configuration_that_is_no_text_is_refused() {
        assert!(matches!(start(&[0xff]), Err(CallError::ConfigText(_))));
        assert!(matches!(start(&vec![b' '; MAX_CONFIG + 1]), Err(CallError::ConfigSize(_))));
    }

    #[test]
    fn a_failed_start_leaves_no_place_taken() {
        for _ in 0..2 * MAX_GATEWAYS {
            assert!(matches!(start(b"{"), Err(CallError::Start(_))));
        }
    }
}
