// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! nfdump: `nfcapd` takes IPFIX, `nfdump` answers.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use insights_e2e::process::Process;
use time::{OffsetDateTime, macros::format_description};

use super::{Taken, program, udp};
use crate::measure;

/// Nothing takes so long to start or stop, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time of a file, as nfcapd makes them unless told otherwise.
const FILE_S: i64 = 300;
const HOUR_S: i64 = 3_600;

/// Socket buffer, as its manual advises for busy collectors.
const BUFFER: &str = "8388608";

pub struct Nfdump {
    capture: PathBuf,
    program: PathBuf,
    /// Files of five minutes each.
    pub files: PathBuf,
}

impl Nfdump {
    pub fn find(tools: &Path, dir: &Path) -> Option<Nfdump> {
        Some(Nfdump {
            capture: program(tools, "nfcapd")?,
            program: program(tools, "nfdump")?,
            files: dir.join("nfdump"),
        })
    }

    /// Takes the flows in, and lays them out in the files that nfcapd would have written had they come over the day.
    pub async fn take(&self, datagrams: &Path, sent: u64, day: (i64, i64)) -> Result<Taken> {
        let spool = self.files.with_extension("spool");
        std::fs::create_dir_all(&spool)?;
        std::fs::create_dir_all(&self.files)?;
        let port = udp::free_port()?;
        let arguments = ["-y", "-B", BUFFER, "-t", "86400", "-p", &port.to_string(), "-w"].map(str::to_owned);
        let mut command = tokio::process::Command::new(&self.capture);
        command.args(&arguments).arg(&spool);
        let before = measure::ended_children()?;
        let mut process = Process::start("nfcapd", &mut command, &spool.with_extension("log"))?;
        udp::listening(port, PATIENCE)?;
        let file = datagrams.to_owned();
        tokio::task::spawn_blocking(move || udp::send(&file, port)).await??;
        let dropped = udp::dropped(port)?;
        ensure!(dropped == 0, "{dropped} datagrams were lost on the way to nfcapd");
        process.stop(PATIENCE).await?;
        let cpu = measure::ended_children()? - before;
        let file = only_file(&spool)?;
        let flows = self.count(&file)?;
        let lz4 = std::fs::metadata(&file)?.len();
        let mut bytes = Vec::new();
        for (name, number) in [("uncompressed", "0"), ("LZO", "1"), ("bzip2", "2")] {
            let copy = spool.join(name);
            std::fs::copy(&file, &copy)?;
            self.run(&["-J", number, "-r"], &[&copy])?;
            bytes.push((name.to_owned(), std::fs::metadata(&copy)?.len()));
            std::fs::remove_file(&copy)?;
        }
        bytes.push(("LZ4".to_owned(), lz4));
        self.lay_out(&file, day)?;
        std::fs::remove_dir_all(&spool)?;
        Ok(Taken {
            name: "nfdump".into(),
            version: self.version()?,
            command: "nfcapd -y -B 8388608 -p PORT -w FOLDER".into(),
            flows,
            sent,
            cpu,
            later_cpu: 0.0,
            bytes,
        })
    }

    /// Splits a file by hours, then by minutes: each is read twice instead of once for every five minutes.
    fn lay_out(&self, file: &Path, (from_s, to_s): (i64, i64)) -> Result<()> {
        let all = self.count(file)?;
        let hour_file = file.with_extension("hour");
        let mut kept = 0;
        for hour in (from_s..to_s).step_by(HOUR_S as usize) {
            self.cut(file, &hour_file, hour, HOUR_S)?;
            for start in (hour..hour + HOUR_S).step_by(FILE_S as usize) {
                let name = stamp(start, format_description!("nfcapd.[year][month][day][hour][minute]"))?;
                let target = self.files.join(name);
                self.cut(&hour_file, &target, start, FILE_S)?;
                kept += self.count(&target)?;
            }
        }
        ensure!(kept == all, "{kept} of {all} flows are in files of five minutes");
        Ok(())
    }

    fn cut(&self, from: &Path, to: &Path, start_s: i64, length_s: i64) -> Result<()> {
        let window = window(start_s, start_s + length_s)?;
        self.run(&["-q", "-y", "-t", &window, "-w"], &[to, Path::new("-r"), from]).map(drop)
    }

    fn count(&self, file: &Path) -> Result<u64> {
        let told = self.run(&["-I", "-r"], &[file])?;
        let flows = told.lines().find_map(|line| line.strip_prefix("Flows:"));
        flows
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("nfdump tells no flows of {}", file.display()))
    }

    pub fn version(&self) -> Result<String> {
        let told = self.run(&["-V"], &[])?;
        Ok(told.split_whitespace().last().unwrap_or_default().to_owned())
    }

    /// Runs nfdump over all files.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut all: Vec<&Path> = vec![&self.files];
        all.extend(arguments.iter().map(Path::new));
        self.run(&["-R"], &all)
    }

    fn run(&self, arguments: &[&str], more: &[&Path]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.env("TZ", "UTC").args(arguments).args(more);
        let output = command.output().with_context(|| format!("run {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "{command:?} ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A span of whole seconds as nfdump reads it, both ends included: no flow is in the millisecond of an end.
pub fn window(from_s: i64, to_s: i64) -> Result<String> {
    let form = format_description!("[year]/[month]/[day].[hour]:[minute]:[second]");
    Ok(format!("{}-{}", stamp(from_s, form)?, stamp(to_s, form)?))
}

fn stamp(seconds: i64, form: &(impl time::formatting::Formattable + ?Sized)) -> Result<String> {
    Ok(OffsetDateTime::from_unix_timestamp(seconds)?.format(form)?)
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nfcapd.2")))
        .collect();
    ensure!(files.len() == 1, "nfcapd wrote {} files", files.len());
    Ok(files[0].clone())
}
