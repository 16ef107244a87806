// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type},
};
use datafusion::logical_expr::{Expr, ident, lit, when};
use uuid::Uuid;

use super::{Bin, DimValue, Dimension, Top, TopRow};
use crate::{
    StoreError,
    filter::address_from,
    row::{FlowRow, Mac, PathId, Verdict},
    table::{Columns, columns_of, fixed_at},
};

impl Dimension {
    /// Its value, under the name of [`Dimension::column`].
    pub(super) fn expression(self) -> datafusion::error::Result<Expr> {
        if self != Dimension::Service {
            return Ok(ident(self.column()));
        }
        let known = |port: &str| ident(port).lt(lit(FlowRow::EPHEMERAL));
        let has_ports = ident("proto").in_list(vec![lit(6_u8), lit(17_u8), lit(132_u8)], false);
        when(has_ports.clone().and(known("dst_tp")), ident("dst_tp"))
            .when(has_ports.and(known("src_tp")), ident("src_tp"))
            .end()
    }

    /// Column that holds it.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Dimension::SrcMac => "src_mac",
            Dimension::DstMac => "dst_mac",
            Dimension::SrcIp => "src_ip",
            Dimension::DstIp => "dst_ip",
            Dimension::SrcTp => "src_tp",
            Dimension::DstTp => "dst_tp",
            Dimension::SrcTenant => "src_tenant",
            Dimension::DstTenant => "dst_tenant",
            Dimension::SrcNetwork => "src_network",
            Dimension::DstNetwork => "dst_network",
            Dimension::SrcPort => "src_port",
            Dimension::DstPort => "dst_port",
            Dimension::InPort => "in_port",
            Dimension::Proto => "proto",
            Dimension::EtherType => "ether_type",
            Dimension::Vlan => "vlan",
            Dimension::Host => "host",
            Dimension::Gateway => "gateway",
            Dimension::Verdict => "verdict",
            Dimension::SimResult => "sim_result",
            Dimension::Rule => "rule",
            Dimension::Path => "path",
            Dimension::Service => "service",
        }
    }

    fn value(self, column: &ArrayRef, at: usize) -> DimValue {
        if column.is_null(at) {
            return DimValue::None;
        }
        let value = match column.data_type() {
            DataType::FixedSizeBinary(_) => column
                .as_fixed_size_binary_opt()
                .and_then(|column| fixed_at(column, at))
                .map(|bytes| match self {
                    Dimension::SrcIp | Dimension::DstIp => DimValue::Ip(address_from(bytes)),
                    Dimension::Path => DimValue::Path(PathId(bytes)),
                    _ => DimValue::Id(Uuid::from_bytes(bytes)),
                }),
            DataType::Int64 => column
                .as_primitive_opt::<Int64Type>()
                .map(|column| DimValue::Mac(Mac::from_number(column.value(at)))),
            DataType::UInt16 => column
                .as_primitive_opt::<UInt16Type>()
                .map(|column| DimValue::Number(column.value(at).into())),
            DataType::UInt8 => column
                .as_primitive_opt::<UInt8Type>()
                .map(|column| match (self, Verdict::from_number(column.value(at))) {
                    (Dimension::Verdict, Some(verdict)) => DimValue::Verdict(verdict),
                    _ => DimValue::Number(column.value(at).into()),
                }),
            DataType::Utf8 => column.as_string_opt::<i32>().map(|column| DimValue::Text(Arc::from(column.value(at)))),
            _ => None,
        };
        value.unwrap_or(DimValue::None)
    }
}

/// Keeps the groups with the most flows; the rest is summed.
pub(super) struct Best {
    limit: usize,
    /// The worst of the kept ones is on top.
    heap: BinaryHeap<Ranked>,
    total: Bin,
    values: u64,
    start_us: i64,
}

/// Greater means later in the list: fewer flows, then the greater values.
#[derive(Eq, PartialEq)]
struct Ranked(TopRow);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |row: &TopRow| Reverse(row.flows.total());
        key(&self.0).cmp(&key(&other.0)).then_with(|| self.0.values.cmp(&other.0.values))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Best {
    pub(super) fn new(limit: usize, start_us: i64) -> Self {
        Self {
            limit,
            heap: BinaryHeap::new(),
            total: Bin::default(),
            values: 0,
            start_us,
        }
    }

    /// Groups whose first columns are the dimensions.
    pub(super) fn add(&mut self, batch: &RecordBatch, dimensions: &[Dimension]) -> Result<(), StoreError> {
        let columns = columns_of(batch);
        let flows = columns.numbers::<Int64Type>("flows")?;
        let last = columns.numbers::<TimestampMicrosecondType>("last")?;
        let optional = |columns: &Columns<'_>, name| columns.numbers::<Int64Type>(name).ok().cloned();
        let dropped = optional(&columns, "dropped_flows");
        let consumed = optional(&columns, "consumed_flows");
        for at in 0..batch.num_rows() {
            let total = flows.value(at) as u64;
            let part = |column: &Option<Int64Array>| column.as_ref().map(|column| column.value(at) as u64);
            // Where verdicts were not asked for, all flows are dropped ones.
            let dropped = part(&dropped).unwrap_or(total);
            let consumed = part(&consumed).unwrap_or(0);
            let bin = Bin {
                start_us: self.start_us,
                allowed: total.saturating_sub(dropped + consumed),
                dropped,
                consumed,
            };
            self.total = plus(self.total, bin);
            self.values += 1;
            let full = self.heap.len() >= self.limit;
            if full && self.heap.peek().is_some_and(|worst| worst.0.flows.total() > total) {
                continue;
            }
            let values = dimensions
                .iter()
                .enumerate()
                .map(|(column, dimension)| dimension.value(batch.column(column), at))
                .collect();
            self.heap.push(Ranked(TopRow {
                values,
                flows: bin,
                last_us: last.value(at),
            }));
            if full {
                self.heap.pop();
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Top {
        let rows: Vec<TopRow> = self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect();
        let shown = rows.iter().fold(Bin::default(), |sum, row| plus(sum, row.flows));
        let other = Bin {
            start_us: self.start_us,
            allowed: self.total.allowed - shown.allowed,
            dropped: self.total.dropped - shown.dropped,
            consumed: self.total.consumed - shown.consumed,
        };
        Top {
            other,
            other_values: self.values - rows.len() as u64,
            rows,
        }
    }
}

fn plus(a: Bin, b: Bin) -> Bin {
    Bin {
        start_us: b.start_us,
        allowed: a.allowed + b.allowed,
        dropped: a.dropped + b.dropped,
        consumed: a.consumed + b.consumed,
    }
}
