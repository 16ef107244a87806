// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A dry run of a rule: which stored flows would have had another verdict without it, or with another action.
//!
//! Each record that met the rule is walked twice over the topology of now, as it is and as it would be. A record counts only where the first walk agrees
//! with what its agent said; the others are told apart as those that nobody can judge.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use insights_store::{
    FlowFilter, FlowRow, FlowTest, Path, PathId, Period, StoreError,
    query::{Budget, FlowQuery},
};
use insights_trace::{Edited, Outcome, Topology, Tracer};
use midonet::text::Value;
use serde::Serialize;
use uuid::Uuid;

use super::{flows::has_ports, scoped::ScopedStore, trace::Recorded};
use crate::site::Site;

/// Records that are walked, the newest of the period: each takes some 50 µs, twice.
pub const MAX_RECORDS: usize = 5_000;
/// Conversations that are listed.
const MAX_LISTED: usize = 50;

/// What would be done to the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    Remove,
    Accept,
    Drop,
}

impl Edit {
    pub const ALL: [(Edit, &'static str, &'static str); 3] = [
        (Edit::Remove, "remove", "were not there"),
        (Edit::Accept, "accept", "accepted"),
        (Edit::Drop, "drop", "dropped"),
    ];

    pub fn parse(word: &str) -> Option<Edit> {
        Edit::ALL.iter().find(|(_, known, _)| *known == word).map(|(edit, ..)| *edit)
    }
}

/// What would become of the records.
#[derive(Debug, Default, Serialize)]
pub struct WhatIf {
    /// Records that met the rule and were walked.
    pub records: usize,
    /// There are more in the period than were walked.
    pub more: bool,
    pub unchanged: usize,
    /// Let through then, dropped with the change.
    pub newly_dropped: usize,
    /// Dropped then, let through with the change.
    pub newly_allowed: usize,
    /// The walk over the topology of now doesn't agree with the record: it changed since, or state is unknown.
    pub unsure: usize,
    /// Conversations with another verdict, those with the most records first.
    pub pairs: Vec<Pair>,
    /// The same by tenant of the source.
    pub tenants: Vec<(Option<String>, usize)>,
}

/// Records of one sender, receiver and service.
#[derive(Debug, Serialize)]
pub struct Pair {
    pub src: String,
    pub dst: String,
    pub src_port: Option<Uuid>,
    pub dst_port: Option<Uuid>,
    pub proto: u8,
    /// Of TCP and UDP.
    pub service: Option<u16>,
    /// Dropped with the change, else let through.
    pub dropped: bool,
    pub records: usize,
}

/// Walks the records of the period that met the rule.
pub async fn what_if(store: &ScopedStore, site: Arc<Site>, period: Period, rule: Uuid, edit: Edit) -> Result<WhatIf, StoreError> {
    let filter = FlowFilter::And(vec![FlowFilter::Is(FlowTest::Rule(rule)), FlowFilter::Is(FlowTest::Transit(false))]);
    let query = FlowQuery {
        period,
        filter,
        after: None,
        limit: MAX_RECORDS,
        budget: Budget::default(),
    };
    let page = store.flows(query).await?;
    let wanted: HashSet<PathId> = page.flows.iter().filter_map(|flow| flow.row.path).collect();
    let paths: HashMap<PathId, Path> = store.paths(period, wanted.into_iter().collect()).await?.into_iter().collect();
    let more = page.flows.len() >= MAX_RECORDS;
    let rows: Vec<(FlowRow, Path)> = page
        .flows
        .into_iter()
        .map(|flow| {
            let path = flow.row.path.and_then(|id| paths.get(&id).cloned()).unwrap_or_default();
            (flow.row, path)
        })
        .collect();
    let walked = tokio::task::spawn_blocking(move || walk(&site, rule, edit, &rows));
    let mut answer = walked.await.unwrap_or_default();
    answer.more = more;
    Ok(answer)
}

fn walk(site: &Site, rule: Uuid, edit: Edit, rows: &[(FlowRow, Path)]) -> WhatIf {
    let mut edited = Edited::new(site);
    match edit {
        Edit::Remove => edited.remove("Rule", rule),
        Edit::Accept => change_action(site, &mut edited, rule, "ACCEPT"),
        Edit::Drop => change_action(site, &mut edited, rule, "DROP"),
    }
    let (mut now, mut then) = (Tracer::new(site), Tracer::new(edited));
    let mut answer = WhatIf::default();
    let mut pairs: BTreeMap<(String, String, u8, Option<u16>, bool), Pair> = BTreeMap::new();
    let mut tenants: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for (row, path) in rows {
        answer.records += 1;
        let fit = Recorded::of(row, path).and_then(|recorded| {
            let fit = now.explain(&recorded.seen())?;
            (fit.outcome == Outcome::Agrees).then_some((recorded, fit))
        });
        let Some((recorded, fit)) = fit else {
            answer.unsure += 1;
            continue;
        };
        let passed = !fit.trace.out_ports().is_empty();
        let passes = !then
            .trace(recorded.in_port, recorded.packet, &fit.connection, &fit.choices)
            .out_ports()
            .is_empty();
        match (passed, passes) {
            (true, false) => answer.newly_dropped += 1,
            (false, true) => answer.newly_allowed += 1,
            _ => {
                answer.unchanged += 1;
                continue;
            }
        }
        *tenants.entry(row.src_tenant.as_deref().map(str::to_owned)).or_default() += 1;
        let text = |address: Option<std::net::IpAddr>| address.map_or_else(|| "–".to_owned(), |address| address.to_string());
        let service = has_ports(row).then_some(row.dst_tp);
        let key = (text(row.src_ip), text(row.dst_ip), row.proto, service, passed);
        pairs
            .entry(key.clone())
            .or_insert_with(|| Pair {
                src: key.0,
                dst: key.1,
                src_port: row.src_port,
                dst_port: row.dst_port,
                proto: row.proto,
                service,
                dropped: passed,
                records: 0,
            })
            .records += 1;
    }
    answer.pairs = pairs.into_values().collect();
    answer.pairs.sort_by_key(|pair| std::cmp::Reverse(pair.records));
    answer.pairs.truncate(MAX_LISTED);
    answer.tenants = tenants.into_iter().collect();
    answer.tenants.sort_by_key(|(_, records)| std::cmp::Reverse(*records));
    answer
}

/// The rule with another verdict for what it matches; a jump or a translation is taken from it.
fn change_action(site: &Site, edited: &mut Edited<&Site>, rule: Uuid, action: &str) {
    let Some(mut object) = site.object("Rule", rule) else { return };
    for (field, word) in [("action", action), ("type", "LITERAL_RULE")] {
        object.message.fields.retain(|known| known.name != field);
        object.message.push(field, Value::Word(word.to_owned()));
    }
    edited.put(object);
}
