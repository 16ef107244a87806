// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt::Write;

use super::{Chart, escape};
use crate::web::units;

macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _ = write!($out, $($text)*);
    };
}

/// Most rows of the table of values; a longer chart is read in its CSV.
const TABLE_ROWS: usize = 200;

/// Min, mean, p95, max, last and total of each series.
pub(super) fn legend(chart: &Chart, out: &mut String) {
    let (factor, unit) = chart.unit.scaled(chart.max(false).max(chart.max(true)));
    put!(
        out,
        "<table class=\"legend\"><thead><tr><th scope=\"col\">{unit}</th><th scope=\"col\" class=\"opt\">min</th><th scope=\"col\">mean</th><th scope=\"col\">p95</th><th scope=\"col\">max</th><th scope=\"col\">last</th><th scope=\"col\">total</th></tr></thead><tbody>"
    );
    for series in &chart.series {
        let mut known: Vec<f64> = series.values.iter().flatten().map(|value| value / factor).collect();
        let last = known.last().copied();
        known.sort_by(f64::total_cmp);
        let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::short);
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        // Nearest rank: the smallest value that is not below 95 % of all.
        let p95 = known.get((known.len() * 95).div_ceil(100).saturating_sub(1)).copied();
        put!(
            out,
            "<tr><th scope=\"row\"><i class=\"sw {}\"></i>{}</th><td class=\"opt\">{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"last\">{}</td><td>{}</td></tr>",
            series.look.swatch(),
            escape(&series.name),
            figure(known.first().copied()),
            figure(mean),
            figure(p95),
            figure(known.last().copied()),
            figure(last),
            escape(&series.total)
        );
    }
    out.push_str("</tbody></table>");
}

pub(super) fn keys(chart: &Chart, out: &mut String) {
    out.push_str("<span class=\"keyrow\">");
    for series in &chart.series {
        put!(out, "<span><i class=\"sw {}\"></i>{}</span>", series.look.swatch(), escape(&series.name));
    }
    out.push_str("</span>");
}

pub(super) fn completeness(chart: &Chart, out: &mut String) {
    let key = |class: &str| {
        format!("<svg width=\"16\" height=\"6\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"16\" height=\"5\" y=\".5\"/></svg>")
    };
    if !chart.hint.is_empty() {
        out.push_str("<div class=\"row foot-row\">");
    }
    put!(out, "<p class=\"complete\">{}complete", key("band-ok"));
    if !chart.gaps.is_empty() {
        put!(out, " {}<b>{}</b>", key("band-lost"), escape(&chart.lost));
    }
    out.push_str("</p>");
    if !chart.hint.is_empty() {
        put!(
            out,
            "<span class=\"grow\"></span><p class=\"hint desk-only\">{}</p></div>",
            escape(&chart.hint)
        );
    }
}

/// The values themselves.
pub(super) fn table(chart: &Chart, out: &mut String) {
    let (factor, unit) = chart.unit.scaled(chart.max(false).max(chart.max(true)));
    let count = chart.series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    if count == 0 || chart.is_empty() {
        return;
    }
    put!(
        out,
        "<details class=\"astable\"><summary>Values as a table</summary><div class=\"scroll tall\" tabindex=\"0\"><table class=\"t\"><caption class=\"sr\">{}</caption><thead><tr><th scope=\"col\">Begin, UTC</th>",
        escape(&chart.label)
    );
    for series in &chart.series {
        put!(out, "<th scope=\"col\" class=\"num\">{}, {unit}</th>", escape(&series.name));
    }
    out.push_str("</tr></thead><tbody>");
    for at in (0..count).rev().take(TABLE_ROWS) {
        let time = chart.start_us + at as i64 * chart.step_us;
        put!(out, "<tr><td>{} {}</td>", units::day(time), units::clock(time));
        for series in &chart.series {
            let value = series.values.get(at).copied().flatten();
            put!(
                out,
                "<td class=\"num\">{}</td>",
                value.map_or_else(|| "–".to_owned(), |value| units::short(value / factor))
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details>");
}
