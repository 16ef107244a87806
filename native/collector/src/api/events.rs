// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use insights_store::catalog::{EventQuery, Level};
use serde_json::{Value, json};

use super::{Call, Events, Problem};

/// Events of an answer at most.
const LIMIT: usize = 1_000;

/// `GET …/events?period=…&kind=…&level=…&find=…&after=…`: newest first; `next` is the `after` of the next page.
pub(super) async fn list(call: Call<Events>) -> Result<Json<Value>, Problem> {
    let text = |name: &str| call.params.get(name).unwrap_or_default();
    let mut query = EventQuery::all(call.period, LIMIT);
    query.level = match text("level") {
        "" | "info" => Level::Info,
        "warning" => Level::Warning,
        "error" => Level::Error,
        other => {
            return Err(Problem::bad(
                "level",
                "level is info, warning or error".to_owned(),
                0..other.chars().count(),
            ));
        }
    };
    text("kind").clone_into(&mut query.kind);
    text("find").clone_into(&mut query.text);
    query.after = match text("after") {
        "" => None,
        after => Some(place(after).ok_or_else(|| Problem::bad("after", "after is what next of a page was".to_owned(), 0..after.chars().count()))?),
    };
    let events = call.store().events(query).await?;
    let next = (events.len() == LIMIT)
        .then(|| events.last().map(|last| format!("{}-{}", last.event.at_us, last.id)))
        .flatten();
    let events: Vec<_> = events
        .iter()
        .map(|stored| {
            let event = &stored.event;
            json!({
                "id": stored.id,
                "time_us": event.at_us,
                "level": event.level,
                "kind": event.kind,
                "text": event.text,
                "fields": serde_json::from_str::<Value>(&event.fields).unwrap_or(Value::Null),
                "gateway": event.gateway,
                "loss": event.loss.as_ref().map(|loss| json!({
                    "kind": loss.kind, "records": loss.records, "first_us": loss.first_us, "last_us": loss.last_us, "cause": loss.cause,
                })),
            })
        })
        .collect();
    Ok(Json(json!({
        "period": { "from_us": call.period.from_us, "to_us": call.period.to_us },
        "events": events,
        "next": next,
    })))
}

fn place(text: &str) -> Option<(i64, u64)> {
    let (at_us, id) = text.split_once('-')?;
    Some((at_us.parse().ok()?, id.parse().ok()?))
}
