// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Statements to the server.

use std::time::Duration;

use super::{
    address::ClickHouseOptions,
    http::{Answer, Http, HttpError},
};
use crate::{
    StoreError,
    query::{Budget, Scanned},
};

/// Longest statement: one that asks for the most meters or paths has less than a megabyte.
const STATEMENT: usize = 16 << 20;

/// How much longer than its budget a question is waited for: the server ends it, and says what it had read.
const GRACE: Duration = Duration::from_secs(5);

/// Changes of the schema, and removals of partitions.
const ADMINISTRATION: Duration = Duration::from_secs(120);

/// A budget counts bytes of files, the server bytes of values: that many of them, at the usual compression.
const UNPACKED: u64 = 8;

pub(super) struct Client {
    http: Http,
    options: ClickHouseOptions,
    /// Of one question, in the server, bytes.
    memory: usize,
}

/// What the server, or the way to it, said instead of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("ClickHouse says {text}")]
    Refused { code: u32, text: String },
    #[error("ClickHouse answers in another form than was asked for")]
    Form,
}

/// Rows of an answer, and what they cost.
pub(super) struct Rows {
    pub(super) bytes: Vec<u8>,
    pub(super) scanned: Scanned,
}

impl Client {
    pub(super) fn new(options: ClickHouseOptions, memory: usize) -> Result<Self, StoreError> {
        let http = Http::new(&options).map_err(|source| StoreError::columns("connect", source))?;
        Ok(Self { http, options, memory })
    }

    /// A question within its budget, whose rows come in RowBinary.
    pub(super) async fn ask(&self, sql: &str, budget: Budget) -> Result<Rows, StoreError> {
        let limits = [
            ("default_format", "RowBinary".to_owned()),
            // No statement that gets here can change anything, whatever its text is.
            ("readonly", "2".to_owned()),
            ("cancel_http_readonly_queries_on_client_close", "1".to_owned()),
            // The status tells whether all of the answer is there.
            ("wait_end_of_query", "1".to_owned()),
            ("max_execution_time", format!("{:.3}", budget.time.as_secs_f64().max(0.001))),
            ("timeout_overflow_mode", "throw".to_owned()),
            ("max_rows_to_read", budget.rows.to_string()),
            ("max_bytes_to_read", budget.bytes.saturating_mul(UNPACKED).to_string()),
            ("read_overflow_mode", "throw".to_owned()),
            ("max_memory_usage", self.memory.to_string()),
            // A question that needs more memory than there is ends with its budget; it never fills the disk.
            ("max_bytes_before_external_group_by", "0".to_owned()),
            ("max_bytes_before_external_sort", "0".to_owned()),
            ("max_bytes_ratio_before_external_group_by", "0".to_owned()),
            ("max_bytes_ratio_before_external_sort", "0".to_owned()),
            ("max_query_size", STATEMENT.to_string()),
            ("max_ast_elements", "1000000".to_owned()),
            ("max_expanded_ast_elements", "2000000".to_owned()),
            ("transform_null_in", "0".to_owned()),
            ("join_use_nulls", "0".to_owned()),
        ];
        let answer = self.send(&limits, sql.as_bytes(), budget.time.saturating_add(GRACE)).await;
        let answer = answer.map_err(over_budget)?;
        let scanned = scanned(&answer);
        Ok(Rows { bytes: answer.body, scanned })
    }

    /// Rows in RowBinary, all or none of a table's part. The server recognises the token of a batch that it has stored, in every table that
    /// the rows reach: what is there is left out, what is missing is written.
    pub(super) async fn insert(&self, into: &str, rows: &[u8], token: Option<&str>) -> Result<(), StoreError> {
        let mut settings = vec![
            ("query", format!("INSERT INTO {into} FORMAT RowBinary")),
            ("async_insert", "0".to_owned()),
            ("insert_deduplicate", "1".to_owned()),
            ("deduplicate_blocks_in_dependent_materialized_views", "1".to_owned()),
            ("materialized_views_ignore_errors", "0".to_owned()),
            ("parallel_view_processing", "1".to_owned()),
            // One block, so that each table gets one part for each partition.
            ("max_insert_block_size", "10000000".to_owned()),
            ("min_insert_block_size_rows", "10000000".to_owned()),
            ("min_insert_block_size_bytes", "0".to_owned()),
            ("max_partitions_per_insert_block", "200".to_owned()),
            ("wait_end_of_query", "1".to_owned()),
        ];
        settings.extend(token.map(|token| ("insert_deduplication_token", token.to_owned())));
        let sent = self.send(&settings, rows, self.options.insert_time).await;
        sent.map(drop).map_err(|source| StoreError::columns("store rows", source))
    }

    /// A statement that changes tables.
    pub(super) async fn change(&self, sql: &str) -> Result<(), StoreError> {
        let settings = [
            ("allow_suspicious_low_cardinality_types", "1".to_owned()),
            ("mutations_sync", "2".to_owned()),
            ("lightweight_deletes_sync", "2".to_owned()),
            ("max_partition_size_to_drop", "0".to_owned()),
            ("max_table_size_to_drop", "0".to_owned()),
            ("wait_end_of_query", "1".to_owned()),
        ];
        let sent = self.send(&settings, sql.as_bytes(), ADMINISTRATION).await;
        sent.map(drop).map_err(|source| StoreError::columns("change tables", source))
    }

    async fn send(&self, settings: &[(&str, String)], body: &[u8], time: Duration) -> Result<Answer, ServerError> {
        let mut target = format!("/?database={}", self.options.address.database);
        for (name, value) in settings {
            target.push('&');
            target.push_str(name);
            target.push('=');
            encode(value, &mut target);
        }
        let answer = self.http.post(&target, body, time).await?;
        let code = answer.header("x-clickhouse-exception-code").and_then(|code| code.parse().ok());
        if answer.status == 200 && code.is_none() {
            return Ok(answer);
        }
        let text: String = String::from_utf8_lossy(&answer.body).trim().chars().take(TOLD).collect();
        Err(ServerError::Refused {
            code: code.unwrap_or(0),
            text,
        })
    }
}

/// Characters of an error that are told; the rest is the statement.
const TOLD: usize = 600;

/// Bytes that a URL can't have as they are.
fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn scanned(answer: &Answer) -> Scanned {
    let summary = answer.header("x-clickhouse-summary");
    let summary: Option<serde_json::Value> = summary.and_then(|text| serde_json::from_str(text).ok());
    let number = |name: &str| {
        let value = summary.as_ref().and_then(|summary| summary.get(name));
        value.and_then(|value| value.as_str()?.parse().ok()).unwrap_or(0)
    };
    Scanned {
        rows: number("read_rows"),
        bytes: number("read_bytes"),
        ..Scanned::default()
    }
}

/// Bounds that a question reached, told from failures. Codes: `src/Common/ErrorCodes.cpp` of ClickHouse.
fn over_budget(error: ServerError) -> StoreError {
    let what = match &error {
        ServerError::Refused { code: 158, .. } => "rows",
        ServerError::Refused { code: 307, .. } => "bytes",
        ServerError::Refused { code: 159 | 160, .. } | ServerError::Http(HttpError::Timeout) => "time",
        ServerError::Refused { code: 241, .. } => "memory",
        _ => return StoreError::columns("answer a question", error),
    };
    StoreError::OverBudget {
        what,
        scanned: Scanned::default(),
    }
}
