// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The way of log lines to Java: a bounded queue behind the `log` facade, emptied by one blocking reader.
//!
//! Whoever logs never waits for the reader: a line that finds the queue full is dropped, and the place where lines are missing
//! shows as a line of its own that counts them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::{Condvar, Mutex};

/// Lines that may wait: some seconds of a burst while a slow disk holds up Java's appender.
const MAX_LINES: usize = 4096;
/// Bytes that may wait, over all lines.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Lines and bytes that only warnings and errors may fill, so that chatter can't push them out: one part in this many.
const RESERVED_PART: usize = 4;
/// Longest message; what is over is cut. A chain of causes or a short backtrace fits.
const MAX_MESSAGE: usize = 8 * 1024;
/// Longest target; Rust module paths stay far below.
const MAX_TARGET: usize = 256;
/// Longest that a panic waits for the queue before it goes to the standard error stream instead.
const PANIC_WAIT: Duration = Duration::from_millis(100);
/// Target of the lines that the channel itself makes.
const TARGET: &str = "midonet_insights::log";

/// The channel of this process. All gateways of the process share it, as they share the `log` facade.
pub static CHANNEL: Channel = Channel::new();

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    /// Module that logged it.
    pub target: String,
    pub message: String,
}

impl Line {
    /// The line, cut to the limits.
    pub fn new(level: Level, target: &str, message: String) -> Line {
        Line {
            level,
            target: cut(target.to_owned(), MAX_TARGET),
            message: cut(message, MAX_MESSAGE),
        }
    }

    /// The form that Java reads: level (1 error … 5 trace; 1 byte), length of the target (2 bytes, big-endian), target, message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(3 + self.size());
        bytes.push(self.level as u8);
        let target = u16::try_from(self.target.len()).expect("a target is cut to MAX_TARGET bytes");
        bytes.extend_from_slice(&target.to_be_bytes());
        bytes.extend_from_slice(self.target.as_bytes());
        bytes.extend_from_slice(self.message.as_bytes());
        bytes
    }

    fn size(&self) -> usize {
        self.target.len() + self.message.len()
    }
}

/// A bounded queue of lines with one reader.
pub struct Channel {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines dropped since the last that found room.
    dropped: u64,
}

impl Channel {
    const fn new() -> Channel {
        Channel {
            state: Mutex::new(State {
                lines: VecDeque::new(),
                bytes: 0,
                dropped: 0,
            }),
            filled: Condvar::new(),
        }
    }

    /// Adds a line, or counts it as dropped when there is no room.
    pub fn push(&self, line: Line) {
        self.state.lock().push(line);
        self.filled.notify_one();
    }

    /// Adds a line unless the queue stays locked for [`PANIC_WAIT`]; then gives it back. For panics, which may come from any place.
    pub fn push_from_panic(&self, line: Line) -> Result<(), Line> {
        match self.state.try_lock_for(PANIC_WAIT) {
            Some(mut state) => state.push(line),
            None => return Err(line),
        }
        self.filled.notify_one();
        Ok(())
    }

    /// The next line, waiting for it up to `limit`.
    pub fn next(&self, limit: Duration) -> Option<Line> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        loop {
            if let Some(line) = state.pop() {
                return Some(line);
            }
            if self.filled.wait_until(&mut state, deadline).timed_out() {
                return state.pop();
            }
        }
    }
}

impl State {
    fn push(&mut self, line: Line) {
        let part = if line.level <= Level::Warn { RESERVED_PART } else { RESERVED_PART - 1 };
        let lines = MAX_LINES / RESERVED_PART * part;
        let bytes = MAX_BYTES / RESERVED_PART * part;
        if self.lines.len() >= lines || self.bytes + line.size() > bytes {
            self.dropped += 1;
            return;
        }
        if let Some(gap) = self.take_gap() {
            self.bytes += gap.size();
            self.lines.push_back(gap);
        }
        self.bytes += line.size();
        self.lines.push_back(line);
    }

    fn pop(&mut self) -> Option<Line> {
        match self.lines.pop_front() {
            Some(line) => {
                self.bytes -= line.size();
                Some(line)
            }
            None => self.take_gap(),
        }
    }

    fn take_gap(&mut self) -> Option<Line> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| {
            Line::new(
                Level::Warn,
                TARGET,
                format!("{dropped} log lines dropped: they came faster than they could be written"),
            )
        })
    }
}

/// The logger behind the `log` facade of this library.
struct Logger;

impl Log for Logger {
    /// The gateway's own crates log at the level asked for, all others only what is at least a warning.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = ["insights_", "midonet"].iter().any(|prefix| metadata.target().starts_with(prefix));
        own || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            CHANNEL.push(Line::new(record.level(), record.target(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Makes the channel the sink of the `log` facade, at level info until somebody says otherwise. Does nothing when done before.
pub fn install() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Follows the level of Java's logger, which the operator can change at any time: raises the facade's level while Java's is debug or
/// trace, and puts back what the gateway had set when it no longer is. Java itself holds back what is below its level.
pub fn follow(java: LevelFilter) {
    static BEFORE: Mutex<Option<LevelFilter>> = Mutex::new(None);
    let mut before = BEFORE.lock();
    if java >= LevelFilter::Debug {
        if java > log::max_level() {
            before.get_or_insert(log::max_level());
            log::set_max_level(java);
        }
    } else if let Some(level) = before.take() {
        log::set_max_level(level);
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::ZERO;

    fn line(level: Level, message: &str) -> Line {
        Line::new(level, "insights_gateway::test", message.to_owned())
    }

    fn drain(channel: &Channel) -> Vec<Line> {
        std::iter::from_fn(|| channel.next(NOW)).collect()
    }

    #[test]
    fn lines_come_out_in_order() {
        let channel = Channel::new();
        channel.push(line(Level::Info, "one"));
        channel.push(line(Level::Error, "two"));
        assert_eq!(drain(&channel), [line(Level::Info, "one"), line(Level::Error, "two")]);
        assert_eq!(channel.next(NOW), None);
    }

    #[test]
    fn a_reader_is_woken() {
        let channel = Channel::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| channel.next(Duration::from_secs(60)));
            channel.push(line(Level::Info, "late"));
            assert_eq!(reader.join().unwrap().unwrap().message, "late");
        });
    }

    #[test]
    fn a_full_queue_counts_what_it_drops_and_keeps_room_for_errors() {
        let channel = Channel::new();
        for i in 0..MAX_LINES {
            channel.push(line(Level::Info, &i.to_string()));
        }
        channel.push(line(Level::Error, "the error"));
        let lines = drain(&channel);
        let kept = MAX_LINES / RESERVED_PART * (RESERVED_PART - 1);
        assert_eq!(lines.len(), kept + 2);
        assert_eq!(lines[kept - 1].message, (kept - 1).to_string());
        assert_eq!(
            lines[kept].message,
            format!("{} log lines dropped: they came faster than they could be written", MAX_LINES - kept)
        );
        assert_eq!(lines[kept].level, Level::Warn);
        assert_eq!(lines[kept + 1].message, "the error");
    }

    #[test]
    fn a_gap_at_the_end_is_told_too() {
        let channel = Channel::new();
        for _ in 0..MAX_LINES + 7 {
            channel.push(line(Level::Error, "e"));
        }
        let lines = drain(&channel);
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert!(
            lines[MAX_LINES].message.starts_with("7 log lines dropped"),
            "{}",
            lines[MAX_LINES].message
        );
        assert_eq!(drain(&channel), []);
    }

    #[test]
    fn bytes_are_bounded_as_lines_are() {
        let channel = Channel::new();
        for _ in 0..MAX_LINES {
            channel.push(line(Level::Error, &"x".repeat(2 * MAX_MESSAGE)));
        }
        let state = channel.state.lock();
        assert!(state.bytes <= MAX_BYTES && state.bytes > MAX_BYTES - 2 * MAX_MESSAGE, "{}", state.bytes);
    }

    /// The one test that touches the level of the process.
    #[test]
    fn the_level_of_java_raises_and_never_lowers() {
        log::set_max_level(LevelFilter::Warn);
        for (java, expected) in [
            (LevelFilter::Info, LevelFilter::Warn),
            (LevelFilter::Debug, LevelFilter::Debug),
            (LevelFilter::Trace, LevelFilter::Trace),
            (LevelFilter::Error, LevelFilter::Warn),
        ] {
            follow(java);
            assert_eq!(log::max_level(), expected, "after {java}");
        }
        // The gateway sets its own level while Java's is raised: the next call raises again.
        follow(LevelFilter::Debug);
        log::set_max_level(LevelFilter::Info);
        follow(LevelFilter::Debug);
        assert_eq!(log::max_level(), LevelFilter::Debug);
    }

    proptest! {
        #[test]
        fn the_byte_form_holds_the_line(level in 1_usize..=5, target in ".{0,300}", message in ".{0,100}") {
            let level = Level::iter().nth(level - 1).unwrap();
            let line = Line::new(level, &target, message);
            let bytes = line.to_bytes();
            let at = 3 + usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
            prop_assert_eq!(bytes[0] as usize, level as usize);
            prop_assert_eq!(std::str::from_utf8(&bytes[3..at]).unwrap(), &line.target);
            prop_assert_eq!(std::str::from_utf8(&bytes[at..]).unwrap(), &line.message);
            prop_assert!(target.starts_with(&line.target) && line.target.len() <= MAX_TARGET);
        }
    }
}
