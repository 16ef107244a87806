// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{Array, ArrayRef, FixedSizeBinaryBuilder, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt64Array},
    datatypes::{TimestampMicrosecondType, UInt8Type, UInt64Type, Utf8Type},
};

use crate::{
    StoreError,
    table::{COVERAGE, TableKind, columns_of, fixed_at},
};

/// Kind, id and host of a meter, and the span.
type Key = (u8, [u8; 16], [u8; 16], i64);

#[derive(Clone, Debug, Default)]
struct Sum {
    name: Option<String>,
    packets: u64,
    bytes: u64,
    covered_us: i64,
    last_us: i64,
}

/// Rows of both roll-ups of these readings, in order. A reading that meets several spans is divided among them by time, without a rest.
pub(crate) fn roll_meters(readings: &[&RecordBatch]) -> Result<[(TableKind, Vec<RecordBatch>); 2], StoreError> {
    let mut hours: BTreeMap<Key, Sum> = BTreeMap::new();
    let mut days: BTreeMap<Key, Sum> = BTreeMap::new();
    for batch in readings {
        let columns = columns_of(batch);
        let kind = columns.numbers::<UInt8Type>("kind")?;
        let (id, host) = (columns.fixed("id")?, columns.fixed("host")?);
        let name = columns.bytes::<Utf8Type>("name")?;
        let from = columns.numbers::<TimestampMicrosecondType>("from")?;
        let to = columns.numbers::<TimestampMicrosecondType>("to")?;
        let (packets, bytes) = (columns.numbers::<UInt64Type>("packets")?, columns.numbers::<UInt64Type>("bytes")?);
        for at in 0..batch.num_rows() {
            let (Some(id), Some(host)) = (fixed_at(id, at), fixed_at(host, at)) else {
                continue;
            };
            let reading = Reading {
                from_us: from.value(at),
                to_us: to.value(at),
                packets: packets.value(at),
                bytes: bytes.value(at),
            };
            for (sums, level) in [(&mut hours, TableKind::MeterHours.level()), (&mut days, TableKind::MeterDays.level())] {
                reading.divide(level.step_us(), |span_us, part| {
                    let sum = sums.entry((kind.value(at), id, host, span_us)).or_insert_with(|| Sum {
                        name: name.is_valid(at).then(|| name.value(at).to_owned()),
                        ..Sum::default()
                    });
                    sum.packets = sum.packets.saturating_add(part.packets);
                    sum.bytes = sum.bytes.saturating_add(part.bytes);
                    if kind.value(at) == COVERAGE {
                        sum.covered_us += part.to_us - part.from_us;
                    }
                    sum.last_us = sum.last_us.max(part.to_us);
                });
            }
        }
    }
    Ok([
        (TableKind::MeterHours, vec![batch_of(TableKind::MeterHours, &hours)?]),
        (TableKind::MeterDays, vec![batch_of(TableKind::MeterDays, &days)?]),
    ])
}

struct Reading {
    from_us: i64,
    to_us: i64,
    packets: u64,
    bytes: u64,
}

impl Reading {
    /// Calls `take` with each span that the reading meets, and its part there. The parts add up to the whole.
    fn divide(&self, step_us: i64, mut take: impl FnMut(i64, Reading)) {
        let length = i128::from(self.to_us - self.from_us);
        // What was counted up to a time, were it even.
        let up_to = |total: u64, time_us: i64| (i128::from(total) * i128::from(time_us - self.from_us) / length) as u64;
        let mut from_us = self.from_us;
        while from_us < self.to_us {
            let span_us = from_us.div_euclid(step_us) * step_us;
            let to_us = self.to_us.min(span_us + step_us);
            let part = |total: u64| up_to(total, to_us) - up_to(total, from_us);
            take(
                span_us,
                Reading {
                    from_us,
                    to_us,
                    packets: part(self.packets),
                    bytes: part(self.bytes),
                },
            );
            from_us = to_us;
        }
    }
}

fn batch_of(kind: TableKind, sums: &BTreeMap<Key, Sum>) -> Result<RecordBatch, StoreError> {
    let failed = |source| StoreError::columns("build roll-ups", source);
    let fixed = |values: &mut dyn Iterator<Item = [u8; 16]>| -> Result<ArrayRef, StoreError> {
        let mut out = FixedSizeBinaryBuilder::with_capacity(sums.len(), 16);
        for value in values {
            out.append_value(value).map_err(failed)?;
        }
        Ok(Arc::new(out.finish()))
    };
    let times =
        |values: &mut dyn Iterator<Item = i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt8Array::from_iter_values(sums.keys().map(|key| key.0))),
        fixed(&mut sums.keys().map(|key| key.1))?,
        Arc::new(StringArray::from_iter(sums.values().map(|sum| sum.name.as_deref()))),
        fixed(&mut sums.keys().map(|key| key.2))?,
        times(&mut sums.keys().map(|key| key.3)),
        Arc::new(UInt64Array::from_iter_values(sums.values().map(|sum| sum.packets))),
        Arc::new(UInt64Array::from_iter_values(sums.values().map(|sum| sum.bytes))),
        Arc::new(Int64Array::from_iter_values(sums.values().map(|sum| sum.covered_us))),
        times(&mut sums.values().map(|sum| sum.last_us)),
    ];
    RecordBatch::try_new(kind.schema(), columns).map_err(failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_of_a_reading_add_up(from_us in 0..1_000_i64, length in 1..5_000_i64, packets in any::<u64>(), step_us in 1..700_i64) {
            let reading = Reading { from_us, to_us: from_us + length, packets, bytes: packets / 3 };
            let (mut sum, mut bytes, mut at) = (0_u64, 0_u64, from_us);
            reading.divide(step_us, |span_us, part| {
                assert_eq!(part.from_us, at);
                assert!(span_us <= part.from_us && part.to_us <= span_us + step_us && part.from_us < part.to_us);
                sum += part.packets;
                bytes += part.bytes;
                at = part.to_us;
            });
            prop_assert_eq!((sum, bytes, at), (packets, packets / 3, from_us + length));
        }
    }
}
