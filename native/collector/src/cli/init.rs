// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `init`: a folder that `serve` can start from.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// A trial's authority lives as long as a machine does.
const AUTHORITY_DAYS: i64 = 3_650;

/// As long as public authorities let a server certificate live.
const SERVER_DAYS: i64 = 397;

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Name or address by which gateways reach this service; may be repeated
    #[arg(long = "name", value_name = "HOST", required = true)]
    names: Vec<String>,

    /// Make a new server certificate, for new names or before the old one expires; the authority stays
    #[arg(long)]
    renew: bool,

    /// Do nothing when there is a server certificate; the service's unit starts with this
    #[arg(long, conflicts_with = "renew")]
    if_missing: bool,
}

#[allow(clippy::print_stdout, reason = "what the person asked for")]
pub(super) fn run(data_dir: &Path, key_file: &Path, args: &InitArgs) -> Result<()> {
    let tls = data_dir.join("tls");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&tls)
        .with_context(|| format!("create {}", tls.display()))?;
    let [ca_pem, ca_key, pem, key] = ["ca.pem", "ca.key", "server.pem", "server.key"].map(|name| tls.join(name));

    let made = make_profile_key(key_file)?;
    if args.if_missing && pem.exists() && key.exists() {
        return Ok(());
    }
    let now = OffsetDateTime::now_utc();
    let authority_key = if ca_key.exists() {
        KeyPair::from_pem(&fs::read_to_string(&ca_key).with_context(|| format!("read {}", ca_key.display()))?)
            .with_context(|| format!("read the key in {}", ca_key.display()))?
    } else {
        let made = KeyPair::generate().context("make a key")?;
        write_new(&ca_key, &made.serialize_pem(), 0o600)?;
        made
    };
    let authority = CertifiedIssuer::self_signed(authority_params(now), authority_key).context("make the authority's certificate")?;
    if !ca_pem.exists() {
        write_new(&ca_pem, &authority.pem(), 0o644)?;
    }

    if args.renew {
        for path in [&pem, &key] {
            if path.exists() {
                fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
    }
    ensure!(!pem.exists(), "{} is there already; use --renew to make a new certificate", pem.display());
    let server_key = KeyPair::generate().context("make a key")?;
    let server = server_params(&args.names, now)?
        .signed_by(&server_key, &authority)
        .context("make the server's certificate")?;
    write_new(&key, &server_key.serialize_pem(), 0o600)?;
    write_new(&pem, &server.pem(), 0o644)?;

    println!("Certificate for {} in {}", args.names.join(", "), pem.display());
    println!("Give {} to the gateways: insights_cloud.gateway.ca_file", ca_pem.display());
    if made {
        println!(
            "Key of names and addresses in {}: keep a copy, apart from copies of the data",
            key_file.display()
        );
    }
    println!("Next: insights-collector account add, site add, fingerprint add, serve");
    Ok(())
}

/// Makes the key that names and addresses are sealed with, unless there is one.
fn make_profile_key(path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    insights_store::catalog::make_key_file(path)?;
    Ok(true)
}

fn authority_params(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "MidoInsights trial authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(AUTHORITY_DAYS);
    params
}

fn server_params(names: &[String], now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("read the names for the certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of sites may be behind.
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(SERVER_DAYS);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Fails when the file is there: nobody's key is overwritten.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_init_changes_nothing_and_renew_keeps_the_authority() {
        let dir = tempfile::tempdir().unwrap();
        let args = |renew| InitArgs {
            names: vec!["127.0.0.1".into(), "gw.example.org".into()],
            renew,
            if_missing: false,
        };
        run(dir.path(), &dir.path().join("profile.key"), &args(false)).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("tls").join(name)).unwrap();
        let (authority, server) = (read("ca.pem"), read("server.pem"));
        assert!(run(dir.path(), &dir.path().join("profile.key"), &args(false)).is_err());
        assert_eq!(read("server.pem"), server);
        run(
            dir.path(),
            &dir.path().join("profile.key"),
            &InitArgs {
                if_missing: true,
                ..args(false)
            },
        )
        .unwrap();
        assert_eq!(read("server.pem"), server);
        run(dir.path(), &dir.path().join("profile.key"), &args(true)).unwrap();
        assert_eq!(read("ca.pem"), authority);
        assert_ne!(read("server.pem"), server);
        for name in ["ca.key", "server.key"] {
            assert_eq!(
                fs::metadata(dir.path().join("tls").join(name)).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }
}
