// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The filter as chips and as text. Both are made from the expression that the URL holds, so they can't disagree; adding and removing a
//! criterion are links and small forms that lead to the URL with the new text.

use uuid::Uuid;

use crate::{
    query::{
        filter::{self, Expr, Field, FieldKind, Op, Test, Value},
        flows::RequestError,
    },
    site::Site,
    web::{context::Ctx, error::WebError},
};

pub(super) struct Form {
    pub(super) text: String,
    pub(super) groups: Vec<Group>,
    pub(super) swap: String,
    pub(super) clear: Option<String>,
    /// What is wrong with the text.
    pub(super) error: String,
    /// The text up to, in, and behind the place of the error.
    pub(super) error_parts: Option<(String, String, String)>,
    /// Parameters that the forms keep, without the filter.
    pub(super) kept: Vec<(String, String)>,
    pub(super) path: String,
    pub(super) complete: String,
}

pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) chips: Vec<Chip>,
    pub(super) add: Vec<Add>,
}

pub(super) struct Chip {
    pub(super) label: String,
    pub(super) op: String,
    pub(super) value: String,
    pub(super) full: String,
    pub(super) remove: String,
}

/// A criterion that can be added.
pub(super) struct Add {
    pub(super) field: &'static str,
    pub(super) label: &'static str,
    pub(super) about: &'static str,
    pub(super) options: Vec<&'static str>,
    pub(super) placeholder: &'static str,
}

const SOURCE: [Field; 6] = [
    Field::SrcIp,
    Field::SrcMac,
    Field::SrcPort,
    Field::SrcTenant,
    Field::SrcNetwork,
    Field::SrcVport,
];
const DESTINATION: [Field; 6] = [
    Field::DstIp,
    Field::DstMac,
    Field::DstPort,
    Field::DstTenant,
    Field::DstNetwork,
    Field::DstVport,
];
const FLOW: [Field; 9] = [
    Field::Result,
    Field::Proto,
    Field::Host,
    Field::EtherType,
    Field::Vlan,
    Field::Device,
    Field::Decided,
    Field::Rule,
    Field::Simulation,
];

impl Form {
    pub(super) fn new(ctx: &Ctx, expr: &Expr, error: Option<&RequestError>) -> Self {
        let mut groups = vec![group("Source", &SOURCE), group("Destination", &DESTINATION), group("Flow", &FLOW)];
        for (place, part) in expr.conjuncts().iter().enumerate() {
            let remove = ctx.here(&[("filter", &expr.without(place).to_string()), ("after", ""), ("flow", "")]);
            let (at, chip) = match part {
                Expr::Test(test) => {
                    let at = if SOURCE.contains(&test.field) {
                        0
                    } else if DESTINATION.contains(&test.field) {
                        1
                    } else {
                        2
                    };
                    (at, chip(ctx, test, remove))
                }
                other => {
                    let text = other.to_string();
                    (
                        2,
                        Chip {
                            label: String::new(),
                            op: String::new(),
                            value: short(&text),
                            full: text,
                            remove,
                        },
                    )
                }
            };
            groups[at].chips.push(chip);
        }
        for group in &mut groups {
            // A criterion that is there already leaves the row of those to add; in the text it can be given again.
            group.add.retain(|add| {
                !expr
                    .conjuncts()
                    .iter()
                    .any(|part| matches!(part, Expr::Test(test) if test.field.name() == add.field))
            });
        }
        let typed = ctx.params.get("filter").unwrap_or_default();
        let text = if error.is_some() { typed.to_owned() } else { expr.to_string() };
        let error_parts = match error {
            Some(RequestError::Filter(error)) => {
                let part = |from: usize, to: usize| text.chars().skip(from).take(to - from).collect::<String>();
                let end = text.chars().count();
                Some((part(0, error.at.start), part(error.at.start, error.at.end), part(error.at.end, end)))
            }
            _ => None,
        };
        Self {
            groups,
            swap: ctx.here(&[("filter", &expr.swapped().to_string()), ("after", ""), ("flow", "")]),
            clear: (!expr.is_all() || error.is_some()).then(|| ctx.here(&[("filter", ""), ("after", ""), ("flow", "")])),
            error: error.map_or_else(String::new, |error| crate::web::error::sentence(&error.to_string())),
            error_parts,
            kept: ctx
                .params
                .iter()
                .filter(|(name, value)| !matches!(*name, "filter" | "after" | "flow" | "add" | "value" | "format") && !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            path: ctx.uri.path().to_owned(),
            complete: format!("{}/flows/complete", ctx.base()),
            text,
        }
    }
}

/// Where a sent form leads: to the page with the criterion added. A value that the field can't take is shown as an error of the text.
pub(super) fn edited(ctx: &Ctx) -> Result<Option<String>, WebError> {
    let Some(name) = ctx.params.get("add") else { return Ok(None) };
    let field = Field::from_name(name).ok_or_else(|| WebError::Bad(format!("There is no criterion “{name}”.")))?;
    let value = ctx.params.get("value").unwrap_or_default().trim();
    let clean = |text: &str| ctx.here(&[("filter", text), ("add", ""), ("value", ""), ("after", ""), ("flow", "")]);
    let before = ctx.params.get("filter").unwrap_or_default();
    if value.is_empty() {
        return Ok(Some(clean(before)));
    }
    let quoted = |value: &str| match field.kind() {
        FieldKind::Object | FieldKind::Tenant => Value::Name(value.to_owned()).text(field),
        _ => value.to_owned(),
    };
    let values: Vec<String> = value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(quoted).collect();
    let test = match (&values[..], field.kind()) {
        ([one], FieldKind::Ip) if one.contains('/') => format!("{} in {one}", field.name()),
        ([one], _) => format!("{} = {one}", field.name()),
        _ => format!("{} in ({})", field.name(), values.join(", ")),
    };
    let text = match (filter::parse(before), filter::parse(&test)) {
        (Ok(expr), Ok(Expr::Test(test))) => expr.with(test).to_string(),
        // The error is shown where it is, in the text.
        _ if before.trim().is_empty() => test,
        _ => format!("{before} and {test}"),
    };
    Ok(Some(clean(&text)))
}

fn group(title: &'static str, fields: &[Field]) -> Group {
    let add = fields
        .iter()
        .map(|field| Add {
            field: field.name(),
            label: field.label(),
            about: field.describe(),
            options: if field.kind() == FieldKind::Word {
                field.words().iter().map(|(word, _)| *word).collect()
            } else {
                Vec::new()
            },
            placeholder: match field.kind() {
                FieldKind::Ip => "10.0.0.0/8",
                FieldKind::Mac => "fa:16:3e:00:00:01",
                FieldKind::Tenant => "project id",
                FieldKind::Object => "name or UUID",
                FieldKind::Number(_) if *field == Field::Proto => "tcp",
                FieldKind::Number(_) if *field == Field::EtherType => "ipv4",
                FieldKind::Number(_) if *field == Field::Vlan => "100",
                _ => "443 or 8000-8080",
            },
        })
        .collect();
    Group {
        title,
        chips: Vec::new(),
        add,
    }
}

fn chip(ctx: &Ctx, test: &Test, remove: String) -> Chip {
    let either = matches!(
        test.field,
        Field::Ip | Field::Mac | Field::Port | Field::Tenant | Field::Network | Field::Vport
    );
    let values: Vec<String> = test
        .values
        .iter()
        .map(|value| match value {
            // An id says nothing to a reader: its name does.
            Value::Name(id) if test.field.kind() == FieldKind::Tenant => ctx.tenants.name(id),
            Value::Name(name) => name
                .parse::<Uuid>()
                .ok()
                .and_then(|id| shown_name(&ctx.site, test.field, id))
                .unwrap_or_else(|| name.clone()),
            Value::Number(..) if matches!(test.field, Field::Proto) => value.text(test.field).to_uppercase(),
            value => value.text(test.field),
        })
        .collect();
    Chip {
        label: if either {
            format!("Either {}", test.field.label())
        } else {
            test.field.label().to_owned()
        },
        op: match test.op {
            Op::Ne => "≠".to_owned(),
            Op::Le => "≤".to_owned(),
            Op::Ge => "≥".to_owned(),
            op => op.text().to_owned(),
        },
        value: short(&values.join(", ")),
        full: test.to_string(),
        remove,
    }
}

fn shown_name(site: &Site, field: Field, id: Uuid) -> Option<String> {
    match field {
        Field::Rule | Field::Matched | Field::Decided => site.rule(id).map(|rule| rule.text),
        _ => site.describe(id).map(|object| object.name),
    }
}

/// As much as a chip has room for.
fn short(text: &str) -> String {
    const ROOM: usize = 44;
    if text.chars().count() <= ROOM {
        text.to_owned()
    } else {
        text.chars().take(ROOM - 1).chain(['…']).collect()
    }
}
