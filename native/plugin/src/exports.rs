// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The functions that `org.midonet.insights.cloud.NativeGateway` declares as native.

// Only for `#[unsafe(no_mangle)]`, which is how Java finds a function; no block here is unsafe.
#![allow(unsafe_code)]

use std::time::Duration;

use jni::EnvUnowned;
use jni::objects::{JByteArray, JObject};
use jni::sys::{jint, jlong};
use log::LevelFilter;

use crate::channel::{self, CHANNEL};
use crate::policy::Throw;
use crate::registry::{self, CallError};
use crate::{ABI_VERSION, panics};

/// Longest that a call waits for a log line, so that Java gets its thread back.
const MAX_LOG_WAIT: Duration = Duration::from_secs(60);

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_NativeGateway_abiVersion<'local>(mut env: EnvUnowned<'local>, _this: JObject<'local>) -> jint {
    env.with_env(|_| -> Result<jint, CallError> {
        // The first call of all: from here on nothing goes past the log.
        channel::install();
        panics::install_hook();
        Ok(ABI_VERSION)
    })
    .resolve::<Throw>()
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_NativeGateway_start<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    config: JByteArray<'local>,
) -> jlong {
    env.with_env(|env| {
        let config = env.convert_byte_array(&config)?;
        registry::start(&config)
    })
    .resolve::<Throw>()
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_NativeGateway_nextLog<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    level: jint,
    milliseconds: jlong,
) -> JByteArray<'local> {
    env.with_env(|env| -> Result<JByteArray<'local>, CallError> {
        channel::follow(level_filter(level));
        match CHANNEL.next(duration(milliseconds).min(MAX_LOG_WAIT)) {
            Some(line) => Ok(env.byte_array_from_slice(&line.to_bytes())?),
            None => Ok(JByteArray::default()),
        }
    })
    .resolve::<Throw>()
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_NativeGateway_statistics<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    handle: jlong,
) -> JByteArray<'local> {
    env.with_env(|env| -> Result<JByteArray<'local>, CallError> {
        let text = registry::statistics(handle)?;
        Ok(env.byte_array_from_slice(text.as_bytes())?)
    })
    .resolve::<Throw>()
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_NativeGateway_stop<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    handle: jlong,
    milliseconds: jlong,
) {
    env.with_env(|_| registry::stop(handle, duration(milliseconds))).resolve::<Throw>()
}

/// Java's level: 0 off, 1 error … 5 trace.
fn level_filter(level: jint) -> LevelFilter {
    usize::try_from(level)
        .ok()
        .and_then(|level| LevelFilter::iter().nth(level))
        .unwrap_or(LevelFilter::Info)
}

/// Java's milliseconds; below 0 is none.
fn duration(milliseconds: jlong) -> Duration {
    Duration::from_millis(milliseconds.try_into().unwrap_or(0))
}
