// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Why there is no connection, and what to do, in words.

use insights_protocol::control::{Refusal, RefusalCode, close};
use quinn::ConnectionError;

use crate::{config::GatewayConfig, session::Trouble};

/// QUIC carries TLS alerts as error codes from here on (RFC 9001, 4.8).
const CRYPTO: u64 = 0x100;

/// Alerts of TLS 1.3 (RFC 8446, 6.2).
mod alert {
    pub(super) const BAD_CERTIFICATE: u64 = 42;
    pub(super) const UNSUPPORTED_CERTIFICATE: u64 = 43;
    pub(super) const REVOKED: u64 = 44;
    pub(super) const EXPIRED: u64 = 45;
    pub(super) const CERTIFICATE_UNKNOWN: u64 = 46;
    pub(super) const UNKNOWN_CA: u64 = 48;
    pub(super) const ACCESS_DENIED: u64 = 49;
    pub(super) const PROTOCOL_VERSION: u64 = 70;
    pub(super) const CERTIFICATE_REQUIRED: u64 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u64 = 120;
}

pub(super) fn failed(reason: impl Into<String>, remedy: impl Into<String>) -> Trouble {
    Trouble::Failed {
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// The trouble behind the end of a connection or of a try; `None` for ends that both sides wanted.
pub(crate) fn of_connection(error: &ConnectionError) -> Option<Trouble> {
    let network = "check that UDP to the service's port is let through, and the service";
    Some(match error {
        ConnectionError::LocallyClosed => return None,
        ConnectionError::ApplicationClosed(closed) => {
            let reason = String::from_utf8_lossy(&closed.reason).into_owned();
            match u32::try_from(closed.error_code.into_inner()).unwrap_or(u32::MAX) {
                close::NORMAL | close::DRAINING => return None,
                close::REFUSED => refused(RefusalCode::UnknownKey, &reason),
                close::REPLACED => failed(
                    "another connection with this gateway's identity took over",
                    "look for a machine that runs with a copy of this one's identity and host id",
                ),
                code => Trouble::Protocol(format!("the service closed the connection with code {code} {reason}")),
            }
        }
        ConnectionError::ConnectionClosed(closed) => match u64::from(closed.error_code).checked_sub(CRYPTO) {
            Some(alert) => of_alert(alert, &String::from_utf8_lossy(&closed.reason)),
            None => failed(format!("the service closed the connection: {closed}"), network),
        },
        ConnectionError::TransportError(error) => match u64::from(error.code).checked_sub(CRYPTO) {
            Some(alert::NO_APPLICATION_PROTOCOL) => other_protocol(),
            Some(_) => server_certificate(&error.reason),
            None => failed(format!("the connection broke: {error}"), network),
        },
        ConnectionError::VersionMismatch => Trouble::Protocol("the service speaks another version of QUIC".into()),
        ConnectionError::TimedOut => failed("the service does not answer", network),
        ConnectionError::Reset => failed("the service was started anew", "nothing: the gateway reconnects"),
        ConnectionError::CidsExhausted => failed("the connection broke", network),
    })
}

/// One line for the log and for `mn-insights status`.
pub(super) fn text(trouble: &Trouble, gateway: &GatewayConfig, fingerprint: Option<&str>) -> String {
    let GatewayConfig { host, port, .. } = gateway;
    let (what, remedy) = parts(trouble);
    let key = match trouble {
        Trouble::Refused { .. } => format!("; fingerprint of this gateway's key: {}", fingerprint.unwrap_or("unknown")),
        _ => String::new(),
    };
    format!("Gateway client is not connected to {host}:{port}: {what}{key}; what to do: {remedy}")
}

/// What is wrong, and what to do.
pub(crate) fn parts(trouble: &Trouble) -> (String, String) {
    match trouble {
        Trouble::Refused { refusal, .. } => {
            let Refusal { code, reason, remedy, .. } = refusal;
            let (what, own_remedy) = match code {
                RefusalCode::UnknownKey => (
                    "the service does not know this gateway's key",
                    "add this fingerprint to your site in the Insights manager",
                ),
                RefusalCode::KeyDeleted => (
                    "this gateway's key was deleted from its site",
                    "add this fingerprint to your site in the Insights manager again, or stop the plugin: insights_cloud.enabled : false",
                ),
                RefusalCode::Certificate => (
                    "the dates of this gateway's certificate don't hold now",
                    "check the clock of this machine; if it is right, the certificate is over: make a new key with `mn-insights renew` and \
                     add the fingerprint that it prints to your site in the Insights manager",
                ),
                RefusalCode::Protocol => (
                    "the service speaks another protocol version",
                    "upgrade the package midonet-insights-plugin or the service",
                ),
                RefusalCode::Site => ("the site is not active", "look at the account in the Insights manager"),
                RefusalCode::Busy => ("the service has no room now", "nothing: the gateway tries again"),
            };
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            (
                format!("{what}{reason}"),
                if remedy.is_empty() { own_remedy.into() } else { remedy.clone() },
            )
        }
        Trouble::Protocol(reason) => (
            reason.clone(),
            "upgrade the package midonet-insights-plugin or the service, so that both are of one protocol version".into(),
        ),
        Trouble::Silent { address, port } => (
            format!("{address} does not answer"),
            format!("let UDP to port {port} through the firewalls, and check the service"),
        ),
        Trouble::Failed { reason, remedy } => (reason.clone(), remedy.clone()),
    }
}

/// The service's TLS refused us.
fn of_alert(alert: u64, reason: &str) -> Trouble {
    match alert {
        alert::EXPIRED => refused(RefusalCode::Certificate, reason),
        alert::NO_APPLICATION_PROTOCOL | alert::PROTOCOL_VERSION => other_protocol(),
        alert::BAD_CERTIFICATE
        | alert::UNSUPPORTED_CERTIFICATE
        | alert::REVOKED
        | alert::CERTIFICATE_UNKNOWN
        | alert::UNKNOWN_CA
        | alert::ACCESS_DENIED
        | alert::CERTIFICATE_REQUIRED => refused(RefusalCode::UnknownKey, reason),
        other => failed(
            format!("the service refused the TLS handshake with alert {other} {reason}"),
            "check that host and port are those of the service",
        ),
    }
}

fn refused(code: RefusalCode, reason: &str) -> Trouble {
    let refusal = Refusal {
        code,
        reason: reason.to_owned(),
        remedy: String::new(),
        retry_after_s: 0,
    };
    Trouble::Refused { refusal, key: 0 }
}

fn other_protocol() -> Trouble {
    Trouble::Protocol("the other side is no MidoInsights service or one of another protocol".into())
}

/// We refused the service.
fn server_certificate(reason: &str) -> Trouble {
    let lower = reason.to_ascii_lowercase();
    let remedy = if lower.contains("expired") || lower.contains("notvalidyet") || lower.contains("not valid yet") {
        "check the clock of this machine; if it is right, the service needs a new certificate"
    } else if lower.contains("name") {
        "set insights_cloud.gateway.host to the name that the service's certificate carries, or gateway.server_name"
    } else {
        "set insights_cloud.gateway.ca_file to the root that signed the service's certificate; if it should be right, somebody else answers in the service's place"
    };
    failed(format!("the service's certificate is not accepted: {reason}"), remedy)
}

#[cfg(test)]
mod tests {
    use quinn::{ConnectionClose, TransportErrorCode, VarInt};

    use super::*;

    const CODES: [RefusalCode; 6] = [
        RefusalCode::Protocol,
        RefusalCode::UnknownKey,
        RefusalCode::KeyDeleted,
        RefusalCode::Certificate,
        RefusalCode::Site,
        RefusalCode::Busy,
    ];

    fn line(trouble: &Trouble) -> String {
        let gateway = GatewayConfig {
            host: "service.example".into(),
            port: 443,
            ca_file: None,
            server_name: "service.example".into(),
        };
        text(trouble, &gateway, Some("ab:cd"))
    }

    /// What stands behind "what to do", which is never empty.
    fn remedy_of(line: &str) -> &str {
        let (_, remedy) = line.split_once("; what to do: ").expect("every line says what to do");
        assert!(remedy.len() > 20, "{line}");
        remedy
    }

    fn closed_by_tls(alert: u64) -> ConnectionError {
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code: TransportErrorCode::crypto(alert as u8),
            frame_type: None,
            reason: Vec::new().into(),
        })
    }

    #[test]
    fn every_refusal_says_what_to_do_and_names_the_key() {
        for code in CODES {
            let line = line(&refused(code, "why"));
            remedy_of(&line);
            assert!(line.contains("(why)") && line.contains("ab:cd"), "{line}");
        }
        let told = Refusal {
            remedy: "what the service says to do".into(),
            ..match refused(RefusalCode::Site, "") {
                Trouble::Refused { refusal, .. } => refusal,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            remedy_of(&line(&Trouble::Refused { refusal: told, key: 0 })),
            "what the service says to do"
        );
    }

    #[test]
    fn every_alert_and_every_end_says_what_to_do() {
        for alert in 0..=255 {
            remedy_of(&line(&of_connection(&closed_by_tls(alert)).expect("an alert is a trouble")));
        }
        for code in [close::REFUSED, close::PROTOCOL_ERROR, close::REPLACED, 77] {
            let end = ConnectionError::ApplicationClosed(quinn::ApplicationClose {
                error_code: VarInt::from_u32(code),
                reason: Vec::new().into(),
            });
            remedy_of(&line(&of_connection(&end).expect("only wanted ends are none")));
        }
        for end in [
            ConnectionError::VersionMismatch,
            ConnectionError::TimedOut,
            ConnectionError::Reset,
            ConnectionError::CidsExhausted,
        ] {
            remedy_of(&line(&of_connection(&end).expect("only wanted ends are none")));
        }
    }

    #[test]
    fn what_is_wrong_decides_what_to_do() {
        let remedy = |trouble: &Trouble| parts(trouble).1;
        let expired = of_connection(&closed_by_tls(alert::EXPIRED)).unwrap();
        assert!(remedy(&expired).contains("mn-insights renew") && remedy(&expired).contains("clock"));
        assert!(remedy(&of_connection(&closed_by_tls(alert::ACCESS_DENIED)).unwrap()).contains("add this fingerprint"));
        assert!(remedy(&of_connection(&closed_by_tls(alert::NO_APPLICATION_PROTOCOL)).unwrap()).contains("upgrade the package"));
        assert!(remedy(&server_certificate("invalid peer certificate: Expired")).contains("check the clock"));
        assert!(remedy(&server_certificate("invalid peer certificate: NotValidForName")).contains("gateway.server_name"));
        assert!(remedy(&server_certificate("invalid peer certificate: UnknownIssuer")).contains("gateway.ca_file"));
    }
}
