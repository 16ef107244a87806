// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Time charts as SVG, drawn on the server: the same picture with and without script, in any width. A plot stretches with its column while its
//! labels stay in CSS pixels; a script adds the cursor and the brush. Figures stand beneath, for those who read.

mod axis;
mod draw;
mod figures;

pub(crate) use draw::spark;

use insights_store::Period;

use super::units::Unit;

/// One line, area or set of bars.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) look: Look,
    /// Rates in the chart's unit, one per step; `None` where nothing is known.
    pub(crate) values: Vec<Option<f64>>,
    /// Sum over the period, as it is shown.
    pub(crate) total: String,
}

/// Place, colour and form of a series.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    /// Above the line.
    In,
    /// Below the line, on the same scale.
    Out,
    /// Upper layer of a stack: it is drawn on top of `Lower`.
    Upper,
    Lower,
    /// A single line.
    Single,
    /// Bars above the line.
    Allowed,
    /// Bars below the line.
    Dropped,
}

impl Look {
    fn below(self) -> bool {
        matches!(self, Look::Out | Look::Dropped)
    }

    fn bars(self) -> bool {
        matches!(self, Look::Allowed | Look::Dropped)
    }

    /// Names of the classes of lines, areas and swatches.
    fn class(self) -> &'static str {
        match self {
            Look::In => "in",
            Look::Out => "out",
            Look::Upper | Look::Single => "1",
            Look::Lower => "3",
            Look::Allowed => "allowed",
            Look::Dropped => "dropped",
        }
    }

    fn swatch(self) -> &'static str {
        match self {
            Look::In => "in",
            Look::Out => "out",
            Look::Upper | Look::Single => "c1",
            Look::Lower => "c3",
            Look::Allowed => "al",
            Look::Dropped => "dr",
        }
    }
}

/// A span in which something is missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Gap {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// A moment to point at.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at_us: i64,
    pub(crate) text: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// What it shows, for those who can't see it.
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) period: Period,
    /// Begin of the first value.
    pub(crate) start_us: i64,
    pub(crate) step_us: i64,
    pub(crate) series: Vec<Series>,
    /// Of the whole picture, with the time axis, CSS pixels.
    pub(crate) height: u32,
    pub(crate) gaps: Vec<Gap>,
    /// What the hatched spans mean, in words; empty when the period is complete.
    pub(crate) lost: String,
    pub(crate) marks: Vec<Mark>,
    /// Spans of alerts.
    pub(crate) alarms: Vec<Gap>,
    /// A line across, in the chart's unit.
    pub(crate) limit: Option<f64>,
    /// Where a chosen span leads to: a URL with `{from}` and `{to}` in it. Empty: no brush.
    pub(crate) zoom: String,
    /// Below the line, how many times enlarged.
    pub(crate) enlarge_below: f64,
    /// Said beneath, at the right.
    pub(crate) hint: String,
    /// What both sides reach up to at least, so that several charts have one scale.
    reach: f64,
}

/// Steps that values can have, µs. Each divides the next days evenly, so that bins stay where they are when the period moves.
const STEPS: [i64; 18] = [
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    7_200_000_000,
    10_800_000_000,
    21_600_000_000,
    43_200_000_000,
    86_400_000_000,
];

/// The finest step that gives at most `count` values over a period, and is not below `least_us`.
pub(crate) fn step_for(period: Period, count: i64, least_us: i64) -> i64 {
    let span = period.to_us - period.from_us;
    STEPS
        .into_iter()
        .find(|step| *step >= least_us && span / step <= count)
        .unwrap_or(86_400_000_000)
}

impl Chart {
    pub(crate) fn new(label: impl Into<String>, unit: Unit, period: Period, start_us: i64, step_us: i64, series: Vec<Series>) -> Self {
        Self {
            label: label.into(),
            unit,
            period,
            start_us,
            step_us,
            series,
            height: 180,
            gaps: Vec::new(),
            lost: String::new(),
            marks: Vec::new(),
            alarms: Vec::new(),
            limit: None,
            zoom: String::new(),
            enlarge_below: 1.0,
            hint: String::new(),
            reach: 0.0,
        }
    }

    /// Enlarges what hangs below ten times when it would hardly be seen otherwise.
    pub(crate) fn enlarge_small_below(mut self) -> Self {
        let max = |below: bool| self.max(below);
        let (above, below) = (max(false), max(true));
        if below > 0.0 && below * 10.0 <= above {
            self.enlarge_below = 10.0;
        }
        self
    }

    /// Scales a small chart to a value that others share.
    pub(crate) fn scale_to(&mut self, value: f64) {
        self.reach = value;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(Option::is_none))
    }

    fn max(&self, below: bool) -> f64 {
        self.highest(below).max(self.reach)
    }

    fn highest(&self, below: bool) -> f64 {
        let sides: Vec<&Series> = self.series.iter().filter(|series| series.look.below() == below).collect();
        if sides.iter().any(|series| matches!(series.look, Look::Lower)) {
            let count = sides.iter().map(|series| series.values.len()).max().unwrap_or(0);
            return (0..count)
                .map(|at| sides.iter().filter_map(|series| series.values.get(at).copied().flatten()).sum())
                .fold(0.0, f64::max);
        }
        sides
            .iter()
            .flat_map(|series| series.values.iter().flatten())
            .copied()
            .fold(0.0, f64::max)
    }

    /// Picture, legend with figures, completeness, and the table of values.
    pub(crate) fn html(&self) -> String {
        let mut out = String::new();
        draw::plot(self, &mut out);
        figures::legend(self, &mut out);
        figures::completeness(self, &mut out);
        figures::table(self, &mut out);
        out
    }

    /// The picture alone, with its completeness and keys in one line.
    pub(crate) fn html_compact(&self) -> String {
        let mut out = String::new();
        draw::plot(self, &mut out);
        out.push_str("<div class=\"row foot-row\">");
        figures::completeness(self, &mut out);
        out.push_str("<span class=\"grow\"></span>");
        figures::keys(self, &mut out);
        out.push_str("</div>");
        figures::table(self, &mut out);
        out
    }

    /// A small picture without axes.
    pub(crate) fn html_mini(&self) -> String {
        let mut out = String::new();
        draw::mini(self, &mut out);
        out
    }
}

/// Text for markup.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<Option<f64>>) -> Chart {
        let step = 60_000_000;
        let period = Period::new(0, step * values.len() as i64);
        let series = vec![Series {
            name: "In <all>".into(),
            look: Look::In,
            values,
            total: "1 TB".into(),
        }];
        Chart::new("Traffic", Unit::Bits, period, 0, step, series)
    }

    #[test]
    fn names_are_escaped_everywhere() {
        let html = chart(vec![Some(1e9), Some(2e9)]).html();
        assert!(html.contains("In &lt;all&gt;") && !html.contains("In <all>"), "{html}");
        assert!(!html.contains(" style="), "a strict policy forbids style attributes");
    }

    #[test]
    fn lines_are_steps_and_break_at_gaps() {
        let html = chart(vec![Some(1e9), Some(2e9), None, Some(1e9)]).html();
        assert!(html.contains("Gbit/s"));
        let line = html.split("class=\"l-in\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.matches('M').count(), 2, "two pieces: {line}");
        assert!(line.starts_with("M0 ") && line.contains('H') && line.contains('V'), "{line}");
    }

    #[test]
    fn steps_fit_the_period() {
        let hours = |n: i64| Period::new(0, n * 3_600_000_000);
        assert_eq!(step_for(hours(6), 120, 1_000_000), 300_000_000);
        assert_eq!(step_for(hours(1), 120, 60_000_000), 60_000_000);
        assert_eq!(step_for(hours(24 * 365), 120, 1_000_000), 86_400_000_000);
    }

    #[test]
    fn small_drops_are_enlarged_and_it_is_said() {
        let step = 1_000_000;
        let bars = |look, value| Series {
            name: String::new(),
            look,
            values: vec![Some(value); 4],
            total: String::new(),
        };
        let chart = Chart::new(
            "Flows",
            Unit::Records,
            Period::new(0, 4 * step),
            0,
            step,
            vec![bars(Look::Allowed, 100.0), bars(Look::Dropped, 5.0)],
        );
        assert_eq!(chart.clone().enlarge_small_below().enlarge_below, 10.0);
        assert_eq!(
            Chart {
                series: vec![bars(Look::Allowed, 100.0), bars(Look::Dropped, 50.0)],
                ..chart
            }
            .enlarge_small_below()
            .enlarge_below,
            1.0
        );
    }
}
