// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a gateway hears whose service was killed and is back: that its connection is no more (RFC 9000, 10.3).
//!
//! Without it, it would send into nothing until it gives the connection up, half a minute later. The token by which it knows the word for the service's
//! own is made from the connection's id with a key that outlives the process: it follows from the private key of the certificate.

use std::{sync::Arc, time::Duration};

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::RngCore;
use ring::hmac;
use rustls_pki_types::PrivateKeyDer;

/// Bytes of a connection's id: random ones, of which no two are the same before the service is.
const ID_BYTES: usize = 8;

/// What the key is for; another use has another text.
const PURPOSE: &[u8] = b"midoinsights: reset of connections of a process before";

pub(super) fn endpoint_config(key: &PrivateKeyDer<'_>) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret_der());
    let derived = hmac::sign(&secret, PURPOSE);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())));
    // Quinn's own ids tell by a key of the process which are its own, and it answers no others.
    config.cid_generator(|| Box::new(Ids));
    config
}

struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
