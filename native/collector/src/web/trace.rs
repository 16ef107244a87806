// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Where a packet would go: asked for by port and address, or shown for a recorded flow beside what its agent said.

use askama::Template;
use axum::response::Response;

use super::{
    changes::{ChangeRow, change_row},
    context::Ctx,
    device,
    error::WebError,
    frame::Frame,
    html, units,
};
use crate::query::{
    cause::{self, Cause},
    flows,
    params::Params,
    trace::{self, Agreement, Ask, PROTOCOLS, Way},
};

/// Changes that are listed of a kind; a person reads no more.
const LISTED: usize = 20;

#[derive(Template)]
#[template(path = "trace.html")]
struct Page {
    frame: Frame,
    form: Form,
    /// The field that is wrong and why, with what it may mean.
    error: Option<(&'static str, String)>,
    choices: Vec<(String, String)>,
    ways: Vec<(&'static str, &'static str, Way)>,
    agreement: Option<Agreement>,
    since: Option<Since>,
    /// Of then, where it is not of now.
    as_of: String,
    now: String,
}

impl Page {
    fn is_wrong(&self, field: &str) -> bool {
        self.error.as_ref().is_some_and(|(wrong, _)| *wrong == field)
    }

    /// The protocol is none of those that the form offers.
    fn other_proto(&self) -> bool {
        !self.form.proto.is_empty() && PROTOCOLS.iter().all(|(word, _)| *word != self.form.proto)
    }
}

/// Since when the conversation is dropped, and by which change.
struct Since {
    text: String,
    /// Links to the last record that was let through and to the first that was dropped.
    records: Vec<(&'static str, String)>,
    decides: Vec<ChangeRow>,
    near: Vec<ChangeRow>,
    rest: String,
}

impl Since {
    fn of(ctx: &Ctx, cause: &Cause) -> Self {
        let link = |id: &str| ctx.link("trace", &[("flow", id)]);
        let mut records = Vec::new();
        let text = match &cause.allowed {
            None => "No record of this conversation was let through in the 7 days before: it was never allowed, or nobody tried.".to_owned(),
            Some((id, at_us)) => {
                records.push(("The last that was let through", link(id)));
                format!(
                    "The last record that was let through is of {}, the first that was dropped of {}.",
                    units::full(*at_us),
                    units::full(cause.dropped.1)
                )
            }
        };
        if cause.allowed.is_some() {
            records.push(("The first that was dropped", link(&cause.dropped.0)));
        }
        let rows = |decides: bool| {
            let suspects = cause.suspects.iter().filter(|suspect| suspect.decides == decides);
            suspects.take(LISTED).map(|suspect| change_row(ctx, &suspect.change)).collect::<Vec<_>>()
        };
        let (decides, near) = (rows(true), rows(false));
        let unlisted = cause.suspects.len() - decides.len() - near.len() + cause.others;
        let rest = match (cause.allowed.is_some(), unlisted, cause.cut) {
            (false, ..) => String::new(),
            (true, count, true) => format!("{count} more changes happened in between, and others that were too many to look at."),
            (true, 0, false) if cause.suspects.is_empty() => {
                "Nothing of the topology changed in between: look at what agents learned, at hosts and at connection state.".to_owned()
            }
            (true, 0, false) => "Nothing else changed in between.".to_owned(),
            (true, count, false) => format!("{} in between, of other things.", units::plural(count, "more change", "more changes")),
        };
        Self {
            text,
            records,
            decides,
            near,
            rest,
        }
    }
}

/// What stands in the form.
struct Form {
    port: String,
    dst: String,
    src: String,
    proto: String,
    sport: String,
    dport: String,
    at: String,
}

impl Form {
    fn of(params: &Params) -> Self {
        let get = |name| params.get(name).unwrap_or_default().to_owned();
        Self {
            port: get("port"),
            dst: get("dst"),
            src: get("src"),
            proto: get("proto"),
            sport: get("sport"),
            dport: get("dport"),
            at: get("at"),
        }
    }
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let mut page = Page {
        frame: Frame::new(&ctx, "Trace", "trace").await?,
        form: Form::of(&ctx.params),
        error: None,
        choices: Vec::new(),
        ways: Vec::new(),
        agreement: None,
        since: None,
        as_of: String::new(),
        now: ctx.here(&[("at", ""), ("flow", "")]),
    };
    if let Some(text) = ctx.params.get("flow").filter(|text| !text.is_empty()) {
        recorded(&ctx, text, &mut page).await?;
    } else {
        asked(&ctx, &mut page).await?;
    }
    html(&page)
}

/// The packet of the form, over the topology of now or of the moment that it names.
async fn asked(ctx: &Ctx, page: &mut Page) -> Result<(), WebError> {
    let mut site = ctx.site.clone();
    if let Some(text) = ctx.params.get("at").filter(|text| !text.is_empty()) {
        let at: i64 = text
            .parse()
            .map_err(|_| WebError::Bad(format!("“{text}” is no moment: it is seconds since 1970.")))?;
        let at_us = at.saturating_mul(1_000_000);
        site = ctx.app.sites.at(&ctx.scope, at_us).await?;
        page.as_of = units::full(at_us);
    }
    let ask = match Ask::parse(&site, &ctx.params) {
        Ok(Some(ask)) => ask,
        Ok(None) => return Ok(()),
        Err(error) => {
            let link = |id: &uuid::Uuid| ctx.here(&[(error.field, &id.to_string())]);
            page.choices = error.choices.iter().map(|(id, name)| (link(id), name.clone())).collect();
            page.error = Some((error.field, error.text));
            return Ok(());
        }
    };
    match trace::trace(site, ask).await {
        Ok(ways) => {
            page.ways.push(("there", "The way there", ways.there));
            page.ways.extend(ways.back.map(|back| ("back", "The way of the answer", back)));
        }
        Err(error) => page.error = Some(("port", format!("No such packet can be sent: {error}."))),
    }
    Ok(())
}

/// The packet of a stored flow, over the topology of its time.
async fn recorded(ctx: &Ctx, text: &str, page: &mut Page) -> Result<(), WebError> {
    let id = text.parse().map_err(|_| WebError::Bad(format!("“{text}” names no flow.")))?;
    let Some((flow, path)) = flows::flow(ctx.store(), id).await? else {
        return Err(WebError::NotFound("The flow of this link is not stored any more.".to_owned()));
    };
    if let Some(cause) = cause::cause(ctx.store(), &ctx.app.sites, &ctx.scope, id, flow.row.clone(), path.clone()).await? {
        page.since = Some(Since::of(ctx, &cause));
    }
    let row = flow.row;
    page.as_of = units::full(row.time_us);
    page.form.at = row.time_us.div_euclid(1_000_000).to_string();
    page.form.port = row.in_port.map(|port| port.to_string()).unwrap_or_default();
    page.form.src = row.src_ip.map(|address| address.to_string()).unwrap_or_default();
    page.form.dst = row.dst_ip.map(|address| address.to_string()).unwrap_or_default();
    page.form.proto = PROTOCOLS
        .iter()
        .find(|(_, number)| *number == row.proto)
        .map_or_else(|| row.proto.to_string(), |(word, _)| (*word).to_owned());
    if flows::has_ports(&row) {
        (page.form.sport, page.form.dport) = (row.src_tp.to_string(), row.dst_tp.to_string());
    }
    let site = ctx.app.sites.at(&ctx.scope, row.time_us).await?;
    match trace::of_flow(site, row, path).await {
        Some((way, agreement)) => {
            page.ways.push(("there", "The way of the recorded packet", way));
            page.agreement = Some(agreement);
        }
        None => {
            page.error = Some((
                "port",
                "This record has no way of its own: its agent made the packet, or got it by a tunnel from the host where it entered.".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Shape and colour of an end.
fn end_class(way: &Way) -> &'static str {
    match way.verdict {
        "delivered" | "answered" | "flooded" => "up",
        "dropped" => "down",
        _ => "unknown",
    }
}

fn icon(stop: &trace::Stop) -> &'static str {
    device::icon(stop.kind)
}
