// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Changes of the topology in a line each.

use super::{context::Ctx, error::WebError, units};
use crate::site::{Change, Kind, What};

/// A change of the topology, for lists of them.
pub(crate) struct ChangeRow {
    pub(crate) time: String,
    pub(crate) full: String,
    pub(crate) sign: &'static str,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) what: String,
    pub(crate) details: String,
}

pub(crate) async fn changes(ctx: &Ctx, limit: usize) -> Result<Vec<ChangeRow>, WebError> {
    // Neutron's own objects change together with what MidoNet made of them; one line is enough.
    let changes = ctx.app.sites.changes(&ctx.scope, ctx.period, limit * 8).await?;
    let shown = changes
        .iter()
        .filter(|change| change.kind != Kind::Other && !change.class.starts_with("Neutron"))
        .take(limit);
    Ok(shown.map(|change| change_row(ctx, change)).collect())
}

pub(crate) fn change_row(ctx: &Ctx, change: &Change) -> ChangeRow {
    let described = ctx.site.describe(change.id);
    let name = match &described {
        Some(object) => object.name.clone(),
        None => change
            .fields
            .iter()
            .find(|field| field.field == "name")
            .and_then(|field| {
                field
                    .before
                    .as_ref()
                    .or(field.after.as_ref())
                    .and_then(|value| value.as_str().map(str::to_owned))
            })
            .unwrap_or_else(|| change.id.to_string()[..8].to_owned()),
    };
    let (sign, what) = match change.what {
        What::Created => ("+", "added"),
        What::Deleted => ("−", "removed"),
        What::Changed => ("≠", "changed"),
        What::Up if change.kind == Kind::Host => ("≠", "not alive → alive"),
        What::Down if change.kind == Kind::Host => ("≠", "alive → not alive"),
        What::Up => ("≠", "down → up"),
        What::Down => ("≠", "up → down"),
    };
    let details = match change.what {
        What::Changed => {
            let names: Vec<_> = change.fields.iter().take(4).map(|field| field.field.replace('_', " ")).collect();
            names.join(", ")
        }
        _ => described
            .as_ref()
            .and_then(|object| object.tenant.clone())
            .map_or_else(String::new, |tenant| format!("tenant {}", ctx.tenants.name(&tenant))),
    };
    let mut kind: String = change.kind.label().to_owned();
    if let Some(first) = kind.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    ChangeRow {
        time: if units::day(change.at_us) == units::day(ctx.now_us) {
            units::minute(change.at_us)
        } else {
            units::day(change.at_us)
        },
        full: units::full(change.at_us),
        sign,
        kind,
        name,
        href: if described.is_some() {
            ctx.to(&format!("d/{}/{}", change.kind.slug(), change.id))
        } else {
            String::new()
        },
        what: what.to_owned(),
        details,
    }
}
