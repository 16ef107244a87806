// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A bad network: a relay of UDP packets that loses, doubles, delays and reorders them, and whose own address changes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How packets fare.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Weather {
    /// Percent.
    pub loss: u8,
    pub double: u8,
    /// Percent of the packets that overtake those before them, where there is a delay.
    pub reorder: u8,
    pub delay: Duration,
    /// Longer packets vanish; 0 for no bound.
    pub mtu: u16,
}

/// A relay from gateways to one collector. It ends when it is dropped.
pub struct Relay {
    /// Where gateways connect to.
    pub address: SocketAddr,
    collector: SocketAddr,
    seed: u64,
    weather: watch::Sender<Weather>,
    /// Grows when the collector is to see gateways come from another address.
    moves: watch::Sender<u64>,
    task: JoinSet<()>,
}

/// Largest UDP packet.
const PACKET: usize = 65_536;

impl Relay {
    pub async fn new(collector: SocketAddr, seed: u64) -> Result<Relay> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.context("bind the relay")?;
        let address = socket.local_addr()?;
        let mut relay = Relay {
            address,
            collector,
            seed,
            weather: watch::Sender::new(Weather::default()),
            moves: watch::Sender::new(0),
            task: JoinSet::new(),
        };
        relay.serve(socket);
        Ok(relay)
    }

    fn serve(&mut self, socket: UdpSocket) {
        let (weather, moves) = (self.weather.subscribe(), self.moves.subscribe());
        self.task.spawn(relay(Arc::new(socket), self.collector, weather, moves, self.seed));
    }

    /// Gateways find it at another address of this machine, with the same port, and no more at the old one.
    pub async fn move_to(&mut self, address: IpAddr) -> Result<()> {
        self.task.shutdown().await;
        self.address.set_ip(address);
        let socket = UdpSocket::bind(self.address)
            .await
            .with_context(|| format!("bind the relay to {}", self.address))?;
        self.serve(socket);
        Ok(())
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// From now on gateways seem to come from another address.
    pub fn change_addresses(&self) {
        self.moves.send_modify(|moves| *moves += 1);
    }
}

async fn relay(near: Arc<UdpSocket>, collector: SocketAddr, weather: watch::Receiver<Weather>, mut moves: watch::Receiver<u64>, seed: u64) {
    let mut far: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    // Ends with the relay, and with it all that is on its way.
    let mut tasks = JoinSet::new();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut packet = vec![0; PACKET];
    loop {
        let received = tokio::select! {
            received = near.recv_from(&mut packet) => received,
            _ = moves.changed() => {
                // Answers to the old address still find their way.
                far.clear();
                continue;
            }
        };
        // An error is that of a packet before, which nobody took.
        let Ok((length, client)) = received else { continue };
        while tasks.try_join_next().is_some() {}
        let socket = match far.get(&client) {
            Some(socket) => socket.clone(),
            None => {
                let Ok(socket) = UdpSocket::bind("127.0.0.1:0").await.map(Arc::new) else {
                    continue;
                };
                // A socket takes nothing at once before it has been found ready.
                if socket.writable().await.is_err() {
                    continue;
                }
                far.insert(client, socket.clone());
                tasks.spawn(back(near.clone(), socket.clone(), client, weather.clone(), rng.random()));
                socket
            }
        };
        pass(&mut tasks, &mut rng, *weather.borrow(), socket, collector, &packet[..length]);
    }
}

/// What the collector answers to one gateway.
async fn back(near: Arc<UdpSocket>, far: Arc<UdpSocket>, client: SocketAddr, weather: watch::Receiver<Weather>, seed: u64) {
    let mut tasks = JoinSet::new();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut packet = vec![0; PACKET];
    loop {
        let Ok((length, _)) = far.recv_from(&mut packet).await else { continue };
        while tasks.try_join_next().is_some() {}
        pass(&mut tasks, &mut rng, *weather.borrow(), near.clone(), client, &packet[..length]);
    }
}

fn pass(tasks: &mut JoinSet<()>, rng: &mut StdRng, weather: Weather, socket: Arc<UdpSocket>, to: SocketAddr, packet: &[u8]) {
    let mut percent = |part: u8| rng.random_range(0..100) < part;
    if weather.mtu > 0 && packet.len() > usize::from(weather.mtu) || percent(weather.loss) {
        return;
    }
    let copies = if percent(weather.double) { 2 } else { 1 };
    let delay = if percent(weather.reorder) { Duration::ZERO } else { weather.delay };
    for _ in 0..copies {
        if delay.is_zero() {
            // A full buffer loses packets, as a router's does.
            let _ = socket.try_send_to(packet, to);
            continue;
        }
        let (socket, packet) = (socket.clone(), packet.to_vec());
        tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&packet, to).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_go_both_ways_and_bad_weather_stops_them() -> Result<()> {
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, both_ways()).await.context("a packet was lost")?
    }

    async fn both_ways() -> Result<()> {
        let collector = UdpSocket::bind("127.0.0.1:0").await?;
        let relay = Relay::new(collector.local_addr()?, 1).await?;
        let gateway = UdpSocket::bind("127.0.0.1:0").await?;
        gateway.send_to(b"one", relay.address).await?;
        let mut buffer = [0; 16];
        let (length, from) = collector.recv_from(&mut buffer).await?;
        assert_eq!(&buffer[..length], b"one");
        collector.send_to(b"two", from).await?;
        let (length, from_relay) = gateway.recv_from(&mut buffer).await?;
        assert_eq!((&buffer[..length], from_relay), (&b"two"[..], relay.address));
        // Another address.
        relay.change_addresses();
        tokio::task::yield_now().await;
        let other = loop {
            gateway.send_to(b"three", relay.address).await?;
            let (_, other) = collector.recv_from(&mut buffer).await?;
            if other != from {
                break other;
            }
        };
        // The old one still leads back, as does the new one.
        for address in [from, other] {
            collector.send_to(b"four", address).await?;
            gateway.recv_from(&mut buffer).await?;
        }
        relay.set(Weather {
            loss: 100,
            ..Weather::default()
        });
        gateway.send_to(b"five", relay.address).await?;
        let silence = tokio::time::timeout(Duration::from_millis(100), collector.recv_from(&mut buffer)).await;
        assert!(silence.is_err());
        relay.set(Weather {
            double: 100,
            delay: Duration::from_millis(5),
            ..Weather::default()
        });
        gateway.send_to(b"six", relay.address).await?;
        for _ in 0..2 {
            let (length, _) = collector.recv_from(&mut buffer).await?;
            assert_eq!(&buffer[..length], b"six");
        }
        Ok(())
    }
}
