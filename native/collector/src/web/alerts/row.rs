// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! An alert as lists show it.

use insights_store::catalog::{Level, StoredAlert};

use crate::{
    alerts::{About, built_in},
    web::{context::Ctx, units},
};

pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) href: String,
    pub(crate) state: &'static str,
    pub(crate) word: &'static str,
    pub(crate) text: String,
    pub(crate) rule: String,
    /// What it is about, and where that leads; both empty for none.
    pub(crate) about: String,
    pub(crate) about_link: String,
    pub(crate) since: String,
    pub(crate) since_full: String,
    pub(crate) lasted: String,
    pub(crate) value: String,
    pub(crate) threshold: String,
    pub(crate) members: String,
    pub(crate) unknown: String,
    pub(crate) acknowledged: String,
    pub(crate) silenced: String,
    pub(crate) resolved: String,
    pub(crate) csrf: String,
}

impl Row {
    pub(crate) fn new(ctx: &Ctx, alert: &StoredAlert) -> Self {
        let about = About::parse(&alert.says.about);
        let until_us = alert.resolved.as_ref().map_or(ctx.now_us, |(at_us, _)| *at_us);
        let (value, threshold) = figures(alert);
        let resolved = alert.resolved.as_ref();
        Self {
            id: alert.id,
            href: ctx.to(&format!("alerts/{}", alert.id)),
            state: match (resolved, &alert.unknown) {
                (Some(_), _) => "up",
                (None, Some(_)) => "unknown",
                (None, None) => state(alert.says.level),
            },
            word: match (resolved, &alert.unknown) {
                (Some(_), _) => "resolved",
                (None, Some(_)) => "unknown",
                (None, None) => word(alert.says.level),
            },
            text: alert.says.text.clone(),
            rule: rule_name(&alert.rule, &about),
            about_link: about_link(ctx, &about),
            about: match about.kind.as_str() {
                "site" => "this site".to_owned(),
                _ => about.name,
            },
            since: units::since(alert.since_us, ctx.now_us),
            since_full: units::full(alert.since_us),
            lasted: units::duration(until_us - alert.since_us),
            value,
            threshold,
            members: match alert.says.members {
                0 => String::new(),
                members => format!("and {} that follow from it", units::count(u64::from(members))),
            },
            unknown: alert.unknown.as_ref().map_or_else(String::new, |(_, why)| why.clone()),
            acknowledged: alert.acknowledged.as_ref().map_or_else(String::new, |(_, by)| by.clone()),
            silenced: alert.silenced.as_ref().map_or_else(String::new, |(until_us, _)| units::full(*until_us)),
            resolved: resolved.map_or_else(String::new, |(at_us, why)| format!("{}, {why}", units::full(*at_us))),
            csrf: ctx.csrf(),
        }
    }
}

/// Shape and colour of how grave it is.
pub(super) fn state(level: Level) -> &'static str {
    match level {
        Level::Error => "down",
        Level::Warning => "degraded",
        Level::Info => "unknown",
    }
}

pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "critical",
        Level::Warning => "warning",
        Level::Info => "notice",
    }
}

pub(super) fn rule_name(id: &str, about: &About) -> String {
    match built_in(id) {
        Some(rule) => rule.name.to_owned(),
        None if about.rule.is_empty() => id.to_owned(),
        None => about.rule.clone(),
    }
}

/// The page of what an alert is about; empty when it has none.
pub(super) fn about_link(ctx: &Ctx, about: &About) -> String {
    match (about.kind.as_str(), about.id) {
        ("gateway", Some(id)) => ctx.to(&format!("site/gateways/{id}")),
        ("site", _) => ctx.to("site"),
        (kind, Some(id)) if !kind.is_empty() => ctx.to(&format!("d/{kind}/{id}")),
        _ => String::new(),
    }
}

/// Value and threshold with their units.
pub(super) fn figures(alert: &StoredAlert) -> (String, String) {
    let with_unit = |value: f64| match alert.rule.as_str() {
        "gateway-lagging" => units::duration((value * 1e6) as i64),
        "quota-nearing" => format!("{value:.0}\u{202f}%"),
        "certificate-expiring" => format!("{value:.0}\u{202f}d"),
        "records-lost" => format!("{} records", units::count(value as u64)),
        _ => units::short(value),
    };
    let text = |value: Option<f64>| value.map_or_else(String::new, with_unit);
    (text(alert.says.value), text(alert.says.threshold))
}
