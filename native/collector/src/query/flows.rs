// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow history: one question, from a URL to pages of flows, histogram and counts.

use std::collections::HashMap;

use insights_store::{
    FlowFilter, FlowId, FlowRow, Path, PathId, Period, StoreError, StreamKind,
    query::{Bin, Budget, DropsQuery, FlowPage, FlowQuery, HistogramQuery, HitsQuery, RuleDrops, StoredFlow},
};
use uuid::Uuid;

use super::{
    filter::{
        self, Expr, Field, FilterError,
        resolve::{Names, ResolveError},
    },
    params::Params,
    scoped::ScopedStore,
};
use crate::{
    accounts::TenantNames,
    site::{Kind, Site},
};

/// Rows of a page; a screen shows some forty.
pub const PAGE: usize = 100;
/// Rows of one CSV or API page.
pub const EXPORT_PAGE: usize = 5_000;

/// What is asked of flow history.
#[derive(Clone, Debug)]
pub struct FlowRequest {
    pub period: Period,
    pub expr: Expr,
    pub filter: FlowFilter,
    pub after: Option<FlowId>,
}

/// Why a request is no question.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("“{0}” is no place in a list of flows")]
    After(String),
}

impl FlowRequest {
    /// Reads `filter` and `after`. The period was read with the page's frame.
    pub fn parse(params: &Params, period: Period, names: &SiteNames<'_>) -> Result<Self, RequestError> {
        let expr = filter::parse(params.get("filter").unwrap_or_default())?;
        let filter = filter::resolve::resolve(&expr, names)?;
        let after = match params.get("after").filter(|text| !text.is_empty()) {
            Some(text) => Some(text.parse().map_err(|_| RequestError::After(text.to_owned()))?),
            None => None,
        };
        Ok(Self { period, expr, filter, after })
    }

    pub async fn page(&self, store: &ScopedStore, limit: usize) -> Result<FlowPage, StoreError> {
        let query = FlowQuery {
            period: self.period,
            filter: self.filter.clone(),
            after: self.after,
            limit,
            budget: Budget::default(),
        };
        store.flows(query).await
    }

    pub async fn histogram(&self, store: &ScopedStore, step_us: i64) -> Result<Vec<Bin>, StoreError> {
        histogram(store, self.period, self.filter.clone(), step_us).await
    }

    pub async fn count(&self, store: &ScopedStore) -> Result<Bin, StoreError> {
        count(store, self.period, self.filter.clone()).await
    }
}

pub async fn histogram(store: &ScopedStore, period: Period, filter: FlowFilter, step_us: i64) -> Result<Vec<Bin>, StoreError> {
    let query = HistogramQuery {
        period,
        filter,
        step_us,
        budget: Budget::default(),
    };
    store.histogram(query).await
}

pub async fn count(store: &ScopedStore, period: Period, filter: FlowFilter) -> Result<Bin, StoreError> {
    let query = HitsQuery {
        period,
        filter,
        budget: Budget::default(),
    };
    store.count(query).await
}

pub async fn newest(store: &ScopedStore, period: Period, filter: FlowFilter, limit: usize) -> Result<Vec<StoredFlow>, StoreError> {
    let query = FlowQuery {
        period,
        filter,
        after: None,
        limit,
        budget: Budget::default(),
    };
    Ok(store.flows(query).await?.flows)
}

pub async fn drops(store: &ScopedStore, period: Period, filter: FlowFilter, step_us: i64, limit: usize) -> Result<Vec<RuleDrops>, StoreError> {
    let query = DropsQuery {
        period,
        filter,
        limit,
        step_us,
        budget: Budget::default(),
    };
    store.drops(query).await
}

/// A flow with the devices and rules of its way.
pub async fn flow(store: &ScopedStore, id: FlowId) -> Result<Option<(StoredFlow, Path)>, StoreError> {
    let Some(flow) = store.flow(id).await? else {
        return Ok(None);
    };
    let path = match flow.row.path {
        Some(path) => paths(store, flow.row.time_us, vec![path]).await?.remove(&path).unwrap_or_default(),
        None => Path::default(),
    };
    Ok(Some((flow, path)))
}

async fn paths(store: &ScopedStore, time_us: i64, ids: Vec<PathId>) -> Result<HashMap<PathId, Path>, StoreError> {
    let period = Period::new(time_us, time_us + 1);
    Ok(store.paths(period, ids).await?.into_iter().collect())
}

/// Flow records that were given up in a period: spans, and how many.
pub async fn lost(store: &ScopedStore, period: Period, kind: StreamKind) -> Result<(Vec<(i64, i64)>, u64), StoreError> {
    let mut spans = Vec::new();
    let mut records = 0;
    for stored in store.losses(period).await? {
        if stored.loss.kind == kind {
            records += stored.loss.records;
            spans.push((stored.loss.first_us.max(period.from_us), stored.loss.last_us.min(period.to_us)));
        }
    }
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => joined.push((from, to)),
        }
    }
    Ok((joined, records))
}

/// Names of the topology and of tenants, for the filter language.
pub struct SiteNames<'a>(pub &'a Site, pub &'a TenantNames);

impl SiteNames<'_> {
    /// Kinds of objects that a field can name.
    fn kinds(field: Field) -> &'static [Kind] {
        match field {
            Field::Host | Field::Gateway => &[Kind::Host],
            Field::SrcNetwork | Field::DstNetwork | Field::Network => &[Kind::Network],
            Field::SrcVport | Field::DstVport | Field::Vport => &[Kind::Port],
            Field::Rule | Field::Matched | Field::Decided => &[Kind::Rule],
            Field::Device => &[
                Kind::Network,
                Kind::Router,
                Kind::Port,
                Kind::Chain,
                Kind::LoadBalancer,
                Kind::Pool,
                Kind::PortGroup,
                Kind::Mirror,
            ],
            _ => &[],
        }
    }

    /// Objects for completion: names that hold the beginning.
    pub fn suggest(&self, field: Field, beginning: &str) -> Vec<(String, String)> {
        match field {
            Field::SrcTenant | Field::DstTenant | Field::Tenant => {
                let wanted = beginning.to_lowercase();
                let name = |id: &str| self.1.get(id).unwrap_or_default();
                let tenants = self.0.tenants().iter();
                tenants
                    .filter(|tenant| tenant.id.starts_with(beginning) || name(&tenant.id).to_lowercase().starts_with(&wanted))
                    .take(20)
                    .map(|tenant| (tenant.id.clone(), format!("tenant {}, {} ports", name(&tenant.id), tenant.ports)))
                    .collect()
            }
            _ if beginning.is_empty() && Self::kinds(field) == [Kind::Host] => {
                self.0.hosts().take(20).map(|host| (host.name, "host".to_owned())).collect()
            }
            _ if beginning.is_empty() && Self::kinds(field) == [Kind::Network] => {
                self.0.networks().take(20).map(|network| (network.name, "network".to_owned())).collect()
            }
            _ if beginning.is_empty() => Vec::new(),
            _ => {
                let kinds = Self::kinds(field);
                let found = self.0.search(beginning).into_iter().filter(|found| kinds.contains(&found.object.kind));
                found.map(|found| (found.object.name, found.object.kind.label().to_owned())).collect()
            }
        }
    }
}

impl Names for SiteNames<'_> {
    fn objects(&self, field: Field, name: &str) -> Vec<Uuid> {
        if let Ok(id) = Uuid::parse_str(name) {
            return vec![id];
        }
        let kinds = Self::kinds(field);
        let mut ids: Vec<Uuid> = self
            .0
            .search(name)
            .into_iter()
            .filter(|found| found.object.name == name && kinds.contains(&found.object.kind))
            .map(|found| found.object.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn tenants(&self, name: &str) -> Vec<String> {
        self.0
            .tenants()
            .iter()
            .filter(|tenant| tenant.id == name)
            .map(|tenant| tenant.id.clone())
            .chain(self.1.with_name(name).map(str::to_owned))
            .collect()
    }
}

/// The name of an IP protocol, else its number.
pub fn protocol_name(proto: u8) -> String {
    let word = Field::Proto.words().iter().find(|(_, number)| *number == u64::from(proto));
    word.map_or_else(
        || proto.to_string(),
        |(word, _)| if *word == "icmpv6" { "ICMPv6".to_owned() } else { word.to_uppercase() },
    )
}

/// Protocol in a word.
pub fn protocol(row: &FlowRow) -> String {
    match row.ether_type {
        0x0806 => "ARP".to_owned(),
        0x0800 | 0x86dd => protocol_name(row.proto),
        other => {
            let word = Field::EtherType.words().iter().find(|(_, number)| *number == u64::from(other));
            word.map_or_else(|| format!("0x{other:04x}"), |(word, _)| word.to_uppercase())
        }
    }
}

/// Transport ports mean something for this flow.
pub fn has_ports(row: &FlowRow) -> bool {
    matches!(row.ether_type, 0x0800 | 0x86dd) && matches!(row.proto, 6 | 17 | 132)
}
