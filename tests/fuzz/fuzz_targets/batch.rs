// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

#![no_main]

#[allow(dead_code, reason = "each target uses its own function")]
#[path = "../wire_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::batch_alone(data));
