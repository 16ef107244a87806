// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Accounts, sites and fingerprints, for the operator of the service.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use insights_store::catalog::{Account, Catalog, Site};
use time::OffsetDateTime;
use time::macros::format_description;

use super::store_dir;
use crate::accounts::{Accounts, TRIAL_QUOTA_BYTES, format_fingerprint, generate_password, parse_fingerprint};

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account; a password is made and printed once unless one is given
    Add {
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// The person's name, as the manager shows it
        #[arg(long)]
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List all accounts
    List,
    /// Take the second factor of somebody away who lost the app and the recovery codes; ask who it is first
    ResetSecondFactor {
        #[arg(long, value_name = "ADDRESS")]
        email: String,
    },
    /// Set a new password and end all sessions of the account
    Passwd {
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
}

#[derive(Args, Debug)]
pub struct PasswordArgs {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Add a site to an account
    Add {
        /// E-mail address of the account
        #[arg(long, value_name = "ADDRESS")]
        account: String,
        #[arg(long)]
        name: String,
        /// Storage of its time series, GB; 0 for no bound
        #[arg(long, value_name = "GB", default_value_t = TRIAL_QUOTA_BYTES / GB)]
        quota: u64,
    },
    /// List all sites
    List,
}

#[derive(Debug, Subcommand)]
pub enum FingerprintCommand {
    /// Let a gateway in by its key
    Add {
        #[command(flatten)]
        site: SiteArg,
        /// What people call the gateway
        #[arg(long, default_value = "")]
        label: String,
        /// As `mn-insights show` prints it
        fingerprint: String,
    },
    /// List the keys of a site
    List {
        #[command(flatten)]
        site: SiteArg,
    },
    /// Shut a key out; its open connection is closed at once
    Delete {
        #[command(flatten)]
        site: SiteArg,
        fingerprint: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Seal everything anew with a new key, and take the old one out of the file; the service may run meanwhile
    Rotate,
}

#[derive(Args, Debug)]
pub struct SiteArg {
    /// Name or id of the site
    #[arg(long)]
    site: String,
}

const GB: u64 = 1_000_000_000;

pub(super) async fn account(dir: &Path, key: &Path, command: AccountCommand) -> Result<()> {
    let accounts = open(dir, key).await?;
    match command {
        AccountCommand::Add { email, name, password } => {
            let (password, made) = password.read()?;
            accounts.create(&email, &name, password.clone(), now_us()).await?;
            say(format_args!("account {email} added"))?;
            if made {
                say(format_args!("password: {password}"))?;
            }
        }
        AccountCommand::List => {
            for account in accounts.catalog().accounts().await? {
                say(format_args!("{}\t{}\t{}", account.email, account.name, date(account.created_us)))?;
            }
        }
        AccountCommand::ResetSecondFactor { email } => {
            let account = find_account(accounts.catalog(), &email).await?;
            let word = if accounts.reset_second_factor(account.id, now_us()).await? {
                "has none any more"
            } else {
                "had none"
            };
            say(format_args!("second factor: {email} {word}"))?;
        }
        AccountCommand::Passwd { email, password } => {
            let account = find_account(accounts.catalog(), &email).await?;
            let (password, made) = password.read()?;
            accounts.reset_password(account.id, password.clone(), now_us()).await?;
            say(format_args!("password of {email} set, its sessions ended"))?;
            if made {
                say(format_args!("password: {password}"))?;
            }
        }
    }
    Ok(())
}

pub(super) async fn site(dir: &Path, key: &Path, command: SiteCommand) -> Result<()> {
    let accounts = open(dir, key).await?;
    match command {
        SiteCommand::Add { account, name, quota } => {
            let account = find_account(accounts.catalog(), &account).await?;
            let id = accounts.create_site(account.id, &name, quota.saturating_mul(GB), now_us()).await?;
            say(format_args!("site {name} added, id {}", id.0))?;
        }
        SiteCommand::List => {
            for site in accounts.catalog().sites().await? {
                let owner = accounts
                    .catalog()
                    .account(site.account)
                    .await?
                    .map_or_else(String::new, |account| account.email);
                say(format_args!("{}\t{}\t{owner}\t{}", site.id.0, site.name, date(site.created_us)))?;
            }
        }
    }
    Ok(())
}

pub(super) async fn fingerprint(dir: &Path, key: &Path, command: FingerprintCommand) -> Result<()> {
    let accounts = open(dir, key).await?;
    match command {
        FingerprintCommand::Add { site, label, fingerprint } => {
            let site = find_site(accounts.catalog(), &site.site).await?;
            let parsed = parse_fingerprint(&fingerprint)?;
            accounts.register_fingerprint(site.id, parsed, &label, now_us()).await?;
            say(format_args!("{} may send for {}", format_fingerprint(&parsed), site.name))?;
        }
        FingerprintCommand::List { site } => {
            let site = find_site(accounts.catalog(), &site.site).await?;
            for key in accounts.catalog().fingerprints(site.id).await? {
                say(format_args!(
                    "{}\t{}\t{}",
                    format_fingerprint(&key.fingerprint),
                    date(key.added_us),
                    key.label
                ))?;
            }
        }
        FingerprintCommand::Delete { site, fingerprint } => {
            let site = find_site(accounts.catalog(), &site.site).await?;
            let parsed = parse_fingerprint(&fingerprint)?;
            if !accounts.remove_fingerprint(site.id, parsed).await? {
                bail!("site {} has no such fingerprint; see `insights-collector fingerprint list`", site.name);
            }
            say(format_args!("{} is shut out of {}", format_fingerprint(&parsed), site.name))?;
        }
    }
    Ok(())
}

pub(super) async fn key(dir: &Path, key: &Path, command: KeyCommand) -> Result<()> {
    let accounts = open(dir, key).await?;
    match command {
        KeyCommand::Rotate => {
            accounts.catalog().change_key().await?;
            say(format_args!(
                "{} holds a new key; copies of the old one open older copies of the catalogue only",
                key.display()
            ))?;
        }
    }
    Ok(())
}

impl PasswordArgs {
    /// The password, and whether it was made here.
    fn read(&self) -> Result<(String, bool)> {
        if !self.password_stdin {
            return Ok((generate_password(), true));
        }
        if std::io::stdin().is_terminal() {
            bail!("--password-stdin reads a pipe or a file, so that no password shows on a screen");
        }
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .context("read the password from standard input")?;
        Ok((line.trim_end_matches(['\r', '\n']).to_owned(), false))
    }
}

async fn open(dir: &Path, key: &Path) -> Result<Accounts> {
    if !dir.exists() {
        bail!(
            "{} is not there; run `insights-collector init` first, or name another folder with --data-dir",
            dir.display()
        );
    }
    let (dir, key) = (store_dir(dir), key.to_owned());
    let catalog = tokio::task::spawn_blocking(move || Catalog::open_with(&dir, &key)).await??;
    Ok(Accounts::new(catalog))
}

async fn find_account(catalog: &Catalog, email: &str) -> Result<Account> {
    catalog
        .account_by_email(email)
        .await?
        .with_context(|| format!("no account {email}; see `insights-collector account list`"))
}

async fn find_site(catalog: &Catalog, name: &str) -> Result<Site> {
    let mut found: Vec<Site> = catalog
        .sites()
        .await?
        .into_iter()
        .filter(|site| site.name == name || site.id.0.to_string() == name)
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(site), true) => Ok(site),
        (Some(_), false) => bail!("several sites are named {name}; give the id, see `insights-collector site list`"),
        (None, _) => bail!("no site {name}; see `insights-collector site list`"),
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("write to standard output")
}

fn now_us() -> i64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000) as i64
}

fn date(us: i64) -> String {
    OffsetDateTime::from_unix_timestamp(us.div_euclid(1_000_000))
        .ok()
        .and_then(|time| time.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).ok())
        .unwrap_or_default()
}
