// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Runs everything together with real parts: ZooKeeper, the plugin in a JVM, the simulated cloud, the collector.

pub mod cost;
pub mod dashboard;
pub mod faults;
pub mod golden;
pub mod html;
pub mod manager;
pub mod oracle;
pub mod process;
pub mod secrets;
pub mod stack;
pub mod told;
pub mod transitions;
