// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The period of a page: typed, from a preset, or from–to.

use insights_store::Period;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, macros::format_description};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Longest period: what a store of the largest plan keeps, and what charts can show in whole hours.
pub const MAX_SPAN_US: i64 = 3 * 366 * DAY;
/// Shortest: one step of the finest chart.
pub const MIN_SPAN_US: i64 = 10 * SECOND;

/// What the top bar offers, as it is typed.
pub const PRESETS: [&str; 9] = [
    "last 15 minutes",
    "last hour",
    "last 3 hours",
    "last 6 hours",
    "last 24 hours",
    "last 7 days",
    "last 30 days",
    "today",
    "yesterday",
];

/// What a page shows when the URL says nothing.
pub const DEFAULT: PeriodSpec = PeriodSpec::Last(6 * HOUR);

/// A period as it stands in a URL. Relative ones move with the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeriodSpec {
    /// The last so many µs.
    Last(i64),
    /// Days of the UTC calendar: how many days ago it began, how many days it lasts. Today is (0, 1).
    Days(i64, i64),
    /// From–to.
    Fixed(Period),
}

/// The text is no period.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeriodError {
    #[error("“{0}” is no period; try “last 6 hours”, “yesterday”, “14:00 - 15:30” or “2026-10-15 08:00 - 2026-10-15 14:00” (UTC)")]
    Unreadable(String),
    #[error("the period ends before it begins")]
    Backwards,
    #[error("a period lasts between 10 seconds and 3 years")]
    Span,
}

impl PeriodSpec {
    /// The span at a moment.
    pub fn at(self, now_us: i64) -> Period {
        match self {
            PeriodSpec::Last(span) => Period::new(now_us - span, now_us),
            PeriodSpec::Days(ago, count) => {
                let midnight = now_us.div_euclid(DAY) * DAY;
                let from = midnight - ago * DAY;
                Period::new(from, (from + count * DAY).min(now_us).max(from + MIN_SPAN_US))
            }
            PeriodSpec::Fixed(period) => period,
        }
    }

    /// Follows the clock.
    pub fn moves(self) -> bool {
        matches!(self, PeriodSpec::Last(_) | PeriodSpec::Days(0, _))
    }

    /// One period back or on. What would lie ahead of the clock ends at it.
    pub fn shifted(self, forward: bool, now_us: i64) -> Option<PeriodSpec> {
        let period = self.at(now_us);
        let span = match self {
            PeriodSpec::Days(_, count) => count * DAY,
            _ => period.to_us - period.from_us,
        };
        let from = if forward { period.from_us + span } else { period.from_us - span };
        if forward && period.to_us >= now_us {
            return None;
        }
        if forward && from + span >= now_us {
            return Some(match self {
                PeriodSpec::Days(ago, count) => PeriodSpec::Days(ago - count, count),
                _ => PeriodSpec::Last(span),
            });
        }
        match self {
            PeriodSpec::Days(ago, count) => Some(PeriodSpec::Days(if forward { ago - count } else { ago + count }, count)),
            _ => Some(PeriodSpec::Fixed(Period::new(from, from + span))),
        }
    }

    /// Text that [`parse`] gives back unchanged: the value of `period` in a URL.
    pub fn text(self) -> String {
        match self {
            PeriodSpec::Last(span) => {
                let (count, unit) = largest_unit(span);
                if count == 1 {
                    format!("last {unit}")
                } else {
                    format!("last {count} {unit}s")
                }
            }
            PeriodSpec::Days(0, 1) => "today".to_owned(),
            PeriodSpec::Days(1, 1) => "yesterday".to_owned(),
            PeriodSpec::Days(ago, 1) => format!("{ago} days ago"),
            PeriodSpec::Days(ago, count) => format!("{count} days from {ago} days ago"),
            PeriodSpec::Fixed(period) => format!("{} - {}", stamp(period.from_us), stamp(period.to_us)),
        }
    }

    /// After "in": `the last 6 hours`, `this period`.
    pub fn phrase(self) -> String {
        match self {
            PeriodSpec::Last(_) => format!("the {}", self.text()),
            PeriodSpec::Days(0, 1) | PeriodSpec::Days(1, 1) => "this day".to_owned(),
            _ => "this period".to_owned(),
        }
    }

    /// For the button of the top bar.
    pub fn title(self) -> String {
        match self {
            PeriodSpec::Fixed(_) => "From – to".to_owned(),
            other => {
                let text = other.text();
                let mut chars = text.chars();
                chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
            }
        }
    }
}

/// Reads what people type: `last 6 hours`, `6h`, `past 90 minutes`, `today`, `3 days ago`, `14:00 - 15:30`, `2026-10-15`,
/// `2026-10-15 08:00 - 14:00`, RFC 3339 on both sides. Times are UTC.
pub fn parse(text: &str, now_us: i64) -> Result<PeriodSpec, PeriodError> {
    let typed = text.trim();
    let lower = typed.to_lowercase();
    let spec = relative(&lower).or_else(|| calendar(&lower)).map_or_else(|| fixed(typed, now_us), Ok)?;
    let span = match spec {
        PeriodSpec::Last(span) => span,
        PeriodSpec::Days(ago, count) => {
            if ago > 3 * 366 || !(1..=3 * 366).contains(&count) || ago < 0 {
                return Err(PeriodError::Span);
            }
            count * DAY
        }
        PeriodSpec::Fixed(period) if period.to_us <= period.from_us => return Err(PeriodError::Backwards),
        PeriodSpec::Fixed(period) => period.to_us.saturating_sub(period.from_us),
    };
    if (MIN_SPAN_US..=MAX_SPAN_US).contains(&span) {
        Ok(spec)
    } else {
        Err(PeriodError::Span)
    }
}

fn relative(text: &str) -> Option<PeriodSpec> {
    let rest = ["last ", "past ", "the last ", "the past ", "previous "]
        .iter()
        .find_map(|word| text.strip_prefix(word))
        .unwrap_or(text)
        .trim();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (count, unit) = rest.split_at(digits);
    if count.is_empty() && rest == text {
        return None;
    }
    let count: i64 = if count.is_empty() { 1 } else { count.parse().ok()? };
    let unit = match unit.trim() {
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        "month" | "months" => 30 * DAY,
        "y" | "year" | "years" => 365 * DAY,
        _ => return None,
    };
    count.checked_mul(unit).map(PeriodSpec::Last)
}

fn calendar(text: &str) -> Option<PeriodSpec> {
    match text {
        "today" => return Some(PeriodSpec::Days(0, 1)),
        "yesterday" => return Some(PeriodSpec::Days(1, 1)),
        _ => {}
    }
    let ago = text.strip_suffix(" days ago").or_else(|| text.strip_suffix(" day ago"))?;
    match ago.split_once(" days from ") {
        Some((count, ago)) => Some(PeriodSpec::Days(ago.parse().ok()?, count.parse().ok()?)),
        None => Some(PeriodSpec::Days(ago.parse().ok()?, 1)),
    }
}

fn fixed(text: &str, now_us: i64) -> Result<PeriodSpec, PeriodError> {
    let unreadable = || PeriodError::Unreadable(text.to_owned());
    if let Some(day) = date(text) {
        let from = day.midnight().assume_utc().unix_timestamp() * SECOND;
        return Ok(PeriodSpec::Fixed(Period::new(from, from + DAY)));
    }
    let (from, to) = [" - ", " – ", " to ", "..", "/"]
        .iter()
        .find_map(|between| text.split_once(between))
        .ok_or_else(unreadable)?;
    let today = OffsetDateTime::from_unix_timestamp(now_us.div_euclid(SECOND))
        .map_err(|_| unreadable())?
        .date();
    let (from_us, day) = moment(from.trim(), today, now_us).ok_or_else(unreadable)?;
    let (to_us, _) = moment(to.trim(), day, now_us).ok_or_else(unreadable)?;
    Ok(PeriodSpec::Fixed(Period::new(from_us, to_us)))
}

/// A moment and its day; a time alone is of `day`.
fn moment(text: &str, day: Date, now_us: i64) -> Option<(i64, Date)> {
    if text.eq_ignore_ascii_case("now") {
        return Some((now_us, day));
    }
    let text = text.trim_end_matches(" UTC").trim_end_matches('Z');
    if let Some(date) = date(text) {
        return Some((date.midnight().assume_utc().unix_timestamp() * SECOND, date));
    }
    let (date, clock) = match text.split_once(['T', ' ']) {
        Some((head, tail)) => (date(head)?, tail),
        None => (day, text),
    };
    let clock = clock_time(clock.trim())?;
    let at = PrimitiveDateTime::new(date, clock).assume_utc();
    Some((i64::try_from(at.unix_timestamp_nanos() / 1_000).ok()?, date))
}

fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let month: u8 = month.parse().ok()?;
    Date::from_calendar_date(year.parse().ok()?, Month::try_from(month).ok()?, day.parse().ok()?).ok()
}

fn clock_time(text: &str) -> Option<Time> {
    let (whole, micro) = match text.split_once('.') {
        Some((whole, part)) if part.len() <= 6 && part.chars().all(|c| c.is_ascii_digit()) => (whole, format!("{part:0<6}").parse().ok()?),
        Some(_) => return None,
        None => (text, 0),
    };
    let mut parts = whole.split(':');
    let hour = parts.next()?.parse().ok()?;
    let minute = parts.next()?.parse().ok()?;
    let second = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    if parts.next().is_some() {
        return None;
    }
    Time::from_hms_micro(hour, minute, second, micro).ok()
}

fn largest_unit(span: i64) -> (i64, &'static str) {
    for (unit, name) in [(DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")] {
        // 24 hours stay hours: a day reads as one of the calendar.
        if span % unit == 0 && (unit != DAY || span > DAY) {
            return (span / unit, name);
        }
    }
    (span / SECOND, "second")
}

/// `2026-10-15 08:20:00`, with a fraction where there is one.
pub fn stamp(time_us: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_us) * 1_000) else {
        return time_us.to_string();
    };
    let whole = at
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))
        .unwrap_or_default();
    match time_us.rem_euclid(SECOND) {
        0 => whole,
        part => format!("{whole}.{part:06}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-10-15 14:20:00 UTC.
    const NOW: i64 = 1_792_074_000 * SECOND;

    #[test]
    fn what_people_type() {
        let at = |text: &str| parse(text, NOW).map(|spec| (stamp(spec.at(NOW).from_us), stamp(spec.at(NOW).to_us)));
        assert_eq!(stamp(NOW), "2026-10-15 14:20:00");
        for (text, from, to) in [
            ("last 6 hours", "2026-10-15 08:20:00", "2026-10-15 14:20:00"),
            ("6h", "2026-10-15 08:20:00", "2026-10-15 14:20:00"),
            ("Last hour", "2026-10-15 13:20:00", "2026-10-15 14:20:00"),
            ("past 90 minutes", "2026-10-15 12:50:00", "2026-10-15 14:20:00"),
            ("2 weeks", "2026-10-01 14:20:00", "2026-10-15 14:20:00"),
            ("today", "2026-10-15 00:00:00", "2026-10-15 14:20:00"),
            ("yesterday", "2026-10-14 00:00:00", "2026-10-15 00:00:00"),
            ("3 days ago", "2026-10-12 00:00:00", "2026-10-13 00:00:00"),
            ("14:00 - 14:10", "2026-10-15 14:00:00", "2026-10-15 14:10:00"),
            ("2026-10-15 08:00 - 09:30", "2026-10-15 08:00:00", "2026-10-15 09:30:00"),
            ("2026-10-14 23:00 – 2026-10-15 01:00:05", "2026-10-14 23:00:00", "2026-10-15 01:00:05"),
            (
                "2026-10-14T23:00:00Z to 2026-10-15T01:00:05.25Z",
                "2026-10-14 23:00:00",
                "2026-10-15 01:00:05.250000",
            ),
            ("2026-10-01", "2026-10-01 00:00:00", "2026-10-02 00:00:00"),
            ("13:00 - now", "2026-10-15 13:00:00", "2026-10-15 14:20:00"),
        ] {
            assert_eq!(at(text).unwrap(), (from.to_owned(), to.to_owned()), "{text}");
        }
        for text in [
            "",
            "soon",
            "last",
            "hours",
            "25:00 - 26:00",
            "2026-13-01",
            "last 0 hours",
            "last 9999 days",
            "last 99999999999999 years",
        ] {
            assert!(parse(text, NOW).is_err(), "{text}");
        }
        assert_eq!(parse("15:00 - 14:00", NOW), Err(PeriodError::Backwards));
    }

    #[test]
    fn text_is_read_back() {
        for spec in PRESETS.iter().map(|text| parse(text, NOW).unwrap()).chain([
            PeriodSpec::Fixed(Period::new(NOW - 12_345_678, NOW)),
            PeriodSpec::Last(90 * MINUTE),
            PeriodSpec::Last(25 * SECOND),
            PeriodSpec::Days(4, 1),
            PeriodSpec::Days(4, 2),
        ]) {
            assert_eq!(parse(&spec.text(), NOW), Ok(spec), "{}", spec.text());
        }
        for text in PRESETS {
            assert_eq!(parse(text, NOW).unwrap().text(), text);
        }
    }

    #[test]
    fn arrows_walk_whole_periods() {
        let last = PeriodSpec::Last(HOUR);
        assert_eq!(last.shifted(true, NOW), None);
        let back = last.shifted(false, NOW).unwrap();
        assert_eq!(back.at(NOW), Period::new(NOW - 2 * HOUR, NOW - HOUR));
        assert_eq!(back.shifted(true, NOW), Some(PeriodSpec::Last(HOUR)));
        assert_eq!(back.shifted(true, NOW + HOUR), Some(PeriodSpec::Fixed(Period::new(NOW - HOUR, NOW))));
        assert_eq!(PeriodSpec::Days(0, 1).shifted(false, NOW), Some(PeriodSpec::Days(1, 1)));
        assert_eq!(PeriodSpec::Days(1, 1).shifted(true, NOW), Some(PeriodSpec::Days(0, 1)));
        assert_eq!(PeriodSpec::Days(0, 1).shifted(true, NOW), None);
    }
}
