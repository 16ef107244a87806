// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Bars as SVG, readable on light and dark pages, with their numbers as text.

use std::fmt::Write;

/// Bars that are drawn together under one heading.
pub struct Group {
    pub title: String,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub name: String,
    pub value: f64,
    pub ours: bool,
}

const WIDTH: f64 = 720.0;
const NAMES: f64 = 210.0;
const NUMBERS: f64 = 70.0;
const ROW: f64 = 20.0;
const HEADING: f64 = 26.0;

/// A drawing with `alt` for those who don't see it. On a logarithmic scale bars begin at `from`; without it the scale is linear from 0.
pub fn bars(alt: &str, unit: &str, groups: &[Group], from: Option<f64>) -> String {
    let most = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value).fold(0.0, f64::max);
    let room = WIDTH - NAMES - NUMBERS;
    let length = |value: f64| match from {
        Some(from) if value > from => (value / from).ln() / (most / from).ln() * room,
        Some(_) => 1.0,
        None => value / most * room,
    };
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let headings = groups.iter().filter(|group| !group.title.is_empty()).count();
    let height = rows as f64 * ROW + headings as f64 * HEADING + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n\
         <style>text{{font:13px system-ui,sans-serif;fill:#24292f}}.h{{font-weight:600}}.o{{fill:#0969da}}.b{{fill:#8c959f}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.o{{fill:#4493f8}}.b{{fill:#6e7681}}}}</style>\n",
        escape(alt)
    );
    let mut y = 4.0;
    for group in groups {
        if !group.title.is_empty() {
            y += HEADING;
            let _ = writeln!(out, "<text class=\"h\" x=\"0\" y=\"{:.0}\">{}</text>", y - 8.0, escape(&group.title));
        }
        for bar in &group.bars {
            let long = length(bar.value).max(1.0);
            let class = if bar.ours { "o" } else { "b" };
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{NAMES:.0}\" y=\"{:.0}\" width=\"{long:.1}\" height=\"13\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{} {unit}</text>",
                NAMES - 8.0,
                y + 12.0,
                escape(&bar.name),
                y + 1.0,
                NAMES + long + 6.0,
                y + 12.0,
                number(bar.value)
            );
            y += ROW;
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Three digits, as many of them behind the point as are needed.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        "–".to_owned()
    } else if value >= 1_000.0 {
        grouped(value.round() as u64)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// With commas between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0].map(number),
            ["0.00", "1.23", "12.3", "123", "1,235", "1,234,567"]
        );
    }

    #[test]
    fn longest_bar_fills_the_room_and_text_is_escaped() {
        let bar = |name: &str, value| Bar {
            name: name.into(),
            value,
            ours: false,
        };
        let group = |bars| Group { title: "a < b".into(), bars };
        for from in [None, Some(1.0)] {
            let drawn = bars("alt", "ms", &[group(vec![bar("x", 10.0), bar("y", 1_000.0)])], from);
            assert!(drawn.contains("width=\"440.0\"") && drawn.contains("a &lt; b"), "{drawn}");
            assert_eq!(drawn.matches("<rect").count(), 2);
        }
    }
}
