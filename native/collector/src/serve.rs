// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `serve`: all parts together, from start to an orderly stop.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::Router;
use insights_store::{Store, StoreOptions};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::accounts::{Accounts, Mailer};
use crate::alerts::{Courier, CourierParts, Engine, EngineOptions, EngineParts};
use crate::cli::store_dir;
use crate::clock::now_us;
use crate::config::Config;
use crate::ingest::{Counters, Gateways, Ingest, IngestOptions, IngestParts, certificate_until_us};
use crate::metrics::{self, Metrics};
use crate::query::scoped::Stores;
use crate::site::Sites;
use crate::web;

/// How often sessions that are over are forgotten.
const FORGET_EVERY: std::time::Duration = std::time::Duration::from_secs(600);

/// How long open pages, live ones too, are given to end at a stop.
const WEB_DRAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs the service until SIGTERM or SIGINT. Says `ready ingest=ADDRESS web=ADDRESS` on standard output once both are served.
pub async fn run(config: Config) -> Result<()> {
    let (certificates, key) = read_certificate(&config.tls_cert, &config.tls_key)?;
    let mut terminate = signal(SignalKind::terminate()).context("follow SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("follow SIGINT")?;

    let options = StoreOptions {
        memory_bytes: config.memory_bytes,
        query_memory_bytes: config.query_memory_bytes,
        key_file: config.profile_key_file.clone(),
        ..StoreOptions::new(store_dir(&config.data_dir))
    };
    let store = match &config.store {
        Some(server) => {
            let store = Store::open_distributed(options, server.clone()).await;
            store.with_context(|| format!("open the store at {}", server.address))?
        }
        None => Store::open(options).await.context("open the store")?,
    };
    let accounts = Accounts::new(store.catalog().clone()).with_mailer(mailer(&config));
    let sites = Sites::new(store.clone());
    let gateways = Gateways::new(store.catalog().clone());
    let counters = Arc::new(Counters::default());
    let watched = EngineParts {
        store: store.clone(),
        sites: sites.clone(),
        gateways: gateways.clone(),
        certificate_until_us: certificates.first().and_then(certificate_until_us),
    };
    let parts = IngestParts {
        store: store.clone(),
        sites: sites.clone(),
        accounts: accounts.clone(),
        gateways: gateways.clone(),
        counters: counters.clone(),
    };
    let ingest = Ingest::start(
        IngestOptions {
            listen: config.ingest_listen,
            certificates,
            key,
            max_connections: config.max_gateways,
        },
        parts,
    )
    .await?;

    let engine = Engine::start(EngineOptions::default(), watched);
    let courier = Courier::start(CourierParts {
        catalog: store.catalog().clone(),
        mailer: accounts.mailer().clone(),
        allowed: config.webhook_allow.clone(),
    });

    let listener = TcpListener::bind(config.web_listen)
        .await
        .with_context(|| format!("listen for the manager on TCP {}", config.web_listen))?;
    let web_address = listener.local_addr().context("tell the manager's address")?;
    let app = web::App {
        stores: Stores::new(store.clone()),
        accounts: accounts.clone(),
        sites,
        gateways,
        secure: config.web_secure,
        sign_up: config.sign_up,
        clock: now_us,
    };
    let metrics = Metrics {
        store: store.clone(),
        counters,
    };
    let router = Router::new().merge(web::router(app)).merge(metrics::router(metrics));
    let (stop, mut stopping) = watch::channel(false);
    let serving = tokio::spawn(
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move { while !*stopping.borrow_and_update() && stopping.changed().await.is_ok() {} })
            .into_future(),
    );

    let ingest_address = ingest.address().context("tell the ingest address")?;
    tracing::info!(ingest = %ingest_address, web = %web_address, "serving");
    // For whoever started it with port 0.
    writeln!(std::io::stdout().lock(), "ready ingest={ingest_address} web={web_address}").context("write to standard output")?;

    let mut forget = tokio::time::interval(FORGET_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = forget.tick() => {
                if let Err(error) = accounts.delete_expired_sessions(now_us()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "forget sessions that are over");
                }
                if let Err(error) = accounts.forget_audit(now_us()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "forget what was done to accounts long ago");
                }
                if let Err(error) = accounts.delete_expired_tokens(now_us()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "forget links that are over");
                }
            }
        }
    }
    tracing::info!("stopping");
    // A gateway that is told to come back later is not away.
    engine.stop().await;
    courier.stop().await;
    // Then gateways: what they have sent is stored before they go.
    ingest.stop().await;
    stop.send_replace(true);
    let _ = tokio::time::timeout(WEB_DRAIN, serving).await;
    store.series().flush().await.context("write what is in memory to files")?;
    tracing::info!("stopped");
    Ok(())
}

/// How mails go out; says so where they don't.
fn mailer(config: &Config) -> Mailer {
    let url = if config.web_url.is_empty() {
        format!("http://{}", config.web_listen)
    } else {
        config.web_url.clone()
    };
    match &config.smtp {
        Some(smtp) => Mailer::smtp(smtp.clone(), &url),
        None => {
            tracing::warn!("no mail server is set (--smtp-host): links for new accounts and forgotten passwords are printed here instead");
            Mailer::log(&url)
        }
    }
}

fn read_certificate(chain: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let hint = "make one with `insights-collector init`, or name another with --tls-cert and --tls-key";
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}; {hint}", path.display()));
    let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("read the certificates in {}", chain.display()))?;
    ensure!(!certificates.is_empty(), "{} holds no certificate; {hint}", chain.display());
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).with_context(|| format!("read the private key in {}", key.display()))?;
    Ok((certificates, key))
}
