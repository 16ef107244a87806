// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of the control stream.

use bincode::{Decode, Encode};

use crate::{Kind, Kinds, WireError, codec};

/// From the gateway to the service.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub enum ToService {
    /// The first message.
    Hello(Hello),
    /// How the gateway is, every few seconds and at changes.
    Report(Report),
    /// The outcome of a [`Command`].
    CommandDone(CommandDone),
    /// An orderly stop: all that could be sent was sent.
    Bye { reason: String },
}

/// From the service to the gateway.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub enum ToGateway {
    /// The first message to a gateway that may send.
    Welcome(Welcome),
    /// The first and last message to one that may not.
    Refused(Refusal),
    /// New settings; they replace the earlier ones.
    Settings(Settings),
    Command(Command),
    /// All batches of this kind and epoch up to and with `sequence` are durable and can be forgotten.
    Ack(Cursor),
    /// The batch that follows the last acknowledged one can't be taken now; send again from there after the pause.
    /// The gateway resets the stream of the kind and opens a new one; what is left on the old one counts for nothing.
    Retry {
        kind: Kind,
        after_ms: u32,
    },
    /// The service is about to stop; reconnect after the pause, perhaps to another one.
    Draining {
        reconnect_after_ms: u32,
    },
}

/// Who calls.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the gateway. This field stays first in all versions, as the first varint after the variant.
    pub protocol: u16,
    /// Version of the gateway's software.
    pub software: String,
    /// The MidoNet host id of the machine, 16 bytes big-endian.
    pub gateway: [u8; 16],
    /// Host name of the machine.
    pub name: String,
    /// When the gateway started, µs since the epoch.
    pub started_us: i64,
    /// The gateway's clock now, µs since the epoch: the service shows how far it is off.
    pub clock_us: i64,
    /// What the site's own configuration lets leave.
    pub allowed: Kinds,
    /// What waits on the gateway's disk.
    pub streams: Vec<StreamState>,
}

/// The spool of one kind: batches with sequences `first..next` of `epoch` are there.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, PartialEq)]
pub struct StreamState {
    pub kind: Kind,
    pub epoch: u64,
    pub first: u64,
    pub next: u64,
}

/// A place in the stream of one kind. The epoch is drawn anew whenever the gateway's spool is made anew.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, PartialEq)]
pub struct Cursor {
    pub kind: Kind,
    pub epoch: u64,
    pub sequence: u64,
}

/// The gateway may send.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Welcome {
    pub protocol: u16,
    pub software: String,
    /// The service's clock, µs since the epoch.
    pub clock_us: i64,
    /// The name of the site that this gateway's key belongs to.
    pub site: String,
    pub settings: Settings,
    /// What the service holds durably of this gateway, per kind; sending goes on behind these.
    pub cursors: Vec<Cursor>,
}

/// What the service asks the gateway to send. The site's own configuration has the last word.
#[derive(Clone, Copy, Debug, Default, Encode, Decode, Eq, PartialEq)]
pub struct Settings {
    pub kinds: Kinds,
    /// Seconds between meter readings; 0 leaves it to the site's configuration.
    pub metering_interval_s: u32,
}

/// Why a gateway may not send, and what to do.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// One sentence for the gateway's log.
    pub reason: String,
    /// One sentence that says what to do.
    pub remedy: String,
    /// The gateway waits at least this long before it tries again.
    pub retry_after_s: u32,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, PartialEq)]
pub enum RefusalCode {
    /// The protocol versions differ.
    Protocol,
    /// The key belongs to no site.
    UnknownKey,
    /// The key was deleted from its site while the connection was open.
    KeyDeleted,
    /// The certificate's dates don't hold now.
    Certificate,
    /// The site is suspended or deleted.
    Site,
    /// The service has no room now.
    Busy,
}

/// QUIC application error codes with which either side closes the connection.
pub mod close {
    pub const NORMAL: u32 = 0;
    pub const REFUSED: u32 = 1;
    pub const PROTOCOL_ERROR: u32 = 2;
    pub const DRAINING: u32 = 3;
    /// A newer connection of the same gateway took over.
    pub const REPLACED: u32 = 4;
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Command {
    pub id: u64,
    pub what: CommandKind,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub enum CommandKind {
    /// Send a whole snapshot of the topology.
    ResendTopology,
    /// Log at this level (`error` … `trace`) for so many seconds.
    LogLevel { level: String, seconds: u32 },
    /// Send the gateway's state, without secrets, as JSON text.
    Diagnostics,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct CommandDone {
    pub id: u64,
    /// The command's output, or why it was not carried out.
    pub result: Result<String, String>,
}

/// How the gateway is.
#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
pub struct Report {
    pub at_us: i64,
    /// Whether this gateway sends the topology and the meters of its site.
    pub leads: bool,
    /// Age of the oldest record that is not acknowledged, ms; 0 when all is.
    pub lag_ms: u64,
    pub spool_bytes: u64,
    pub spool_limit: u64,
    /// Batches and records by kind since the gateway started.
    pub counters: Vec<KindCounters>,
    /// Agents connected to the recorder endpoint now.
    pub agents_connected: u32,
    /// Agents whose meters answered in the last round, and all alive ones.
    pub meters_answered: u32,
    pub agents_alive: u32,
    /// Resident memory of the process that holds the gateway, bytes.
    pub memory_bytes: u64,
}

/// Records of one kind, counted since the gateway started.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, PartialEq)]
pub struct KindCounters {
    pub kind: Kind,
    /// Taken from the source.
    pub received: u64,
    /// Not decodable.
    pub invalid: u64,
    /// Given up before the spool: queue full, or kind switched off.
    pub dropped: u64,
    /// Durable in the spool.
    pub spooled: u64,
    /// Given up in the spool, which was full.
    pub evicted: u64,
    /// Acknowledged by the service.
    pub acknowledged: u64,
}

impl ToService {
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        codec::encode("message to the service", self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        codec::decode("message to the service", bytes)
    }

    /// The protocol version of a greeting of any version, which a service must read before it can decode the rest.
    pub fn greeting_version(bytes: &[u8]) -> Option<u16> {
        // bincode's standard configuration writes the variant as one byte, then the varint of the version: one byte below 251,
        // else 251 and two little-endian bytes.
        match bytes {
            [0, version @ 0..=250, ..] => Some(u16::from(*version)),
            [0, 251, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        }
    }
}

impl ToGateway {
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        codec::encode("message to the gateway", self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        codec::decode("message to the gateway", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(protocol: u16) -> ToService {
        ToService::Hello(Hello {
            protocol,
            software: "0.1.0".into(),
            gateway: [7; 16],
            name: "gw-1".into(),
            started_us: 1,
            clock_us: 2,
            allowed: Kinds::ALL,
            streams: vec![StreamState {
                kind: Kind::Flows,
                epoch: 9,
                first: 3,
                next: 12,
            }],
        })
    }

    #[test]
    fn the_version_of_a_greeting_is_read_without_the_rest() {
        for version in [0, 1, 250, 251, 300, u16::MAX] {
            let bytes = hello(version).encode().unwrap();
            assert_eq!(ToService::greeting_version(&bytes), Some(version));
            assert_eq!(ToService::decode(&bytes).unwrap(), hello(version));
        }
        let bye = ToService::Bye { reason: String::new() }.encode().unwrap();
        assert_eq!(ToService::greeting_version(&bye), None);
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        let mut bytes = ToGateway::Draining { reconnect_after_ms: 5 }.encode().unwrap();
        bytes.push(0);
        assert!(matches!(ToGateway::decode(&bytes), Err(WireError::Trailing { left: 1, .. })));
    }
}
