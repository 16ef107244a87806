// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who did what with the account and its sites, when, and from where.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};

use super::{Frame, framed};
use crate::{
    accounts::{AuditLine, AuditQuery},
    query::params::{Params, encode},
    web::{
        App,
        error::WebError,
        session::SignedIn,
        table::{csv_line, csv_response},
        units,
    },
};

const PATH: &str = "/account/audit";
/// Lines of a page.
const LINES: usize = 50;
/// Lines of a file: as many as are kept.
const FILE_LINES: usize = insights_store::catalog::KEPT_AUDIT;
/// Longest text that is looked for.
const LONGEST_FIND: usize = 200;

/// Groups of words, and what was refused of all.
const CHOICES: [(&str, &str); 8] = [
    ("", "All"),
    ("session", "Signing in"),
    ("account", "Account"),
    ("factor", "Second factor"),
    ("token", "API tokens"),
    ("site", "Sites"),
    ("alert", "Alerts"),
    ("refused", "Refused"),
];

#[derive(Template)]
#[template(path = "account_audit.html")]
struct Page {
    frame: Frame,
    lines: Vec<Line>,
    total: usize,
    find: String,
    kind: String,
    choices: Vec<(&'static str, String, bool)>,
    csv: String,
    newest: Option<String>,
    older: Option<String>,
}

struct Line {
    time: String,
    state: &'static str,
    word: &'static str,
    text: String,
    about: String,
}

pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn, RawQuery(query): RawQuery) -> Result<Response, WebError> {
    let params = Params::parse(&query.unwrap_or_default());
    let text = |name: &str| params.get(name).unwrap_or_default().trim().chars().take(LONGEST_FIND).collect::<String>();
    let (kind, find) = (text("kind"), text("find"));
    let before = match params.get("before").unwrap_or_default() {
        "" => None,
        id => Some(
            id.parse()
                .map_err(|_| WebError::Bad("The page that it continues can’t be read.".to_owned()))?,
        ),
    };
    if !CHOICES.iter().any(|(slug, _)| *slug == kind) {
        return Err(WebError::Bad(format!("There is no “{kind}” in the log.")));
    }
    let file = params.get("format") == Some("csv");
    let refused = kind == "refused";
    let wanted = AuditQuery {
        what: if refused || kind.is_empty() { String::new() } else { format!("{kind}.") },
        refused,
        find: find.clone(),
        before,
        limit: if file { FILE_LINES } else { LINES },
    };
    let (found, next) = app.accounts.audit(&session, wanted).await?;
    if file {
        return Ok(csv_response("audit.csv", csv(&found)));
    }
    let sites: BTreeMap<String, String> = app
        .accounts
        .sites(&session)
        .await?
        .into_iter()
        .map(|site| (site.id.to_string(), site.name))
        .collect();
    let here = |pairs: &[(&'static str, &str)]| {
        let kept = [("kind", kind.as_str()), ("find", find.as_str())];
        let kept = kept.into_iter().filter(|(name, _)| !pairs.iter().any(|(other, _)| other == name));
        let query = encode(kept.chain(pairs.iter().copied()).filter(|(_, value)| !value.is_empty()));
        if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
    };
    let page = Page {
        frame: Frame::new(&app, &session, PATH, "", String::new()).await?,
        total: app.accounts.audit_count(&session).await?,
        choices: CHOICES
            .iter()
            .map(|(slug, title)| (*title, here(&[("kind", slug)]), *slug == kind))
            .collect(),
        csv: here(&[("format", "csv")]),
        newest: before.map(|_| here(&[])),
        older: next.map(|id| here(&[("before", &id.to_string())])),
        lines: found.into_iter().map(|line| shown(line, &sites)).collect(),
        find,
        kind,
    };
    framed(&page, &page.frame)
}

fn shown(line: AuditLine, sites: &BTreeMap<String, String>) -> Line {
    let site = line.site.map(|id| {
        let id = id.to_string();
        sites.get(&id).cloned().unwrap_or(id)
    });
    let from = (!line.address.is_empty()).then(|| format!("from {}", line.address));
    let parts = [
        Some(line.what),
        from,
        Some(format!("by {}", line.by)),
        site.map(|site| format!("site {site}")),
    ];
    Line {
        time: units::full(line.time_us),
        state: if line.done { "up" } else { "down" },
        word: word(line.done),
        text: line.text,
        about: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
    }
}

fn word(done: bool) -> &'static str {
    if done { "done" } else { "refused" }
}

fn csv(lines: &[AuditLine]) -> String {
    let mut out = String::new();
    csv_line(&mut out, ["time", "what", "outcome", "text", "address", "by", "site"]);
    for line in lines {
        let site = line.site.map_or_else(String::new, |site| site.to_string());
        let time = units::rfc3339(line.time_us);
        csv_line(
            &mut out,
            [time.as_str(), &line.what, word(line.done), &line.text, &line.address, &line.by, &site],
        );
    }
    out
}
