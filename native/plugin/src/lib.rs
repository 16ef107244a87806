// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The native library that the minion loads into the JVM of the MidoNet Cluster.
//!
//! A shell and nothing else: [`exports`] has the functions that Java calls, each a few lines that turn bytes and numbers into a
//! call of the gateway, whose crate never hears of JNI. The rules that keep the JVM unharmed:
//!
//! - **No thread of ours attaches to the JVM.** An attached native thread holds the JVM open at its exit. Log lines are not
//!   handed to Java, Java fetches them: a daemon thread waits in [`channel`] through a blocking call.
//! - **Nothing unwinds into the JVM.** Every call is caught by [`policy`] and becomes a Java exception; panics of threads that no
//!   call sees reach the log through the hook in [`panics`].
//! - **A handle is a key** of the [`registry`], never a pointer: a stale one is an error.
//! - Everything that waits has a limit, and so has everything that grows.
//!
//! Interface with Java, version [`ABI_VERSION`] (class `org.midonet.insights.cloud.NativeGateway`):
//!
//! | function | from Java | to Java |
//! | --- | --- | --- |
//! | `abiVersion` | – | the version; asked right after loading |
//! | `start` | configuration as UTF-8 JSON | handle, never 0 |
//! | `nextLog` | level of Java's logger (0 off … 5 trace), milliseconds to wait | one [`channel::Line`] as bytes, or null when none came |
//! | `statistics` | handle | UTF-8 JSON |
//! | `stop` | handle, milliseconds | – |
//!
//! Errors are `IllegalStateException` (also for a stale handle), bad configuration is `IllegalArgumentException`, a panic is
//! `RuntimeException`; each with the whole chain of causes in its message.

pub mod channel;
pub mod exports;
pub mod panics;
pub mod policy;
pub mod registry;

/// Version of the interface between the shim and this library. To be raised with every change of a function or of its bytes, here
/// and in `NativeGateway.java`.
pub const ABI_VERSION: i32 = 1;
