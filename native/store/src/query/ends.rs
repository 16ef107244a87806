// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows at rest, as questions see them: with all of their columns, of which those of the ends come from the table of ends
//! ([`crate::table::Interner`]).
//!
//! Tests of ends are answered by that table first, as tests of the path are by the path table: it has a row where flows have a thousand. What
//! is left for the flows is whether their number is among those that were found, which skips files, row groups and pages like any test of
//! numbers. Values of ends are looked up at the end, for the flows that are left.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array},
        compute::{concat_batches, is_not_null, kernels::zip::zip, take},
        datatypes::{DataType, UInt64Type},
    },
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    logical_expr::{BinaryExpr, ColumnarValue, Expr, Operator, Volatility, create_udf, ident, lit, when},
    prelude::DataFrame,
};
use futures::TryStreamExt;

use super::{
    Scanned, SiteTable,
    engine::{Run, failed},
};
use crate::{
    StoreError,
    table::{NUMBER, Place, Snapshot, TableKind, columns_of, place_of},
};

/// Ends that one question may hold, bytes: some million of them with a few columns.
const MAX_BYTES: usize = 256 << 20;

/// So many numbers are named one by one, which lets a scan skip what has none of them.
const FEW_NUMBERS: usize = 16;

/// Ends of a result are looked for by number up to so many; for more of them it is quicker to read all.
const FEW_ENDS: usize = 1_000;

/// A span of numbers may have so many times as many as there are ends; else a table by number is smaller.
const FAR: u64 = 8;

/// Flows at rest that pass, which are the rows of the frame. `columns` are values of a flow's columns; without them, the flows are as they are
/// in files, for [`whole`].
pub(super) async fn frame(run: &Run, table: SiteTable, predicate: Option<Expr>, columns: Option<Vec<Expr>>) -> Result<DataFrame, StoreError> {
    let values = columns.iter().flatten();
    let needed: BTreeSet<String> = predicate.iter().chain(values).flat_map(names).collect();
    let needed: Vec<String> = needed.into_iter().filter(|name| place_of(name) != Place::Flow).collect();
    let names: Vec<&str> = needed.iter().map(String::as_str).collect();
    let ends = if names.is_empty() {
        Ends::default()
    } else {
        Ends::load(run, table.snapshot(), &names, None).await?
    };
    let predicate = predicate.map(|predicate| ends.filter(run, &predicate)).transpose()?;
    let columns = columns.map(|columns| columns.iter().map(|column| ends.value(column)).collect::<Result<Vec<_>, _>>());
    let columns = columns.transpose()?;
    let mut frame = run.table(table)?;
    if let Some(predicate) = predicate {
        frame = frame.filter(predicate).map_err(failed)?;
    }
    match columns {
        Some(columns) => frame.select(columns).map_err(failed),
        None => Ok(frame),
    }
}

/// Flows at rest with all of their columns.
pub(super) async fn whole(run: &Run, snapshot: &Snapshot, rests: &[RecordBatch]) -> Result<Vec<RecordBatch>, StoreError> {
    let mut numbers: BTreeSet<u64> = BTreeSet::new();
    for batch in rests {
        numbers.extend(columns_of(batch).numbers::<UInt64Type>(NUMBER)?.values());
    }
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let schema = TableKind::Flows.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| place_of(name) != Place::Flow)
        .collect();
    let ends = Ends::load(run, snapshot, &names, Some(numbers)).await?;
    let whole = |batch: &RecordBatch| {
        let numbers = columns_of(batch).numbers::<UInt64Type>(NUMBER)?;
        let places = ends.table.places(numbers).map_err(failed)?;
        let column = |name: &str| -> Result<ArrayRef, DataFusionError> {
            let Some(own) = batch.column_by_name(name) else {
                return ends.table.take(name, &places);
            };
            if place_of(name) == Place::Flow {
                return Ok(Arc::clone(own));
            }
            Ok(zip(&is_not_null(own)?, own, &ends.table.take(name, &places)?)?)
        };
        let columns = schema
            .fields()
            .iter()
            .map(|field| column(field.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|source| StoreError::columns("put flows together", source))
    };
    rests.iter().filter(|batch| batch.num_rows() > 0).map(whole).collect()
}

/// Some columns of ends.
#[derive(Default)]
struct Ends {
    table: Arc<Lookup>,
}

#[derive(Default)]
struct Lookup {
    rows: Option<RecordBatch>,
    places: Places,
}

/// Where the row of a number is.
enum Places {
    /// From the first number on; [`u32::MAX`] where there is none. Numbers are given one after the other, so those of a day are close together.
    Close(u64, Vec<u32>),
    Apart(HashMap<u64, u32>),
}

impl Ends {
    /// Reads the ends of the days of a snapshot's files. `only` may leave out others.
    async fn load(run: &Run, snapshot: &Snapshot, columns: &[&str], only: Option<BTreeSet<u64>>) -> Result<Self, StoreError> {
        let days: BTreeSet<i64> = snapshot.files.iter().map(|file| file.day).collect();
        let files = snapshot.ends.iter().filter(|file| days.contains(&file.day)).cloned().collect();
        let table = SiteTable::grouped(
            TableKind::Ends,
            Snapshot {
                files,
                ..Snapshot::default()
            },
            run.threads(),
        );
        if table.size() == (0, 0) {
            return Ok(Self::default());
        }
        let mut frame = run.table(table)?;
        if let Some(only) = only
            && let (Some(first), Some(last)) = (only.first(), only.last())
        {
            let number = || ident(NUMBER);
            let mut these = number().gt_eq(lit(*first)).and(number().lt_eq(lit(*last)));
            if only.len() <= FEW_ENDS {
                these = these.and(number().in_list(only.into_iter().map(lit).collect(), false));
            }
            frame = frame.filter(these).map_err(failed)?;
        }
        let columns: Vec<Expr> = [NUMBER].iter().chain(columns).map(|name| ident(*name)).collect();
        let mut batches = run.stream(frame.select(columns).map_err(failed)?).await?;
        let mut held = 0;
        let mut rows: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            held += batch.get_array_memory_size();
            if held > MAX_BYTES {
                return Err(StoreError::OverBudget {
                    what: "ends",
                    scanned: Scanned::default(),
                });
            }
            rows.push(batch);
        }
        let Some(first) = rows.first() else { return Ok(Self::default()) };
        let rows = concat_batches(&first.schema(), &rows).map_err(|source| StoreError::columns("read the ends of flows", source))?;
        let numbers = columns_of(&rows).numbers::<UInt64Type>(NUMBER)?;
        let places = Places::of(numbers.values());
        Ok(Self {
            table: Arc::new(Lookup { rows: Some(rows), places }),
        })
    }

    /// A condition on flows as one on flows at rest. Unknown does the same as false in it.
    fn filter(&self, run: &Run, expr: &Expr) -> Result<Expr, StoreError> {
        let names = names(expr);
        let all_in = |place: Place| names.iter().all(|name| place_of(name) == place);
        if all_in(Place::Flow) {
            return Ok(expr.clone());
        }
        if all_in(Place::Ends) {
            return self.among(run, expr);
        }
        if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr {
            match op {
                Operator::And => return Ok(self.filter(run, left)?.and(self.filter(run, right)?)),
                Operator::Or => return Ok(self.filter(run, left)?.or(self.filter(run, right)?)),
                _ => {}
            }
        }
        match names.first() {
            Some(name) if names.len() == 1 => {
                let own = ident(name).is_not_null().and(expr.clone());
                Ok(own.or(ident(name).is_null().and(self.among(run, expr)?)))
            }
            _ => self.value(expr),
        }
    }

    /// Whether a flow's number is among those of the ends that pass.
    fn among(&self, run: &Run, expr: &Expr) -> Result<Expr, StoreError> {
        let Some(rows) = &self.table.rows else { return Ok(lit(false)) };
        let schema = DFSchema::try_from(rows.schema()).map_err(failed)?;
        let test = run.context().create_physical_expr(expr.clone(), &schema).map_err(failed)?;
        let passed = test.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(failed)?;
        let passed = passed
            .as_boolean_opt()
            .ok_or_else(|| StoreError::columns("test the ends of flows", "a condition that is none"))?;
        let passed: Vec<bool> = passed.iter().map(|passed| passed == Some(true)).collect();
        let numbers = columns_of(rows).numbers::<UInt64Type>(NUMBER)?.values();
        let found: Vec<u64> = numbers
            .iter()
            .zip(&passed)
            .filter(|(_, passed)| **passed)
            .map(|(number, _)| *number)
            .collect();
        let (Some(first), Some(last)) = (found.iter().min(), found.iter().max()) else {
            return Ok(lit(false));
        };
        if found.len() <= FEW_NUMBERS {
            return Ok(ident(NUMBER).in_list(found.iter().map(|number| lit(*number)).collect(), false));
        }
        let span = ident(NUMBER).gt_eq(lit(*first)).and(ident(NUMBER).lt_eq(lit(*last)));
        let table = Arc::clone(&self.table);
        let test = move |numbers: &UInt64Array| -> Result<ArrayRef, DataFusionError> {
            let places = table.places(numbers)?;
            let answers: BooleanArray = places.values().iter().map(|place| Some(passed[*place as usize])).collect();
            Ok(Arc::new(answers))
        };
        Ok(span.and(of_number("ends_pass", DataType::Boolean, test)))
    }

    /// A value of flows as one of flows at rest, under the same name.
    fn value(&self, expr: &Expr) -> Result<Expr, StoreError> {
        let looked_up = expr.clone().transform_up(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = place_of(&column.name);
            if place == Place::Flow {
                return Ok(Transformed::no(expr));
            }
            let schema = TableKind::Flows.schema();
            let kind = schema.field_with_name(&column.name)?.data_type().clone();
            let (table, name) = (Arc::clone(&self.table), column.name.clone());
            let lookup = move |numbers: &UInt64Array| table.take(&name, &table.places(numbers)?);
            let usual = of_number(&column.name, kind, lookup);
            if place == Place::Ends {
                return Ok(Transformed::yes(usual));
            }
            let own = || ident(&column.name);
            Ok(Transformed::yes(when(own().is_not_null(), own()).otherwise(usual)?))
        });
        Ok(looked_up.map_err(failed)?.data)
    }
}

impl Lookup {
    /// Rows of the ends of these numbers.
    fn places(&self, numbers: &UInt64Array) -> Result<UInt32Array, DataFusionError> {
        let places: Option<Vec<u32>> = numbers.values().iter().map(|number| self.places.get(*number)).collect();
        let missing = || DataFusionError::Execution("flows name ends that are not stored".into());
        places.map(UInt32Array::from).ok_or_else(missing)
    }

    fn take(&self, name: &str, places: &UInt32Array) -> Result<ArrayRef, DataFusionError> {
        let column = self.rows.as_ref().and_then(|rows| rows.column_by_name(name));
        let column = column.ok_or_else(|| DataFusionError::Internal(format!("the column {name} of ends was not read")))?;
        Ok(take(column, places, None)?)
    }
}

impl Default for Places {
    fn default() -> Self {
        Places::Apart(HashMap::new())
    }
}

impl Places {
    fn of(numbers: &[u64]) -> Self {
        let places = numbers.iter().enumerate().map(|(at, number)| (*number, at as u32));
        let first = numbers.iter().min().copied().unwrap_or(0);
        let span = numbers.iter().max().map_or(0, |last| last - first + 1);
        if span > numbers.len() as u64 * FAR {
            return Places::Apart(places.collect());
        }
        let mut close = vec![u32::MAX; span as usize];
        for (number, at) in places {
            close[(number - first) as usize] = at;
        }
        Places::Close(first, close)
    }

    fn get(&self, number: u64) -> Option<u32> {
        match self {
            Places::Close(first, places) => {
                let at = usize::try_from(number.checked_sub(*first)?).ok()?;
                places.get(at).copied().filter(|at| *at != u32::MAX)
            }
            Places::Apart(places) => places.get(&number).copied(),
        }
    }
}

/// A function of the number of a flow's ends. Its name is its own: functions of one name are taken for one another when a condition is simplified.
fn of_number(name: &str, kind: DataType, value: impl Fn(&UInt64Array) -> Result<ArrayRef, DataFusionError> + Send + Sync + 'static) -> Expr {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let function = create_udf(
        &format!("{name}_{}", MADE.fetch_add(1, Ordering::Relaxed)),
        vec![DataType::UInt64],
        kind,
        Volatility::Immutable,
        Arc::new(move |arguments: &[ColumnarValue]| {
            let array = arguments.first().map(|value| value.to_array(1)).transpose()?;
            let numbers = array.as_ref().and_then(|array| array.as_primitive_opt::<UInt64Type>());
            let numbers = numbers.ok_or_else(|| DataFusionError::Internal("ends have numbers".into()))?;
            Ok(ColumnarValue::Array(value(numbers)?))
        }),
    );
    function.call(vec![ident(NUMBER)])
}

/// The columns that an expression names.
fn names(expr: &Expr) -> BTreeSet<String> {
    expr.column_refs().into_iter().map(|column| column.name.clone()).collect()
}
