// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows at rest. Most columns of a flow say where it came from and went to (host, ports, networks, tenants, MAC addresses, path, rule,
//! tunnel and the like). Their values repeat together: thousands of combinations for hundreds of thousands of flows. So a combination, the
//! *ends* of a flow, is a row of a table of its own, once a day, and the row of a flow has its number beside what is left.
//!
//! Addresses and actions differ more, but half of all flows have those of the first flow with the same ends. These stand in the row of the
//! ends, and a flow that has the same has none of its own.
//!
//! A combination is known by its content while the service runs; the number is given by the store, unique in its site, and never used
//! again. A combination that was forgotten gets a second number, which costs a row and changes no answer.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array},
    compute::{concat_batches, nullif, take_arrays},
    datatypes::{DataType, Field, Schema, SchemaRef},
    row::{RowConverter, SortField},
};
use parking_lot::Mutex;

use super::{TableKind, known::Known};
use crate::StoreError;

/// Name of the column with the number of a combination.
pub(crate) const NUMBER: &str = "ends";

/// Columns that are in the row of a flow alone.
const RESTS: [&str; 7] = ["time", "row", "cookie", "src_tp", "dst_tp", "icmp_id", "icmp_data"];

/// Columns that are in the row of the ends, and in that of a flow which has another value. Whether addresses are there at all is one of the
/// ends' features.
const USUAL: [&str; 3] = ["src_ip", "dst_ip", "actions"];

/// Where a column of flows is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Flow,
    Ends,
    /// In the row of the ends, unless the flow has one of its own.
    Both,
}

/// Place of a column of flows.
pub(crate) fn place_of(column: &str) -> Place {
    if RESTS.contains(&column) {
        Place::Flow
    } else if USUAL.contains(&column) {
        Place::Both
    } else {
        Place::Ends
    }
}

pub(crate) static ENDS: LazyLock<SchemaRef> = LazyLock::new(|| schema(&[Place::Ends, Place::Both]));

pub(crate) static FLOW_RESTS: LazyLock<SchemaRef> = LazyLock::new(|| schema(&[Place::Flow, Place::Both]));

fn schema(places: &[Place]) -> SchemaRef {
    let flows = TableKind::Flows.schema();
    let number = Arc::new(Field::new(NUMBER, DataType::UInt64, false));
    let of = |place: Place| flows.fields().iter().filter(move |field| place_of(field.name()) == place);
    let fields = places.iter().flat_map(|place| {
        of(*place).map(|field| {
            let field = field.as_ref().clone();
            let is_nullable = field.is_nullable() || *place == Place::Both;
            Arc::new(field.with_nullable(is_nullable))
        })
    });
    Arc::new(Schema::new(std::iter::once(number).chain(fields).collect::<Vec<_>>()))
}

/// A combination, by two hashes of its content under keys that nobody else knows.
type Content = (u64, u64);

/// The number of a combination, and hashes of what it has in the columns of [`USUAL`].
#[derive(Clone, Copy)]
struct Combination {
    number: u64,
    usual: [u64; USUAL.len()],
}

/// The numbers of one site's combinations, by day and content.
pub(crate) struct Numbers {
    known: Mutex<Known<(i64, Content), Combination>>,
    /// Above every number that was given.
    next: AtomicU64,
    keys: (RandomState, RandomState),
}

impl Numbers {
    pub(crate) fn new(next: u64) -> Self {
        Self {
            known: Mutex::default(),
            next: AtomicU64::new(next),
            keys: (RandomState::new(), RandomState::new()),
        }
    }

    /// What is to be kept in the catalogue with the files that have the numbers.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn raise(&self, next: u64) {
        self.next.fetch_max(next, Ordering::Relaxed);
    }

    /// These are in a file of the day from now on. Holds at most twice `bound` of them.
    pub(crate) fn keep(&self, day: i64, fresh: Fresh, bound: usize) {
        let all = fresh.0.into_iter().map(|(content, known)| ((day, content), known));
        self.known.lock().insert(all, bound);
    }

    /// The files of some day went.
    pub(crate) fn forget(&self) {
        self.known.lock().clear();
    }
}

/// Combinations that are in no file yet.
#[derive(Default)]
pub(crate) struct Fresh(HashMap<Content, Combination>);

/// Takes the ends out of flows of one day. Holds the combinations that are new.
pub(crate) struct Interner<'a> {
    numbers: &'a Numbers,
    day: i64,
    converter: RowConverter,
    fresh: Fresh,
    rows: Vec<RecordBatch>,
}

impl<'a> Interner<'a> {
    pub(crate) fn new(numbers: &'a Numbers, day: i64) -> Result<Self, StoreError> {
        let fields = ENDS.fields().iter().filter(|field| is_content(field.name()));
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            numbers,
            day,
            converter: RowConverter::new(fields.collect()).map_err(failed)?,
            fresh: Fresh::default(),
            rows: Vec::new(),
        })
    }

    /// What is left of flows, in their order.
    pub(crate) fn push(&mut self, flows: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let columns = project(flows, ENDS.fields().iter().filter(|field| is_content(field.name())))?;
        let content = self.converter.convert_columns(&columns).map_err(failed)?;
        let usual = project(flows, USUAL.iter().filter_map(|name| ENDS.field_with_name(name).ok()))?;
        let (one, other) = &self.numbers.keys;
        let mut new: Vec<u32> = Vec::new();
        let mut new_numbers: Vec<u64> = Vec::new();
        let mut numbers: Vec<u64> = Vec::with_capacity(flows.num_rows());
        let mut is_usual: [Vec<bool>; USUAL.len()] = Default::default();
        let known = self.numbers.known.lock();
        for (at, row) in content.iter().enumerate() {
            let there: [bool; USUAL.len()] = std::array::from_fn(|of| usual[of].is_valid(at));
            let own: [u64; USUAL.len()] = std::array::from_fn(|of| one.hash_one(bytes_at(&usual[of], at)));
            let content = (row.as_ref(), there);
            let content = (one.hash_one(content), other.hash_one(content));
            let found = self.fresh.0.get(&content).or_else(|| known.get(&(self.day, content))).copied();
            let found = found.unwrap_or_else(|| {
                let number = self.numbers.next.fetch_add(1, Ordering::Relaxed);
                let found = Combination { number, usual: own };
                self.fresh.0.insert(content, found);
                new.push(at as u32);
                new_numbers.push(number);
                found
            });
            numbers.push(found.number);
            for of in 0..USUAL.len() {
                is_usual[of].push(own[of] == found.usual[of]);
            }
        }
        drop(known);
        if !new.is_empty() {
            let all = project(flows, ENDS.fields().iter().skip(1))?;
            let rows = take_arrays(&all, &UInt32Array::from(new), None).map_err(failed)?;
            self.rows.push(numbered(&ENDS, new_numbers, rows)?);
        }
        let mut rests = project(flows, FLOW_RESTS.fields().iter().skip(1))?;
        for (of, is_usual) in is_usual.into_iter().enumerate() {
            let at = FLOW_RESTS.index_of(USUAL[of]).map_err(failed)? - 1;
            rests[at] = nullif(&rests[at], &BooleanArray::from(is_usual)).map_err(failed)?;
        }
        numbered(&FLOW_RESTS, numbers, rests)
    }

    /// Rows of the combinations that are new, and what they are to be known by once they are in a file.
    pub(crate) fn finish(self) -> Result<(Option<RecordBatch>, Fresh), StoreError> {
        if self.rows.is_empty() {
            return Ok((None, self.fresh));
        }
        let rows = concat_batches(&ENDS, &self.rows).map_err(failed)?;
        Ok((Some(rows), self.fresh))
    }
}

/// A column that makes a combination what it is.
fn is_content(name: &str) -> bool {
    name != NUMBER && place_of(name) == Place::Ends
}

/// Value of a column of bytes.
fn bytes_at(column: &ArrayRef, at: usize) -> Option<&[u8]> {
    if column.is_null(at) {
        return None;
    }
    match column.as_fixed_size_binary_opt() {
        Some(fixed) => Some(fixed.value(at)),
        None => column.as_binary_opt::<i32>().map(|bytes| bytes.value(at)),
    }
}

/// Columns of flows of these fields.
fn project<'f, F: AsRef<Field> + 'f>(flows: &RecordBatch, fields: impl Iterator<Item = &'f F>) -> Result<Vec<ArrayRef>, StoreError> {
    fields
        .map(|field| {
            let name = field.as_ref().name();
            let column = flows.column_by_name(name);
            column
                .cloned()
                .ok_or_else(|| StoreError::columns("take the ends of flows", format!("column {name} is missing")))
        })
        .collect()
}

fn numbered(schema: &SchemaRef, numbers: Vec<u64>, columns: Vec<ArrayRef>) -> Result<RecordBatch, StoreError> {
    let number: ArrayRef = Arc::new(UInt64Array::from(numbers));
    RecordBatch::try_new(Arc::clone(schema), std::iter::once(number).chain(columns).collect()).map_err(failed)
}

fn failed(source: datafusion::arrow::error::ArrowError) -> StoreError {
    StoreError::columns("take the ends of flows", source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{row::FlowRow, table::flow_batch, testing::flow};

    fn numbers_of(rests: &RecordBatch) -> Vec<u64> {
        rests
            .column(0)
            .as_primitive::<datafusion::arrow::datatypes::UInt64Type>()
            .values()
            .to_vec()
    }

    fn own(rests: &RecordBatch, name: &str) -> Vec<bool> {
        let column = rests.column_by_name(name).unwrap();
        (0..column.len()).map(|at| column.is_valid(at)).collect()
    }

    #[test]
    fn flows_that_agree_share_a_number_and_what_is_usual() {
        let numbers = Numbers::new(7);
        let first = flow(1);
        let other = FlowRow {
            src_ip: Some([10, 9, 9, 9].into()),
            cookie: 43,
            ..flow(2)
        };
        let nowhere = FlowRow { src_ip: None, ..flow(3) };
        let far = FlowRow { ttl: 3, ..flow(4) };
        let rows = [first.clone(), other, nowhere, far, first];
        let mut interner = Interner::new(&numbers, 0).unwrap();
        let rests = interner.push(&flow_batch(&rows, 1).unwrap()).unwrap();
        assert_eq!(numbers_of(&rests), [7, 7, 8, 9, 7]);
        assert_eq!(own(&rests, "src_ip"), [false, true, false, false, false]);
        assert_eq!(own(&rests, "actions"), [false; 5]);
        // They go on from batch to batch, and from one that is kept to the next.
        let again = flow_batch(&rows, 9).unwrap();
        assert_eq!(numbers_of(&interner.push(&again).unwrap()), [7, 7, 8, 9, 7]);
        let (ends, fresh) = interner.finish().unwrap();
        assert_eq!(ends.unwrap().num_rows(), 3);
        numbers.keep(0, fresh, 100);
        let mut interner = Interner::new(&numbers, 0).unwrap();
        let rests = interner.push(&again).unwrap();
        assert_eq!(
            (numbers_of(&rests), own(&rests, "src_ip")),
            (vec![7, 7, 8, 9, 7], vec![false, true, false, false, false])
        );
        assert!(interner.finish().unwrap().0.is_none());
        // Another day has its own, and so has a day whose files went.
        let mut interner = Interner::new(&numbers, 1).unwrap();
        assert_eq!(numbers_of(&interner.push(&again).unwrap()), [10, 10, 11, 12, 10]);
        numbers.forget();
        let mut interner = Interner::new(&numbers, 0).unwrap();
        assert_eq!(numbers_of(&interner.push(&again).unwrap()), [13, 13, 14, 15, 13]);
    }

    #[test]
    fn every_column_of_flows_has_its_place() {
        let flows = TableKind::Flows.schema();
        let there = |schema: &SchemaRef, name: &str| schema.index_of(name).is_ok();
        for field in flows.fields() {
            let expected = match place_of(field.name()) {
                Place::Flow => (true, false),
                Place::Ends => (false, true),
                Place::Both => (true, true),
            };
            assert_eq!(
                (there(&FLOW_RESTS, field.name()), there(&ENDS, field.name())),
                expected,
                "{}",
                field.name()
            );
        }
        let all = RESTS.iter().chain(&USUAL);
        assert!(all.clone().all(|name| there(&flows, name)));
    }
}
