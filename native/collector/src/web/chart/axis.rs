// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Round numbers and times along the sides.

use insights_store::Period;

use crate::web::units;

/// How the height is divided: steps of one size, some above and some below the zero line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Value of one step, in the chart's unit.
    pub(super) step: f64,
    pub(super) above: u32,
    pub(super) below: u32,
}

impl Scale {
    /// Holds `above` and `below`, in some five steps.
    pub(super) fn new(above: f64, below: f64, has_below: bool, rows: f64) -> Self {
        let step = round_up((above + below).max(f64::MIN_POSITIVE) / rows);
        let count = |value: f64| (value / step * (1.0 - 1e-9)).ceil().max(1.0) as u32;
        if above + below <= 0.0 {
            return Self {
                step: 1.0,
                above: 1,
                below: u32::from(has_below),
            };
        }
        Self {
            step,
            above: count(above),
            below: if has_below { count(below) } else { 0 },
        }
    }

    pub(super) fn steps(&self) -> u32 {
        self.above + self.below
    }

    /// Place of a value (negative below the line) from the top, 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        (f64::from(self.above) - value / self.step) / f64::from(self.steps())
    }
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// A label of the value axis.
pub(super) fn value_label(value: f64) -> String {
    if value >= 10_000.0 {
        return units::short_count(value);
    }
    if value.fract() == 0.0 {
        return units::grouped(value as i64);
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const TICKS: [i64; 17] = [
    5_000_000,
    10_000_000,
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
    7 * 86_400_000_000,
    30 * 86_400_000_000,
];

/// Times along the axis with their labels.
pub(super) fn time_ticks(period: Period) -> Vec<(i64, String)> {
    let span = period.to_us - period.from_us;
    let step = TICKS.into_iter().find(|step| span / step <= 7).unwrap_or(span.max(1));
    let first = (period.from_us + step - 1).div_euclid(step) * step;
    (0..)
        .map(|n| first + n * step)
        .take_while(|at| *at <= period.to_us)
        .map(|at| {
            let label = match step {
                step if step >= 86_400_000_000 || at.rem_euclid(86_400_000_000) == 0 => units::day(at),
                step if step < 60_000_000 => units::clock(at),
                _ => units::minute(at),
            };
            (at, label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_their_values() {
        let scale = Scale::new(3.44, 4.98, true, 5.0);
        assert_eq!(
            scale,
            Scale {
                step: 2.0,
                above: 2,
                below: 3
            }
        );
        assert_eq!(scale.place(4.0), 0.0);
        assert_eq!(scale.place(0.0), 0.4);
        assert_eq!(scale.place(-6.0), 1.0);
        assert_eq!(Scale::new(0.0, 0.0, true, 5.0).steps(), 2);
        let exact = Scale::new(5.0, 0.0, false, 5.0);
        assert_eq!((exact.step, exact.above), (1.0, 5));
        for value in [1e-9, 0.3, 7.0, 99.0, 12_345.0, 9.9e12] {
            let scale = Scale::new(value, 0.0, false, 4.0);
            assert!(scale.place(value) >= 0.0 && scale.steps() <= 5, "{value}: {scale:?}");
        }
    }

    #[test]
    fn ticks_are_few_and_round() {
        let day = 86_400_000_000i64;
        for span in [60_000_000, 3_600_000_000, 6 * 3_600_000_000, day, 7 * day, 30 * day, 900 * day] {
            let ticks = time_ticks(Period::new(1_792_074_004_000_000 - span, 1_792_074_004_000_000));
            assert!((2..=9).contains(&ticks.len()) || span > 400 * day, "{span}: {ticks:?}");
        }
        assert_eq!(value_label(0.5), "0.5");
        assert_eq!(value_label(2000.0), "2\u{202f}000");
    }
}
