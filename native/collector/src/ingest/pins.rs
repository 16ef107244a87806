// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::HashMap, sync::Arc};

use insights_store::{
    SiteId, StoreError,
    catalog::{Catalog, Fingerprint},
};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::accounts::SiteSettings;

/// Refused keys whose log line is held back for a while: a gateway that was not registered yet tries again and again.
const QUIET_US: i64 = 300_000_000;

/// Most refused keys remembered for that. When it is full, further ones are not logged until an entry is over.
const QUIET_KEYS: usize = 256;

/// The keys of all sites in memory, so that a handshake needs no catalogue.
pub(super) struct Pins {
    known: RwLock<Known>,
    changes: watch::Sender<u64>,
    quiet: Mutex<HashMap<Fingerprint, i64>>,
}

#[derive(Default, PartialEq)]
struct Known {
    keys: HashMap<Fingerprint, SiteId>,
    sites: HashMap<SiteId, KnownSite>,
}

/// What a connection needs to know of its site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KnownSite {
    pub(super) name: Arc<str>,
    pub(super) settings: SiteSettings,
}

impl Pins {
    pub(super) async fn load(catalog: &Catalog) -> Result<Self, StoreError> {
        let pins = Self {
            known: RwLock::default(),
            changes: watch::Sender::new(0),
            quiet: Mutex::default(),
        };
        pins.reload(catalog).await?;
        Ok(pins)
    }

    /// Reads sites and keys anew and, if they changed, wakes who waits for that.
    pub(super) async fn reload(&self, catalog: &Catalog) -> Result<(), StoreError> {
        let mut known = Known::default();
        for site in catalog.sites().await? {
            for key in catalog.fingerprints(site.id).await? {
                known.keys.insert(key.fingerprint, site.id);
            }
            known.sites.insert(
                site.id,
                KnownSite {
                    name: site.name.into(),
                    settings: SiteSettings::parse(&site.settings),
                },
            );
        }
        let changed = *self.known.read() != known;
        if changed {
            *self.known.write() = known;
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    pub(super) fn site_of(&self, fingerprint: &Fingerprint) -> Option<SiteId> {
        self.known.read().keys.get(fingerprint).copied()
    }

    pub(super) fn site(&self, id: SiteId) -> Option<KnownSite> {
        self.known.read().sites.get(&id).cloned()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a refusal of this key is worth a log line now.
    pub(super) fn worth_logging(&self, fingerprint: &Fingerprint, now_us: i64) -> bool {
        let mut quiet = self.quiet.lock();
        quiet.retain(|_, until_us| *until_us > now_us);
        if quiet.contains_key(fingerprint) || quiet.len() >= QUIET_KEYS {
            return false;
        }
        quiet.insert(*fingerprint, now_us + QUIET_US);
        true
    }
}

/// SHA-256 of a certificate's public key info, as it stands in the certificate.
pub(super) fn fingerprint_of(subject_public_key_info: &[u8]) -> Fingerprint {
    Sha256::digest(subject_public_key_info).into()
}
