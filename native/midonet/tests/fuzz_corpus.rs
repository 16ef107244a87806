// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Runs every fuzz target over its committed corpus, without a fuzzer.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/fuzz/targets.rs"]
mod targets;

use std::path::PathBuf;

#[test]
fn every_corpus_passes() {
    let corpora = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut inputs: Vec<PathBuf> = std::fs::read_dir(corpora.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "{name} has no corpus");
        for input in inputs {
            let data = std::fs::read(&input).unwrap();
            // The name of the input shows in the output of a failing test.
            eprintln!("{}", input.display());
            target(&data);
            // What is cut off in the middle must do no harm either.
            for length in (0..data.len()).step_by(data.len() / 64 + 1) {
                target(&data[..length]);
            }
        }
    }
}
