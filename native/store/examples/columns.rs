// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tells how many bytes each column of the store's files takes, by table: where the bytes of a row are.
//!
//! `cargo run --release -p insights-store --example columns -- FOLDER`, where the folder is a store's or any above Parquet files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use datafusion::parquet::{
    basic::Encoding,
    file::reader::{FileReader, SerializedFileReader},
};

#[derive(Default)]
struct Table {
    files: u64,
    rows: u64,
    bytes: u64,
    /// By name: compressed and uncompressed bytes, of these the Bloom filters, and the encodings of the pages.
    columns: BTreeMap<String, (u64, u64, u64, BTreeSet<String>)>,
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut files = Vec::new();
    collect(Path::new(&folder), &mut files);
    for path in &files {
        let table = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        add(tables.entry(table).or_default(), path);
    }
    let of = |names: &[&str]| -> u64 { names.iter().filter_map(|name| tables.get(*name)).map(|table| table.bytes).sum() };
    let flows: u64 = ["flows", "flow_rests"]
        .iter()
        .filter_map(|name| tables.get(*name))
        .map(|table| table.rows)
        .sum();
    if flows > 0 {
        let each = |names: &[&str]| of(names) as f64 / flows as f64;
        println!(
            "a flow, everything that is read of it: {:.2} bytes ({:.2} its own, {:.2} its part of the ends, {:.2} of the paths); beside it {:.2} of roll-ups",
            each(&["flows", "flow_rests", "ends", "paths"]),
            each(&["flows", "flow_rests"]),
            each(&["ends"]),
            each(&["paths"]),
            each(&["flow_minutes", "flow_hours"])
        );
    }
    for (name, table) in tables {
        let rows = table.rows.max(1) as f64;
        println!(
            "{name}: {} rows in {} files, {} bytes, {:.2} bytes a row",
            table.rows,
            table.files,
            table.bytes,
            table.bytes as f64 / rows
        );
        let in_columns: u64 = table.columns.values().map(|(size, _, bloom, _)| size + bloom).sum();
        let mut columns: Vec<_> = table.columns.into_iter().collect();
        columns.sort_by_key(|(_, (size, ..))| std::cmp::Reverse(*size));
        for (column, (size, plain, bloom, encodings)) in columns {
            let encodings: Vec<String> = encodings.into_iter().collect();
            let filter = if bloom > 0 {
                format!(" + {:.2} filter", bloom as f64 / rows)
            } else {
                String::new()
            };
            println!(
                "  {column:14} {:7.3}{filter}  (before compression {:.3}; {})",
                size as f64 / rows,
                plain as f64 / rows,
                encodings.join(" ")
            );
        }
        println!("  {:14} {:7.3}", "indexes, footer", table.bytes.saturating_sub(in_columns) as f64 / rows);
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
}

fn add(table: &mut Table, path: &Path) {
    let file = File::open(path).unwrap();
    table.bytes += file.metadata().unwrap().len();
    table.files += 1;
    let reader = SerializedFileReader::new(file).unwrap();
    table.rows += reader.metadata().file_metadata().num_rows() as u64;
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            let (size, plain, bloom, encodings) = table.columns.entry(column.column_path().string()).or_default();
            *size += column.compressed_size() as u64;
            *plain += column.uncompressed_size() as u64;
            *bloom += column.bloom_filter_length().unwrap_or(0) as u64;
            let pages = column.encodings().filter(|encoding| *encoding != Encoding::RLE);
            encodings.extend(pages.map(|encoding| encoding.to_string()));
        }
    }
}
