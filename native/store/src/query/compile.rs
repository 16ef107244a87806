// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! [`FlowFilter`] to expressions over the columns of flows.
//!
//! Negations are moved down to the tests. What remains is made of AND and OR alone, in which "unknown" does the same as "false", so that
//! only negated tests have to say what they mean for an absent value; the rest can be used to skip files, row groups and pages.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray},
        datatypes::DataType,
    },
    common::ScalarValue,
    error::DataFusionError,
    logical_expr::{ColumnarValue, Expr, Volatility, create_udf, ident, lit},
};
use uuid::Uuid;

use crate::{
    StoreError,
    filter::{End, FlowFilter, FlowTest, KnownField, Prefix},
    ids::Period,
    row::FlowId,
};

/// Paths that a test holds for.
pub(super) type PathSet = Arc<HashSet<[u8; 16]>>;

/// The tests of a filter that the path table answers, in the order in which [`compile`] asks for their answers.
pub(super) fn path_tests(filter: &FlowFilter) -> Vec<FlowTest> {
    let mut tests = Vec::new();
    collect(filter, &mut tests);
    tests
}

fn collect(filter: &FlowFilter, tests: &mut Vec<FlowTest>) {
    match filter {
        FlowFilter::And(parts) | FlowFilter::Or(parts) => parts.iter().for_each(|part| collect(part, tests)),
        FlowFilter::Not(part) => collect(part, tests),
        FlowFilter::Is(test) => {
            if matches!(test, FlowTest::Device(_) | FlowTest::Rule(_) | FlowTest::RuleMatched(_)) && !tests.contains(test) {
                tests.push(test.clone());
            }
        }
    }
}

/// Refuses filters beyond their bounds.
pub(crate) fn check(filter: &FlowFilter) -> Result<(), StoreError> {
    let (depth, tests) = filter.size();
    if depth > FlowFilter::MAX_DEPTH || tests > FlowFilter::MAX_TESTS {
        return Err(StoreError::Invalid(format!(
            "a filter of {tests} tests, {depth} deep: at most {} and {} are allowed",
            FlowFilter::MAX_TESTS,
            FlowFilter::MAX_DEPTH
        )));
    }
    Ok(())
}

/// The filter as an expression; `None` when every row passes. `paths` are the answers to [`path_tests`].
pub(super) fn compile(filter: &FlowFilter, paths: &[(FlowTest, PathSet)]) -> Option<Expr> {
    Compiler { paths }.filter(filter, true)
}

/// Rows of the period.
pub(super) fn in_period(period: Period) -> Expr {
    ident("time").gt_eq(time(period.from_us)).and(ident("time").lt(time(period.to_us)))
}

/// Rows behind this one in the order newest first.
pub(super) fn behind(id: FlowId) -> Expr {
    let at = time(id.time_us);
    ident("time").lt_eq(at.clone()).and(ident("time").lt(at).or(ident("row").lt(lit(id.row))))
}

pub(super) fn time(time_us: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampMicrosecond(Some(time_us), Some("UTC".into())), None)
}

pub(super) fn id(id: [u8; 16]) -> Expr {
    Expr::Literal(ScalarValue::FixedSizeBinary(16, Some(id.to_vec())), None)
}

struct Compiler<'a> {
    paths: &'a [(FlowTest, PathSet)],
}

impl Compiler<'_> {
    /// `None` stands for "always".
    fn filter(&self, filter: &FlowFilter, wanted: bool) -> Option<Expr> {
        match (filter, wanted) {
            (FlowFilter::And(parts), true) | (FlowFilter::Or(parts), false) => {
                parts.iter().filter_map(|part| self.filter(part, wanted)).reduce(Expr::and)
            }
            (FlowFilter::Or(parts), true) | (FlowFilter::And(parts), false) => {
                let mut any = None;
                for part in parts {
                    let part = self.filter(part, wanted)?;
                    any = Some(match any {
                        Some(any) => Expr::or(any, part),
                        None => part,
                    });
                }
                Some(any.unwrap_or_else(|| lit(false)))
            }
            (FlowFilter::Not(part), _) => self.filter(part, !wanted),
            (FlowFilter::Is(test), true) => Some(self.test(test)),
            (FlowFilter::Is(test), false) => Some(self.test(test).is_not_true()),
        }
    }

    fn test(&self, test: &FlowTest) -> Expr {
        match test {
            FlowTest::Mac(end, mac) => ends(*end, "src_mac", "dst_mac", |name| ident(name).eq(lit(mac.number()))),
            FlowTest::Ip(end, prefix) => ends(*end, "src_ip", "dst_ip", |name| in_prefix(name, prefix)),
            FlowTest::Tp(end, range) => ends(*end, "src_tp", "dst_tp", |name| within(name, range)),
            FlowTest::Tenant(end, tenant) => ends(*end, "src_tenant", "dst_tenant", |name| ident(name).eq(lit(tenant.clone()))),
            FlowTest::Network(end, network) => ends(*end, "src_network", "dst_network", |name| is(name, network)),
            FlowTest::Port(end, port) => ends(*end, "src_port", "dst_port", |name| is(name, port)),
            FlowTest::Known(end, field) => {
                let (src, dst) = match field {
                    KnownField::Mac => ("src_mac", "dst_mac"),
                    KnownField::Ip => ("src_ip", "dst_ip"),
                    KnownField::Tenant => ("src_tenant", "dst_tenant"),
                    KnownField::Network => ("src_network", "dst_network"),
                    KnownField::Port => ("src_port", "dst_port"),
                };
                ends(*end, src, dst, |name| ident(name).is_not_null())
            }
            FlowTest::InPort(port) => is("in_port", port),
            FlowTest::Proto(range) => within("proto", range),
            FlowTest::EtherType(range) => within("ether_type", range),
            FlowTest::Vlan(range) => {
                let wanted = range.clone();
                let inner = bytes_test("any_vlan", "vlans", DataType::Binary, move |tags| {
                    tags.chunks_exact(2).any(|tag| wanted.contains(&u16::from_be_bytes([tag[0], tag[1]])))
                });
                within("vlan", range).or(inner)
            }
            FlowTest::Tos(range) => within("tos", range),
            FlowTest::Ttl(range) => within("ttl", range),
            FlowTest::IcmpId(range) => within("icmp_id", range),
            FlowTest::Host(host) => is("host", host),
            FlowTest::Gateway(gateway) => is("gateway", gateway),
            FlowTest::Verdict(verdict) => ident("verdict").eq(lit(*verdict as u8)),
            FlowTest::SimResult(result) => ident("sim_result").eq(lit(*result)),
            FlowTest::Transit(transit) => ident("transit").eq(lit(*transit)),
            FlowTest::TunnelKey(range) => within("tunnel_key", range),
            FlowTest::Cookie(cookie) => ident("cookie").eq(lit(*cookie)),
            FlowTest::DecidedBy(rule) => is("rule", rule),
            FlowTest::Device(device) => {
                let wanted = device.into_bytes();
                let leaves = bytes_test("leaves_by", "out_ports", DataType::Binary, move |ports| {
                    ports.chunks_exact(16).any(|port| port == wanted)
                });
                self.on_path(test).or(leaves)
            }
            FlowTest::Rule(_) | FlowTest::RuleMatched(_) => self.on_path(test),
        }
    }

    fn on_path(&self, test: &FlowTest) -> Expr {
        let paths = self
            .paths
            .iter()
            .find(|(known, _)| known == test)
            .map(|(_, paths)| Arc::clone(paths))
            .unwrap_or_default();
        if paths.is_empty() {
            return lit(false);
        }
        bytes_test("on_path", "path", DataType::FixedSizeBinary(16), move |path| {
            <[u8; 16]>::try_from(path).is_ok_and(|path| paths.contains(&path))
        })
    }
}

fn ends(end: End, src: &'static str, dst: &'static str, test: impl Fn(&'static str) -> Expr) -> Expr {
    match end {
        End::Src => test(src),
        End::Dst => test(dst),
        End::Either => test(src).or(test(dst)),
    }
}

fn is(name: &str, wanted: &Uuid) -> Expr {
    ident(name).eq(id(wanted.into_bytes()))
}

fn within<T: Clone + PartialEq + PartialOrd + datafusion::logical_expr::Literal>(name: &str, range: &RangeInclusive<T>) -> Expr {
    let (low, high) = (range.start(), range.end());
    if low > high {
        return lit(false);
    }
    if low == high {
        return ident(name).eq(low.lit());
    }
    ident(name).gt_eq(low.lit()).and(ident(name).lt_eq(high.lit()))
}

fn in_prefix(name: &str, prefix: &Prefix) -> Expr {
    let (low, high) = prefix.bounds();
    // Equality can use the Bloom filters.
    if low == high {
        return ident(name).eq(id(low));
    }
    ident(name).gt_eq(id(low)).and(ident(name).lt_eq(id(high)))
}

/// A test of the bytes in a column; false where there are none.
fn bytes_test(name: &'static str, column: &'static str, kind: DataType, test: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Expr {
    let evaluate = move |array: &ArrayRef| -> Result<ArrayRef, DataFusionError> {
        let answers: BooleanArray = if let Some(values) = array.as_binary_opt::<i32>() {
            (0..values.len()).map(|at| Some(values.is_valid(at) && test(values.value(at)))).collect()
        } else if let Some(values) = array.as_fixed_size_binary_opt() {
            (0..values.len()).map(|at| Some(values.is_valid(at) && test(values.value(at)))).collect()
        } else {
            return Err(DataFusionError::Internal(format!("{name} of {}", array.data_type())));
        };
        Ok(Arc::new(answers))
    };
    let function = create_udf(
        name,
        vec![kind],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |arguments: &[ColumnarValue]| {
            let [value] = arguments else {
                return Err(DataFusionError::Internal(format!("{name} takes one argument")));
            };
            Ok(ColumnarValue::Array(evaluate(&value.to_array(1)?)?))
        }),
    );
    function.call(vec![ident(column)])
}
