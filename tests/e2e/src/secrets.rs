// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Looks for secrets where none may be.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Files below a folder that hold one of the secrets as it is, but for those beneath `except`. Fails when no file was looked at.
pub fn holders(folder: &Path, secrets: &[&str], except: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut looked, mut found, mut folders) = (0, Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if except.iter().any(|except| path.starts_with(except)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let content = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                looked += 1;
                if secrets.iter().any(|secret| holds(&content, secret.as_bytes())) {
                    found.push(path);
                }
            }
        }
    }
    anyhow::ensure!(looked > 0, "no file in {}", folder.display());
    Ok(found)
}

fn holds(content: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && content.windows(secret.len()).any(|window| window == secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_where_it_is_and_not_where_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        for (file, text) in [("log", "nothing"), ("below/log", "the word is hunter2!"), ("allowed", "hunter2")] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let except = [folder.path().join("allowed")];
        assert_eq!(
            holders(folder.path(), &["other", "hunter2"], &except).unwrap(),
            [folder.path().join("below/log")]
        );
        assert!(holders(&folder.path().join("nowhere"), &["x"], &[]).is_err());
    }
}
