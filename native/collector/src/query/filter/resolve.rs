// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From an expression to the store's filter: names get their ids, words their numbers.

use std::ops::RangeInclusive;

use insights_store::{End, FlowFilter, FlowTest, KnownField, Prefix, Verdict};
use uuid::Uuid;

use super::{Expr, Field, IpSet, Op, Test, Value};

/// Most objects that one name may stand for; a name that many share says nothing.
pub const MAX_MATCHES: usize = 64;

/// Who knows the names of the topology.
pub trait Names {
    /// Ids of the objects that a field can name, with exactly this name or UUID.
    fn objects(&self, field: Field, name: &str) -> Vec<Uuid>;
    /// Ids of the tenants with this name or id.
    fn tenants(&self, name: &str) -> Vec<String>;
}

/// A name that says nothing, or too much.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResolveError {
    #[error("no {what} is called “{name}” at this site, now or in the period")]
    Unknown { what: &'static str, name: String },
    #[error("{count} objects are called “{name}”; use a UUID")]
    Ambiguous { name: String, count: usize },
}

pub fn resolve(expr: &Expr, names: &dyn Names) -> Result<FlowFilter, ResolveError> {
    Ok(match expr {
        Expr::And(parts) => FlowFilter::And(parts.iter().map(|part| resolve(part, names)).collect::<Result<_, _>>()?),
        Expr::Or(parts) => FlowFilter::Or(parts.iter().map(|part| resolve(part, names)).collect::<Result<_, _>>()?),
        Expr::Not(part) => resolve(part, names)?.negate(),
        Expr::Test(test) => resolve_test(test, names)?,
    })
}

fn resolve_test(test: &Test, names: &dyn Names) -> Result<FlowFilter, ResolveError> {
    let mut any = Vec::new();
    for value in &test.values {
        any.extend(tests(test.field, test.op, value, names)?);
    }
    let positive = if any.len() == 1 { any.remove(0) } else { FlowFilter::Or(any) };
    Ok(if matches!(test.op, Op::Ne | Op::NotIn) {
        positive.negate()
    } else {
        positive
    })
}

/// What one value comes to; several tests are alternatives.
fn tests(field: Field, op: Op, value: &Value, names: &dyn Names) -> Result<Vec<FlowFilter>, ResolveError> {
    let end = end(field);
    let is = |test: FlowTest| Ok(vec![FlowFilter::Is(test)]);
    match value {
        Value::None => Ok(absent(field, end)),
        Value::Mac(mac) => is(FlowTest::Mac(end, *mac)),
        Value::Ip(set) => is(FlowTest::Ip(end, prefix(*set))),
        Value::Number(low, high) => {
            // Behind an ordering there is one number.
            let (low, high) = match op {
                Op::Lt if *low == 0 => return Ok(Vec::new()),
                Op::Gt if *low == u64::MAX => return Ok(Vec::new()),
                Op::Lt => (0, low - 1),
                Op::Le => (0, *low),
                Op::Gt => (low + 1, u64::MAX),
                Op::Ge => (*low, u64::MAX),
                _ => (*low, *high),
            };
            Ok(number(field, end, low, high))
        }
        Value::Name(name) => match field {
            Field::SrcTenant | Field::DstTenant | Field::Tenant => {
                let tenants = names.tenants(name);
                // Flows may name a tenant that the topology has forgotten.
                let tenants = if tenants.is_empty() { vec![name.clone()] } else { tenants };
                Ok(tenants.into_iter().map(|tenant| FlowFilter::Is(FlowTest::Tenant(end, tenant))).collect())
            }
            _ => {
                let mut ids = names.objects(field, name);
                if ids.is_empty() {
                    ids.extend(Uuid::parse_str(name).ok());
                }
                match ids.len() {
                    0 => Err(ResolveError::Unknown {
                        what: what(field),
                        name: name.clone(),
                    }),
                    count if count > MAX_MATCHES => Err(ResolveError::Ambiguous { name: name.clone(), count }),
                    _ => Ok(ids.into_iter().map(|id| FlowFilter::Is(object(field, end, id))).collect()),
                }
            }
        },
    }
}

fn end(field: Field) -> End {
    match field {
        Field::SrcMac | Field::SrcIp | Field::SrcPort | Field::SrcTenant | Field::SrcNetwork | Field::SrcVport => End::Src,
        Field::DstMac | Field::DstIp | Field::DstPort | Field::DstTenant | Field::DstNetwork | Field::DstVport => End::Dst,
        _ => End::Either,
    }
}

fn absent(field: Field, end: End) -> Vec<FlowFilter> {
    let known = match field {
        Field::SrcMac | Field::DstMac | Field::Mac => KnownField::Mac,
        Field::SrcIp | Field::DstIp | Field::Ip => KnownField::Ip,
        Field::SrcTenant | Field::DstTenant | Field::Tenant => KnownField::Tenant,
        Field::SrcNetwork | Field::DstNetwork | Field::Network => KnownField::Network,
        _ => KnownField::Port,
    };
    let ends: &[End] = match end {
        End::Src => &[End::Src],
        End::Dst => &[End::Dst],
        End::Either => &[End::Src, End::Dst],
    };
    ends.iter().map(|end| FlowFilter::Is(FlowTest::Known(*end, known)).negate()).collect()
}

fn prefix(set: IpSet) -> Prefix {
    match set {
        IpSet::One(ip) => Prefix::host(ip),
        // The parser has checked the length.
        IpSet::Prefix(ip, length) => Prefix::new(ip, length).unwrap_or_else(|| Prefix::host(ip)),
        IpSet::Range(low, high) => Prefix::range(low, high),
    }
}

fn number(field: Field, end: End, low: u64, high: u64) -> Vec<FlowFilter> {
    let byte = || narrow(low, high, u8::MAX);
    let short = || narrow(low, high, u16::MAX);
    let test = match field {
        Field::SrcPort | Field::DstPort | Field::Port => short().map(|range| FlowTest::Tp(end, range)),
        Field::EtherType => short().map(FlowTest::EtherType),
        Field::Vlan => short().map(FlowTest::Vlan),
        Field::IcmpId => short().map(FlowTest::IcmpId),
        Field::Proto => byte().map(FlowTest::Proto),
        Field::Tos => byte().map(FlowTest::Tos),
        Field::Ttl => byte().map(FlowTest::Ttl),
        Field::Tunnel => Some(FlowTest::TunnelKey(low..=high)),
        Field::Result => u8::try_from(low).ok().and_then(Verdict::from_number).map(FlowTest::Verdict),
        Field::Simulation => u8::try_from(low).ok().map(FlowTest::SimResult),
        Field::Transit => Some(FlowTest::Transit(low != 0)),
        // Fields of other kinds have no numbers; the parser sees to it.
        _ => None,
    };
    test.map(FlowFilter::Is).into_iter().collect()
}

fn narrow<T: TryFrom<u64> + Copy>(low: u64, high: u64, max: T) -> Option<RangeInclusive<T>> {
    Some(T::try_from(low).ok()?..=T::try_from(high).unwrap_or(max))
}

fn object(field: Field, end: End, id: Uuid) -> FlowTest {
    match field {
        Field::SrcNetwork | Field::DstNetwork | Field::Network => FlowTest::Network(end, id),
        Field::SrcVport | Field::DstVport | Field::Vport => FlowTest::Port(end, id),
        Field::Host => FlowTest::Host(id),
        Field::Gateway => FlowTest::Gateway(id),
        Field::Rule => FlowTest::Rule(id),
        Field::Matched => FlowTest::RuleMatched(id),
        Field::Decided => FlowTest::DecidedBy(id),
        _ => FlowTest::Device(id),
    }
}

fn what(field: Field) -> &'static str {
    match field {
        Field::SrcNetwork | Field::DstNetwork | Field::Network => "network",
        Field::SrcVport | Field::DstVport | Field::Vport => "virtual port",
        Field::Host => "host",
        Field::Gateway => "gateway",
        Field::Rule | Field::Matched | Field::Decided => "rule",
        _ => "device",
    }
}
