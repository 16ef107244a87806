// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One try to connect: identity, roots, name, addresses, handshake. All of it anew each time, so that what was mended is seen.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use quinn::{ClientConfig, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt};
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use super::trouble::{failed, of_connection};
use crate::{
    Config,
    clock::chain,
    identity::{self, Fingerprint, IdentityError},
    session::Trouble,
    tls,
};

/// Resolvers give up by themselves after some 10 s; one that hangs longer is not waited for.
const RESOLVE_TIME: Duration = Duration::from_secs(15);
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The next address is tried after this when the one before has not answered.
const STAGGER: Duration = Duration::from_millis(300);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Holds NAT bindings open, which live 30 s and longer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Without a sign of life for so long the connection is lost.
const IDLE: Duration = Duration::from_secs(30);

/// A connection with its control stream.
pub(crate) struct Connected {
    pub(crate) connection: quinn::Connection,
    pub(crate) endpoint: Endpoint,
    pub(super) control: (SendStream, RecvStream),
    pub(crate) address: SocketAddr,
    /// How many keys there are; until when the one that was used may be; its fingerprint.
    pub(super) keys: usize,
    pub(super) until: Option<OffsetDateTime>,
    pub(crate) fingerprint: Fingerprint,
}

pub(crate) async fn connect(config: &Config, key: usize) -> Result<Connected, Trouble> {
    let now = OffsetDateTime::now_utc();
    let identities = identity::load(&config.identity_path, now).map_err(|error| failed(chain(&error), remedy(&error)))?;
    let keys = 1 + usize::from(identities.previous.is_some());
    let (identity, until) = match identities.previous.filter(|_| key > 0) {
        Some((previous, until)) => (previous, Some(until)),
        None => (identities.current, None),
    };
    let fingerprint = identity.fingerprint;
    let tls = tls::client(config.gateway.ca_file.as_deref(), &identity)
        .map_err(|error| failed(chain(&error), "check insights_cloud.gateway.ca_file and insights_cloud.identity.path"))?;
    let mut client = ClientConfig::new(Arc::new(tls));
    client.transport_config(Arc::new(transport()));

    let addresses = resolve(&config.gateway.host, config.gateway.port).await?;
    let (connection, endpoint, address) = race(&addresses, &client, &config.gateway.server_name).await?;
    let control = connection
        .open_bi()
        .await
        .map_err(|error| of_connection(&error).unwrap_or_else(|| failed("the connection closed at once", "nothing: the gateway tries again")))?;
    Ok(Connected {
        connection,
        endpoint,
        control,
        address,
        keys,
        until,
        fingerprint,
    })
}

/// The addresses of the service, IPv6 and IPv4 in turns so that one broken family costs little.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
    let remedy = "check insights_cloud.gateway.host and the name service of this machine";
    let found = match timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(failed(format!("the name {host} does not resolve: {error}"), remedy)),
        Err(_) => {
            return Err(failed(
                format!("the name {host} does not resolve within {} s", RESOLVE_TIME.as_secs()),
                remedy,
            ));
        }
    };
    let (six, four): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
    let mut addresses = Vec::new();
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    loop {
        let pair = (six.next(), four.next());
        if pair == (None, None) {
            break;
        }
        for address in [pair.0, pair.1].into_iter().flatten() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        return Err(failed(format!("the name {host} has no address"), remedy));
    }
    Ok(addresses)
}

/// The first address that completes the handshake. When none does, the trouble that tells most: a refusal before silence.
async fn race(addresses: &[SocketAddr], client: &ClientConfig, name: &str) -> Result<(quinn::Connection, Endpoint, SocketAddr), Trouble> {
    let mut tries: FuturesUnordered<_> = addresses
        .iter()
        .enumerate()
        .map(|(index, &address)| async move {
            sleep(STAGGER * index as u32).await;
            handshake(address, client.clone(), name).await
        })
        .collect();
    let mut trouble: Option<Trouble> = None;
    while let Some(outcome) = tries.next().await {
        match outcome {
            Ok(connected) => return Ok(connected),
            Err(next) => {
                let tells_more = !matches!(next, Trouble::Silent { .. });
                if trouble.is_none() || tells_more {
                    trouble = Some(next);
                }
            }
        }
    }
    Err(trouble.unwrap_or_else(|| failed("there is no address to try", "check insights_cloud.gateway.host")))
}

async fn handshake(address: SocketAddr, client: ClientConfig, name: &str) -> Result<(quinn::Connection, Endpoint, SocketAddr), Trouble> {
    let any: IpAddr = if address.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let endpoint =
        Endpoint::client((any, 0).into()).map_err(|error| failed(format!("can't open a UDP socket: {error}"), "check the limits of the process"))?;
    let connecting = endpoint.connect_with(client, address, name).map_err(|error| {
        failed(
            format!("can't connect to {address}: {error}"),
            "check insights_cloud.gateway.host and gateway.server_name",
        )
    })?;
    let silent = || Trouble::Silent {
        address: address.ip().to_string(),
        port: address.port(),
    };
    match timeout(HANDSHAKE_TIME, connecting).await {
        Ok(Ok(connection)) => Ok((connection, endpoint, address)),
        Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => Err(silent()),
        Ok(Err(error)) => Err(of_connection(&error).unwrap_or_else(silent)),
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("30 s are within QUIC's bound")))
        // The service opens no streams and sends no datagrams.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}

fn remedy(error: &IdentityError) -> &'static str {
    match error {
        IdentityError::Missing(_) => "make an identity with `mn-insights init`",
        IdentityError::Corrupt { .. } => "restore the file, or move it away and make a new identity with `mn-insights init`",
        _ => "check that the process may read insights_cloud.identity.path",
    }
}
