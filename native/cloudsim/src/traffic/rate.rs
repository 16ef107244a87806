// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::f64::consts::TAU;

/// Flow records in a second, as they rise and fall with the day.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Mean over a day.
    pub mean: f64,
    /// Whether it follows the day at all.
    pub flat: bool,
}

const DAY_US: i64 = 86_400_000_000;
/// Part of the mean by which the busiest hour is above it.
const SWING: f64 = 0.55;
/// When it is busiest, as part of the day (UTC).
const BUSIEST: f64 = 14.0 / 24.0;

impl Rate {
    pub fn at(&self, now_us: i64) -> f64 {
        if self.flat {
            return self.mean;
        }
        let day = now_us.rem_euclid(DAY_US) as f64 / DAY_US as f64;
        let hours = (TAU * (day - BUSIEST)).cos();
        // Waves of minutes, so that charts of an hour live too.
        let minutes = (TAU * day * 96.0).sin() * 0.06 + (TAU * day * 411.0).sin() * 0.04;
        self.mean * (1.0 + SWING * hours + minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_day_is_the_mean() {
        let rate = Rate { mean: 500.0, flat: false };
        let hours = (0..24 * 60).map(|minute| rate.at(minute * 60_000_000));
        let (mut sum, mut least, mut most) = (0.0, f64::MAX, 0.0f64);
        for value in hours {
            sum += value;
            least = least.min(value);
            most = most.max(value);
        }
        assert!((sum / 1440.0 - 500.0).abs() < 5.0);
        assert!(least > 100.0 && most < 900.0 && most > least * 2.0);
        assert_eq!(Rate { flat: true, ..rate }.at(12_345), 500.0);
    }
}
