// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The library that the shim's tests load: all of the product's functions, and some that fail in ways that the product must
//! survive. They belong to the class `org.midonet.insights.cloud.TestHooks`, which lives among the shim's tests.

// As in `exports`: for `#[unsafe(no_mangle)]` alone.
#![allow(unsafe_code)]

use jni::EnvUnowned;
use jni::objects::JObject;
use jni::sys::jint;
pub use midonet_insights::exports::*;
use midonet_insights::policy::Throw;
use midonet_insights::registry::CallError;

/// A payload that panics again when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("panic in the drop of a payload");
    }
}

/// Panics inside the call: 0 with a literal, 1 with a formatted text, 2 with no text, 3 with a payload that panics in turn.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_TestHooks_panicInCall<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    kind: jint,
) {
    env.with_env(|_| -> Result<(), CallError> {
        match kind {
            0 => panic!("a literal"),
            1 => panic!("formatted: {kind}"),
            2 => std::panic::panic_any(kind),
            _ => std::panic::panic_any(Grenade),
        }
    })
    .resolve::<Throw>();
}

/// Panics on a worker of a tokio runtime, as the gateway's own tasks run on one, and returns when that is over.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_TestHooks_panicOnWorker<'local>(mut env: EnvUnowned<'local>, _this: JObject<'local>, n: jint) {
    env.with_env(|_| -> Result<(), CallError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("insights-worker")
            .build()
            .expect("a thread can be made");
        let outcome = runtime.block_on(runtime.spawn(async move { panic!("worker failed at {n}") }));
        assert!(outcome.is_err_and(|error| error.is_panic()), "the task must have panicked");
        Ok(())
    })
    .resolve::<Throw>();
}

/// Logs `count` lines at a level (1 error … 5 trace), faster than anybody can read them.
#[unsafe(no_mangle)]
pub extern "system" fn Java_org_midonet_insights_cloud_TestHooks_flood<'local>(
    mut env: EnvUnowned<'local>,
    _this: JObject<'local>,
    level: jint,
    count: jint,
) {
    env.with_env(|_| -> Result<(), CallError> {
        let level = log::Level::iter().nth(level as usize - 1).expect("the tests give levels that exist");
        for i in 0..count {
            log::log!(target: "insights_gateway::test", level, "line {i}");
        }
        Ok(())
    })
    .resolve::<Throw>();
}
