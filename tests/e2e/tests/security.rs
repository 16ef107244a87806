// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Each line of the threat model names tests that exist.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

#[test]
fn each_line_of_the_threat_model_names_its_tests() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("SECURITY.md"))?;
    let table = text.split("| threat | answer | shown by |").nth(1).context("no threat model")?;
    let mut lines = 0;
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let shown = line.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        let tests: Vec<&str> = shown.split("; ").collect();
        ensure!(!tests.is_empty(), "{line}");
        for test in tests {
            let parts: Vec<&str> = test.split('`').collect();
            let ["", file, " ", name, ""] = parts[..] else {
                anyhow::bail!("{test:?} is not a file and a test of it")
            };
            let path = place(&root, file);
            let code = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let found = code.match_indices(name).any(|(at, _)| {
                let (before, after) = (&code[..at], &code[at + name.len()..]);
                after.starts_with('(') && (before.ends_with("fn ") || before.ends_with("void "))
            });
            ensure!(found, "{file} has no test {name}");
        }
        lines += 1;
    }
    ensure!(lines >= 15, "{lines} lines of the threat model were read");
    Ok(())
}

fn place(root: &Path, file: &str) -> PathBuf {
    match file.split_once('/') {
        None => root.join("jvm-shim/plugin/src/test/java/org/midonet/insights/cloud").join(file),
        Some(("e2e", _)) => root.join("tests").join(file),
        Some(_) => root.join("native").join(file),
    }
}
