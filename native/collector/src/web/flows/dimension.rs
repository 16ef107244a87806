// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What flows can be counted by, and how values of it are shown and filtered by.

use insights_store::query::{DimValue, Dimension};

use crate::{
    query::filter::{Field, IpSet, Test, Value},
    web::context::Ctx,
};

/// Dimensions in the order of the menu: the name in URLs is that of the filter's field.
pub(super) const DIMENSIONS: [(Field, Dimension, &str); 19] = [
    (Field::SrcIp, Dimension::SrcIp, "Source IP"),
    (Field::DstIp, Dimension::DstIp, "Destination IP"),
    (Field::SrcVport, Dimension::SrcPort, "Source VM or port"),
    (Field::DstVport, Dimension::DstPort, "Destination VM or port"),
    (Field::SrcNetwork, Dimension::SrcNetwork, "Source network"),
    (Field::DstNetwork, Dimension::DstNetwork, "Destination network"),
    (Field::SrcTenant, Dimension::SrcTenant, "Source tenant"),
    (Field::DstTenant, Dimension::DstTenant, "Destination tenant"),
    (Field::SrcPort, Dimension::SrcTp, "Source TCP or UDP port"),
    (Field::DstPort, Dimension::DstTp, "Destination TCP or UDP port"),
    (Field::Proto, Dimension::Proto, "Protocol"),
    (Field::Result, Dimension::Verdict, "Result"),
    (Field::Decided, Dimension::Rule, "Rule that decided"),
    (Field::Host, Dimension::Host, "Host"),
    (Field::SrcMac, Dimension::SrcMac, "Source MAC"),
    (Field::DstMac, Dimension::DstMac, "Destination MAC"),
    (Field::EtherType, Dimension::EtherType, "Ethertype"),
    (Field::Vlan, Dimension::Vlan, "VLAN"),
    (Field::Gateway, Dimension::Gateway, "Gateway"),
];

pub(crate) fn find(name: &str) -> Option<(Field, Dimension, &'static str)> {
    DIMENSIONS.into_iter().find(|(field, ..)| field.name() == name)
}

/// A value as people read it.
pub(super) fn text(ctx: &Ctx, field: Field, value: &DimValue) -> String {
    match value {
        DimValue::None => "none".to_owned(),
        DimValue::Number(number) => {
            let word = match field {
                Field::Proto | Field::EtherType => field.words().iter().find(|(_, known)| known == number),
                _ => None,
            };
            word.map_or_else(|| number.to_string(), |(word, _)| word.to_uppercase())
        }
        DimValue::Id(id) => match field {
            Field::Host => ctx.site.host_name(*id),
            Field::Decided => ctx
                .site
                .rule(*id)
                .map_or_else(|| format!("rule {}", &id.to_string()[..8]), |rule| rule.text),
            Field::SrcVport | Field::DstVport => super::rows::end_name(&ctx.site, Some(*id)),
            Field::Gateway => ctx
                .gateways
                .iter()
                .find(|gateway| gateway.id == *id)
                .map_or_else(|| id.to_string(), |gateway| gateway.name.clone()),
            _ => ctx.site.name(*id),
        },
        DimValue::Ip(ip) => ip.to_string(),
        DimValue::Mac(mac) => mac.to_string(),
        DimValue::Text(id) => ctx.tenants.name(id),
        DimValue::Verdict(verdict) => verdict.name().to_owned(),
        DimValue::Path(path) => format!("{path:?}"),
    }
}

/// The criterion that leaves the flows of this value; `None` where the filter can't say it.
pub(super) fn test(field: Field, value: &DimValue) -> Option<Test> {
    let value = match value {
        DimValue::None if field.may_be_none() => Value::None,
        DimValue::None | DimValue::Path(_) => return None,
        DimValue::Number(number) => Value::Number(*number, *number),
        DimValue::Id(id) => Value::Name(id.to_string()),
        DimValue::Ip(ip) => Value::Ip(IpSet::One(*ip)),
        DimValue::Mac(mac) => Value::Mac(*mac),
        DimValue::Text(text) => Value::Name(text.to_string()),
        DimValue::Verdict(verdict) => {
            let number = *verdict as u64;
            Value::Number(number, number)
        }
    };
    Some(Test::eq(field, value))
}
