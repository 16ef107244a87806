// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Fields as MidoNet has them. Every reference to something that is there is a link.

use askama::Template;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use super::{Device, Head};
use crate::web::{context::Ctx, error::WebError, frame::Frame, html, units};

/// Values of one list that are shown; a chain can have thousands of references.
const MOST_VALUES: usize = 200;

#[derive(Template)]
#[template(path = "device_config.html")]
struct Page {
    frame: Frame,
    head: Head,
    objects: Vec<ObjectView>,
}

struct ObjectView {
    class: String,
    created: String,
    changed: String,
    version: String,
    fields: Vec<FieldView>,
}

struct FieldView {
    name: String,
    depth: usize,
    values: Vec<ValueView>,
    more: usize,
}

struct ValueView {
    text: String,
    href: String,
    id: String,
}

pub(crate) async fn page(ctx: &Ctx, device: &Device) -> Result<Response, WebError> {
    let objects = ctx
        .site
        .raw(device.id)
        .into_iter()
        .map(|object| {
            let mut fields = Vec::new();
            flatten(ctx, "", &object.fields, 0, &mut fields);
            ObjectView {
                class: object.class,
                created: units::full(object.created_us),
                changed: units::full(object.changed_us),
                version: object.version.to_string(),
                fields,
            }
        })
        .collect();
    html(&Page {
        frame: Frame::new(ctx, &device.object.name, device.place()).await?,
        head: device.head(ctx, "configuration"),
        objects,
    })
}

fn flatten(ctx: &Ctx, name: &str, value: &Value, depth: usize, out: &mut Vec<FieldView>) {
    match value {
        Value::Object(fields) => {
            if !name.is_empty() {
                out.push(FieldView {
                    name: name.to_owned(),
                    depth,
                    values: Vec::new(),
                    more: 0,
                });
            }
            let depth = if name.is_empty() { depth } else { depth + 1 };
            for (name, value) in fields {
                flatten(ctx, name, value, depth, out);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().take(MOST_VALUES).enumerate() {
                flatten(ctx, &format!("{name} {}", at + 1), item, depth, out);
            }
        }
        Value::Array(items) => {
            let values = items.iter().take(MOST_VALUES).map(|item| shown(ctx, item)).collect();
            out.push(FieldView {
                name: name.to_owned(),
                depth,
                values,
                more: items.len().saturating_sub(MOST_VALUES),
            });
        }
        value => out.push(FieldView {
            name: name.to_owned(),
            depth,
            values: vec![shown(ctx, value)],
            more: 0,
        }),
    }
}

fn shown(ctx: &Ctx, value: &Value) -> ValueView {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text
        .parse::<Uuid>()
        .ok()
        .filter(|_| text.len() == 36)
        .and_then(|id| ctx.site.describe(id))
    {
        Some(object) => ValueView {
            text: object.name,
            href: ctx.to(&format!("d/{}/{}", object.kind.slug(), object.id)),
            id: text,
        },
        None => ValueView {
            text,
            href: String::new(),
            id: String::new(),
        },
    }
}
