// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Numbers and times as people read them. A number never stands without its unit.

use time::{OffsetDateTime, macros::format_description};

/// What a chart counts, in a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Bits,
    Packets,
    /// Flow records in a second.
    Records,
    /// The same in a minute.
    RecordsMinute,
}

impl Unit {
    /// A factor for the whole chart, and the unit with it, for example (1e9, "Gbit/s").
    pub(crate) fn scaled(self, max: f64) -> (f64, String) {
        let (factor, prefix) = match max {
            m if m >= 1e12 => (1e12, "T"),
            m if m >= 1e9 => (1e9, "G"),
            m if m >= 1e6 => (1e6, "M"),
            m if m >= 1e3 => (1e3, "k"),
            _ => (1.0, ""),
        };
        match self {
            Unit::Bits => (factor, format!("{prefix}bit/s")),
            Unit::Packets => (
                factor,
                if prefix.is_empty() {
                    "packets/s".to_owned()
                } else {
                    format!("{prefix} packets/s")
                },
            ),
            // Records are few enough to be counted one by one.
            Unit::Records => (1.0, "per s".to_owned()),
            Unit::RecordsMinute => (1.0, "per min".to_owned()),
        }
    }
}

/// Three significant digits, thousands apart by a thin space: `9.53`, `12.6`, `1 807`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0".to_owned(),
        _ if size < 0.001 => "<0.001".to_owned(),
        _ if size < 0.0995 => format!("{value:.3}"),
        _ if size < 9.995 => format!("{value:.2}"),
        _ if size < 99.95 => format!("{value:.1}"),
        _ => grouped(value.round() as i64),
    }
}

/// `402 913`, with narrow no-break spaces.
pub(crate) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    if value < 0 {
        out.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

pub(crate) fn count(value: u64) -> String {
    grouped(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `55.5 M`, exact below ten thousand.
pub(crate) fn short_count(value: f64) -> String {
    match value.abs() {
        size if size < 10_000.0 => grouped(value.round() as i64),
        size if size < 1e6 => format!("{}\u{202f}k", short(value / 1e3)),
        size if size < 1e9 => format!("{}\u{202f}M", short(value / 1e6)),
        _ => format!("{}\u{202f}G", short(value / 1e9)),
    }
}

/// `6.29 TB`, decimal as links are sold.
pub(crate) fn bytes(value: f64) -> String {
    scaled(value, "B")
}

/// `1.91 Gbit/s`.
pub(crate) fn bits_per_second(value: f64) -> String {
    scaled(value, "bit/s")
}

fn scaled(value: f64, unit: &str) -> String {
    let (factor, prefix) = match value.abs() {
        size if size >= 1e15 => (1e15, "P"),
        size if size >= 1e12 => (1e12, "T"),
        size if size >= 1e9 => (1e9, "G"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{}\u{202f}{prefix}{unit}", short(value / factor))
}

/// `38 min`, two parts at most.
pub(crate) fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match seconds {
        0..10 => format!("{:.1}\u{202f}s", us.max(0) as f64 / 1e6),
        10..120 => format!("{seconds}\u{202f}s"),
        120..7_200 => format!("{}\u{202f}min", seconds / 60),
        7_200..172_800 => format!("{}\u{202f}h {}\u{202f}min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}\u{202f}d {}\u{202f}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn utc(time_us: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_us) * 1_000).ok()
}

fn formatted(time_us: i64, format: &(impl time::formatting::Formattable + ?Sized)) -> String {
    utc(time_us).and_then(|at| at.format(format).ok()).unwrap_or_else(|| "–".to_owned())
}

/// `14:20:04`.
pub(crate) fn clock(time_us: i64) -> String {
    formatted(time_us, format_description!("[hour]:[minute]:[second]"))
}

/// `14:20`.
pub(crate) fn minute(time_us: i64) -> String {
    formatted(time_us, format_description!("[hour]:[minute]"))
}

/// `15 Oct`.
pub(crate) fn day(time_us: i64) -> String {
    formatted(time_us, format_description!("[day padding:none] [month repr:short]"))
}

/// `15 Oct 14:20`.
pub(crate) fn day_minute(time_us: i64) -> String {
    format!("{} {}", day(time_us), minute(time_us))
}

/// `15 Oct 2026, 14:20:04`.
pub(crate) fn full(time_us: i64) -> String {
    formatted(
        time_us,
        format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]:[second]"),
    )
}

/// RFC 3339 with µs, for files and `datetime` attributes.
pub(crate) fn rfc3339(time_us: i64) -> String {
    formatted(
        time_us,
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"),
    )
}

/// `15 Oct 08:20 – 14:20 UTC`; the second day only when it is another.
pub(crate) fn span(from_us: i64, to_us: i64) -> String {
    if day(from_us) == day(to_us) {
        format!("{} {} – {} UTC", day(from_us), minute(from_us), minute(to_us))
    } else {
        format!("{} – {} UTC", day_minute(from_us), day_minute(to_us))
    }
}

/// Since when, relative to now: the time of day while it is today, the day before that.
pub(crate) fn since(time_us: i64, now_us: i64) -> String {
    if day(time_us) == day(now_us) && now_us - time_us < 86_400_000_000 {
        minute(time_us)
    } else if now_us - time_us < 300 * 86_400_000_000 {
        day_minute(time_us)
    } else {
        full(time_us)
    }
}

/// Ids of OpenStack projects, which are long and differ at their ends: `6f1d0000…000a`. Names stay.
pub(crate) fn short_id(id: &str) -> String {
    let long = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if long {
        format!("{}…{}", &id[..8], &id[id.len() - 4..])
    } else {
        id.to_owned()
    }
}

/// `1 host`, `3 hosts`.
pub(crate) fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

/// Begin and end of a fingerprint, enough to tell two apart.
pub(crate) fn short_fingerprint(fingerprint: &str) -> String {
    match (fingerprint.get(..23), fingerprint.get(fingerprint.len().saturating_sub(11)..)) {
        (Some(begin), Some(end)) => format!("{begin} … {end}"),
        _ => fingerprint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(short(1.906), "1.91");
        assert_eq!(short(12.56), "12.6");
        assert_eq!(short(9.999), "10.0");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(1807.2), "1\u{202f}807");
        assert_eq!(grouped(-1_234_567), "−1\u{202f}234\u{202f}567");
        assert_eq!(bytes(6.29e12), "6.29\u{202f}TB");
        assert_eq!(bits_per_second(645e6), "645\u{202f}Mbit/s");
        assert_eq!(short_count(9_999.0), "9\u{202f}999");
        assert_eq!(short_count(55.5e6), "55.5\u{202f}M");
        assert_eq!(Unit::Bits.scaled(4.2e9), (1e9, "Gbit/s".to_owned()));
    }

    #[test]
    fn times() {
        let at = 1_792_074_004_000_000;
        assert_eq!(clock(at), "14:20:04");
        assert_eq!(span(at - 6 * 3_600_000_000, at), "15 Oct 08:20 – 14:20 UTC");
        assert_eq!(span(at - 24 * 3_600_000_000, at), "14 Oct 14:20 – 15 Oct 14:20 UTC");
        assert_eq!(since(at - 60_000_000, at), "14:19");
        assert_eq!(since(at - 86_400_000_000, at), "14 Oct 14:20");
        assert_eq!(duration(38 * 60_000_000), "38\u{202f}min");
        assert_eq!(duration(1_800_000), "1.8\u{202f}s");
    }
}
