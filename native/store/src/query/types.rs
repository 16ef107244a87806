// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{net::IpAddr, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    filter::FlowFilter,
    ids::{Grain, Period},
    row::{FlowId, FlowRow, Mac, MeterKey, PathId, Verdict},
};

/// What a question may cost. It ends with [`crate::StoreError::OverBudget`] when one of them is reached, and at once when its future is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Rows read from memory and files.
    pub rows: u64,
    /// Bytes read from files.
    pub bytes: u64,
    pub time: Duration,
}

impl Default for Budget {
    /// A page that takes longer helps nobody: 30 s, and what two cores read in that time.
    fn default() -> Self {
        Self {
            rows: 500_000_000,
            bytes: 16 << 30,
            time: Duration::from_secs(30),
        }
    }
}

/// What a question did cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scanned {
    pub rows: u64,
    /// Of files; rows in memory cost none.
    pub bytes: u64,
    pub files: u64,
    pub elapsed: Duration,
    /// The coarsest level that was read: a long period is answered from roll-ups where the question can be.
    pub level: Grain,
    /// What the answer is about, when that is not the period asked for: roll-ups of hours begin and end at full minutes.
    pub period: Option<Period>,
}

#[derive(Clone, Debug)]
pub struct Answer<T> {
    pub value: T,
    pub scanned: Scanned,
}

/// A page of flows, newest first.
#[derive(Clone, Debug)]
pub struct FlowQuery {
    pub period: Period,
    pub filter: FlowFilter,
    /// Only flows behind this one in the order; `None` for the first page.
    pub after: Option<FlowId>,
    /// At most [`FlowQuery::MAX_LIMIT`].
    pub limit: usize,
    pub budget: Budget,
}

impl FlowQuery {
    /// Bounds what a page holds in memory, some 10 MB.
    pub const MAX_LIMIT: usize = 10_000;
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredFlow {
    pub id: FlowId,
    pub row: FlowRow,
}

#[derive(Clone, Debug, Default)]
pub struct FlowPage {
    pub flows: Vec<StoredFlow>,
    /// Where the next page begins ([`FlowQuery::after`]); `None` when this was the last one.
    pub next: Option<FlowId>,
}

/// How many flows, over time.
#[derive(Clone, Debug)]
pub struct HistogramQuery {
    pub period: Period,
    pub filter: FlowFilter,
    /// Width of a bin; bins are aligned to multiples of it since the epoch. At most [`HistogramQuery::MAX_BINS`] bins.
    pub step_us: i64,
    pub budget: Budget,
}

impl HistogramQuery {
    /// More than any screen has pixels.
    pub const MAX_BINS: i64 = 10_000;
}

/// Bins without flows are there, with zeros.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bin {
    /// Begin of the bin, which may lie before the period.
    pub start_us: i64,
    pub allowed: u64,
    pub dropped: u64,
    pub consumed: u64,
}

impl Bin {
    pub fn total(&self) -> u64 {
        self.allowed + self.dropped + self.consumed
    }

    pub(crate) fn add(&mut self, verdict: Option<Verdict>, count: u64) {
        match verdict {
            Some(Verdict::Dropped) => self.dropped += count,
            Some(Verdict::Consumed) => self.consumed += count,
            Some(Verdict::Allowed) | None => self.allowed += count,
        }
    }
}

/// The values of some dimensions with the most flows.
#[derive(Clone, Debug)]
pub struct TopQuery {
    pub period: Period,
    pub filter: FlowFilter,
    /// One to [`TopQuery::MAX_DIMENSIONS`]; several give pairs and triples, as for a Sankey drawing.
    pub dimensions: Vec<Dimension>,
    /// At most [`TopQuery::MAX_LIMIT`].
    pub limit: usize,
    pub budget: Budget,
}

impl TopQuery {
    pub const MAX_DIMENSIONS: usize = 4;
    /// Bounds the answer; "other" holds the rest.
    pub const MAX_LIMIT: usize = 10_000;
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dimension {
    SrcMac,
    DstMac,
    SrcIp,
    DstIp,
    SrcTp,
    DstTp,
    SrcTenant,
    DstTenant,
    SrcNetwork,
    DstNetwork,
    /// Virtual ports.
    SrcPort,
    DstPort,
    InPort,
    Proto,
    EtherType,
    /// Outermost tag.
    Vlan,
    Host,
    Gateway,
    Verdict,
    SimResult,
    /// The rule that decided.
    Rule,
    Path,
    /// Port of the service of a TCP, UDP or SCTP flow: the destination's, or the source's in the way back, below [`FlowRow::EPHEMERAL`].
    Service,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DimValue {
    /// The flow has none.
    None,
    Number(u64),
    Id(Uuid),
    Ip(IpAddr),
    Mac(Mac),
    Text(Arc<str>),
    Verdict(Verdict),
    Path(PathId),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopRow {
    /// As many as there are dimensions.
    pub values: Vec<DimValue>,
    /// Flows, by verdict; `start_us` is that of the period.
    pub flows: Bin,
    pub last_us: i64,
}

/// Most flows first, then by value.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Top {
    pub rows: Vec<TopRow>,
    /// All flows of the values beyond the limit, and how many values these are.
    pub other: Bin,
    pub other_values: u64,
}

/// The addresses that talk most.
#[derive(Clone, Debug)]
pub struct PairsQuery {
    pub period: Period,
    pub filter: FlowFilter,
    /// At most [`TopQuery::MAX_LIMIT`].
    pub limit: usize,
    pub budget: Budget,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pair {
    /// `None` where flows have no such address.
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    /// At least so many; `start_us` is that of the period.
    pub flows: Bin,
    pub last_us: i64,
}

/// Most flows first, then by address. All flows of the period are in `rows` or in `other`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pairs {
    pub rows: Vec<Pair>,
    pub other: Bin,
    /// A pair may have so many flows more than its row says, or than no row at all: roll-ups keep only the greatest pairs of each span. 0
    /// when the answer is exact.
    pub unsure: u64,
}

/// Rules by the flows that they dropped.
#[derive(Clone, Debug)]
pub struct DropsQuery {
    pub period: Period,
    /// Besides "dropped, and a rule decided".
    pub filter: FlowFilter,
    /// At most [`TopQuery::MAX_LIMIT`].
    pub limit: usize,
    /// Width of the bins of each rule, as in [`HistogramQuery`].
    pub step_us: i64,
    pub budget: Budget,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleDrops {
    pub rule: Uuid,
    pub flows: u64,
    pub last_us: i64,
    /// Begin and flows of each bin; all bins of the period are there.
    pub bins: Vec<(i64, u64)>,
}

/// How often the rules were met by the flows of a filter.
#[derive(Clone, Debug)]
pub struct HitsQuery {
    pub period: Period,
    pub filter: FlowFilter,
    pub budget: Budget,
}

/// A rule that is evaluated twice in one flow counts once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleHits {
    pub rule: Uuid,
    pub evaluated: u64,
    pub matched: u64,
    pub applied: u64,
    /// Last flow that matched.
    pub last_matched_us: Option<i64>,
}

/// Traffic of some meters over time.
#[derive(Clone, Debug)]
pub struct MeterQuery {
    pub period: Period,
    /// At most [`MeterQuery::MAX_KEYS`].
    pub keys: Vec<MeterKey>,
    /// Width of the points, aligned as in [`HistogramQuery`].
    pub step_us: i64,
    pub budget: Budget,
}

impl MeterQuery {
    /// Ports of a large network on one page, in both directions.
    pub const MAX_KEYS: usize = 2_048;
}

#[derive(Clone, Debug, PartialEq)]
pub struct MeterSeries {
    pub key: MeterKey,
    /// All points of the period, in order.
    pub points: Vec<MeterPoint>,
}

/// Counts are spread evenly over the span that their reading covers, so a point holds a share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeterPoint {
    pub start_us: i64,
    pub packets: f64,
    pub bytes: f64,
    /// How much of the point's span readings cover, µs. 0 is a gap: nothing is known. Rates divide by this, not by the step.
    pub covered_us: i64,
}

/// Sums of meters over a period.
#[derive(Clone, Debug)]
pub struct TotalsQuery {
    pub period: Period,
    pub of: TotalsOf,
    pub budget: Budget,
}

#[derive(Clone, Debug)]
pub enum TotalsOf {
    /// At most [`MeterQuery::MAX_KEYS`].
    Keys(Vec<MeterKey>),
    AllPorts,
    AllDevices,
    AllTunnels,
}

/// Readings at the edges of the period count by the share that lies in it.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterTotal {
    pub key: MeterKey,
    pub packets: f64,
    pub bytes: f64,
    /// End of the last reading that moved it.
    pub last_us: i64,
}

/// Bytes that a site occupies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// But for their ends.
    pub flows: u64,
    /// Where flows came from and went to, each combination once a day.
    pub ends: u64,
    pub paths: u64,
    pub meters: u64,
    pub rollups: u64,
    /// In the commit log, not yet in files.
    pub log: u64,
    /// Topology with its history, and events, in the catalogue.
    pub catalog: u64,
    /// The rows of the log in memory, which count against the memory of the service and not against the quota.
    pub pending: u64,
    pub files: u64,
    /// Oldest row in a file.
    pub oldest_us: Option<i64>,
}

impl Usage {
    /// What counts against the quota.
    pub fn total(&self) -> u64 {
        self.flows + self.ends + self.paths + self.meters + self.rollups + self.log + self.catalog
    }
}
