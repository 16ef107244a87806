// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A collector in this process, and gateways made of nothing but the wire.

#![allow(unreachable_pub, reason = "shared by several test programs, each of which uses a part")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use insights_collector::{
    accounts::{Accounts, Session, SiteScope},
    clock::now_us,
    ingest::{Counters, Gateways, Ingest, IngestOptions, IngestParts},
    site::Sites,
};
use insights_protocol::{
    ALPN, Kind, Kinds, PROTOCOL_VERSION,
    batch::{self, Payload},
    control::{Cursor, Hello, StreamState, ToGateway, ToService, Welcome},
    flow::{Extras, FlowFact, Path as FlowPath, Tunnel},
    frame::{LENGTH_BYTES, MAX_CONTROL_FRAME, MAX_DATA_FRAME, frame, payload_length},
};
use insights_store::{Period, SiteId, Store, StoreOptions, catalog::Fingerprint};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Nothing on the loopback takes so long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const PASSWORD: &str = "correct horse battery staple";

pub struct Service {
    pub store: Store,
    pub accounts: Accounts,
    pub sites: Sites,
    pub gateways: Gateways,
    pub counters: Arc<Counters>,
    pub address: SocketAddr,
    certificate: CertificateDer<'static>,
    ingest: Ingest,
}

impl Service {
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(StoreOptions::new(dir)).await
    }

    pub async fn start_with(options: StoreOptions) -> Self {
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = server.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.signing_key.serialize_der()));
        let store = Store::open(options).await.unwrap();
        let accounts = Accounts::new(store.catalog().clone());
        let sites = Sites::new(store.clone());
        let gateways = Gateways::new(store.catalog().clone());
        let counters = Arc::new(Counters::default());
        let parts = IngestParts {
            store: store.clone(),
            sites: sites.clone(),
            accounts: accounts.clone(),
            gateways: gateways.clone(),
            counters: counters.clone(),
        };
        let options = IngestOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            certificates: vec![certificate.clone()],
            key,
            max_connections: 64,
        };
        let ingest = Ingest::start(options, parts).await.unwrap();
        let address = ingest.address().unwrap();
        Self {
            store,
            accounts,
            sites,
            gateways,
            counters,
            address,
            certificate,
            ingest,
        }
    }

    pub async fn stop(self) {
        self.ingest.stop().await;
    }

    /// An account with a site, signed in.
    pub async fn account(&self, email: &str) -> (Session, SiteScope) {
        let account = self.accounts.create(email, "Ada", PASSWORD.to_owned(), now_us()).await.unwrap();
        self.accounts.create_site(account, "cloud", 0, now_us()).await.unwrap();
        self.sign_in(email).await
    }

    pub async fn sign_in(&self, email: &str) -> (Session, SiteScope) {
        let client: std::net::IpAddr = "127.0.0.1".parse().unwrap();
        let signed_in = self.accounts.sign_in(email, PASSWORD.to_owned(), client, now_us()).await.unwrap();
        let session = self.accounts.session(&signed_in.token, now_us()).await.unwrap().unwrap();
        let site: SiteId = self.accounts.sites(&session).await.unwrap()[0].id;
        let scope = self.accounts.scope(&session, site).await.unwrap();
        (session, scope)
    }

    /// A key that the site knows.
    pub async fn known_key(&self, scope: &SiteScope) -> Identity {
        let identity = Identity::new(0);
        self.accounts
            .add_fingerprint(scope, &hex::encode(identity.fingerprint), "gw", now_us())
            .await
            .unwrap();
        // The endpoint learns of it within moments.
        eventually("the key is known", || async { self.connect(&identity).await.is_ok() }).await;
        identity
    }

    /// A connection that got through its handshake: a refusal of the key comes after the client has finished its part.
    pub async fn connect(&self, identity: &Identity) -> Result<Connection, ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint
            .connect_with(self.client_config(identity), self.address, "localhost")
            .unwrap()
            .await?;
        // The server opens no streams; it either closes within a round trip or not at all.
        match tokio::time::timeout(Duration::from_millis(300), connection.closed()).await {
            Ok(error) => Err(error),
            Err(_) => Ok(connection),
        }
    }

    fn client_config(&self, identity: &Identity) -> quinn::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }
}

pub struct Identity {
    pub fingerprint: Fingerprint,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A self-signed key, whose certificate ended so many days ago (0: is good).
    pub fn new(expired_days: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(1_000);
        params.not_after = if expired_days == 0 {
            now + time::Duration::days(100)
        } else {
            now - time::Duration::days(expired_days)
        };
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let fingerprint = Sha256::digest(key.subject_public_key_info()).into();
        Self {
            fingerprint,
            certificate,
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }
}

/// A gateway that was let in.
pub struct Gateway {
    pub connection: Connection,
    pub welcome: Welcome,
    pub id: Uuid,
    out: SendStream,
    control: RecvStream,
}

pub fn hello(id: Uuid, protocol: u16, streams: Vec<StreamState>) -> ToService {
    ToService::Hello(Hello {
        protocol,
        software: "0.1.0".into(),
        gateway: id.into_bytes(),
        name: "gw-1".into(),
        started_us: now_us(),
        clock_us: now_us(),
        allowed: Kinds::ALL,
        streams,
    })
}

impl Gateway {
    pub async fn connect(service: &Service, identity: &Identity, id: Uuid, epoch: u64) -> Self {
        let streams = Kind::ALL
            .map(|kind| StreamState {
                kind,
                epoch,
                first: 0,
                next: 0,
            })
            .to_vec();
        let (connection, mut out, mut control) = open(service, identity).await;
        send(&mut out, &hello(id, PROTOCOL_VERSION, streams)).await;
        match receive(&mut control).await {
            Some(ToGateway::Welcome(welcome)) => Self {
                connection,
                welcome,
                id,
                out,
                control,
            },
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub fn cursor(&self, kind: Kind) -> Option<u64> {
        self.welcome
            .cursors
            .iter()
            .find(|cursor| cursor.kind == kind)
            .map(|cursor| cursor.sequence)
    }

    pub async fn stream(&self) -> SendStream {
        self.connection.open_uni().await.unwrap()
    }

    pub async fn send(&mut self, message: &ToService) {
        send(&mut self.out, message).await;
    }

    pub async fn receive(&mut self) -> Option<ToGateway> {
        receive(&mut self.control).await
    }

    /// Waits for the acknowledgement of a sequence, passing over those of earlier ones.
    pub async fn acknowledged(&mut self, kind: Kind, sequence: u64) {
        loop {
            match self.receive().await {
                Some(ToGateway::Ack(Cursor {
                    kind: of, sequence: up_to, ..
                })) if of == kind && up_to >= sequence => return,
                Some(_) => {}
                None => panic!("the service hung up"),
            }
        }
    }

    /// Waits until the service asks for batches of a kind again.
    pub async fn asked_again(&mut self, kind: Kind) {
        loop {
            match self.receive().await {
                Some(ToGateway::Retry { kind: of, .. }) if of == kind => return,
                Some(_) => {}
                None => panic!("the service hung up"),
            }
        }
    }

    pub async fn closed(&self) -> ConnectionError {
        tokio::time::timeout(PATIENCE, self.connection.closed())
            .await
            .expect("the service closes")
    }
}

/// A connection with its control stream.
pub async fn open(service: &Service, identity: &Identity) -> (Connection, SendStream, RecvStream) {
    let connection = service.connect(identity).await.unwrap();
    let (out, control) = connection.open_bi().await.unwrap();
    (connection, out, control)
}

pub async fn send(out: &mut SendStream, message: &ToService) {
    out.write_all(&frame(&message.encode().unwrap(), MAX_CONTROL_FRAME).unwrap())
        .await
        .unwrap();
}

/// The next message, `None` when the service has hung up.
pub async fn receive(control: &mut RecvStream) -> Option<ToGateway> {
    let read = async {
        let mut prefix = [0; LENGTH_BYTES];
        control.read_exact(&mut prefix).await.ok()?;
        let mut bytes = vec![0; payload_length(prefix, MAX_CONTROL_FRAME).unwrap()];
        control.read_exact(&mut bytes).await.ok()?;
        Some(ToGateway::decode(&bytes).unwrap())
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
}

pub async fn send_batch(stream: &mut SendStream, epoch: u64, sequence: u64, payload: &Payload) {
    send_bytes(stream, epoch, sequence, &batch::encode(payload).unwrap()).await;
}

pub async fn send_bytes(stream: &mut SendStream, epoch: u64, sequence: u64, batch: &[u8]) {
    let sealed = batch::seal(epoch, sequence, batch);
    stream.write_all(&frame(&sealed, MAX_DATA_FRAME).unwrap()).await.unwrap();
}

/// A flow of now between two made-up addresses.
pub fn flow(cookie: u64) -> FlowFact {
    FlowFact {
        received_us: now_us(),
        host: [1; 16],
        cookie,
        sim_result: 8,
        in_port: None,
        dp_in_port: 4,
        tunnel: Tunnel::default(),
        eth_src: [2, 0, 0, 0, 0, 1],
        eth_dst: [2, 0, 0, 0, 0, 2],
        ether_type: 0x0800,
        net_src: Some("10.0.0.1".parse().unwrap()),
        net_dst: Some("10.0.0.2".parse().unwrap()),
        proto: 6,
        tos: 0,
        ttl: 64,
        fragment: 1,
        tp_src: 40_000,
        tp_dst: 443,
        icmp_id: 0,
        extras: Arc::new(Extras::default()),
        path: Arc::new(FlowPath::default()),
        out_ports: Arc::new([]),
        actions: Arc::new([1, 1, 0, 0, 0, 9]),
        untrusted: 0,
    }
}

/// An hour to both sides of now.
pub fn recently() -> Period {
    Period::new(now_us() - 3_600_000_000, now_us() + 3_600_000_000)
}

/// Waits until something is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("in {PATIENCE:?} it did not come about that {what}"));
}
