// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Traffic from meters, over time and in sum.

use std::collections::HashMap;

use insights_store::{
    MeterKey, Period, SiteId, Store, StoreError,
    query::{Budget, MeterPoint, MeterQuery, MeterTotal, TotalsOf, TotalsQuery},
};
use uuid::Uuid;

use super::scoped::ScopedStore;

/// Meters move in steps of up to a minute; a finer step would show the steps and not the traffic.
pub const LEAST_STEP_US: i64 = 60_000_000;

/// Readings of the last minutes are still on their way: what is missing there is no gap.
const SETTLE_US: i64 = 180_000_000;

/// The sum of some meters over time.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Per second; `None` where no reading covers the step.
    pub bytes: Vec<Option<f64>>,
    pub packets: Vec<Option<f64>>,
    pub total_bytes: f64,
    pub total_packets: f64,
}

impl Line {
    /// Rates in bits or packets, as a chart takes them.
    pub fn rates(&self, packets: bool) -> Vec<Option<f64>> {
        if packets {
            self.packets.clone()
        } else {
            self.bytes.iter().map(|rate| rate.map(|rate| rate * 8.0)).collect()
        }
    }
}

/// Lines on one time axis.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    pub start_us: i64,
    pub step_us: i64,
    pub lines: Vec<Line>,
    /// Spans in which readings are missing.
    pub gaps: Vec<(i64, i64)>,
}

/// Sums of groups of meters over a period; a meter may be in several groups.
pub async fn lines(store: &ScopedStore, period: Period, step_us: i64, now_us: i64, groups: &[Vec<MeterKey>]) -> Result<Traffic, StoreError> {
    let (store, site) = store.parts();
    lines_of(store, site, period, step_us, now_us, groups).await
}

/// The same for rules of alerts, which look at a site without anybody asking.
pub(crate) async fn lines_of(
    store: &Store,
    site: SiteId,
    period: Period,
    step_us: i64,
    now_us: i64,
    groups: &[Vec<MeterKey>],
) -> Result<Traffic, StoreError> {
    let mut places: HashMap<&MeterKey, Vec<usize>> = HashMap::new();
    for (group, keys) in groups.iter().enumerate() {
        for key in keys {
            places.entry(key).or_default().push(group);
        }
    }
    let mut keys: Vec<MeterKey> = places.keys().map(|key| (*key).clone()).collect();
    keys.sort();
    let start_us = period.from_us.div_euclid(step_us) * step_us;
    let count = usize::try_from((period.to_us - start_us + step_us - 1) / step_us).unwrap_or(0);
    let mut sums = vec![vec![Sum::default(); count]; groups.len()];
    let mut covered = vec![0i64; count];
    for chunk in keys.chunks(MeterQuery::MAX_KEYS) {
        let query = MeterQuery {
            period,
            keys: chunk.to_vec(),
            step_us,
            budget: Budget::default(),
        };
        for series in store.series().meters(site, query).await?.value {
            for point in &series.points {
                let Ok(at) = usize::try_from((point.start_us - start_us) / step_us) else {
                    continue;
                };
                if at >= count {
                    continue;
                }
                covered[at] += point.covered_us;
                for group in places.get(&series.key).into_iter().flatten() {
                    sums[*group][at].add(point);
                }
            }
        }
    }
    let gaps = gaps(period, now_us, start_us, step_us, keys.len(), &covered);
    // A sum of which half is missing would look like less traffic.
    for (at, _) in covered
        .iter()
        .enumerate()
        .filter(|(at, _)| in_gap(&gaps, start_us + *at as i64 * step_us, step_us))
    {
        for sum in &mut sums {
            sum[at].known = false;
        }
    }
    let lines = sums.into_iter().map(line).collect();
    Ok(Traffic {
        start_us,
        step_us,
        lines,
        gaps,
    })
}

/// Bytes and packets of both directions of a port: in is towards the virtual device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PortTotal {
    pub rx_bytes: f64,
    pub tx_bytes: f64,
    pub rx_packets: f64,
    pub tx_packets: f64,
}

impl PortTotal {
    pub fn bytes(&self) -> f64 {
        self.rx_bytes + self.tx_bytes
    }
}

/// Sums of all ports that moved.
pub async fn port_totals(store: &ScopedStore, period: Period) -> Result<HashMap<Uuid, PortTotal>, StoreError> {
    let query = TotalsQuery {
        period,
        of: TotalsOf::AllPorts,
        budget: Budget::default(),
    };
    let mut ports: HashMap<Uuid, PortTotal> = HashMap::new();
    for MeterTotal { key, packets, bytes, .. } in store.totals(query).await? {
        match key {
            MeterKey::PortRx(id) => {
                let port = ports.entry(id).or_default();
                port.rx_bytes += bytes;
                port.rx_packets += packets;
            }
            MeterKey::PortTx(id) => {
                let port = ports.entry(id).or_default();
                port.tx_bytes += bytes;
                port.tx_packets += packets;
            }
            _ => {}
        }
    }
    Ok(ports)
}

/// Sums of all tunnels: sender's and receiver's underlay address, bytes.
pub async fn tunnel_totals(store: &ScopedStore, period: Period) -> Result<Vec<MeterTotal>, StoreError> {
    let query = TotalsQuery {
        period,
        of: TotalsOf::AllTunnels,
        budget: Budget::default(),
    };
    store.totals(query).await
}

#[derive(Clone, Copy, Default)]
struct Sum {
    bytes: f64,
    packets: f64,
    byte_rate: f64,
    packet_rate: f64,
    known: bool,
}

impl Sum {
    /// Counts of a step are divided by the time that its readings cover, so that a half-covered step has the right rate.
    fn add(&mut self, point: &MeterPoint) {
        if point.covered_us <= 0 {
            return;
        }
        let seconds = point.covered_us as f64 / 1e6;
        self.bytes += point.bytes;
        self.packets += point.packets;
        self.byte_rate += point.bytes / seconds;
        self.packet_rate += point.packets / seconds;
        self.known = true;
    }
}

fn line(points: Vec<Sum>) -> Line {
    Line {
        bytes: points.iter().map(|sum| sum.known.then_some(sum.byte_rate)).collect(),
        packets: points.iter().map(|sum| sum.known.then_some(sum.packet_rate)).collect(),
        total_bytes: points.iter().map(|sum| sum.bytes).sum(),
        total_packets: points.iter().map(|sum| sum.packets).sum(),
    }
}

/// Steps of which less than half is covered, joined.
fn gaps(period: Period, now_us: i64, start_us: i64, step_us: i64, keys: usize, covered: &[i64]) -> Vec<(i64, i64)> {
    let mut gaps: Vec<(i64, i64)> = Vec::new();
    if keys == 0 {
        return gaps;
    }
    for (at, covered) in covered.iter().enumerate() {
        let from = (start_us + at as i64 * step_us).max(period.from_us);
        let to = (start_us + (at as i64 + 1) * step_us).min(period.to_us);
        let settled = to <= now_us - SETTLE_US;
        if !settled || covered * 2 >= (to - from).saturating_mul(keys as i64) {
            continue;
        }
        match gaps.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => gaps.push((from, to)),
        }
    }
    gaps
}

fn in_gap(gaps: &[(i64, i64)], from_us: i64, step_us: i64) -> bool {
    gaps.iter().any(|(begin, end)| *begin < from_us + step_us && from_us < *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_joined_and_the_newest_minutes_are_none() {
        let minute = 60_000_000;
        let period = Period::new(0, 10 * minute);
        let covered = [minute, 0, 0, minute, 20_000_000, minute, minute, 0, 0, 0];
        assert_eq!(
            gaps(period, 10 * minute, 0, minute, 1, &covered),
            [(minute, 3 * minute), (4 * minute, 5 * minute)]
        );
        assert_eq!(
            gaps(period, 100 * minute, 0, minute, 1, &covered).last(),
            Some(&(7 * minute, 10 * minute))
        );
        assert_eq!(gaps(period, 100 * minute, 0, minute, 0, &[0; 10]), []);
    }

    #[test]
    fn a_half_covered_step_has_the_whole_rate() {
        let mut sum = Sum::default();
        sum.add(&MeterPoint {
            start_us: 0,
            packets: 10.0,
            bytes: 1000.0,
            covered_us: 30_000_000,
        });
        sum.add(&MeterPoint {
            start_us: 0,
            packets: 0.0,
            bytes: 0.0,
            covered_us: 0,
        });
        let line = line(vec![sum, Sum::default()]);
        assert_eq!(line.bytes, [Some(1000.0 / 30.0), None]);
        assert_eq!(line.rates(true), [Some(10.0 / 30.0), None]);
        assert_eq!(line.total_bytes, 1000.0);
    }
}
