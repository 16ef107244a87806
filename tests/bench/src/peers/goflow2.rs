// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! GoFlow2: takes IPFIX and writes a file, as JSON or Protocol Buffers. It answers no questions: that is for what reads the file.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use insights_e2e::process::Process;

use super::{Taken, program, udp};
use crate::measure;

const PATIENCE: Duration = Duration::from_secs(60);

/// All is written when the file has not grown for so long.
const QUIET: Duration = Duration::from_secs(3);

const STOP: Duration = Duration::from_secs(10);

/// Level of zstd for its files: that of our own wire.
const LEVEL: i32 = 3;

pub struct GoFlow2 {
    program: PathBuf,
    dir: PathBuf,
}

impl GoFlow2 {
    pub fn find(tools: &Path, dir: &Path) -> Option<GoFlow2> {
        Some(GoFlow2 {
            program: program(tools, "goflow2")?,
            dir: dir.join("goflow2"),
        })
    }

    /// Takes the flows in, once in each of its two forms.
    pub async fn take(&self, datagrams: &Path, sent: u64) -> Result<Vec<Taken>> {
        std::fs::create_dir_all(&self.dir)?;
        Ok(vec![self.form("json", datagrams, sent).await?, self.form("bin", datagrams, sent).await?])
    }

    async fn form(&self, form: &str, datagrams: &Path, sent: u64) -> Result<Taken> {
        let file = self.dir.join(form);
        let port = udp::free_port()?;
        // Several workers read the first flows of a host before its templates, and without blocking flows are dropped inside of it.
        let listen = format!("netflow://127.0.0.1:{port}?count=1&workers=1&blocking=true");
        let mut command = tokio::process::Command::new(&self.program);
        command.args(["-listen", &listen, "-addr", "127.0.0.1:0", "-format", form, "-transport", "file"]);
        // Length-delimited Protocol Buffers stand one behind the other.
        if form == "bin" {
            command.args(["-transport.file.sep", ""]);
        }
        command.arg("-transport.file").arg(&file);
        let before = measure::ended_children()?;
        let mut process = Process::start("goflow2", &mut command, &self.dir.join(form).with_extension("log"))?;
        udp::listening(port, PATIENCE)?;
        let from = datagrams.to_owned();
        tokio::task::spawn_blocking(move || udp::send(&from, port)).await??;
        let dropped = udp::dropped(port)?;
        ensure!(dropped == 0, "{dropped} datagrams were lost on the way to goflow2");
        written(&file).await?;
        // Its file is written without a buffer; at times it does not end by itself.
        process.stop(STOP).await?;
        let cpu = measure::ended_children()? - before;
        let bytes = std::fs::metadata(&file)?.len();
        let packed = pack(&file)?;
        let flows = if form == "json" { lines(&file)? } else { messages(&file)? };
        std::fs::remove_file(&file)?;
        let name = if form == "json" { "JSON" } else { "Protocol Buffers" };
        Ok(Taken {
            name: format!("GoFlow2, {name}"),
            version: self.version()?,
            command: format!(
                "goflow2 -listen netflow://127.0.0.1:PORT?count=1&workers=1&blocking=true -format {form} -transport file -transport.file FILE"
            ),
            flows,
            sent,
            cpu,
            later_cpu: 0.0,
            bytes: vec![(name.to_owned(), bytes), (format!("{name}, zstd {LEVEL}"), packed)],
        })
    }

    /// Of the module that it was built from: it tells none itself unless a release sets it.
    fn version(&self) -> Result<String> {
        let output = Command::new("go").args(["version", "-m"]).arg(&self.program).output();
        let told = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let line = told.lines().find(|line| line.trim().starts_with("mod"));
        Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("unknown").to_owned())
    }
}

/// Waits until what is queued inside of it is in the file.
async fn written(file: &Path) -> Result<()> {
    let mut still = (0, Instant::now());
    while still.1.elapsed() < QUIET {
        let length = std::fs::metadata(file)?.len();
        if length != still.0 {
            still = (length, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn pack(file: &Path) -> Result<u64> {
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    zstd::stream::copy_encode(std::fs::File::open(file)?, &mut count, LEVEL)?;
    Ok(count.0)
}

fn lines(file: &Path) -> Result<u64> {
    let mut lines = 0;
    for line in BufReader::new(std::fs::File::open(file)?).lines() {
        line?;
        lines += 1;
    }
    Ok(lines)
}

/// Messages that each stand behind their length.
fn messages(file: &Path) -> Result<u64> {
    let bytes = std::fs::read(file)?;
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let (mut length, mut shift) = (0u64, 0);
        loop {
            let byte = *bytes.get(at).context("a length ends in the middle")?;
            at += 1;
            length |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += length as usize;
        count += 1;
    }
    ensure!(at == bytes.len(), "the last message of {} is cut off", file.display());
    Ok(count)
}
