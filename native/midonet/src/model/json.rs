// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use serde_json::{Map, Value as Json};

use super::object::{read_bool, read_ip, read_subnet, read_uuid};
use super::{Field, FieldKind, Object, View};
use crate::text::Value;

/// The fields that an object has, under MidoNet's names: ids, addresses and prefixes as canonical text, enum values by name, numbers as numbers,
/// repeated fields as arrays. Defaults of absent fields are not filled in. What doesn't fit its declaration, or has none, is given by its shape.
pub fn to_json(object: &Object) -> Json {
    message(object.view())
}

fn message(view: View<'_>) -> Json {
    let mut members: Map<String, Json> = Map::new();
    for entry in &view.message.fields {
        let field = view.class.and_then(|class| class.field(&entry.name));
        let value = value(view, &entry.name, field, &entry.value);
        if field.is_some_and(|field| field.repeated) {
            match members.entry(entry.name.as_str()).or_insert_with(|| Json::Array(Vec::new())) {
                Json::Array(values) => values.push(value),
                // Only arrays are put under the name of a repeated field.
                other => *other = value,
            }
        } else if field.is_some() {
            members.insert(entry.name.clone(), value);
        } else {
            add_unknown(&mut members, &entry.name, value);
        }
    }
    Json::Object(members)
}

/// Whether an unknown field is repeated shows when it occurs again.
fn add_unknown(members: &mut Map<String, Json>, name: &str, value: Json) {
    match members.get_mut(name) {
        None => {
            members.insert(name.to_owned(), value);
        }
        Some(Json::Array(values)) => values.push(value),
        Some(first) => *first = Json::Array(vec![first.take(), value]),
    }
}

fn value(view: View<'_>, name: &str, field: Option<&'static Field>, value: &Value) -> Json {
    let declared = match field.map(|field| field.kind) {
        Some(FieldKind::Bool) => read_bool(value).map(Json::from),
        Some(FieldKind::OneOf(known)) => number(value)
            .and_then(|number| known.name_of(i32::try_from(number).ok()?))
            .map(Json::from),
        Some(FieldKind::IpSubnet) => read_subnet(value).map(|subnet| Json::from(subnet.to_string())),
        Some(FieldKind::Message(_)) => view_of(view, name, value).map(message),
        _ => None,
    };
    declared.unwrap_or_else(|| shape(value))
}

fn view_of<'a>(view: View<'a>, name: &str, value: &'a Value) -> Option<View<'a>> {
    view.nested(name, value)
}

/// A value without regard to a declaration.
fn shape(value: &Value) -> Json {
    match value {
        Value::Unsigned(number) => Json::from(*number),
        Value::Negative(number) => Json::from(*number),
        Value::Bytes(bytes) => Json::from(String::from_utf8_lossy(bytes)),
        Value::Word(word) => match word.as_str() {
            "true" => Json::from(true),
            "false" => Json::from(false),
            word => Json::from(word),
        },
        Value::Message(inner) => {
            if let Some(id) = read_uuid(value) {
                Json::from(id.to_string())
            } else if inner.get("version").is_some() && inner.get("prefix_length").is_some() {
                read_subnet(value).map_or_else(|| unknown(inner), |subnet| Json::from(subnet.to_string()))
            } else if inner.get("version").is_some() {
                read_ip(value).map_or_else(|| unknown(inner), |address| Json::from(address.to_string()))
            } else {
                unknown(inner)
            }
        }
    }
}

fn unknown(inner: &crate::text::Message) -> Json {
    message(View {
        name: "",
        class: None,
        message: inner,
    })
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Unsigned(number) => i64::try_from(*number).ok(),
        Value::Negative(number) => Some(*number),
        _ => None,
    }
}
