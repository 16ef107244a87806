// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{AccountId, Appended, Period, SiteId, StreamKind};

/// SHA-256 of a public key info.
pub type Fingerprint = [u8; 32];

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub id: AccountId,
    /// As it was typed; compared without regard to case.
    pub email: String,
    pub name: String,
    /// PHC text, `$argon2id$…`.
    pub password_hash: String,
    pub created_us: i64,
}

/// What a program signs in with. The token itself is never stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiToken {
    pub id: Uuid,
    pub account: AccountId,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    pub name: String,
    /// Names with a blank between.
    pub scopes: String,
    /// `None` for all sites of the account.
    pub sites: Option<Vec<SiteId>>,
    pub created_us: i64,
    /// `None`: it has no end.
    pub expires_us: Option<i64>,
    /// When and from which address it was last used.
    pub used_us: Option<i64>,
    pub client: String,
}

/// What is asked for beside the password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecondFactor {
    /// Hexadecimal.
    pub secret: String,
    /// `None` while it waits for its first code.
    pub since_us: Option<i64>,
    /// How many are left.
    pub recovery_codes: usize,
}

/// A signed-in browser. The token itself is never stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSession {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    pub account: AccountId,
    pub created_us: i64,
    pub expires_us: i64,
    /// When, from which address and by which browser it was last used.
    pub used_us: i64,
    pub client: String,
    pub browser: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    pub id: SiteId,
    pub account: AccountId,
    pub name: String,
    pub created_us: i64,
    /// Set when it was deleted and its data still waits to be removed.
    pub deleted_us: Option<i64>,
    /// Bytes of time series that the site may keep; 0 for no bound.
    pub quota_bytes: u64,
    /// The collector's own settings of the site, JSON.
    pub settings: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SiteKey {
    pub fingerprint: Fingerprint,
    pub site: SiteId,
    pub label: String,
    pub added_us: i64,
}

/// What a link in a mail is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenPurpose {
    /// Makes the account that somebody asked for.
    SignUp,
    /// Sets a new password.
    ResetPassword,
    /// Changes the e-mail address of an account.
    ChangeEmail,
}

impl TokenPurpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TokenPurpose::SignUp => "sign-up",
            TokenPurpose::ResetPassword => "reset",
            TokenPurpose::ChangeEmail => "e-mail",
        }
    }
}

/// A promise that whoever reads the mail of an address may do something once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountToken {
    pub token_hash: [u8; 32],
    pub purpose: TokenPurpose,
    /// `None` while there is no account.
    pub account: Option<AccountId>,
    /// Where the mail went.
    pub email: String,
    /// JSON, by purpose.
    pub payload: String,
    pub expires_us: i64,
}

/// A gateway that has been connected at least once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gateway {
    /// MidoNet host id of its machine.
    pub id: Uuid,
    pub name: String,
    pub version: String,
    pub fingerprint: Fingerprint,
    pub first_seen_us: i64,
    pub connected_us: i64,
    /// `None` while it is connected.
    pub disconnected_us: Option<i64>,
    /// Last report, JSON, with its time.
    pub report: Option<(i64, String)>,
}

/// A change of the NSDB, as the gateway saw it. Paths are relative to the root key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TopologyChange {
    /// `term` orders the gateways of a site that send its topology one after the other.
    SnapshotBegin {
        at_us: i64,
        term: i64,
    },
    SnapshotEnd {
        at_us: i64,
        nodes: u64,
    },
    Put(Node),
    Delete {
        path: String,
        at_us: i64,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    pub path: String,
    pub data: Vec<u8>,
    pub mzxid: i64,
    pub version: i32,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub ephemeral_owner: i64,
    /// When the gateway saw it.
    pub at_us: i64,
}

/// A node as it was in a span of time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeVersion {
    pub node: Node,
    pub valid_from_us: i64,
    /// `None`: still.
    pub valid_to_us: Option<i64>,
}

/// A node that is another at two times; `None`: it was not there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeDifference {
    pub before: Option<NodeVersion>,
    pub after: Option<NodeVersion>,
}

/// What a batch of topology changes came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TopologyApplied {
    pub appended: Appended,
    /// The changes that really changed something, in order, the deletions that a snapshot implies included; a live model that applies them
    /// is what the catalogue holds. Times are those of the history, which never go back on one path.
    pub effects: Vec<TopologyEffect>,
    /// Set when the batch ended a snapshot.
    pub snapshot: Option<SnapshotDone>,
    /// Changes that were passed over, since another gateway has taken over the site's topology.
    pub passed_over: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TopologyEffect {
    Put(Node),
    Delete { path: String, at_us: i64 },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotDone {
    /// Nodes that the gateway says it sent, and that came.
    pub expected: u64,
    pub seen: u64,
    /// Nodes that were not in it and are gone now. When fewer nodes came than were sent nothing is removed.
    pub removed: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    Info = 1,
    Warning = 2,
    Error = 3,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEvent {
    pub at_us: i64,
    pub level: Level,
    /// A stable dotted name.
    pub kind: String,
    pub text: String,
    /// JSON object.
    pub fields: String,
    /// The gateway that told it; `None` for the service's own events.
    pub gateway: Option<Uuid>,
    /// Records that were given up.
    pub loss: Option<Loss>,
}

/// Records that were given up on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    pub kind: StreamKind,
    pub records: u64,
    pub first_us: i64,
    pub last_us: i64,
    /// A stable name.
    pub cause: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEvent {
    pub id: u64,
    pub event: NewEvent,
}

/// Newest first.
#[derive(Clone, Debug)]
pub struct EventQuery {
    pub period: Period,
    /// This level and the more serious ones.
    pub level: Level,
    /// Kinds that begin with this.
    pub kind: String,
    /// Text, kind or fields contain this, without regard to the case of ASCII letters; empty for all.
    pub text: String,
    pub gateway: Option<Uuid>,
    /// Only events behind this one (time, id).
    pub after: Option<(i64, u64)>,
    /// At most [`EventQuery::MAX_LIMIT`].
    pub limit: usize,
}

impl EventQuery {
    /// Bounds what a page holds in memory.
    pub const MAX_LIMIT: usize = 10_000;

    /// All events of a period.
    pub fn all(period: Period, limit: usize) -> Self {
        Self {
            period,
            level: Level::Info,
            kind: String::new(),
            text: String::new(),
            gateway: None,
            after: None,
            limit,
        }
    }
}

/// A place on the way of a record at which records are counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Hop {
    /// Taken from the source by the gateway.
    Received = 1,
    Invalid = 2,
    /// Given up before the spool.
    Dropped = 3,
    Spooled = 4,
    /// Given up in the spool.
    Evicted = 5,
    Acknowledged = 6,
    /// Reached the service in a batch.
    Arrived = 7,
    /// Refused by the service: not decodable, or outside the bounds.
    Refused = 8,
    /// Durable in the store.
    Stored = 9,
    /// Removed by retention.
    Purged = 10,
}

impl Hop {
    pub const ALL: [Hop; 10] = [
        Hop::Received,
        Hop::Invalid,
        Hop::Dropped,
        Hop::Spooled,
        Hop::Evicted,
        Hop::Acknowledged,
        Hop::Arrived,
        Hop::Refused,
        Hop::Stored,
        Hop::Purged,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hop| *hop as u8 == number)
    }
}

/// Records of a kind that passed a hop in an hour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HopCount {
    pub gateway: Uuid,
    pub kind: StreamKind,
    /// Begin of the hour, µs since the epoch.
    pub hour_us: i64,
    pub hop: Hop,
    pub records: u64,
}

/// A loss with the gateway that told it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredLoss {
    pub gateway: Option<Uuid>,
    pub loss: Loss,
}
