// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which rows answer a question: records, or roll-ups in their place where the question can be answered from them and the period is long.
//!
//! The middle of the period is taken from the roll-up. What is left at its edges comes from the next finer level: of records beside
//! minutes, of minutes beside hours. So a period of days is answered to the minute without a look into the files of records, and a shorter
//! one exactly. Records in memory are in no roll-up yet and are always added.

use uuid::Uuid;

use super::{Dimension, Rolled, View};
use crate::{
    filter::{FlowFilter, FlowTest, KnownField},
    ids::{Grain, Period},
    row::FlowRow,
    table::{DAY_US, Snapshot, TableKind},
};

/// Shorter periods are answered from records.
const HOUR_US: i64 = Grain::Hours.step_us();

/// Rows that answer a question. A record is in one part only.
pub(super) struct Plan {
    pub(super) level: Grain,
    /// What the answer is about: the period asked for, or a little more.
    pub(super) period: Period,
    pub(super) parts: Vec<Part>,
}

/// Rows of one table.
pub(super) struct Part {
    pub(super) kind: TableKind,
    pub(super) period: Period,
    pub(super) snapshot: Snapshot,
}

impl Part {
    /// First time of the rows, and behind the last one.
    pub(super) fn span(&self) -> Period {
        self.snapshot.span()
    }

    /// The same by the form of the rows, where files may be of another one than what is in memory.
    pub(super) fn by_kind(&self) -> Vec<Part> {
        if self.kind == self.kind.at_rest() {
            return vec![self.part(self.kind, self.snapshot.clone())];
        }
        let [plain, at_rest] = self.snapshot.by_form();
        vec![self.part(self.kind, plain), self.part(self.kind.at_rest(), at_rest)]
    }

    fn part(&self, kind: TableKind, snapshot: Snapshot) -> Part {
        Part {
            kind,
            period: self.period,
            snapshot,
        }
    }
}

/// A family of tables: records, and their roll-ups with the lengths of periods from which on they are read.
pub(crate) struct Family {
    pub(crate) records: TableKind,
    pub(crate) fine: (TableKind, i64),
    pub(crate) coarse: (TableKind, i64),
}

pub(crate) const FLOWS: Family = Family {
    records: TableKind::Flows,
    fine: (TableKind::FlowMinutes, HOUR_US),
    coarse: (TableKind::FlowHours, 2 * DAY_US),
};

pub(crate) const METERS: Family = Family {
    records: TableKind::Meters,
    fine: (TableKind::MeterHours, 2 * DAY_US),
    coarse: (TableKind::MeterDays, 60 * DAY_US),
};

impl Plan {
    /// From records alone.
    pub(super) fn records(view: &dyn View, family: &Family, period: Period) -> Plan {
        let snapshot = match family.records {
            TableKind::Meters => view.meters(period),
            _ => view.flows(period),
        };
        Plan {
            level: Grain::Records,
            period,
            parts: vec![Part {
                kind: family.records,
                period,
                snapshot,
            }],
        }
    }

    /// From what fits best. `step_us` is the width of bins, which no span of a roll-up may cross.
    pub(super) fn choose(view: &dyn View, family: &Family, period: Period, step_us: Option<i64>) -> Plan {
        let plan = Plan::rolled(view, family, period, step_us);
        plan.unwrap_or_else(|| Plan::records(view, family, period))
    }

    fn rolled(view: &dyn View, family: &Family, period: Period, step_us: Option<i64>) -> Option<Plan> {
        if period.is_empty() || !family.fits(step_us) {
            return None;
        }
        let rolled = view.rolled(family.records, [family.fine.0, family.coarse.0]);
        let known = Known::of(&rolled, family.coarse.0.level())?;
        let choice = family.choose(&known, period, step_us)?;
        let mut parts: Vec<Part> = choice
            .parts
            .iter()
            .filter_map(|(kind, period)| in_files(&rolled, *kind, *period))
            .collect();
        parts.push(Part {
            kind: family.records,
            period: choice.rows,
            snapshot: rolled.records.in_memory(),
        });
        Some(Plan {
            level: choice.level,
            period: choice.period,
            parts,
        })
    }
}

fn in_files(rolled: &Rolled, kind: TableKind, period: Period) -> Option<Part> {
    let all = match rolled.levels.iter().find(|(level, _)| *level == kind) {
        Some((_, files)) => files,
        None => &rolled.records.files,
    };
    let files: Vec<_> = all
        .iter()
        .filter(|file| file.min_us < period.to_us && file.max_us >= period.from_us)
        .cloned()
        .collect();
    (!files.is_empty()).then(|| Part {
        kind,
        period,
        snapshot: rolled.records.in_files(files),
    })
}

/// Which tables answer for which spans.
pub(crate) struct Choice {
    pub(crate) level: Grain,
    /// What the answer is about: the period asked for, or a little more.
    pub(crate) period: Period,
    /// The part of it that anything is stored of.
    pub(crate) rows: Period,
    /// Spans that don't meet, each with its table.
    pub(crate) parts: Vec<(TableKind, Period)>,
}

impl Family {
    /// No span of the fine roll-up crosses a bin.
    fn fits(&self, step_us: Option<i64>) -> bool {
        step_us.is_none_or(|step| step % self.fine.0.level().step_us() == 0)
    }

    /// The same from records and the coarse roll-up alone.
    pub(crate) fn without_fine(&self) -> Family {
        Family {
            records: self.records,
            fine: self.coarse,
            coarse: self.coarse,
        }
    }

    /// From what fits best; `None` when records do. `step_us` is the width of bins, which no span of a roll-up may cross.
    pub(crate) fn choose(&self, known: &Known, period: Period, step_us: Option<i64>) -> Option<Choice> {
        let fits = |level: Grain| step_us.is_none_or(|step| step % level.step_us() == 0);
        let (fine_kind, fine_span) = self.fine;
        let (coarse_kind, coarse_span) = self.coarse;
        let (fine, coarse) = (fine_kind.level(), coarse_kind.level());
        if period.is_empty() || !fits(fine) {
            return None;
        }
        // Nothing is beyond what is stored, so a period that is longer than that needs no edges.
        let wanted = period.meet(known.all);
        if wanted.is_empty() {
            return None;
        }
        let span = period.to_us.saturating_sub(period.from_us);
        let has_records = wanted.from_us >= known.records_from;
        let has_fine = wanted.from_us >= known.fine_from;
        let has_coarse = wanted.from_us >= known.coarse_from;
        // Where no level has all of it, the coarsest one has most.
        let by_coarse = fits(coarse) && (has_coarse && span >= coarse_span || !has_fine && !has_records);
        let by_fine = has_fine && (span >= fine_span || !has_records);
        let mut builder = Builder {
            family: self,
            parts: Vec::new(),
            whole: wanted,
        };
        let level = if fine != coarse && by_coarse && (!has_fine || !coarse.inside(wanted).is_empty()) {
            builder.coarse(fine, coarse, known);
            coarse
        } else if by_fine && (!has_records || !fine.inside(wanted).is_empty()) {
            builder.fine(fine, known);
            fine
        } else {
            return None;
        };
        let Builder { whole, parts, .. } = builder;
        Some(Choice {
            level,
            period: Period::new(period.from_us.min(whole.from_us), period.to_us.max(whole.to_us)),
            rows: whole,
            parts,
        })
    }
}

/// What is stored.
pub(crate) struct Known {
    /// Of all rows, in full spans of the coarsest level.
    pub(crate) all: Period,
    /// From here on, nothing of this level was purged.
    pub(crate) records_from: i64,
    pub(crate) fine_from: i64,
    pub(crate) coarse_from: i64,
}

impl Known {
    fn of(rolled: &Rolled, coarse: Grain) -> Option<Known> {
        let [(_, fine), (_, coarse_files)] = &rolled.levels;
        let records = &rolled.records;
        let files = [&records.files, fine, coarse_files];
        let memory = records.memory.iter().map(|batch| (batch.min_us, batch.max_us));
        let in_files = files.iter().flat_map(|files| files.iter().map(|file| (file.min_us, file.max_us)));
        let all = memory.chain(in_files).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        // A level that begins where the others begin has lost nothing. Rows in memory are in none of them.
        let first = files.map(|files| files.iter().map(|file| file.min_us).min().unwrap_or(i64::MAX));
        let [records_from, fine_from, coarse_from] = [0, 1, 2].map(|level| {
            let others = (0..3).filter(|other| *other != level).map(|other| first[other]).min().unwrap_or(i64::MAX);
            let begin = coarse.around(Period::new(first[level], first[level].saturating_add(1))).from_us;
            if begin <= others {
                return i64::MIN;
            }
            let left = files[level].iter();
            // Of records whole files are purged, by their last row: behind that of the oldest one left all is there. Of roll-ups, whole
            // partitions.
            let from = if level == 0 {
                left.map(|file| file.max_us + 1).min()
            } else {
                left.map(|file| file.day * DAY_US).min()
            };
            from.unwrap_or(i64::MAX)
        });
        Some(Known {
            all: coarse.around(Period::new(all.0, all.1.saturating_add(1))),
            records_from,
            fine_from,
            coarse_from,
        })
    }
}

struct Builder<'a> {
    family: &'a Family,
    parts: Vec<(TableKind, Period)>,
    whole: Period,
}

impl Builder<'_> {
    /// Spans of the fine level, with records at the edges where they are still there.
    fn fine(&mut self, fine: Grain, known: &Known) {
        let mut inner = fine.inside(self.whole);
        if inner.is_empty() {
            inner = fine.around(self.whole);
        }
        let around = fine.around(self.whole);
        let [left, right] = edges(self.whole, inner);
        if !left.is_empty() && left.from_us < known.records_from {
            inner.from_us = around.from_us;
        } else {
            self.add(self.family.records, left);
        }
        if !right.is_empty() && right.from_us < known.records_from {
            inner.to_us = around.to_us;
        } else {
            self.add(self.family.records, right);
        }
        self.whole = Period::new(self.whole.from_us.min(inner.from_us), self.whole.to_us.max(inner.to_us));
        self.add(self.family.fine.0, inner);
    }

    /// Spans of the coarse level, with those of the fine one at the edges. Records in files are not read.
    fn coarse(&mut self, fine: Grain, coarse: Grain, known: &Known) {
        self.whole = fine.around(self.whole);
        let around = coarse.around(self.whole);
        let mut inner = coarse.inside(self.whole);
        if inner.is_empty() {
            inner = around;
        }
        let [left, right] = edges(self.whole, inner);
        if !left.is_empty() && left.from_us < known.fine_from {
            inner.from_us = around.from_us;
        } else {
            self.add(self.family.fine.0, left);
        }
        if !right.is_empty() && right.from_us < known.fine_from {
            inner.to_us = around.to_us;
        } else {
            self.add(self.family.fine.0, right);
        }
        self.whole = Period::new(self.whole.from_us.min(inner.from_us), self.whole.to_us.max(inner.to_us));
        self.add(self.family.coarse.0, inner);
    }

    fn add(&mut self, kind: TableKind, period: Period) {
        if !period.is_empty() {
            self.parts.push((kind, period));
        }
    }
}

fn edges(whole: Period, inner: Period) -> [Period; 2] {
    [Period::new(whole.from_us, inner.from_us), Period::new(inner.to_us, whole.to_us)]
}

/// How the flows of a filter are found in roll-ups.
pub(crate) enum Kept {
    /// By the columns of flows that are kept.
    Flows,
    /// As those of a device, with what else is asked of them.
    Device(Uuid, FlowFilter),
    /// Not at all.
    Not,
}

pub(crate) fn kept(filter: &FlowFilter) -> Kept {
    if of(filter, &is_kept) {
        return Kept::Flows;
    }
    let parts = match filter {
        FlowFilter::And(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    let mut device = None;
    let mut rest = Vec::new();
    for part in parts {
        match part {
            FlowFilter::Is(FlowTest::Device(id)) if device.is_none() => device = Some(*id),
            other if of(other, &is_of_all) => rest.push(other.clone()),
            _ => return Kept::Not,
        }
    }
    device.map_or(Kept::Not, |id| Kept::Device(id, FlowFilter::And(rest)))
}

/// Whether the filter asks for nothing but what every facet tells apart.
pub(crate) fn of_all(filter: &FlowFilter) -> bool {
    of(filter, &is_of_all)
}

fn of(filter: &FlowFilter, test: &impl Fn(&FlowTest) -> bool) -> bool {
    match filter {
        FlowFilter::And(parts) | FlowFilter::Or(parts) => parts.iter().all(|part| of(part, test)),
        FlowFilter::Not(part) => of(part, test),
        FlowFilter::Is(is) => test(is),
    }
}

fn is_of_all(test: &FlowTest) -> bool {
    matches!(test, FlowTest::Verdict(_) | FlowTest::Transit(_))
}

fn is_kept(test: &FlowTest) -> bool {
    match test {
        FlowTest::Tp(_, range) => *range.end() < FlowRow::EPHEMERAL,
        FlowTest::Known(_, field) => matches!(field, KnownField::Tenant | KnownField::Network),
        FlowTest::Tenant(..)
        | FlowTest::Network(..)
        | FlowTest::Proto(_)
        | FlowTest::EtherType(_)
        | FlowTest::Host(_)
        | FlowTest::Gateway(_)
        | FlowTest::SimResult(_)
        | FlowTest::DecidedBy(_) => true,
        other => is_of_all(other),
    }
}

impl Dimension {
    /// Roll-ups tell its values apart.
    pub(crate) fn is_kept(self) -> bool {
        matches!(
            self,
            Dimension::SrcTenant
                | Dimension::DstTenant
                | Dimension::SrcNetwork
                | Dimension::DstNetwork
                | Dimension::Proto
                | Dimension::EtherType
                | Dimension::Host
                | Dimension::Gateway
                | Dimension::Verdict
                | Dimension::SimResult
                | Dimension::Rule
                | Dimension::Service
        )
    }
}
