// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One gateway: how it is, what it counted, and the commands that it takes.

use askama::Template;
use axum::{
    Form,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use insights_protocol::control::CommandKind;
use insights_store::{
    Period,
    catalog::{EventQuery, Level},
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{KINDS, allows};
use crate::{
    ingest::GatewayStatus,
    web::{
        context::Ctx,
        error::{WebError, sentence},
        frame::Frame,
        html,
        table::attachment,
        units,
    },
};

/// Events beneath the figures: what fits on a screen.
const EVENTS: usize = 20;

/// Levels of a gateway's log, as the wire has them.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Longest time that a gateway keeps another level, minutes (a day).
const LONGEST_MINUTES: u32 = 24 * 60;

#[derive(Template)]
#[template(path = "gateway.html")]
struct Page {
    frame: Frame,
    id: String,
    name: String,
    state: &'static str,
    what: String,
    site_link: String,
    facts: Vec<(&'static str, String)>,
    kinds: Vec<(&'static str, &'static str, &'static str)>,
    counters: Vec<(String, Vec<String>)>,
    events: Vec<(String, &'static str, &'static str, String)>,
    events_link: String,
    connected: bool,
    action: String,
    csrf: String,
    levels: [&'static str; 5],
    longest: u32,
    done: String,
    error: String,
    diagnostics: String,
}

#[derive(Deserialize)]
pub(crate) struct CommandForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    minutes: String,
}

/// What came of a command, for the page.
#[derive(Default)]
struct Outcome {
    done: String,
    error: String,
    diagnostics: String,
}

pub(crate) async fn page(ctx: Ctx, Path((_, id)): Path<(String, String)>) -> Result<Response, WebError> {
    show(&ctx, &id, Outcome::default()).await
}

/// Gives the gateway a command and shows its outcome.
pub(crate) async fn command(
    ctx: Ctx,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    Form(form): Form<CommandForm>,
) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let gateway: Uuid = id.parse().map_err(|_| unknown())?;
    let (what, told) = match form.what.as_str() {
        "resend" => (CommandKind::ResendTopology, "resend the topology".to_owned()),
        "diagnostics" | "file" => (CommandKind::Diagnostics, "send diagnostics".to_owned()),
        "level" => match level(&form) {
            Ok(found) => found,
            Err(error) => {
                let outcome = Outcome { error, ..Outcome::default() };
                return show(&ctx, &id, outcome).await;
            }
        },
        other => return Err(WebError::Bad(format!("Gateways know no command “{other}”."))),
    };
    let result = ctx.app.gateways.command(&ctx.scope, gateway, what).await;
    if result.is_ok() {
        ctx.app.accounts.command_given(&ctx.scope, gateway, &told, ctx.now_us).await;
    }
    let outcome = match result {
        Ok(text) if form.what == "file" => return Ok(file(&id, text)),
        Ok(text) if form.what == "diagnostics" => Outcome {
            diagnostics: pretty(&text),
            ..Outcome::default()
        },
        Ok(text) => Outcome {
            done: format!("Asked to {told}. The gateway says: {text}."),
            ..Outcome::default()
        },
        Err(error) => Outcome {
            error: sentence(&error.to_string()),
            ..Outcome::default()
        },
    };
    show(&ctx, &id, outcome).await
}

fn level(form: &CommandForm) -> Result<(CommandKind, String), String> {
    let level = LEVELS
        .into_iter()
        .find(|level| *level == form.level)
        .ok_or_else(|| format!("The level is one of {}.", LEVELS.join(", ")))?;
    let minutes = form
        .minutes
        .trim()
        .parse()
        .ok()
        .filter(|minutes| (1..=LONGEST_MINUTES).contains(minutes))
        .ok_or_else(|| format!("Another level is kept for 1 to {LONGEST_MINUTES} minutes."))?;
    let what = CommandKind::LogLevel {
        level: level.to_owned(),
        seconds: minutes * 60,
    };
    Ok((what, format!("log at {level} for {minutes} min")))
}

async fn show(ctx: &Ctx, id: &str, outcome: Outcome) -> Result<Response, WebError> {
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    let gateways = ctx.app.gateways.of_site(&ctx.scope).await?;
    let gateway = gateways.iter().find(|gateway| gateway.id == id).ok_or_else(unknown)?;
    let keys = ctx.app.accounts.fingerprints(&ctx.scope).await?;
    let mut query = EventQuery::all(Period::new(0, i64::MAX), EVENTS);
    query.gateway = Some(id);
    let events = ctx.store().events(query).await?;
    let (state, what) = state(gateway, ctx.now_us);
    let figures = Figures::of(gateway);
    let key = keys.iter().find(|key| key.fingerprint == gateway.fingerprint);
    let live = gateway.live.as_ref();
    let facts = vec![
        ("Version", gateway.version.clone()),
        ("Address", live.map_or_else(dash, |live| live.address.to_string())),
        (
            "Clock",
            live.map_or_else(dash, |live| match live.clock_ahead_us {
                ahead if ahead.abs() < 1_000_000 => "within 1 s of the service’s".to_owned(),
                ahead if ahead > 0 => format!("{} ahead", units::duration(ahead)),
                behind => format!("{} behind", units::duration(-behind)),
            }),
        ),
        ("First seen", units::full(gateway.first_seen_us)),
        (
            "Role",
            match figures.leads() {
                Some(true) => "leads: sends topology, meters and flows".to_owned(),
                Some(false) => "follows: sends flows".to_owned(),
                None => dash(),
            },
        ),
        ("Lag", figures.lag()),
        ("Spool", figures.spool()),
        ("Agents sending flows", figures.agents()),
        ("Agents metered", figures.meters()),
        ("Memory", figures.memory()),
        ("Reported", figures.reported(ctx.now_us)),
        (
            "Key",
            format!(
                "{}{}",
                key.map_or_else(
                    || "deleted: ".to_owned(),
                    |key| if key.label.is_empty() {
                        String::new()
                    } else {
                        format!("{}: ", key.label)
                    }
                ),
                units::short_fingerprint(&gateway.fingerprint)
            ),
        ),
    ];
    let mut response = html(&Page {
        frame: Frame::new(ctx, &gateway.name, "site").await?,
        id: id.to_string(),
        name: gateway.name.clone(),
        state,
        what,
        site_link: ctx.to("site"),
        facts,
        kinds: KINDS
            .into_iter()
            .map(|(slug, name, _)| match live {
                None => (name, "unknown", "not known while it is not connected here"),
                Some(live) if allows(live.allowed, slug) => (name, "up", "may leave the site"),
                Some(_) => (name, "off", "kept by the site’s configuration"),
            })
            .collect(),
        counters: figures.counters(),
        events: events
            .into_iter()
            .map(|stored| {
                let (state, word) = match stored.event.level {
                    Level::Info => ("up", "info"),
                    Level::Warning => ("degraded", "warning"),
                    Level::Error => ("down", "error"),
                };
                (units::full(stored.event.at_us), state, word, stored.event.text)
            })
            .collect(),
        events_link: ctx.link("events", &[("find", &gateway.name)]),
        connected: gateway.disconnected_us.is_none(),
        action: format!("{}/site/gateways/{id}/command", ctx.base()),
        csrf: ctx.csrf(),
        levels: LEVELS,
        longest: LONGEST_MINUTES,
        done: outcome.done,
        error: outcome.error.clone(),
        diagnostics: outcome.diagnostics,
    })?;
    if !outcome.error.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn unknown() -> WebError {
    WebError::NotFound("The site has no such gateway.".to_owned())
}

fn file(id: &str, text: String) -> Response {
    let name = attachment(&format!("diagnostics-{id}.json"));
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], text).into_response()
}

/// As people read it; what is no JSON stays as it is.
fn pretty(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

fn dash() -> String {
    "–".to_owned()
}

pub(super) fn state(gateway: &GatewayStatus, now_us: i64) -> (&'static str, String) {
    match gateway.disconnected_us {
        None => ("up", format!("connected since {}", units::since(gateway.connected_us, now_us))),
        Some(since) => ("down", format!("away since {}", units::since(since, now_us))),
    }
}

/// A gateway's last report, in words.
pub(super) struct Figures(Option<(i64, Value)>);

impl Figures {
    pub(super) fn of(gateway: &GatewayStatus) -> Self {
        let parsed = gateway
            .last_report
            .as_ref()
            .and_then(|(at, json)| Some((*at, serde_json::from_str(json).ok()?)));
        Self(parsed)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.0.as_ref().and_then(|(_, report)| report.get(name)?.as_f64())
    }

    /// Whether it sends the topology and the meters of the site.
    fn leads(&self) -> Option<bool> {
        self.0.as_ref().and_then(|(_, report)| report.get("leads")?.as_bool())
    }

    pub(super) fn role(&self) -> &'static str {
        match self.leads() {
            Some(true) => "leads",
            Some(false) => "follows",
            None => "–",
        }
    }

    pub(super) fn lag(&self) -> String {
        self.number("lag_ms").map_or_else(dash, |lag| units::duration((lag * 1_000.0) as i64))
    }

    pub(super) fn spool(&self) -> String {
        match (self.number("spool_bytes"), self.number("spool_limit")) {
            (Some(used), Some(limit)) => format!("{} of {}", units::bytes(used), units::bytes(limit)),
            _ => dash(),
        }
    }

    pub(super) fn agents(&self) -> String {
        self.number("agents_connected").map_or_else(dash, |agents| units::count(agents as u64))
    }

    pub(super) fn meters(&self) -> String {
        match (self.number("meters_answered"), self.number("agents_alive")) {
            (Some(answered), Some(alive)) => format!("{answered} of {alive}"),
            _ => dash(),
        }
    }

    fn memory(&self) -> String {
        self.number("memory_bytes").map_or_else(dash, units::bytes)
    }

    pub(super) fn reported(&self, now_us: i64) -> String {
        self.0.as_ref().map_or_else(dash, |(at, _)| units::since(*at, now_us))
    }

    fn each(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter_map(|(_, report)| report.get("counters")?.as_array()).flatten()
    }

    /// Records given up since the gateway started.
    pub(super) fn lost(&self) -> String {
        if self.0.is_none() {
            return dash();
        }
        let lost = ["invalid", "dropped", "evicted"];
        let sum = self
            .each()
            .flat_map(|kind| lost.iter().filter_map(|name| kind.get(*name)?.as_u64()))
            .sum();
        units::count(sum)
    }

    /// Kind, and received to acknowledged.
    fn counters(&self) -> Vec<(String, Vec<String>)> {
        self.each()
            .map(|kind| {
                let name = kind.get("kind").and_then(Value::as_str).unwrap_or_default().to_lowercase();
                let figures = ["received", "invalid", "dropped", "spooled", "evicted", "acknowledged"]
                    .iter()
                    .map(|name| kind.get(*name).and_then(Value::as_u64).map_or_else(dash, units::count))
                    .collect();
                (name, figures)
            })
            .collect()
    }
}
