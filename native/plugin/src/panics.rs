// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What becomes of a panic: a line of the log, with message and place.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Once;

use log::Level;

use crate::channel::{CHANNEL, Line};

/// Target of the lines that tell of panics.
const TARGET: &str = "midonet_insights::panic";

/// Sends the message and the place of every panic of this library to the log. Does nothing when done before.
///
/// The hook belongs to the copy of the standard library inside this cdylib: it sees no panics of other native code.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(report)));
}

/// The text of a panic's payload: a literal is a `&str`, a formatted message a `String`.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic without a text"
    }
}

fn report(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let mut text = format!(
        "panic at {place}, thread {}: {}",
        thread.name().unwrap_or("without a name"),
        message(info.payload())
    );
    // RUST_BACKTRACE decides whether there is one.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("\n{backtrace}"));
    }
    if let Err(line) = CHANNEL.push_from_panic(Line::new(Level::Error, TARGET, text)) {
        eprintln!("midonet-insights-plugin: {}", line.message);
    }
}
