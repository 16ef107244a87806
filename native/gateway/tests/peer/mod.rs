// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A small service for tests: real QUIC and TLS on the loopback interface, cursors in memory, and faults on demand.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use insights_protocol::{
    Kind, PROTOCOL_VERSION,
    batch::{self, Payload},
    control::{Command, CommandDone, Cursor, Hello, Refusal, RefusalCode, Report, Settings, ToGateway, ToService, Welcome, close},
    frame::{MAX_CONTROL_FRAME, MAX_DATA_FRAME, frame, payload_length},
    stream::StreamReader,
};
use parking_lot::Mutex;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt, crypto::rustls::QuicServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tokio::sync::broadcast;

/// What the peer does.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    /// Name and dates of its certificate.
    pub(crate) name: String,
    pub(crate) expired: bool,
    pub(crate) alpn: Vec<u8>,
    /// Answered to the greeting instead of a welcome.
    pub(crate) refuse: Option<Refusal>,
    /// Refuses every client certificate in the handshake.
    pub(crate) refuse_in_handshake: bool,
    /// Refuses client certificates whose dates don't hold now, in the handshake.
    pub(crate) check_dates: bool,
    /// The version that it claims.
    pub(crate) protocol: u16,
    pub(crate) settings: Settings,
    /// Closes each connection after so many batches.
    pub(crate) close_after: Option<usize>,
    /// Keeps what it acknowledges to itself for the first so many batches.
    pub(crate) ack: bool,
    /// Refuses every so many-th batch for now.
    pub(crate) retry_every: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            name: "localhost".into(),
            expired: false,
            alpn: insights_protocol::ALPN.to_vec(),
            refuse: None,
            refuse_in_handshake: false,
            check_dates: false,
            protocol: PROTOCOL_VERSION,
            settings: Settings::default(),
            close_after: None,
            ack: true,
            retry_every: None,
        }
    }
}

/// What the peer saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) reports: Vec<Report>,
    pub(crate) done: Vec<CommandDone>,
    pub(crate) byes: usize,
    /// Batches that were taken over, in their order, by kind and epoch.
    pub(crate) taken: BTreeMap<(Kind, u64), Vec<(u64, Payload)>>,
    /// All batches that came, also those that came again.
    pub(crate) batches: usize,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: PathBuf,
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
    orders: broadcast::Sender<ToGateway>,
    closes: broadcast::Sender<u32>,
    endpoint: Endpoint,
}

impl Peer {
    /// Listens on a free port; its root of trust is written into the folder.
    pub(crate) fn start(folder: &Path, behaviour: Behaviour) -> Peer {
        let ca_file = folder.join("peer-ca.pem");
        let (server, ca) = server_config(&behaviour);
        std::fs::write(&ca_file, ca).unwrap();
        let endpoint = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (orders, _) = broadcast::channel(16);
        let (closes, _) = broadcast::channel(16);
        let peer = Peer {
            address: endpoint.local_addr().unwrap(),
            ca_file,
            seen,
            behaviour,
            orders,
            closes,
            endpoint: endpoint.clone(),
        };
        let (seen, behaviour, orders, closes) = (peer.seen.clone(), peer.behaviour.clone(), peer.orders.clone(), peer.closes.clone());
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (seen, behaviour) = (seen.clone(), behaviour.clone());
                let (orders, closes) = (orders.subscribe(), closes.subscribe());
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        let _ = serve(connection, seen, behaviour, orders, closes).await;
                    }
                });
            }
        });
        peer
    }

    pub(crate) fn say(&self, message: ToGateway) {
        let _ = self.orders.send(message);
    }

    pub(crate) fn command(&self, command: Command) {
        self.say(ToGateway::Command(command));
    }

    pub(crate) fn close_all(&self, code: u32) {
        let _ = self.closes.send(code);
    }

    pub(crate) fn stop(&self) {
        self.endpoint.close(VarInt::from_u32(close::NORMAL), b"");
    }
}

/// Waits until it holds. A test that waits in vain fails by its harness.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}

async fn serve(
    connection: Connection,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Behaviour>>,
    mut orders: broadcast::Receiver<ToGateway>,
    mut closes: broadcast::Receiver<u32>,
) -> anyhow::Result<()> {
    let (mut send, mut receive) = connection.accept_bi().await?;
    let ToService::Hello(hello) = ToService::decode(&read(&mut receive, MAX_CONTROL_FRAME).await?)? else {
        anyhow::bail!("no greeting")
    };
    let mine = behaviour.lock().clone();
    let refusal = mine.refuse.clone().or((hello.protocol != mine.protocol).then(|| Refusal {
        code: RefusalCode::Protocol,
        reason: format!("this service speaks {}", mine.protocol),
        remedy: String::new(),
        retry_after_s: 1,
    }));
    let cursors = {
        let mut seen = seen.lock();
        seen.hellos.push(hello.clone());
        let known = hello.streams.iter().filter_map(|stream| {
            let sequence = seen.taken.get(&(stream.kind, stream.epoch))?.last()?.0;
            Some(Cursor {
                kind: stream.kind,
                epoch: stream.epoch,
                sequence,
            })
        });
        known.collect::<Vec<_>>()
    };
    if let Some(refusal) = refusal {
        say(&mut send, &ToGateway::Refused(refusal)).await?;
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await;
        return Ok(());
    }
    let welcome = Welcome {
        protocol: mine.protocol,
        software: "test".into(),
        clock_us: hello.clock_us,
        site: "a site".into(),
        settings: mine.settings,
        cursors,
    };
    say(&mut send, &ToGateway::Welcome(welcome)).await?;
    let (answers, mut answered) = tokio::sync::mpsc::channel(64);
    let reader = tokio::spawn(read_control(receive, seen.clone()));
    let acceptor = tokio::spawn(accept_data(connection.clone(), seen, behaviour, answers));
    loop {
        tokio::select! {
            Some(message) = answered.recv() => say(&mut send, &message).await?,
            Ok(message) = orders.recv() => say(&mut send, &message).await?,
            Ok(code) = closes.recv() => {
                connection.close(VarInt::from_u32(code), b"test");
                break;
            }
            _ = connection.closed() => break,
        }
    }
    reader.await?;
    acceptor.abort();
    Ok(())
}

async fn read_control(mut receive: RecvStream, seen: Arc<Mutex<Seen>>) {
    while let Ok(bytes) = read(&mut receive, MAX_CONTROL_FRAME).await {
        let mut seen = seen.lock();
        match ToService::decode(&bytes).unwrap() {
            ToService::Report(report) => seen.reports.push(report),
            ToService::CommandDone(done) => seen.done.push(done),
            ToService::Bye { .. } => seen.byes += 1,
            ToService::Hello(_) => panic!("a second greeting"),
        }
    }
}

async fn accept_data(
    connection: Connection,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Behaviour>>,
    answers: tokio::sync::mpsc::Sender<ToGateway>,
) {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    while let Ok(mut stream) = connection.accept_uni().await {
        let (seen, behaviour, answers, connection, count) = (seen.clone(), behaviour.clone(), answers.clone(), connection.clone(), count.clone());
        tokio::spawn(async move {
            let mut reader = StreamReader::default();
            while let Ok(bytes) = read(&mut stream, MAX_DATA_FRAME).await {
                let envelope = batch::open(&bytes).unwrap();
                let (header, payload) = reader.read(envelope.batch).unwrap();
                let mine = behaviour.lock().clone();
                let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                if mine.close_after.is_some_and(|after| number > after) {
                    connection.close(VarInt::from_u32(close::NORMAL), b"fault");
                    return;
                }
                seen.lock().batches += 1;
                let arrival = seen.lock().batches as u64;
                if mine.retry_every.is_some_and(|every| arrival.is_multiple_of(every)) {
                    let _ = answers
                        .send(ToGateway::Retry {
                            kind: header.kind,
                            after_ms: 20,
                        })
                        .await;
                    // What follows on this stream is not behind what was acknowledged.
                    let _ = stream.stop(VarInt::from_u32(0));
                    return;
                }
                {
                    let mut seen = seen.lock();
                    let taken = seen.taken.entry((header.kind, envelope.epoch)).or_default();
                    if taken.last().is_none_or(|(last, _)| *last < envelope.sequence) {
                        taken.push((envelope.sequence, payload));
                    }
                }
                if mine.ack {
                    let cursor = Cursor {
                        kind: header.kind,
                        epoch: envelope.epoch,
                        sequence: envelope.sequence,
                    };
                    let _ = answers.send(ToGateway::Ack(cursor)).await;
                }
            }
        });
    }
}

async fn read(stream: &mut RecvStream, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; payload_length(length, limit)?];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn say(stream: &mut SendStream, message: &ToGateway) -> anyhow::Result<()> {
    Ok(stream.write_all(&frame(&message.encode()?, MAX_CONTROL_FRAME)?).await?)
}

/// The configuration with a certificate of a new root, and that root as PEM.
fn server_config(behaviour: &Behaviour) -> (ServerConfig, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new([behaviour.name.clone()]).unwrap();
    if behaviour.expired {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &root).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyKey {
            provider,
            refuse: behaviour.refuse_in_handshake,
            check_dates: behaviour.check_dates,
        }))
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = vec![behaviour.alpn.clone()];
    (
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap())),
        root.pem(),
    )
}

/// Takes any key that signs, as a service does that knows keys by their fingerprint; or none.
#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
    refuse: bool,
    check_dates: bool,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let dates = || {
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
            let validity = parsed.validity();
            (validity.not_before.timestamp() as u64, validity.not_after.timestamp() as u64)
        };
        let error = match self.check_dates.then(dates) {
            _ if self.refuse => rustls::CertificateError::ApplicationVerificationFailure,
            Some((_, end)) if end < now.as_secs() => rustls::CertificateError::Expired,
            Some((begin, _)) if begin > now.as_secs() => rustls::CertificateError::NotValidYet,
            _ => return Ok(ClientCertVerified::assertion()),
        };
        Err(rustls::Error::InvalidCertificate(error))
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
