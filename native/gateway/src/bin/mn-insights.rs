// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::process::ExitCode;

fn main() -> ExitCode {
    insights_gateway::cli::main()
}
