// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `decode flows`, `decode nsdb`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;

use crate::{nsdb, recorder};

/// Write what MidoNet's records or its database hold as JSON lines.
#[derive(Debug, Subcommand)]
pub(super) enum Decode {
    /// A stream of flow records, as agents send it
    ///
    /// One line a record, with the names of MidoNet's own JSON, `untrusted` with the fields that hold bytes of other records, and `error`
    /// for a record that can't be decoded. The exit status is 1 when there was one.
    Flows {
        /// The stream; - for the standard input
        file: PathBuf,
    },
    /// The live network state database
    ///
    /// One line a node: objects with class, id and fields, states, table entries; at last a line that says how many there were. Secrets are
    /// left out.
    Nsdb {
        /// Servers of ZooKeeper
        #[arg(long, value_name = "HOSTS", env = "MIDO_ZOOKEEPER_HOSTS", default_value = "127.0.0.1:2181")]
        zookeeper: String,
        /// MidoNet's root in ZooKeeper
        #[arg(long, value_name = "KEY", env = "MIDO_ZOOKEEPER_ROOT_KEY", default_value = "/midonet")]
        root: String,
        /// Go on with the changes
        #[arg(long)]
        watch: bool,
    },
}

impl Decode {
    /// Writes to the standard output, unlocked: the writer may have to move between threads.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = BufWriter::new(io::stdout());
        match self {
            Decode::Flows { file } => {
                let mut input = open(&file)?;
                let decoded = recorder::decode::flows(&mut input, &mut out)?;
                out.flush()?;
                Ok(if decoded.invalid == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Decode::Nsdb { zookeeper, root, watch } => {
                super::runtime()?.block_on(nsdb::decode::nsdb(&zookeeper, &root, watch, &mut out))?;
                out.flush()?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn open(file: &Path) -> anyhow::Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(file).with_context(|| format!("open {}", file.display()))?;
    Ok(Box::new(BufReader::new(file)))
}
