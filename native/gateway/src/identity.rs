// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The gateway's key pair: who this site is towards the service.
//!
//! A folder for the owner alone (0700) holds
//! - `identity.pem`: private key (ECDSA P-256, PKCS #8) and self-signed certificate, 0600;
//! - `previous.pem` and `previous.until`: the key before the last renewal and until when it is tried too, as seconds since the epoch.
//!
//! Files are written under another name and moved into place, so that there is a whole key or none at any time. The service knows a key
//! by the SHA-256 of its public key info alone; the certificate only carries it.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

const CURRENT: &str = "identity.pem";
const PREVIOUS: &str = "previous.pem";
const UNTIL: &str = "previous.until";

/// A certificate outlives the machine; renewal is for compromised keys.
const VALID_FOR: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks differ.
const VALID_BEFORE: Duration = Duration::from_secs(86_400);
/// A file with a key and a certificate has about 1 KiB.
const MAX_FILE: u64 = 64 << 10;

/// A key pair with its certificate.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub fingerprint: Fingerprint,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
}

/// The keys of this gateway.
#[derive(Debug)]
pub struct Identities {
    pub current: Identity,
    /// The key before, and until when it may be used.
    pub previous: Option<(Identity, OffsetDateTime)>,
}

/// SHA-256 of a DER-encoded SubjectPublicKeyInfo. Shown as lower-case hex pairs with colons; read in either case, with or without them.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(pub [u8; 32]);

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no identity in {}; make one with `mn-insights init`", .0.display())]
    Missing(PathBuf),
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} holds no usable key and certificate: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    #[error("make a key pair")]
    Generate(#[source] rcgen::Error),
    #[error("the key was renewed before and its predecessor is valid until {until}; renew again after that, or with --force give it up now")]
    Renewing { until: OffsetDateTime },
}

#[derive(Debug, thiserror::Error)]
#[error("a fingerprint has 32 hex pairs, with or without colons")]
pub struct BadFingerprint;

/// Makes an identity unless there is one. `true` when one was made.
pub fn init(folder: &Path, now: OffsetDateTime) -> Result<(Identities, bool), IdentityError> {
    match load(folder, now) {
        Err(IdentityError::Missing(_)) => {}
        loaded => return Ok((loaded?, false)),
    }
    make_folder(folder)?;
    write(&folder.join(CURRENT), generate(now)?.as_bytes())?;
    Ok((load(folder, now)?, true))
}

/// The identities in a folder. A previous one whose time is over is left out.
pub fn load(folder: &Path, now: OffsetDateTime) -> Result<Identities, IdentityError> {
    let current = read(&folder.join(CURRENT), folder)?;
    let previous = match until(folder)? {
        Some(until) if until > now => match read(&folder.join(PREVIOUS), folder) {
            Err(IdentityError::Missing(_)) => None,
            previous => Some((previous?, until)),
        },
        _ => None,
    };
    Ok(Identities { current, previous })
}

/// Makes a new key pair. The one that was used so far stays valid for `overlap`.
///
/// The gateway tries the new key first; as long as the service does not know it, the old one is used.
pub fn renew(folder: &Path, overlap: Duration, force: bool, now: OffsetDateTime) -> Result<Identities, IdentityError> {
    let known = load(folder, now)?;
    if let Some((_, until)) = known.previous.filter(|_| !force) {
        return Err(IdentityError::Renewing { until });
    }
    let current = folder.join(CURRENT);
    let bytes = fs::read(&current).map_err(io("read", &current))?;
    let until = now + overlap;
    write(&folder.join(UNTIL), format!("{}\n", until.unix_timestamp()).as_bytes())?;
    write(&folder.join(PREVIOUS), &bytes)?;
    write(&current, generate(now)?.as_bytes())?;
    load(folder, now)
}

/// Deletes a previous key whose time is over.
pub fn forget_expired(folder: &Path, now: OffsetDateTime) -> Result<bool, IdentityError> {
    if until(folder)?.is_none_or(|until| until > now) {
        return Ok(false);
    }
    for name in [PREVIOUS, UNTIL] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove", &path)(error)),
            _ => {}
        }
    }
    Ok(true)
}

impl Fingerprint {
    pub fn of_public_key_info(der: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let text = text.trim();
        let paired = text.len() == 95 && text.bytes().enumerate().all(|(at, byte)| (at % 3 == 2) == (byte == b':'));
        let hex = if paired { text.replace(':', "") } else { text.to_owned() };
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes).map_err(|_| BadFingerprint)?;
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            ..*self
        }
    }
}

/// Key and certificate as PEM.
fn generate(now: OffsetDateTime) -> Result<String, IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Generate)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "MidoInsights gateway");
    params.not_before = now - VALID_BEFORE;
    params.not_after = now + VALID_FOR;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).map_err(IdentityError::Generate)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn read(path: &Path, folder: &Path) -> Result<Identity, IdentityError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IdentityError::Missing(folder.to_owned())),
        metadata => metadata.map_err(io("read", path))?,
    };
    let corrupt = |what: &str| IdentityError::Corrupt {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    if metadata.len() > MAX_FILE {
        return Err(corrupt("it is too long"));
    }
    let pem = fs::read(path).map_err(io("read", path))?;
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| corrupt("no certificate"))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| corrupt("no private key"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| corrupt("the certificate can't be read"))?;
    let pair = KeyPair::try_from(&key).map_err(|_| corrupt("the private key can't be read"))?;
    let info = pair.subject_public_key_info();
    if info != parsed.public_key().raw {
        return Err(corrupt("the certificate is of another key"));
    }
    let fingerprint = Fingerprint::of_public_key_info(&info);
    let (not_before, not_after) = (parsed.validity().not_before.to_datetime(), parsed.validity().not_after.to_datetime());
    Ok(Identity {
        fingerprint,
        not_before,
        not_after,
        certificate,
        key: key.into(),
    })
}

fn until(folder: &Path) -> Result<Option<OffsetDateTime>, IdentityError> {
    let path = folder.join(UNTIL);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(io("read", &path))?,
    };
    let until = text
        .trim()
        .parse()
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    until.map(Some).ok_or_else(|| IdentityError::Corrupt {
        path,
        what: "it is no time".into(),
    })
}

fn make_folder(folder: &Path) -> Result<(), IdentityError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io("create", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io("set the mode of", folder))
}

/// Writes a file for the owner alone and moves it into place, durably.
fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let result = (|| {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    result.map_err(io("write", path))
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_500_000_000).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn init_makes_one_key_for_the_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let (first, made) = init(&folder, now()).unwrap();
        assert!(made);
        assert_eq!((mode(&folder), mode(&folder.join(CURRENT))), (0o700, 0o600));
        let (second, made) = init(&folder, now()).unwrap();
        assert!(!made);
        assert_eq!(first.current.fingerprint, second.current.fingerprint);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn the_fingerprint_is_that_of_the_public_key_info() {
        let root = tempfile::tempdir().unwrap();
        let (made, _) = init(root.path(), now()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&made.current.certificate).unwrap();
        assert_eq!(made.current.fingerprint.0[..], Sha256::digest(certificate.public_key().raw)[..]);
        assert!(
            certificate
                .validity()
                .is_valid_at(x509_parser::time::ASN1Time::from_timestamp(now().unix_timestamp()).unwrap())
        );
        certificate.verify_signature_is_own();
    }

    trait OwnSignature {
        fn verify_signature_is_own(&self);
    }

    impl OwnSignature for x509_parser::certificate::X509Certificate<'_> {
        fn verify_signature_is_own(&self) {
            assert_eq!(self.subject(), self.issuer());
        }
    }

    #[test]
    fn fingerprints_are_read_as_people_write_them() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| 0x0f + i as u8 * 7));
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 95);
        for form in [text.clone(), text.to_uppercase(), text.replace(':', ""), format!(" {text}\n")] {
            assert_eq!(form.parse::<Fingerprint>().unwrap(), fingerprint);
        }
        for bad in [
            "",
            "0f",
            &text[1..],
            &text.replace(':', "-"),
            &format!("{text}:00"),
            &text.replacen("0f", "0g", 1),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn both_keys_hold_while_the_renewal_overlaps() {
        let root = tempfile::tempdir().unwrap();
        let old = init(root.path(), now()).unwrap().0.current.fingerprint;
        let day = Duration::from_secs(86_400);
        let renewed = renew(root.path(), day, false, now()).unwrap();
        assert_ne!(renewed.current.fingerprint, old);
        let (previous, until) = renewed.previous.unwrap();
        assert_eq!((previous.fingerprint, until), (old, now() + day));
        assert_eq!(mode(&root.path().join(PREVIOUS)), 0o600);

        assert!(matches!(renew(root.path(), day, false, now()), Err(IdentityError::Renewing { .. })));
        assert!(!forget_expired(root.path(), now()).unwrap());
        assert!(load(root.path(), now() + day).unwrap().previous.is_none());
        assert!(forget_expired(root.path(), now() + day).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(load(root.path(), now()).unwrap().current.fingerprint, renewed.current.fingerprint);
    }

    #[test]
    fn damaged_files_are_told_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(load(root.path(), now()), Err(IdentityError::Missing(_))));
        init(root.path(), now()).unwrap();
        let other = tempfile::tempdir().unwrap();
        init(other.path(), now()).unwrap();
        let (mine, foreign) = (
            fs::read_to_string(root.path().join(CURRENT)).unwrap(),
            fs::read_to_string(other.path().join(CURRENT)).unwrap(),
        );
        let certificate = foreign.split_once("-----BEGIN CERT").unwrap().1;
        let mixed = format!("{}-----BEGIN CERT{certificate}", mine.split_once("-----BEGIN CERT").unwrap().0);
        for content in ["", "nonsense", &mine[..mine.len() / 2], &mixed] {
            fs::write(root.path().join(CURRENT), content).unwrap();
            assert!(matches!(load(root.path(), now()), Err(IdentityError::Corrupt { .. })));
            assert!(init(root.path(), now()).is_err(), "a key is never replaced by itself");
        }
    }
}
