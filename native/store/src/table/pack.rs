// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From readings to runs: the rows of [`super::runs`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use datafusion::arrow::{
    array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array},
    datatypes::{BinaryType, TimestampMicrosecondType, UInt8Type, UInt64Type, Utf8Type},
};

use super::{
    COVERAGE, TableKind, columns_of, fixed_at,
    runs::{Span, Step, decode_steps, decode_times, encode_steps, encode_times},
};
use crate::{StoreError, catalog::hour_of};

/// Runs that are handed on at once.
const BATCH_RUNS: usize = 4_096;

type Id = [u8; 16];

/// What a run is about, but for host and hour.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Meter {
    kind: u8,
    id: Id,
    name: Option<String>,
    /// Where readings come in the order of their hosts too; each host by itself then.
    host: Option<Id>,
}

struct Run {
    meter: Meter,
    host: Id,
    from_us: i64,
    to_us: i64,
    times: Arc<Vec<u8>>,
    steps: Option<Vec<u8>>,
}

/// Begin of the first of a host's readings in an hour, and their coded form: some five bytes for each.
type Coded = (i64, Arc<Vec<u8>>);

/// Readings of a host in an hour, and their coded form.
struct Readings {
    spans: Vec<Span>,
    times: Arc<Vec<u8>>,
}

/// Makes runs of readings that come in the order of kind and id, and so those that stand for whole readings first. Holds the times of all
/// readings, and the steps of one meter.
pub(crate) struct Packer {
    by_host: bool,
    readings: HashMap<(Id, i64), Coded>,
    meter: Option<Meter>,
    steps: BTreeMap<(Id, i64), Vec<Step>>,
    runs: Vec<Run>,
    /// Readings of hosts.
    records: u64,
}

impl Packer {
    /// `by_host`: the order goes on with the host.
    pub(crate) fn new(by_host: bool) -> Self {
        Self {
            by_host,
            readings: HashMap::new(),
            meter: None,
            steps: BTreeMap::new(),
            runs: Vec::new(),
            records: 0,
        }
    }

    /// Readings of hosts so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Takes rows of either form, in order, and gives the runs that are complete.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, StoreError> {
        let mut out = Vec::new();
        let mut failed = Ok(());
        each(rows, |row, steps| {
            if failed.is_ok() {
                failed = self.add(row, steps);
            }
            if failed.is_ok() && self.runs.len() >= BATCH_RUNS {
                failed = self.batch().map(|batch| out.push(batch));
            }
        })?;
        failed.map(|()| out)
    }

    /// The rest.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        self.close()?;
        if self.runs.is_empty() { Ok(None) } else { self.batch().map(Some) }
    }

    fn add(&mut self, row: MeterRow<'_>, steps: &[Step]) -> Result<(), StoreError> {
        let host = self.by_host.then_some(row.host);
        let same = self
            .meter
            .as_ref()
            .is_some_and(|meter| meter.kind == row.kind && meter.id == row.id && meter.host == host);
        if !same {
            self.close()?;
            self.meter = Some(Meter {
                kind: row.kind,
                id: row.id,
                name: row.name.map(str::to_owned),
                host,
            });
        }
        for step in steps {
            self.steps.entry((row.host, hour_of(step.to_us - 1))).or_default().push(*step);
        }
        Ok(())
    }

    /// The meter has no more steps.
    fn close(&mut self) -> Result<(), StoreError> {
        let Some(meter) = self.meter.take() else { return Ok(()) };
        for ((host, hour_us), mut steps) in std::mem::take(&mut self.steps) {
            steps.sort_unstable();
            let run = if meter.kind == COVERAGE {
                let readings = Readings::of(&steps);
                self.records += steps.len() as u64;
                let run = readings.run(meter.clone(), host, None);
                self.readings.insert((host, hour_us), (run.from_us, readings.times));
                run
            } else {
                let known = match self.readings.get(&(host, hour_us)) {
                    Some((base_us, times)) => Some(Readings {
                        spans: decode_times(*base_us, times)?,
                        times: Arc::clone(times),
                    }),
                    None => None,
                };
                match known.and_then(|known| Some((known.place(&steps)?, known))) {
                    Some((placed, known)) => known.run(meter.clone(), host, Some(encode_steps(&placed))),
                    // A meter without the reading that it was read in, which no gateway sends, keeps times of its own.
                    None => {
                        let own = Readings::of(&steps);
                        let placed = own.place(&steps).unwrap_or_default();
                        own.run(meter.clone(), host, Some(encode_steps(&placed)))
                    }
                }
            };
            self.runs.push(run);
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<RecordBatch, StoreError> {
        let runs = std::mem::take(&mut self.runs);
        let failed = |source| StoreError::columns("build runs of meters", source);
        let ids = |of: fn(&Run) -> &Id| -> Result<ArrayRef, StoreError> {
            let mut out = FixedSizeBinaryBuilder::with_capacity(runs.len(), 16);
            for run in &runs {
                out.append_value(of(run)).map_err(failed)?;
            }
            Ok(Arc::new(out.finish()))
        };
        let times =
            |of: fn(&Run) -> i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_iter_values(runs.iter().map(of)).with_timezone("UTC")) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt8Array::from_iter_values(runs.iter().map(|run| run.meter.kind))),
            ids(|run| &run.meter.id)?,
            Arc::new(StringArray::from_iter(runs.iter().map(|run| run.meter.name.as_deref()))),
            ids(|run| &run.host)?,
            times(|run| run.from_us),
            times(|run| run.to_us),
            Arc::new(BinaryArray::from_iter_values(runs.iter().map(|run| run.times.as_slice()))),
            Arc::new(BinaryArray::from_iter(runs.iter().map(|run| run.steps.as_deref()))),
        ];
        RecordBatch::try_new(TableKind::MeterRuns.schema(), columns).map_err(failed)
    }
}

impl Readings {
    /// The readings of these steps, which are in order.
    fn of(steps: &[Step]) -> Self {
        let spans: Vec<Span> = steps.iter().map(|step| (step.to_us, step.from_us)).collect();
        let times = Arc::new(encode_times(first(&spans), &spans));
        Self { spans, times }
    }

    /// Each step with the place of its reading.
    fn place(&self, steps: &[Step]) -> Option<Vec<(usize, Step)>> {
        let place = |step: &Step| self.spans.binary_search(&(step.to_us, step.from_us)).ok();
        let mut placed: Vec<(usize, Step)> = steps.iter().map(|step| Some((place(step)?, *step))).collect::<Option<_>>()?;
        // Among equal readings a search may find any of them.
        placed.sort_by_key(|(place, _)| *place);
        Some(placed)
    }

    fn run(&self, meter: Meter, host: Id, steps: Option<Vec<u8>>) -> Run {
        Run {
            meter,
            host,
            from_us: first(&self.spans),
            to_us: self.spans.last().map_or(0, |span| span.0),
            times: Arc::clone(&self.times),
            steps,
        }
    }
}

/// When the first reading begins; where they overlap it need not be the one that ends first.
fn first(spans: &[Span]) -> i64 {
    spans.iter().map(|span| span.1).min().unwrap_or(0)
}

/// What a row of meters is about.
#[derive(Clone, Copy)]
pub(crate) struct MeterRow<'a> {
    pub(crate) kind: u8,
    pub(crate) id: Id,
    pub(crate) name: Option<&'a str>,
    pub(crate) host: Id,
}

/// Hands each row of meters, of either form, to `take` with its steps; those of whole readings count nothing.
pub(crate) fn each(rows: &RecordBatch, mut take: impl FnMut(MeterRow<'_>, &[Step])) -> Result<(), StoreError> {
    let columns = columns_of(rows);
    let kind = columns.numbers::<UInt8Type>("kind")?;
    let (id, host) = (columns.fixed("id")?, columns.fixed("host")?);
    let name = columns.bytes::<Utf8Type>("name")?;
    let from = columns.numbers::<TimestampMicrosecondType>("from")?;
    let row_at = |at: usize| {
        Some(MeterRow {
            kind: kind.value(at),
            id: fixed_at(id, at)?,
            name: name.is_valid(at).then(|| name.value(at)),
            host: fixed_at(host, at)?,
        })
    };
    if rows.schema_ref().index_of("steps").is_err() {
        let to = columns.numbers::<TimestampMicrosecondType>("to")?;
        let (packets, bytes) = (columns.numbers::<UInt64Type>("packets")?, columns.numbers::<UInt64Type>("bytes")?);
        for at in 0..rows.num_rows() {
            let Some(row) = row_at(at) else { continue };
            let step = Step {
                to_us: to.value(at),
                from_us: from.value(at),
                packets: packets.value(at),
                bytes: bytes.value(at),
            };
            take(row, &[step]);
        }
        return Ok(());
    }
    let times = columns.bytes::<BinaryType>("times")?;
    let steps = columns.bytes::<BinaryType>("steps")?;
    // Neighbours nearly always share their readings.
    let mut last: Option<(i64, &[u8], Vec<Span>)> = None;
    for at in 0..rows.num_rows() {
        let Some(row) = row_at(at) else { continue };
        let (base_us, coded) = (from.value(at), times.value(at));
        if !last.as_ref().is_some_and(|(base, bytes, _)| *base == base_us && *bytes == coded) {
            last = Some((base_us, coded, decode_times(base_us, coded)?));
        }
        let Some((.., spans)) = &last else { continue };
        let moved = if steps.is_valid(at) {
            decode_steps(spans, steps.value(at))?
        } else {
            let still = |(to_us, from_us): &Span| Step {
                to_us: *to_us,
                from_us: *from_us,
                packets: 0,
                bytes: 0,
            };
            spans.iter().map(still).collect()
        };
        take(row, &moved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        row::{MeterDelta, MeterKey, MeterReading},
        table::meter_batch,
    };

    /// Every row as a line, in order.
    fn lines(batches: &[RecordBatch]) -> Vec<String> {
        let mut out = Vec::new();
        for batch in batches {
            each(batch, |row, steps| {
                let line = |step: &Step| format!("{} {:?} {:?} {:?} {step:?}", row.kind, row.id, row.name, row.host);
                out.extend(steps.iter().map(line));
            })
            .unwrap();
        }
        out.sort();
        out
    }

    /// Rows in the order of a packer.
    fn sorted(batches: &[RecordBatch]) -> Vec<RecordBatch> {
        let mut rows: Vec<(u8, Id, Id, RecordBatch)> = Vec::new();
        for batch in batches {
            for at in 0..batch.num_rows() {
                let row = batch.slice(at, 1);
                each(&row.clone(), |about, _| rows.push((about.kind, about.id, about.host, row.clone()))).unwrap();
            }
        }
        rows.sort_by_key(|row| (row.0, row.1, row.2));
        rows.into_iter().map(|row| row.3).collect()
    }

    fn pack(batches: &[RecordBatch]) -> (Vec<RecordBatch>, u64) {
        let mut packer = Packer::new(true);
        let mut out = Vec::new();
        for row in sorted(batches) {
            out.extend(packer.push(&row).unwrap());
        }
        out.extend(packer.finish().unwrap());
        (out, packer.records())
    }

    fn readings() -> impl Strategy<Value = Vec<MeterReading>> {
        let key = prop_oneof![
            (0..4_u8).prop_map(|id| MeterKey::PortRx(Uuid::from_bytes([id; 16]))),
            (0..4_u8).prop_map(|id| MeterKey::Device(Uuid::from_bytes([id; 16]))),
            (0..2_u8).prop_map(|id| MeterKey::User(format!("user {id}"))),
        ];
        let delta = (key, 0..3_000_u64, any::<u32>()).prop_map(|(key, packets, bytes)| MeterDelta {
            key,
            packets,
            bytes: u64::from(bytes),
        });
        let reading = (0..3_u8, 0..20_000_i64, 1..1_000_i64, prop::collection::vec(delta, 0..6));
        let reading = reading.prop_map(|(host, from_s, length_s, meters)| MeterReading {
            host: Uuid::from_bytes([host; 16]),
            from_us: from_s * 1_000_000,
            to_us: (from_s + length_s) * 1_000_000,
            meters,
        });
        prop::collection::vec(reading, 1..40)
    }

    proptest! {
        /// Packed at once, or in parts that are packed again, the same readings come out, those of several batches and doubled ones too.
        #[test]
        fn packing_loses_nothing(first in readings(), second in readings()) {
            let plain = [meter_batch(&first).unwrap(), meter_batch(&second).unwrap()];
            let (whole, records) = pack(&plain);
            prop_assert_eq!(records as usize, first.len() + second.len());
            prop_assert_eq!(lines(&whole), lines(&plain));
            let mut parts = pack(&plain[..1]).0;
            parts.extend(pack(&plain[1..]).0);
            let (again, records) = pack(&parts);
            prop_assert_eq!(records as usize, first.len() + second.len());
            prop_assert_eq!(lines(&again), lines(&plain));
            let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            prop_assert_eq!(rows(&again), rows(&whole));
        }
    }
}
