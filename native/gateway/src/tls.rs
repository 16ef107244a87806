// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! TLS of the connection: version 1.3 alone, ciphers with keys of 256 bits alone, both sides authenticated.

use std::{fs, path::Path, path::PathBuf, sync::Arc};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::identity::Identity;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read the roots of trust from {}", path.display())]
    Roots {
        path: PathBuf,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    #[error("{} holds no certificate to trust", .0.display())]
    NoRoots(PathBuf),
    #[error("the system has no roots of trust; install the package ca-certificates or set gateway.ca_file")]
    NoSystemRoots,
    #[error("use the identity's key")]
    Identity(#[source] rustls::Error),
}

/// The ciphers that data may be protected with. QUIC's first packets are under a key that everybody knows, with AES-128 as its standard
/// wants; no data is in them.
pub fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider {
        cipher_suites,
        ..ring::default_provider()
    }
}

/// How the gateway connects: it trusts the given roots, or the system's, and shows its identity.
pub fn client(ca_file: Option<&Path>, identity: &Identity) -> Result<QuicClientConfig, TlsError> {
    let roots = match ca_file {
        Some(path) => roots_of(path)?,
        None => system_roots()?,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider's suites are of TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![insights_protocol::ALPN.to_vec()];
    // A resumed session would not show the certificate again, and a deleted key would come back with it.
    config.resumption = rustls::client::Resumption::disabled();
    let initial = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    Ok(QuicClientConfig::with_initial(Arc::new(config), initial.expect("ring has QUIC for AES-128")).expect("the initial suite is AES-128"))
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::Roots {
        path: path.to_owned(),
        source,
    };
    let pem = fs::read(path).map_err(|error| failed(rustls_pki_types::pem::Error::Io(error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add_parsable_certificates([certificate.map_err(failed)?]);
    }
    if roots.is_empty() {
        Err(TlsError::NoRoots(path.to_owned()))
    } else {
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}
