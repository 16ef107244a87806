// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt::Write;

use super::{Chart, Look, Series, axis, axis::Scale, escape};

/// Width and height of the stretched picture in its own units: finer than any screen.
const WIDTH: f64 = 2000.0;
const HEIGHT: f64 = 1000.0;
/// Room of the time axis and of the completeness band, CSS pixels.
const AXIS: u32 = 30;

/// Writes into a string, which can't fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        let _ = write!($out, $($text)*);
    };
}

pub(super) fn plot(chart: &Chart, out: &mut String) {
    let inner = chart.height - AXIS;
    let (factor, unit) = chart.unit.scaled(chart.max(false).max(chart.max(true)));
    let scale = scale_of(chart, factor, if inner < 130 { 3.0 } else { 5.0 });
    put!(out, "<div class=\"plot\"");
    data(chart, factor, &unit, out);
    put!(out, "><svg width=\"40\" height=\"{}\" aria-hidden=\"true\">", chart.height);
    let lines = grid(chart, &scale, inner);
    for (y, label, _) in &lines {
        put!(out, "<text class=\"e\" x=\"32\" y=\"{}\">{label}</text>", y + 4);
    }
    put!(
        out,
        "</svg><svg width=\"100%\" height=\"{}\" role=\"img\" aria-label=\"{}, {unit}, {}. Figures in the table below.\">",
        chart.height,
        escape(&chart.label),
        crate::web::units::span(chart.period.from_us, chart.period.to_us)
    );
    for (y, _, zero) in &lines {
        put!(
            out,
            "<line class=\"{}\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>",
            if *zero { "zero" } else { "gl" }
        );
    }
    for gap in &chart.gaps {
        let (x, width) = band(chart, gap.from_us, gap.to_us);
        put!(out, "<rect class=\"gap\" x=\"{x}%\" width=\"{width}%\" y=\"0\" height=\"{inner}\"/>");
    }
    for alarm in &chart.alarms {
        let (x, width) = band(chart, alarm.from_us, alarm.to_us);
        put!(out, "<rect class=\"alarm\" x=\"{x}%\" width=\"{width}%\" y=\"0\" height=\"{inner}\"/>");
    }
    if chart.is_empty() {
        put!(out, "<rect class=\"nodata\" x=\"0\" y=\"0\" width=\"100%\" height=\"{inner}\"/>");
        put!(out, "<text class=\"m\" x=\"50%\" y=\"{}\">no data in this period</text>", inner / 2 + 4);
    } else {
        put!(
            out,
            "<svg x=\"0\" y=\"0\" width=\"100%\" height=\"{inner}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"
        );
        shapes(chart, &scale, factor, out);
        out.push_str("</svg>");
    }
    if let Some(limit) = chart.limit {
        let y = (scale.place(limit / factor) * f64::from(inner)).round();
        put!(out, "<line class=\"limit\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>");
    }
    completeness_band(chart, inner, out);
    for (at, tick) in axis::time_ticks(chart.period).into_iter().enumerate() {
        let x = percent(chart, tick.0);
        if (1.5..=98.5).contains(&x) {
            put!(
                out,
                "<text class=\"m{}\" x=\"{x}%\" y=\"{}\">{}</text>",
                if at % 2 == 1 { " alt" } else { "" },
                inner + 25,
                tick.1
            );
        }
    }
    for mark in &chart.marks {
        let x = percent(chart, mark.at_us);
        put!(out, "<line class=\"mark-l\" x1=\"{x}%\" x2=\"{x}%\" y1=\"0\" y2=\"{inner}\"/>");
        let (class, place) = if x > 50.0 { ("e", x - 1.0) } else { ("", x + 1.0) };
        put!(
            out,
            "<text class=\"{class} halo\" x=\"{place:.2}%\" y=\"14\">{}</text>",
            escape(&mark.text)
        );
    }
    out.push_str("</svg></div>");
}

pub(super) fn mini(chart: &Chart, out: &mut String) {
    let (factor, unit) = chart.unit.scaled(chart.max(false).max(chart.max(true)));
    let above = chart.max(false).max(f64::MIN_POSITIVE);
    let below = chart.max(true).max(f64::MIN_POSITIVE);
    let has_below = chart.series.iter().any(|series| series.look.below());
    // The whole height, without round numbers: there is no axis.
    let step = (above + if has_below { below } else { 0.0 }) / factor / 1000.0;
    let share = |value: f64| ((value / factor / step).round() as u32).max(1);
    let scale = Scale {
        step,
        above: share(above),
        below: if has_below { share(below) } else { 0 },
    };
    let zero = (scale.place(0.0) * 66.0).round();
    put!(
        out,
        "<svg class=\"mini\" width=\"100%\" height=\"66\" role=\"img\" aria-label=\"{}\"",
        escape(&chart.label)
    );
    data(chart, factor, &unit, out);
    put!(out, ">");
    if chart.is_empty() {
        put!(out, "<rect class=\"nodata\" width=\"100%\" height=\"66\"/></svg>");
        return;
    }
    put!(out, "<line class=\"zero\" x1=\"0\" x2=\"100%\" y1=\"{zero}\" y2=\"{zero}\"/>");
    put!(
        out,
        "<svg width=\"100%\" height=\"66\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"
    );
    shapes(chart, &scale, factor, out);
    out.push_str("</svg></svg>");
}

/// Bars of a row of counts, for a cell of a table.
pub(crate) fn spark(counts: &[u64]) -> String {
    let max = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / max as f64 * HEIGHT).max(40.0);
        put!(path, "M{at} {HEIGHT}v-{height:.0}h.8v{height:.0}z");
    }
    format!(
        "<svg class=\"spark\" width=\"72\" height=\"18\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path class=\"h-dropped\" d=\"{path}\"/></svg>",
        counts.len().max(1)
    )
}

fn scale_of(chart: &Chart, factor: f64, rows: f64) -> Scale {
    let has_below = chart.series.iter().any(|series| series.look.below());
    Scale::new(chart.max(false) / factor, chart.max(true) * chart.enlarge_below / factor, has_below, rows)
}

/// Lines across: place, label, whether it is the zero line.
fn grid(chart: &Chart, scale: &Scale, inner: u32) -> Vec<(i64, String, bool)> {
    (0..=scale.steps())
        .map(|line| {
            let y = (f64::from(inner) * f64::from(line) / f64::from(scale.steps())).round() as i64;
            let value = (f64::from(scale.above) - f64::from(line)) * scale.step;
            let shown = if value < 0.0 { -value / chart.enlarge_below } else { value };
            (y, axis::value_label(shown), line == scale.above)
        })
        .collect()
}

fn shapes(chart: &Chart, scale: &Scale, factor: f64, out: &mut String) {
    let stacked = chart.series.iter().find(|series| series.look == Look::Lower);
    for series in &chart.series {
        let sign = if series.look.below() { -chart.enlarge_below } else { 1.0 };
        let under = stacked.filter(|_| series.look == Look::Upper);
        let y = |at: usize| -> Option<f64> {
            let value = series.values.get(at).copied().flatten()?;
            let base = under.and_then(|under| under.values.get(at).copied().flatten()).unwrap_or(0.0);
            Some(scale.place((value + base) * sign / factor) * HEIGHT)
        };
        if series.look.bars() {
            bars(chart, series, scale, &y, out);
        } else {
            steps(chart, series, scale, &y, out);
        }
    }
}

/// Area and line of a series that holds each value over its whole step.
fn steps(chart: &Chart, series: &Series, scale: &Scale, y: &dyn Fn(usize) -> Option<f64>, out: &mut String) {
    let zero = scale.place(0.0) * HEIGHT;
    let (mut line, mut area) = (String::new(), String::new());
    let mut drawing = false;
    let mut last = f64::NAN;
    for at in 0..series.values.len() {
        let (left, right) = sides(chart, at);
        if right <= left {
            continue;
        }
        match y(at) {
            Some(y) => {
                let y = y.round();
                if drawing {
                    if y != last {
                        put!(line, "V{y}");
                        put!(area, "V{y}");
                    }
                } else {
                    put!(line, "M{left} {y}");
                    put!(area, "M{left} {zero:.0}V{y}");
                }
                put!(line, "H{right}");
                put!(area, "H{right}");
                drawing = true;
                last = y;
            }
            None if drawing => {
                put!(area, "V{zero:.0}z");
                drawing = false;
            }
            None => {}
        }
    }
    if drawing {
        put!(area, "V{zero:.0}z");
    }
    let class = series.look.class();
    put!(out, "<path class=\"a-{class}\" d=\"{area}\"/><path class=\"l-{class}\" d=\"{line}\"/>");
}

fn bars(chart: &Chart, series: &Series, scale: &Scale, y: &dyn Fn(usize) -> Option<f64>, out: &mut String) {
    let zero = scale.place(0.0) * HEIGHT;
    let mut path = String::new();
    for at in 0..series.values.len() {
        let (left, right) = sides(chart, at);
        let Some(y) = y(at).filter(|y| (y - zero).abs() > 0.01 && right > left) else {
            continue;
        };
        // A bar that is there is seen.
        let y = if (y - zero).abs() < 6.0 { zero + 6.0 * (y - zero).signum() } else { y };
        let gap = (right - left) * 0.18;
        put!(path, "M{left} {zero:.0}V{y:.0}H{:.1}V{zero:.0}z", right - gap);
    }
    put!(out, "<path class=\"h-{}\" d=\"{path}\"/>", series.look.class());
}

/// Left and right of a step inside the period, in the picture's units.
fn sides(chart: &Chart, at: usize) -> (f64, f64) {
    let from = chart.start_us + at as i64 * chart.step_us;
    let span = (chart.period.to_us - chart.period.from_us).max(1) as f64;
    let place = |time: i64| {
        let x = (time - chart.period.from_us) as f64 / span * WIDTH;
        (x.clamp(0.0, WIDTH) * 10.0).round() / 10.0
    };
    (place(from), place(from + chart.step_us))
}

fn percent(chart: &Chart, time_us: i64) -> f64 {
    let span = (chart.period.to_us - chart.period.from_us).max(1) as f64;
    let x = (time_us - chart.period.from_us) as f64 / span * 100.0;
    (x.clamp(0.0, 100.0) * 100.0).round() / 100.0
}

/// Left side and width of a span, at least wide enough to be seen.
fn band(chart: &Chart, from_us: i64, to_us: i64) -> (f64, f64) {
    let (left, right) = (percent(chart, from_us), percent(chart, to_us));
    let width = ((right - left).max(0.6) * 100.0).round() / 100.0;
    (left.min(100.0 - width), width)
}

fn completeness_band(chart: &Chart, inner: u32, out: &mut String) {
    let y = inner + 4;
    let mut at = 0.0;
    for gap in &chart.gaps {
        let (x, width) = band(chart, gap.from_us, gap.to_us);
        if x > at {
            put!(
                out,
                "<rect class=\"band-ok\" x=\"{at}%\" y=\"{y}\" width=\"{:.2}%\" height=\"5\"/>",
                x - at
            );
        }
        put!(out, "<rect class=\"band-lost\" x=\"{x}%\" y=\"{y}\" width=\"{width}%\" height=\"5\"/>");
        at = f64::max(at, x + width);
    }
    if at < 100.0 {
        put!(
            out,
            "<rect class=\"band-ok\" x=\"{at:.2}%\" y=\"{y}\" width=\"{:.2}%\" height=\"5\"/>",
            100.0 - at
        );
    }
}

/// What the script needs for cursor and brush.
fn data(chart: &Chart, factor: f64, unit: &str, out: &mut String) {
    let series: Vec<_> = chart
        .series
        .iter()
        .map(|series| {
            let values: Vec<_> = series
                .values
                .iter()
                .map(|value| value.map(|value| (value / factor * 10_000.0).round() / 10_000.0))
                .collect();
            serde_json::json!({ "n": series.name, "c": series.look.swatch(), "v": values })
        })
        .collect();
    let data = serde_json::json!({
        "from": chart.period.from_us, "to": chart.period.to_us, "start": chart.start_us, "step": chart.step_us, "unit": unit, "series": series,
    });
    put!(out, " data-chart=\"{}\"", escape(&data.to_string()));
    if !chart.zoom.is_empty() {
        put!(out, " data-zoom=\"{}\"", escape(&chart.zoom));
    }
}
