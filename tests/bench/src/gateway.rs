// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A gateway made of nothing but the wire: it has its batches ready and sends them as fast as they are acknowledged.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use insights_gateway::{identity::Identity, tls};
use insights_protocol::{
    Kind, Kinds, PROTOCOL_VERSION,
    batch::{self, Payload},
    control::{Cursor, Hello, StreamState, ToGateway, ToService},
    frame::{LENGTH_BYTES, MAX_CONTROL_FRAME, MAX_DATA_FRAME, frame, payload_length},
    stream::StreamWriter,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

/// A batch that is not acknowledged in this time will not be: a build without optimisation writes files meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

/// A quiet gateway says so often that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Batches on the way that are not acknowledged yet.
const WINDOW: u64 = 8;

const EPOCH: u64 = 1;

/// One gateway that was let in.
pub struct Gateway {
    /// Bytes of the batches sent, with their envelopes.
    pub bytes: u64,
    connection: Connection,
    _control: SendStream,
    acks: watch::Receiver<Acks>,
    reader: JoinHandle<()>,
    lanes: BTreeMap<u8, Lane>,
}

/// What was said on the control stream: sequences by kind, or why it ended.
#[derive(Clone, Debug, Default)]
struct Acks {
    up_to: BTreeMap<u8, u64>,
    ended: Option<String>,
}

struct Lane {
    stream: SendStream,
    writer: StreamWriter,
    next: u64,
}

impl Gateway {
    pub async fn connect(endpoint: &Endpoint, service: SocketAddr, ca: &Path, identity: &Identity) -> Result<Gateway> {
        let tls = tls::client(Some(ca), identity).context("use the identity")?;
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        let connection = endpoint
            .connect_with(config, service, "127.0.0.1")?
            .await
            .context("connect to the collector")?;
        let (mut out, mut control) = connection.open_bi().await?;
        let streams = Kind::ALL.map(|kind| StreamState {
            kind,
            epoch: EPOCH,
            first: 0,
            next: 0,
        });
        let now_us = now_us();
        let hello = ToService::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            software: env!("CARGO_PKG_VERSION").into(),
            gateway: Uuid::from_u128(u128::from_be_bytes(identity.fingerprint.0[..16].try_into()?)).into_bytes(),
            name: "bench".into(),
            started_us: now_us,
            clock_us: now_us,
            allowed: Kinds::ALL,
            streams: streams.to_vec(),
        });
        out.write_all(&frame(&hello.encode()?, MAX_CONTROL_FRAME)?).await?;
        match tokio::time::timeout(PATIENCE, receive(&mut control)).await?? {
            ToGateway::Welcome(_) => {}
            other => bail!("the collector did not let the gateway in: {other:?}"),
        }
        let (told, acks) = watch::channel(Acks::default());
        let reader = tokio::spawn(listen(control, told));
        Ok(Gateway {
            bytes: 0,
            connection,
            _control: out,
            acks,
            reader,
            lanes: BTreeMap::new(),
        })
    }

    /// Sends a batch; waits when many are on the way.
    pub async fn send(&mut self, payload: &Payload) -> Result<()> {
        self.send_encoded(payload.kind(), &batch::encode(payload)?).await
    }

    /// Sends a batch that stands for itself.
    pub async fn send_encoded(&mut self, kind: Kind, alone: &[u8]) -> Result<()> {
        let lane = match self.lanes.entry(kind as u8) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Lane {
                stream: self.connection.open_uni().await?,
                writer: StreamWriter::default(),
                next: 0,
            }),
        };
        let sequence = lane.next;
        lane.next += 1;
        let sealed = batch::seal(EPOCH, sequence, &lane.writer.write(alone));
        self.bytes += sealed.len() as u64;
        lane.stream.write_all(&frame(&sealed, MAX_DATA_FRAME)?).await?;
        if sequence >= WINDOW {
            self.acknowledged(kind, sequence - WINDOW).await?;
        }
        Ok(())
    }

    /// Waits until all batches of a kind are durable.
    pub async fn settled(&mut self, kind: Kind) -> Result<()> {
        match self.lanes.get(&(kind as u8)).map(|lane| lane.next) {
            Some(next) if next > 0 => self.acknowledged(kind, next - 1).await,
            _ => Ok(()),
        }
    }

    async fn acknowledged(&mut self, kind: Kind, sequence: u64) -> Result<()> {
        let is_there = |acks: &Acks| acks.ended.is_some() || acks.up_to.get(&(kind as u8)).is_some_and(|up_to| *up_to >= sequence);
        let acks = tokio::time::timeout(PATIENCE, self.acks.wait_for(is_there))
            .await
            .with_context(|| format!("batch {sequence} of {kind} was not acknowledged within {PATIENCE:?}"))??;
        ensure!(
            acks.ended.is_none(),
            "the connection ended: {}",
            acks.ended.as_deref().unwrap_or_default()
        );
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.connection.close(insights_protocol::control::close::NORMAL.into(), b"done");
        self.reader.abort();
    }
}

async fn listen(mut control: RecvStream, told: watch::Sender<Acks>) {
    loop {
        match receive(&mut control).await {
            Ok(ToGateway::Ack(Cursor { kind, sequence, .. })) => told.send_modify(|acks| {
                acks.up_to.insert(kind as u8, sequence);
            }),
            // Batches would have to be sent again, which would be measured with the rest.
            Ok(ToGateway::Retry { kind, .. }) => {
                return told.send_modify(|acks| acks.ended = Some(format!("the collector could not take a batch of {kind}")));
            }
            Ok(_) => {}
            Err(error) => return told.send_modify(|acks| acks.ended = Some(format!("{error:#}"))),
        }
    }
}

async fn receive(control: &mut RecvStream) -> Result<ToGateway> {
    let mut prefix = [0; LENGTH_BYTES];
    control.read_exact(&mut prefix).await.context("read the control stream")?;
    let mut bytes = vec![0; payload_length(prefix, MAX_CONTROL_FRAME)?];
    control.read_exact(&mut bytes).await.context("read the control stream")?;
    Ok(ToGateway::decode(&bytes)?)
}

/// µs since the epoch.
pub fn now_us() -> i64 {
    (time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000) as i64
}
