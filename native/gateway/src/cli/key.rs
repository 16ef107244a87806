// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `init`, `show`, `renew`.

use std::{io::Write, time::Duration};

use clap::Args;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{IdentityFolder, duration};
use crate::identity::{self, Identities};

/// Make the key pair and certificate of this gateway, unless there is one.
///
/// The private key is made on this machine and never leaves it; the folder is for its owner alone. Packages call this at installation.
#[derive(Args, Debug)]
pub(super) struct Init {
    #[command(flatten)]
    identity: IdentityFolder,
    /// Print nothing when there is an identity
    #[arg(long)]
    quiet: bool,
}

/// Print the fingerprint of this gateway's public key.
///
/// It is the SHA-256 of the public key (SubjectPublicKeyInfo), and what a site in the Insights manager knows this gateway by.
#[derive(Args, Debug)]
pub(super) struct Show {
    #[command(flatten)]
    identity: IdentityFolder,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Make a new key, when the old one may be known to others.
///
/// The running plugin tries the new key first and uses the old one as long as the service does not know the new one, until the overlap is
/// over. So: renew, add the new fingerprint to the site, delete the old one.
#[derive(Args, Debug)]
pub(super) struct Renew {
    #[command(flatten)]
    identity: IdentityFolder,
    /// How long the old key stays valid, such as 12h or 7d; 0s ends it at once
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    overlap: Duration,
    /// Renew although an earlier renewal still overlaps; its old key is given up
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let (identities, made) = identity::init(&self.identity.folder, OffsetDateTime::now_utc())?;
        if made {
            writeln!(
                out,
                "A new key was made. Its fingerprint, to be added to the site in the Insights manager:"
            )?;
        }
        if made || !self.quiet {
            writeln!(out, "{}", identities.current.fingerprint)?;
        }
        Ok(())
    }
}

impl Show {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let identities = identity::load(&self.identity.folder, OffsetDateTime::now_utc())?;
        if self.json {
            return Ok(writeln!(out, "{}", json(&identities)?)?);
        }
        writeln!(out, "{}", identities.current.fingerprint)?;
        if let Some((previous, until)) = identities.previous {
            writeln!(out, "{} (the old key, valid until {})", previous.fingerprint, until.format(&Rfc3339)?)?;
        }
        Ok(())
    }
}

impl Renew {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let identities = identity::renew(&self.identity.folder, self.overlap, self.force, OffsetDateTime::now_utc())?;
        writeln!(out, "A new key was made. Add its fingerprint to the site in the Insights manager:")?;
        writeln!(out, "{}", identities.current.fingerprint)?;
        match identities.previous {
            Some((previous, until)) => {
                writeln!(
                    out,
                    "Until {} the old key is used as long as the service does not know the new one.",
                    until.format(&Rfc3339)?
                )?;
                writeln!(out, "Then delete the old fingerprint from the site:")?;
                writeln!(out, "{}", previous.fingerprint)?;
            }
            None => writeln!(out, "The old key is not used any more.")?,
        }
        Ok(())
    }
}

fn json(identities: &Identities) -> anyhow::Result<serde_json::Value> {
    let current = &identities.current;
    let previous = match &identities.previous {
        Some((previous, until)) => json!({"fingerprint": previous.fingerprint.to_string(), "until": until.format(&Rfc3339)?}),
        None => serde_json::Value::Null,
    };
    Ok(json!({
        "fingerprint": current.fingerprint.to_string(),
        "not_before": current.not_before.format(&Rfc3339)?,
        "not_after": current.not_after.format(&Rfc3339)?,
        "previous": previous,
    }))
}
