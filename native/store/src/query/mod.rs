// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Questions and answers. Every question names a period; every answer says what it had to read.

mod types;

pub use types::*;
