// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Each change of a device with its time and difference.

use askama::Template;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use super::{Device, Head};
use crate::{
    site::{Change, Described, Kind, State, What},
    web::{context::Ctx, error::WebError, frame::Frame, html, units},
};

/// Newest changes that are shown.
const SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "device_history.html")]
struct Page {
    frame: Frame,
    head: Head,
    changes: Vec<ChangeView>,
}

struct ChangeView {
    time: String,
    sign: &'static str,
    what: String,
    fields: Vec<FieldView>,
}

struct FieldView {
    name: String,
    before: String,
    after: String,
}

/// Something that is not in the topology now, but was.
pub(crate) async fn gone(ctx: &Ctx, kind: &str, id: &str) -> Result<Option<Device>, WebError> {
    let Ok(id) = id.parse::<Uuid>() else { return Ok(None) };
    let changes = ctx.app.sites.history(&ctx.scope, id, SHOWN).await?;
    let Some(last) = changes.first() else { return Ok(None) };
    let name = changes
        .iter()
        .flat_map(|change| &change.fields)
        .find(|field| field.field == "name")
        .and_then(|field| field.before.as_ref().or(field.after.as_ref())?.as_str().map(str::to_owned))
        .unwrap_or_else(|| id.to_string());
    let object = Described {
        id,
        kind: last.kind,
        class: last.class.clone(),
        name,
        tenant: None,
        state: State::Off,
        since_us: Some(last.at_us),
    };
    Ok(Some(Device {
        object,
        kind: Kind::from_slug(kind).unwrap_or(last.kind),
        id,
    }))
}

pub(crate) async fn page(ctx: &Ctx, device: &Device) -> Result<Response, WebError> {
    let changes = ctx.app.sites.history(&ctx.scope, device.id, SHOWN).await?;
    html(&Page {
        frame: Frame::new(ctx, &device.object.name, device.place()).await?,
        head: device.head(ctx, "history"),
        changes: changes.iter().map(|change| view(ctx, device, change)).collect(),
    })
}

fn view(ctx: &Ctx, device: &Device, change: &Change) -> ChangeView {
    let host = device.kind == Kind::Host;
    let (sign, what) = match change.what {
        What::Created => ("+", format!("{} created", change.class)),
        What::Deleted => ("−", format!("{} deleted", change.class)),
        What::Changed => ("≠", format!("{} changed", change.class)),
        What::Up if host => ("≠", "agent alive".to_owned()),
        What::Down if host => ("≠", "agent gone".to_owned()),
        What::Up => ("≠", "port active".to_owned()),
        What::Down => ("≠", "port inactive".to_owned()),
    };
    let fields = change
        .fields
        .iter()
        .map(|field| FieldView {
            name: field.field.clone(),
            before: text(ctx, field.before.as_ref()),
            after: text(ctx, field.after.as_ref()),
        })
        .collect();
    ChangeView {
        time: units::full(change.at_us),
        sign,
        what,
        fields,
    }
}

fn text(ctx: &Ctx, value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text
            .parse::<Uuid>()
            .ok()
            .and_then(|id| ctx.site.describe(id))
            .map_or_else(|| text.clone(), |object| object.name),
        Some(Value::Array(items)) => items.iter().map(|item| self::text(ctx, Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}
