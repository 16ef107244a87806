// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Names and addresses of people are sealed in the catalogue, with a key that is in a file of its own: a copy of the database alone tells
//! neither. What has to be looked up is kept as a keyed hash beside it.
//!
//! A sealed text is hexadecimal: the key's id (4 bytes), a random nonce (12), the text under ChaCha20-Poly1305 with its tag. The place that
//! it belongs to is authenticated with it, so that a text can't be moved from one account to another.
//!
//! The file has a key a line, 64 hexadecimal digits; which one the catalogue uses stands in the catalogue. During a change of the key the
//! file has both, so that whoever is running meanwhile finds the new one there.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;

const MASTER_BYTES: usize = 32;
const ID_BYTES: usize = 4;

/// Keys of a file: the one in use, one that is coming, one that is going.
const MOST_KEYS: usize = 8;

/// The first line of the file, for whoever finds it.
const HEADER: &str = "# MidoInsights: the key of names and addresses in the catalogue. Keep copies of it apart from copies of the catalogue.\n";

pub(super) type KeyId = [u8; ID_BYTES];

/// The keys of a file. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vault {
    path: Arc<PathBuf>,
    keys: Arc<RwLock<Keys>>,
}

#[derive(Default)]
struct Keys {
    /// In the order of the file.
    order: Vec<KeyId>,
    all: BTreeMap<KeyId, Arc<Key>>,
}

/// One key: two are derived from what the file has.
pub(super) struct Key {
    pub(super) id: KeyId,
    master: [u8; MASTER_BYTES],
    seal: LessSafeKey,
    index: hmac::Key,
}

/// What a transaction seals and opens with.
pub(super) struct Seals {
    current: Arc<Key>,
    vault: Vault,
}

/// Makes the file with the key, unless it is there.
pub fn make_key_file(path: &Path) -> Result<(), StoreError> {
    Vault::open(path).map(drop)
}

impl Vault {
    /// Reads the keys of a file; where there is none, one is made, for its owner alone.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            match write(path, &[Key::random()?], true) {
                // Another process was faster.
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        let vault = Self {
            path: Arc::new(path.to_owned()),
            keys: Arc::default(),
        };
        vault.reload()?;
        Ok(vault)
    }

    /// The key that new catalogues use.
    pub(super) fn first(&self) -> Result<Arc<Key>, StoreError> {
        let keys = self.keys.read();
        keys.order
            .first()
            .and_then(|id| keys.all.get(id).cloned())
            .ok_or_else(|| self.damaged("it holds no key".to_owned()))
    }

    /// What the catalogue is sealed with, as this transaction sees it.
    pub(super) fn seals(&self, db: &Connection) -> Result<Seals, StoreError> {
        let id: KeyId = db
            .prepare_cached("SELECT key FROM vault")
            .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
            .map_err(StoreError::catalog("read which key is in use"))?
            .ok_or(StoreError::Missing("key in the catalogue"))?;
        Ok(self.with(self.key(id)?))
    }

    pub(super) fn with(&self, key: Arc<Key>) -> Seals {
        Seals {
            current: key,
            vault: self.clone(),
        }
    }

    /// A key by its id; one that another process made meanwhile is in the file.
    fn key(&self, id: KeyId) -> Result<Arc<Key>, StoreError> {
        if let Some(key) = self.keys.read().all.get(&id) {
            return Ok(key.clone());
        }
        self.reload()?;
        self.keys.read().all.get(&id).cloned().ok_or_else(|| {
            self.damaged(format!(
                "the catalogue's names and addresses are sealed with the key {}, which is not in this file; put the right file there",
                hex::encode(id)
            ))
        })
    }

    /// Puts a new key in front of those of the file.
    pub(super) fn add(&self) -> Result<Arc<Key>, StoreError> {
        let new = Key::random()?;
        let id = new.id;
        let keys = self.keys.read();
        let mut all: Vec<&Key> = vec![&new];
        all.extend(keys.order.iter().filter_map(|id| keys.all.get(id).map(Arc::as_ref)));
        if all.len() > MOST_KEYS {
            return Err(self.damaged(format!("it holds {MOST_KEYS} keys; take those out that no catalogue uses")));
        }
        write(&self.path, &all, false)?;
        drop(keys);
        self.reload()?;
        self.key(id)
    }

    /// Takes all keys but one out of the file. They stay in memory for what is being read.
    pub(super) fn keep_only(&self, key: &Key) -> Result<(), StoreError> {
        write(&self.path, &[key], false)
    }

    fn reload(&self) -> Result<(), StoreError> {
        let text = fs::read_to_string(&*self.path).map_err(|source| StoreError::io(format!("read the keys in {}", self.path.display()), source))?;
        let mut order = Vec::new();
        let mut found = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut master = [0; MASTER_BYTES];
            hex::decode_to_slice(line, &mut master)
                .map_err(|_| self.damaged(format!("line {} is no key: one has 64 hexadecimal digits", number + 1)))?;
            let key = Key::derive(master)?;
            order.push(key.id);
            found.insert(key.id, Arc::new(key));
        }
        if order.is_empty() || order.len() > MOST_KEYS {
            return Err(self.damaged(format!("it holds {} keys", order.len())));
        }
        let mut keys = self.keys.write();
        keys.order = order;
        keys.all.append(&mut found);
        Ok(())
    }

    fn damaged(&self, detail: String) -> StoreError {
        StoreError::Damaged {
            path: self.path.display().to_string(),
            detail,
        }
    }
}

impl Seals {
    pub(super) fn id(&self) -> KeyId {
        self.current.id
    }

    /// Seals a text for a place, such as a column with the id of its row.
    pub(super) fn seal(&self, place: &[&[u8]], text: &str) -> Result<String, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let mut sealed = text.as_bytes().to_vec();
        self.current
            .seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.concat()), &mut sealed)
            .map_err(|_| StoreError::Invalid("a text is too long to be sealed".to_owned()))?;
        let mut out = hex::encode(self.current.id);
        out.push_str(&hex::encode(nonce));
        out.push_str(&hex::encode(sealed));
        Ok(out)
    }

    /// Opens what was sealed for this place, with whichever key.
    pub(super) fn open(&self, place: &[&[u8]], sealed: &str) -> Result<String, StoreError> {
        let wrong = || StoreError::Damaged {
            path: "the catalogue".to_owned(),
            detail: "a sealed text does not open: it was changed, or moved from elsewhere".to_owned(),
        };
        let mut bytes = hex::decode(sealed).map_err(|_| wrong())?;
        if bytes.len() < ID_BYTES + NONCE_LEN {
            return Err(wrong());
        }
        let mut body = bytes.split_off(ID_BYTES + NONCE_LEN);
        let (id, nonce) = bytes.split_at(ID_BYTES);
        let key = self.vault.key(id.try_into().map_err(|_| wrong())?)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let plain = key.seal.open_in_place(nonce, Aad::from(place.concat()), &mut body).map_err(|_| wrong())?;
        String::from_utf8(plain.to_vec()).map_err(|_| wrong())
    }

    /// The keyed hash that an address is found by, the same for every way to write it.
    pub(super) fn look_up(&self, email: &str) -> String {
        hex::encode(hmac::sign(&self.current.index, email.trim().to_lowercase().as_bytes()))
    }
}

impl Key {
    fn random() -> Result<Self, StoreError> {
        let mut master = [0; MASTER_BYTES];
        random(&mut master)?;
        Self::derive(master)
    }

    fn derive(master: [u8; MASTER_BYTES]) -> Result<Self, StoreError> {
        let failed = || StoreError::Invalid("a key can't be derived".to_owned());
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"insights catalogue").extract(&master);
        let expand = |what: &'static [u8], out: &mut [u8]| {
            let what = [what];
            let okm = root.expand(&what, Length(out.len())).map_err(|_| failed())?;
            okm.fill(out).map_err(|_| failed())
        };
        let (mut id, mut seal, mut index) = ([0; ID_BYTES], [0; 32], [0; 32]);
        expand(b"id", &mut id)?;
        expand(b"seal", &mut seal)?;
        expand(b"look-up", &mut index)?;
        Ok(Self {
            id,
            master,
            seal: LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &seal).map_err(|_| failed())?),
            index: hmac::Key::new(hmac::HMAC_SHA256, &index),
        })
    }
}

impl AsRef<Key> for Key {
    fn as_ref(&self) -> &Key {
        self
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn random(out: &mut [u8]) -> Result<(), StoreError> {
    SystemRandom::new()
        .fill(out)
        .map_err(|_| StoreError::io("draw random bytes", std::io::Error::other("the system has none")))
}

/// The whole file, or the one before: a lost key loses every name and address.
fn write(path: &Path, keys: &[impl AsRef<Key>], new: bool) -> Result<(), StoreError> {
    let mut text = HEADER.to_owned();
    for key in keys {
        text.push_str(&hex::encode(key.as_ref().master));
        text.push('\n');
    }
    let io = |source| StoreError::io(format!("write the keys to {}", path.display()), source);
    let part = PathBuf::from(format!("{}.{}.part", path.display(), std::process::id()));
    let put = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if new {
            // Never over a key that another process has just made.
            fs::hard_link(&part, path)?;
            fs::remove_file(&part)?;
        } else {
            fs::rename(&part, path)?;
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    };
    let put = put();
    if put.is_err() {
        let _ = fs::remove_file(&part);
    }
    put.map_err(io)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn vault() -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&dir.path().join("profile.key")).unwrap();
        (dir, vault)
    }

    #[test]
    fn a_text_opens_at_its_place_only() {
        let (_dir, vault) = vault();
        let seals = vault.with(vault.first().unwrap());
        for text in ["", "ada@example.org", "Ada Økafor"] {
            let sealed = seals.seal(&[b"email", b"1"], text).unwrap();
            assert_ne!(sealed, seals.seal(&[b"email", b"1"], text).unwrap(), "a nonce is used once");
            assert_eq!(seals.open(&[b"email", b"1"], &sealed).unwrap(), text);
            assert!(seals.open(&[b"email", b"2"], &sealed).is_err());
            for at in (0..sealed.len()).step_by(7) {
                let mut other = sealed.clone().into_bytes();
                other[at] = if other[at] == b'0' { b'1' } else { b'0' };
                assert!(seals.open(&[b"email", b"1"], std::str::from_utf8(&other).unwrap()).is_err(), "{at}");
            }
        }
        assert!(seals.open(&[], "").is_err() && seals.open(&[], "zz").is_err());
        assert_eq!(seals.look_up("Ada@Example.org "), seals.look_up("ada@example.org"));
        assert_ne!(seals.look_up("ada@example.org"), seals.look_up("bob@example.org"));
    }

    #[test]
    fn the_file_is_its_owners_and_old_keys_open_until_they_are_forgotten() {
        let (dir, vault) = vault();
        let path = dir.path().join("profile.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let old = vault.with(vault.first().unwrap());
        let sealed = old.seal(&[], "x").unwrap();
        // Another process that reads the same file, before and after.
        let other = Vault::open(&path).unwrap();
        let new = vault.add().unwrap();
        assert_eq!(vault.first().unwrap().id, new.id);
        assert_eq!(vault.with(new.clone()).open(&[], &sealed).unwrap(), "x");
        assert_eq!(other.key(new.id).unwrap().id, new.id);
        assert_ne!(vault.with(new.clone()).look_up("a"), old.look_up("a"));
        vault.keep_only(&new).unwrap();
        let fresh = Vault::open(&path).unwrap();
        assert!(fresh.with(fresh.first().unwrap()).open(&[], &sealed).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_holds_no_keys_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile.key");
        for text in ["", "# nothing\n", "abcd\n", &"00".repeat(33)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Vault::open(&path), Err(StoreError::Damaged { .. })), "{text}");
        }
    }
}
