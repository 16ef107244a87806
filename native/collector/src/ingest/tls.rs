// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! TLS of the ingest endpoint: 1.3 with 256-bit keys, and clients known by their public keys.

use std::{fmt, sync::Arc};

use insights_store::catalog::Fingerprint;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    IngestError,
    pins::{Pins, fingerprint_of},
};
use crate::accounts::format_fingerprint;

/// The only suites that carry data: keys of 256 bits.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    }
}

/// The server side of the endpoint.
pub(super) fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pins: Arc<Pins>,
) -> Result<QuicServerConfig, IngestError> {
    let provider = provider();
    let verifier = PinnedKeys {
        algorithms: provider.signature_verification_algorithms,
        pins,
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IngestError::Tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(certificates, key)
        .map_err(IngestError::Certificate)?;
    tls.alpn_protocols = vec![insights_protocol::ALPN.to_vec()];
    // A resumed session would skip the look at the client's key.
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    // QUIC protects the first packets with AES-128 under a key that everybody can derive (RFC 9001, 5.2); no data goes under it.
    let initial = ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .ok_or_else(|| IngestError::Tls(Error::General("no suite for initial packets".to_owned())))?;
    QuicServerConfig::with_initial(Arc::new(tls), initial).map_err(|_| IngestError::Tls(Error::General("no suite for initial packets".to_owned())))
}

/// The fingerprint of the key in a certificate.
pub(super) fn certificate_fingerprint(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(fingerprint_of(parsed.public_key().raw))
}

/// When a certificate ends, µs since the epoch.
pub(crate) fn certificate_until_us(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    parsed.validity().not_after.timestamp().checked_mul(1_000_000)
}

/// Lets in whose key belongs to a site. The certificate around the key is self-signed; of it, only the dates count.
struct PinnedKeys {
    algorithms: WebPkiSupportedAlgorithms,
    pins: Arc<Pins>,
}

impl fmt::Debug for PinnedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinnedKeys")
    }
}

impl ClientCertVerifier for PinnedKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, end_entity: &CertificateDer<'_>, _: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let (rest, certificate) = X509Certificate::from_der(end_entity).map_err(|_| bad())?;
        if !rest.is_empty() {
            return Err(bad());
        }
        let fingerprint = fingerprint_of(certificate.public_key().raw);
        let now_us = i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 1_000_000) * 1_000_000;
        let refused = |why: &str, error: CertificateError| {
            if self.pins.worth_logging(&fingerprint, now_us) {
                tracing::warn!(fingerprint = format_fingerprint(&fingerprint), "gateway refused: {why}");
            }
            Error::InvalidCertificate(error)
        };
        if self.pins.site_of(&fingerprint).is_none() {
            // The client gets the alert access_denied.
            return Err(refused("its key belongs to no site", CertificateError::ApplicationVerificationFailure));
        }
        let seconds = now_us / 1_000_000;
        if certificate.validity().not_after.timestamp() < seconds {
            return Err(refused("its certificate has expired", CertificateError::Expired));
        }
        if certificate.validity().not_before.timestamp() > seconds {
            return Err(refused("its certificate is not valid yet", CertificateError::NotValidYet));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
