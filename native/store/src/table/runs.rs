// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Meters as they are at rest: a row holds what one meter of one host counted in an hour, the readings in which it stood still left out.
//!
//! `times` are all readings of the host in that hour, so that it is the same for all of its meters and a dictionary holds it once; `steps`
//! say in which of them the meter moved and by how much, and are null in the row of the readings themselves ([`super::COVERAGE`]). Chains,
//! devices and the two ports of a link often count the very same packets, and then their steps are the same bytes too.
//!
//! Numbers are in groups of seven bits, the lowest first, as in protobuf; signed ones in zigzag. `times`: their count, then for each in the
//! order of their ends, how long after the end of the one before (first: after the row's `from`) it begins, and by how much it is longer.
//! `steps`: their count; how many readings each is behind the one before; all packets; and all bytes, less what that many packets had at
//! the mean length of the step before.

use crate::StoreError;

/// What a meter counted in one reading, times in µs since the epoch.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Step {
    /// First, so that steps sort like readings.
    pub(crate) to_us: i64,
    pub(crate) from_us: i64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// End and begin of a reading.
pub(crate) type Span = (i64, i64);

/// Column `times` of readings in order; `base_us` is the row's `from`.
pub(crate) fn encode_times(base_us: i64, spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * 5 + 2);
    put(&mut out, spans.len() as u128);
    let (mut end_us, mut length) = (base_us, 0);
    for (to_us, from_us) in spans {
        put_signed(&mut out, i128::from(from_us - end_us));
        put_signed(&mut out, i128::from(to_us - from_us - length));
        (end_us, length) = (*to_us, to_us - from_us);
    }
    out
}

/// What [`encode_times`] was given.
pub(crate) fn decode_times(base_us: i64, mut bytes: &[u8]) -> Result<Vec<Span>, StoreError> {
    let count = count(&mut bytes)?;
    let mut spans = Vec::with_capacity(count);
    let (mut end_us, mut length) = (base_us, 0);
    for _ in 0..count {
        let from_us = add(end_us, signed(&mut bytes)?)?;
        length = add(length, signed(&mut bytes)?)?;
        end_us = from_us.checked_add(length).ok_or_else(damaged)?;
        spans.push((end_us, from_us));
    }
    Ok(spans)
}

/// Column `steps`: each with the place of its reading, in order.
pub(crate) fn encode_steps(steps: &[(usize, Step)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(steps.len() * 4 + 2);
    put(&mut out, steps.len() as u128);
    let mut last = 0;
    for (place, _) in steps {
        put(&mut out, (place - last) as u128);
        last = *place;
    }
    steps.iter().for_each(|(_, step)| put(&mut out, u128::from(step.packets)));
    let mut mean = Mean::default();
    for (_, step) in steps {
        put_signed(&mut out, i128::from(step.bytes) - i128::from(mean.of(step.packets)));
        mean.learn(step.packets, step.bytes);
    }
    out
}

/// What [`encode_steps`] was given, for the readings that it was given for.
pub(crate) fn decode_steps(spans: &[Span], mut bytes: &[u8]) -> Result<Vec<Step>, StoreError> {
    let count = count(&mut bytes)?;
    let mut steps = Vec::with_capacity(count);
    let mut place = 0_usize;
    for _ in 0..count {
        let gap = usize::try_from(unsigned(&mut bytes)?).map_err(|_| damaged())?;
        place = place.checked_add(gap).ok_or_else(damaged)?;
        let (to_us, from_us) = *spans.get(place).ok_or_else(damaged)?;
        steps.push(Step {
            to_us,
            from_us,
            packets: 0,
            bytes: 0,
        });
    }
    for step in &mut steps {
        step.packets = u64::try_from(unsigned(&mut bytes)?).map_err(|_| damaged())?;
    }
    let mut mean = Mean::default();
    for step in &mut steps {
        let bytes = i128::from(mean.of(step.packets)).checked_add(signed(&mut bytes)?);
        step.bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(damaged)?;
        mean.learn(step.packets, step.bytes);
    }
    Ok(steps)
}

/// Mean length of a packet, in 256ths of a byte.
#[derive(Default)]
struct Mean(u128);

impl Mean {
    /// Bytes that so many packets have at this length.
    fn of(&self, packets: u64) -> u64 {
        u64::try_from(self.0.saturating_mul(u128::from(packets)) >> 8).unwrap_or(u64::MAX)
    }

    fn learn(&mut self, packets: u64, bytes: u64) {
        if packets > 0 {
            self.0 = (u128::from(bytes) << 8) / u128::from(packets);
        }
    }
}

fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i128) {
    put(out, ((value << 1) ^ (value >> 127)) as u128);
}

fn unsigned(bytes: &mut &[u8]) -> Result<u128, StoreError> {
    let mut value = 0;
    // Differences of 64-bit numbers have 66 bits in zigzag.
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(damaged)?;
        *bytes = rest;
        value |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}

fn signed(bytes: &mut &[u8]) -> Result<i128, StoreError> {
    let value = unsigned(bytes)?;
    Ok((value >> 1) as i128 ^ -((value & 1) as i128))
}

/// A count of things of which each has at least a byte.
fn count(bytes: &mut &[u8]) -> Result<usize, StoreError> {
    let count = usize::try_from(unsigned(bytes)?).map_err(|_| damaged())?;
    if count > bytes.len() { Err(damaged()) } else { Ok(count) }
}

fn add(value: i64, difference: i128) -> Result<i64, StoreError> {
    let sum = i128::from(value).checked_add(difference).ok_or_else(damaged)?;
    i64::try_from(sum).map_err(|_| damaged())
}

fn damaged() -> StoreError {
    StoreError::columns("read meters", "a run of readings does not have the form that it should have")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, 0..2_000_u64, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn runs_come_back(
            base_us in 0..4_000_000_000_000_000_i64,
            lengths in prop::collection::vec((-5_000_000..90_000_000_i64, 1..90_000_000_i64), 1..80),
            steps in prop::collection::vec((0..80_usize, number(), number()), 0..60),
        ) {
            let mut end_us = base_us;
            let mut spans: Vec<Span> = lengths.into_iter().map(|(pause, length)| {
                let from_us = end_us + pause;
                end_us = from_us + length;
                (end_us, from_us)
            }).collect();
            spans.sort_unstable();
            let times = encode_times(base_us, &spans);
            prop_assert_eq!(&decode_times(base_us, &times).unwrap(), &spans);
            // Two steps of one reading are two.
            let mut steps: Vec<(usize, Step)> = steps.into_iter().map(|(place, packets, bytes)| {
                let place = place % spans.len();
                (place, Step { to_us: spans[place].0, from_us: spans[place].1, packets, bytes })
            }).collect();
            steps.sort_unstable_by_key(|(place, _)| *place);
            let expected: Vec<Step> = steps.iter().map(|(_, step)| *step).collect();
            prop_assert_eq!(decode_steps(&spans, &encode_steps(&steps)).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), base_us in any::<i64>()) {
            if let Ok(spans) = decode_times(base_us, &bytes) {
                prop_assert!(spans.len() <= bytes.len());
            }
            let spans = [(10, 0), (20, 10), (30, 20)];
            if let Ok(steps) = decode_steps(&spans, &bytes) {
                prop_assert!(steps.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_meter_of_steady_traffic_takes_two_bytes_and_some_for_each_step() {
        let spans: Vec<Span> = (0..360).map(|at| ((at + 1) * 10_000_000, at * 10_000_000)).collect();
        let steps: Vec<(usize, Step)> = (0..120)
            .map(|at| {
                let (to_us, from_us) = spans[at * 3];
                let packets = 40 + at as u64 % 7;
                (
                    at * 3,
                    Step {
                        to_us,
                        from_us,
                        packets,
                        bytes: packets * 700,
                    },
                )
            })
            .collect();
        assert!(encode_steps(&steps).len() < 120 * 3 + 8);
        assert!(encode_times(0, &spans).len() < 360 * 2 + 16);
    }
}
