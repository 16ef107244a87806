// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The records as agents send them, packed with zstd: what a pile of files would cost that nothing can be asked of.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
};

use anyhow::{Context, Result};
use midonet::flow::{encode_binary, frame};

use super::Taken;
use crate::{cloud::Flow, measure};

/// Quick, as our own wire packs, and thorough.
const LEVELS: [i32; 2] = [3, 12];

/// Adds records to a file, framed as on an agent's connection.
pub fn write(file: &mut BufWriter<File>, flows: &[Flow]) -> Result<()> {
    let mut framed = Vec::new();
    for flow in flows {
        framed.clear();
        frame::encode(&encode_binary(&flow.record).context("encode a record")?, &mut framed);
        file.write_all(&framed)?;
    }
    Ok(())
}

pub fn take(file: &Path, flows: u64) -> Result<Taken> {
    let mut bytes = vec![("as sent".to_owned(), std::fs::metadata(file)?.len())];
    let mut times = Vec::new();
    for level in LEVELS {
        let (size, cpu) = pack(file, level)?;
        bytes.push((format!("zstd {level}"), size));
        times.push(cpu);
    }
    Ok(Taken {
        name: "zstd of the records".into(),
        version: zstd::zstd_safe::version_string().to_owned(),
        command: format!("one stream over all records, levels {} and {}", LEVELS[0], LEVELS[1]),
        flows,
        sent: flows,
        cpu: times[0],
        later_cpu: times[1],
        bytes,
    })
}

/// Bytes and CPU seconds.
fn pack(file: &Path, level: i32) -> Result<(u64, f64)> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), level)?;
    let began = measure::thread_seconds()?;
    let (mut packed, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&buffer[..read])?;
        packed += encoder.get_ref().len() as u64;
        encoder.get_mut().clear();
    }
    packed += encoder.finish()?.len() as u64;
    Ok((packed, measure::thread_seconds()? - began))
}
