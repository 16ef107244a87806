// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Figures for Prometheus, and whether the service lives and is ready.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use insights_protocol::Kind;
use insights_store::Store;

use crate::ingest::{Counters, KindCounters};

/// What the figures are made from. They name no site: a scraper is not a customer.
#[derive(Clone)]
pub struct Metrics {
    pub store: Store,
    pub counters: Arc<Counters>,
}

pub fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(figures))
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .with_state(metrics)
}

/// Ready when the catalogue answers: without it nobody can sign in and no batch can be stored.
async fn ready(State(metrics): State<Metrics>) -> Response {
    match metrics.store.catalog().sites().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the catalogue does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the catalogue does not answer; see the log\n").into_response()
        }
    }
}

async fn figures(State(metrics): State<Metrics>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text(&metrics.counters),
    )
        .into_response()
}

/// Prometheus' text format.
fn text(counters: &Counters) -> String {
    let mut out = String::with_capacity(4096);
    let mut single = |name: &str, kind: &str, help: &str, value: &AtomicU64| {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}",
            value.load(Ordering::Relaxed)
        );
    };
    single(
        "insights_connections_open",
        "gauge",
        "Gateways connected now.",
        &counters.connections_open,
    );
    single(
        "insights_connections_accepted_total",
        "counter",
        "Connections that passed the handshake.",
        &counters.connections_accepted,
    );
    single(
        "insights_handshakes_failed_total",
        "counter",
        "Handshakes that failed: unknown keys, certificates, protocols.",
        &counters.handshakes_failed,
    );
    single(
        "insights_connections_refused_total",
        "counter",
        "Connections turned away because there were too many.",
        &counters.connections_refused,
    );
    type Counter = fn(&KindCounters) -> &AtomicU64;
    let by_kind: [(&str, &str, Counter); 6] = [
        ("insights_batches_stored_total", "Batches stored durably.", |kind| &kind.batches),
        (
            "insights_batch_bytes_total",
            "Bytes of stored batches as they came, compressed.",
            |kind| &kind.bytes,
        ),
        ("insights_records_stored_total", "Records stored durably.", |kind| &kind.records),
        (
            "insights_batches_duplicate_total",
            "Batches that were stored before and came again.",
            |kind| &kind.duplicates,
        ),
        (
            "insights_batches_refused_total",
            "Batches that could not be read or broke a bound.",
            |kind| &kind.refused,
        ),
        (
            "insights_batch_retries_total",
            "Times that a gateway was asked to send a batch again later.",
            |kind| &kind.retries,
        ),
    ];
    for (name, help, counter) in by_kind {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for kind in Kind::ALL {
            let _ = writeln!(out, "{name}{{kind=\"{kind}\"}} {}", counter(counters.kind(kind)).load(Ordering::Relaxed));
        }
    }
    let name = "insights_batch_ack_seconds";
    let _ = writeln!(
        out,
        "# HELP {name} From the last byte of a batch to its acknowledgement.\n# TYPE {name} histogram"
    );
    for kind in Kind::ALL {
        let acks = &counters.kind(kind).acks;
        let mut all = 0;
        for (bound_ms, count) in acks.up_to() {
            let bound = bound_ms.map_or_else(|| "+Inf".to_owned(), |ms| (ms as f64 / 1e3).to_string());
            let _ = writeln!(out, "{name}_bucket{{kind=\"{kind}\",le=\"{bound}\"}} {count}");
            all = count;
        }
        let _ = writeln!(
            out,
            "{name}_sum{{kind=\"{kind}\"}} {}\n{name}_count{{kind=\"{kind}\"}} {all}",
            acks.sum().as_secs_f64()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_figures() {
        let counters = Counters::default();
        counters.kind(Kind::Flows).records.fetch_add(7, Ordering::Relaxed);
        let text = text(&counters);
        assert!(text.contains("\ninsights_records_stored_total{kind=\"flows\"} 7\n"), "{text}");
        assert!(text.contains("\ninsights_records_stored_total{kind=\"meters\"} 0\n"), "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        let buckets = crate::ingest::Acks::BOUNDS_MS.len() + 1;
        assert_eq!(samples, 4 + 6 * 4 + (buckets + 2) * 4);
        assert!(
            text.contains("insights_batch_ack_seconds_bucket{kind=\"flows\",le=\"0.1\"} 0\n"),
            "{text}"
        );
    }
}
