// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A rule of one's own: the form, and what it would have said of the last day and week.

use askama::Template;
use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use insights_store::{Period, StoreError, catalog::Level};
use uuid::Uuid;

use super::alerts;
use crate::{
    alerts::{AlertError, Condition, Definition, DefinitionError, Measure, Preview, PreviewError, PreviewParts, Within},
    query::params::Params,
    site::Kind,
    web::{
        chart::{Chart, Gap, Look, Series},
        context::Ctx,
        error::{WebError, sentence},
        frame::Frame,
        html,
        units::{self, Unit},
    },
};

const DAY_US: i64 = 86_400_000_000;
const MINUTE_US: i64 = 60_000_000;
/// Minutes of one step of the charts of a day and of a week.
const DAY_STEP: usize = 5;
const WEEK_STEP: usize = 30;
/// Spans of alerts that are spelled out.
const LISTED: usize = 5;
/// Tenants to choose from; others are chosen by a filter.
const MOST_TENANTS: usize = 200;

/// Kinds of conditions, in words.
const CONDITIONS: [(&str, &str); 6] = [
    ("above", "stays above"),
    ("below", "stays below"),
    ("rises", "rises against as long before by"),
    ("falls", "falls against as long before by"),
    ("unusual", "is more than the usual by"),
    ("absent", "is nothing at all"),
];

#[derive(Template)]
#[template(path = "alert_rule.html")]
struct Page {
    frame: Frame,
    title: String,
    list: String,
    form: String,
    save: String,
    /// Of a rule that is kept already.
    id: String,
    fields: Fields,
    measures: Vec<(&'static str, &'static str)>,
    conditions: Vec<(&'static str, &'static str)>,
    places: Vec<(String, String)>,
    error: String,
    says: String,
    previews: Vec<Card>,
}

/// What stands in the form.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Fields {
    name: String,
    measure: String,
    filter: String,
    place: String,
    condition: String,
    amount: String,
    least: String,
    minutes: String,
    level: String,
}

/// What a rule would have said.
struct Card {
    title: &'static str,
    about: String,
    chart: String,
    spans: Vec<String>,
    error: String,
}

/// The form of a new rule.
pub(crate) async fn new(ctx: Ctx) -> Result<Response, WebError> {
    let fields = Fields::of(&ctx.params);
    show(&ctx, "", fields, String::new()).await
}

/// The form of a rule that is kept.
pub(crate) async fn edit(ctx: Ctx, Path((_, id)): Path<(String, String)>) -> Result<Response, WebError> {
    let kept = alerts(&ctx).own_rule(&ctx.scope, &id).await?;
    let kept = kept.ok_or_else(|| WebError::NotFound("There is no such rule at this site.".to_owned()))?;
    let fields = if ctx.params.get("is").is_some() {
        Fields::of(&ctx.params)
    } else {
        Fields::from(&kept.definition)
    };
    show(&ctx, &kept.id, fields, String::new()).await
}

/// Saves or deletes a rule: `deed` is `save` or `delete`, the rest as in the form.
pub(crate) async fn change(ctx: Ctx, headers: HeaderMap, body: String) -> Result<Response, WebError> {
    let sent = Params::parse(&body);
    let field = |name: &str| sent.get(name).unwrap_or_default();
    ctx.guard(&headers, field("csrf"))?;
    let (id, fields) = (field("rule"), Fields::of(&sent));
    let done = match field("deed") {
        "delete" => alerts(&ctx).delete_rule(&ctx.scope, id).await.map(|name| (name, "deleted", "gone-rule")),
        "save" => match fields.definition() {
            // What it names must be there now; later it may go.
            Ok(definition) => match definition.looks_at(&ctx.site, &ctx.tenants.0) {
                Ok(()) => {
                    let kept = Some(id).filter(|id| !id.is_empty());
                    let saved = alerts(&ctx).save_rule(&ctx.scope, kept, &definition, ctx.now_us).await;
                    let what = if kept.is_some() { "changed" } else { "made" };
                    saved.map(|_| (definition.name.trim().to_owned(), what, "saved"))
                }
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        },
        other => return Err(WebError::Bad(format!("Nobody can “{other}” a rule."))),
    };
    match done {
        Ok((name, what, done)) => {
            ctx.app.accounts.rule_changed(&ctx.scope, &name, what, ctx.now_us).await;
            Ok(Redirect::to(&ctx.link("alerts", &[("view", "rules"), ("done", done)])).into_response())
        }
        Err(AlertError::Store(error)) => Err(error.into()),
        Err(error) => {
            let mut page = show(&ctx, id, fields, sentence(&error.to_string())).await?;
            *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(page)
        }
    }
}

/// The form for a rule of a measure, a filter and a place: where "alert me on this" leads.
pub(crate) fn link(ctx: &Ctx, measure: Measure, filter: &str, place: &Within) -> String {
    ctx.link(
        "alerts/rules/new",
        &[("measure", measure.slug()), ("filter", filter), ("in", &place_text(place))],
    )
}

async fn show(ctx: &Ctx, id: &str, mut fields: Fields, mut error: String) -> Result<Response, WebError> {
    let (mut says, mut previews) = (String::new(), Vec::new());
    let parts = PreviewParts {
        store: ctx.store(),
        gateways: &ctx.app.gateways,
        site: &ctx.site,
        tenants: &ctx.tenants.0,
        now_us: ctx.now_us,
    };
    if fields.amount.is_empty() && fields.condition == "above" && error.is_empty() {
        // Half as much again as the most of the day: a begin that says nothing of what is usual.
        let probe = Fields {
            amount: "1".to_owned(),
            name: "probe".to_owned(),
            ..fields.clone()
        };
        if let Ok(probe) = probe.definition()
            && let Ok(day) = probe.preview(&parts, DAY_US).await
        {
            let most = day.values.iter().copied().fold(0.0, f64::max);
            fields.amount = round_up(most * 1.5).to_string();
        }
    }
    match fields.definition() {
        Ok(definition) => {
            says = definition.says();
            let (day, week) = tokio::join!(definition.preview(&parts, DAY_US), definition.preview(&parts, 7 * DAY_US));
            match (day, week) {
                (Err(PreviewError::Definition(wrong)), _) | (_, Err(PreviewError::Definition(wrong))) => {
                    says.clear();
                    if error.is_empty() {
                        error = sentence(&wrong.to_string());
                    }
                }
                (day, week) => {
                    previews.push(card("The last day", &definition, day, DAY_STEP)?);
                    previews.push(card("The last week", &definition, week, WEEK_STEP)?);
                }
            }
        }
        Err(wrong) if error.is_empty() => error = sentence(&wrong.to_string()),
        Err(_) => {}
    }
    html(&Page {
        title: if id.is_empty() { "New rule".to_owned() } else { fields.name.clone() },
        list: ctx.link("alerts", &[("view", "rules")]),
        form: if id.is_empty() {
            format!("{}/alerts/rules/new", ctx.base())
        } else {
            format!("{}/alerts/rules/{id}", ctx.base())
        },
        save: format!("{}/alerts/rules/own", ctx.base()),
        id: id.to_owned(),
        measures: Measure::ALL.iter().map(|(_, slug, about)| (*slug, *about)).collect(),
        conditions: CONDITIONS.to_vec(),
        places: places(ctx, &fields.place),
        fields,
        error,
        says,
        previews,
        frame: Frame::new(ctx, "Rule", "alerts").await?,
    })
}

/// Where a rule can count: the place that it has, the site, its tenants. Devices are chosen at their pages.
fn places(ctx: &Ctx, chosen: &str) -> Vec<(String, String)> {
    let mut places = vec![("site".to_owned(), "the whole site".to_owned())];
    if let Ok(place @ Within::Device { .. }) = place_of(chosen) {
        places.push((chosen.to_owned(), place_words(ctx, &place)));
    }
    let tenants = ctx
        .site
        .tenants()
        .iter()
        .take(MOST_TENANTS)
        .map(|tenant| Within::Tenant { id: tenant.id.clone() });
    let mut tenants: Vec<_> = tenants.map(|place| (place_text(&place), place_words(ctx, &place))).collect();
    if let Ok(place @ Within::Tenant { .. }) = place_of(chosen)
        && !tenants.iter().any(|(text, _)| text == chosen)
    {
        tenants.push((chosen.to_owned(), place_words(ctx, &place)));
    }
    places.extend(tenants);
    places
}

pub(super) fn place_words(ctx: &Ctx, place: &Within) -> String {
    match place {
        Within::Site => "the whole site".to_owned(),
        Within::Tenant { id } => format!("tenant {}", ctx.tenants.name(id)),
        Within::Device { kind, id } => format!("{} {}", Kind::from_slug(kind).map_or("device", Kind::label), ctx.site.name(*id)),
    }
}

fn place_text(place: &Within) -> String {
    match place {
        Within::Site => "site".to_owned(),
        Within::Tenant { id } => format!("tenant:{id}"),
        Within::Device { kind, id } => format!("{kind}:{id}"),
    }
}

fn place_of(text: &str) -> Result<Within, DefinitionError> {
    let gone = || DefinitionError::Gone("place".to_owned());
    match text.split_once(':') {
        None if text.is_empty() || text == "site" => Ok(Within::Site),
        Some(("tenant", id)) if !id.is_empty() => Ok(Within::Tenant { id: id.to_owned() }),
        Some((kind, id)) => Ok(Within::Device {
            kind: kind.to_owned(),
            id: id.parse::<Uuid>().map_err(|_| gone())?,
        }),
        None => Err(gone()),
    }
}

impl Fields {
    fn of(params: &Params) -> Self {
        let get = |name: &str, otherwise: &str| {
            let text = params.get(name).map(str::trim).unwrap_or_default();
            if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
        };
        let filter = get("filter", "");
        let name = match (filter.as_str(), get("measure", "records").as_str()) {
            ("", "records") => "Flow records".to_owned(),
            ("", _) => "Traffic".to_owned(),
            (filter, _) => filter.chars().take(80).collect(),
        };
        Self {
            name: get("name", &name),
            measure: get("measure", "records"),
            filter,
            place: get("in", "site"),
            condition: get("is", "above"),
            amount: get("amount", ""),
            least: get("least", "0"),
            minutes: get("minutes", "5"),
            level: get("level", "warning"),
        }
    }

    fn definition(&self) -> Result<Definition, DefinitionError> {
        let minutes = self.minutes.parse().map_err(|_| DefinitionError::Minutes)?;
        let amount = || figure(&self.amount).ok_or(DefinitionError::Figure);
        let least = || figure(&self.least).ok_or(DefinitionError::Figure);
        let condition = match self.condition.as_str() {
            "above" => Condition::Above {
                threshold: amount()?,
                minutes,
            },
            "below" => Condition::Below {
                threshold: amount()?,
                minutes,
            },
            "rises" => Condition::Rises {
                percent: amount()?,
                minutes,
                least: least()?,
            },
            "falls" => Condition::Falls {
                percent: amount()?,
                minutes,
                least: least()?,
            },
            "unusual" => Condition::Unusual {
                times: amount()?,
                minutes,
                least: least()?,
            },
            "absent" => Condition::Absent { minutes },
            _ => return Err(DefinitionError::Figure),
        };
        let definition = Definition {
            name: self.name.clone(),
            measure: Measure::from_slug(&self.measure).ok_or(DefinitionError::Figure)?,
            filter: self.filter.clone(),
            scope: place_of(&self.place)?,
            condition,
            level: if self.level == "critical" { Level::Error } else { Level::Warning },
        };
        definition.check()?;
        Ok(definition)
    }
}

impl From<&Definition> for Fields {
    fn from(definition: &Definition) -> Self {
        let (amount, least) = match definition.condition {
            Condition::Above { threshold, .. } | Condition::Below { threshold, .. } => (threshold.to_string(), 0.0),
            Condition::Rises { percent, least, .. } | Condition::Falls { percent, least, .. } => (percent.to_string(), least),
            Condition::Unusual { times, least, .. } => (times.to_string(), least),
            Condition::Absent { .. } => (String::new(), 0.0),
        };
        Self {
            name: definition.name.clone(),
            measure: definition.measure.slug().to_owned(),
            filter: definition.filter.clone(),
            place: place_text(&definition.scope),
            condition: definition.condition.slug().to_owned(),
            amount,
            least: least.to_string(),
            minutes: definition.condition.minutes().to_string(),
            level: if definition.level == Level::Error { "critical" } else { "warning" }.to_owned(),
        }
    }
}

/// A number as people type it: `1500`, `1.5k`, `20 M`.
fn figure(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches('%').trim_end();
    let (number, factor) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1e3),
        (at, 'M') => (&text[..at], 1e6),
        (at, 'G') => (&text[..at], 1e9),
        (at, 'T') => (&text[..at], 1e12),
        _ => (text, 1.0),
    };
    let number: f64 = number.trim_end().parse().ok()?;
    number.is_finite().then_some(number * factor)
}

/// Two digits, upwards.
fn round_up(value: f64) -> f64 {
    if value < 10.0 {
        return value.max(1.0).ceil();
    }
    let unit = 10f64.powf(value.log10().floor() - 1.0);
    (value / unit).ceil() * unit
}

fn card(title: &'static str, definition: &Definition, preview: Result<Preview, PreviewError>, step: usize) -> Result<Card, WebError> {
    let preview = match preview {
        Ok(preview) => preview,
        Err(PreviewError::Store(StoreError::OverBudget { .. } | StoreError::Busy { .. })) => {
            return Ok(Card {
                title,
                about: String::new(),
                chart: String::new(),
                spans: Vec::new(),
                error: "That reaches over more records than may be read at once. A narrower filter may do.".to_owned(),
            });
        }
        Err(PreviewError::Store(error)) => return Err(error.into()),
        Err(PreviewError::Definition(error)) => return Err(WebError::Bad(sentence(&error.to_string()))),
    };
    let alerts = units::plural(preview.alerts.len(), "alert", "alerts");
    let about = match preview.unknown {
        0 => alerts,
        unknown => format!("{alerts}; nobody could have said for {}", units::duration(unknown as i64 * MINUTE_US)),
    };
    let spans = preview.alerts.iter().rev().take(LISTED).map(|span| match span.to_us {
        Some(to_us) => format!(
            "{} – {} UTC, {}",
            units::day_minute(span.from_us),
            units::minute(to_us),
            units::duration(to_us - span.from_us)
        ),
        None => format!("{} UTC, and still open", units::day_minute(span.from_us)),
    });
    let mut spans: Vec<String> = spans.collect();
    if preview.alerts.len() > LISTED {
        spans.push(format!("and {} before", preview.alerts.len() - LISTED));
    }
    Ok(Card {
        title,
        about,
        chart: chart(title, definition, &preview, step).html_compact(),
        spans,
        error: String::new(),
    })
}

fn chart(title: &str, definition: &Definition, preview: &Preview, step: usize) -> Chart {
    let least = matches!(
        definition.condition,
        Condition::Below { .. } | Condition::Falls { .. } | Condition::Absent { .. }
    );
    let pick = |values: &[f64]| values.iter().copied().reduce(if least { f64::min } else { f64::max });
    let values: Vec<Option<f64>> = preview.values.chunks(step).map(pick).collect();
    let (unit, name) = match definition.measure {
        Measure::Records => (Unit::RecordsMinute, "Records"),
        Measure::Bits | Measure::BitsIn | Measure::BitsOut => (Unit::Bits, "Traffic"),
        _ => (Unit::Packets, "Packets"),
    };
    let step_us = step as i64 * MINUTE_US;
    let Period { from_us, to_us } = preview.period;
    let each = if least { "least" } else { "most" };
    let series = vec![Series {
        name: format!("{name}, the {each} of {step} min"),
        look: Look::Single,
        values,
        total: String::new(),
    }];
    let label = format!("{title} of the rule {}, with the alerts that it would have opened", definition.name);
    let mut chart = Chart::new(label, unit, preview.period, from_us, step_us, series);
    chart.height = 150;
    chart.limit = definition.condition.threshold();
    if let Some(limit) = chart.limit {
        chart.scale_to(limit);
    }
    chart.alarms = preview
        .alerts
        .iter()
        .map(|span| Gap {
            from_us: span.from_us,
            to_us: span.to_us.unwrap_or(to_us),
        })
        .collect();
    let gap = |(from_us, to_us): &(i64, i64)| Gap {
        from_us: *from_us,
        to_us: *to_us,
    };
    chart.gaps = preview.incomplete.iter().map(gap).collect();
    if !chart.gaps.is_empty() {
        chart.lost = "something may be missing".to_owned();
    }
    chart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_people_type_them() {
        for (text, value) in [("1500", 1_500.0), ("1.5k", 1_500.0), ("20 M", 2e7), ("50 %", 50.0), ("3G", 3e9)] {
            assert_eq!(figure(text), Some(value), "{text}");
        }
        for text in ["", "k", "ten", "inf", "1e999"] {
            assert_eq!(figure(text), None, "{text}");
        }
        assert_eq!([0.0, 7.2, 123.0, 1_234_567.0].map(round_up), [1.0, 8.0, 130.0, 1_300_000.0]);
    }

    #[test]
    fn a_rule_is_what_its_form_says() {
        let id = Uuid::from_u128(7);
        let definition = Definition {
            name: "busy".into(),
            measure: Measure::BitsIn,
            filter: String::new(),
            scope: Within::Device { kind: "host".into(), id },
            condition: Condition::Falls {
                percent: 80.0,
                minutes: 15,
                least: 1e6,
            },
            level: Level::Error,
        };
        assert_eq!(Fields::from(&definition).definition().unwrap(), definition);
        let fields = Fields::of(&Params::parse("filter=result+%3D+dropped&amount=10"));
        let read = fields.definition().unwrap();
        assert_eq!(read.name, "result = dropped");
        assert_eq!(read.condition, Condition::Above { threshold: 10.0, minutes: 5 });
        assert!(place_of("host:x").is_err() && place_of("nonsense").is_err());
    }
}
