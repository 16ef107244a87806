// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Options of the service: flags first, then the environment, then the configuration file, then defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use insights_store::{ClickHouseOptions, StoreError};
use serde::Deserialize;

use crate::accounts::{SmtpOptions, SmtpTls};
use crate::alerts::AllowedPrefix;

/// Options that every command understands.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Folder of everything that the service keeps: certificates, catalogue, time series [default: /var/lib/insights-collector]
    #[arg(long, env = "INSIGHTS_DATA_DIR", value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,

    /// Configuration file, TOML; flags and the environment come before it [default: /etc/insights-collector.toml if it is there]
    #[arg(long, env = "INSIGHTS_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// The key that names and addresses of people are sealed with [default: DATA_DIR/profile.key, which `init` makes]
    #[arg(long, env = "INSIGHTS_PROFILE_KEY_FILE", value_name = "FILE", global = true)]
    pub profile_key_file: Option<PathBuf>,
}

/// Options of `serve`. Each has the same name as a flag, as `INSIGHTS_…` in the environment, and in the configuration file with `_` for `-`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeArgs {
    /// UDP address that gateways connect to [default: [::]:443]
    #[arg(long, env = "INSIGHTS_INGEST_LISTEN", value_name = "ADDRESS:PORT")]
    pub ingest_listen: Option<SocketAddr>,

    /// TCP address of the manager, its API, /metrics and /health [default: 127.0.0.1:8080]
    #[arg(long, env = "INSIGHTS_WEB_LISTEN", value_name = "ADDRESS:PORT")]
    pub web_listen: Option<SocketAddr>,

    /// People reach the manager through TLS, by a proxy before it: cookies are marked so that they never travel in clear
    #[arg(long, env = "INSIGHTS_WEB_SECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub web_secure: Option<bool>,

    /// Certificate chain that gateways check, PEM [default: DATA_DIR/tls/server.pem, which `init` makes]
    #[arg(long, env = "INSIGHTS_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Its private key, PEM [default: DATA_DIR/tls/server.key]
    #[arg(long, env = "INSIGHTS_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Gateways that may be connected at once; more are refused and try again later [default: 2000]
    #[arg(long, env = "INSIGHTS_MAX_GATEWAYS", value_name = "NUMBER")]
    pub max_gateways: Option<usize>,

    /// ClickHouse server that keeps the time series: clickhouse://USER@HOST:PORT/DATABASE, or clickhouses:// for TLS [default: files in DATA_DIR]
    #[arg(long, env = "INSIGHTS_STORE", value_name = "URL")]
    pub store: Option<String>,

    /// File with the password of its user, so that no command line shows it
    #[arg(long, env = "INSIGHTS_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,

    /// Roots that its certificate must come from, PEM [default: those of the system]
    #[arg(long, env = "INSIGHTS_STORE_CA_FILE", value_name = "FILE")]
    pub store_ca_file: Option<PathBuf>,

    /// Memory for rows that are not in files yet, MiB; above it gateways wait [default: 512]
    #[arg(long, env = "INSIGHTS_MEMORY_MIB", value_name = "MIB")]
    pub memory_mib: Option<usize>,

    /// Memory of all questions that run at once, MiB [default: 512]
    #[arg(long, env = "INSIGHTS_QUERY_MEMORY_MIB", value_name = "MIB")]
    pub query_memory_mib: Option<usize>,

    /// Where people reach the manager, for links in mails [default: http://WEB_LISTEN]
    #[arg(long, env = "INSIGHTS_WEB_URL", value_name = "URL")]
    pub web_url: Option<String>,

    /// Let anybody with an e-mail address open a trial account [default: true]
    #[arg(long, env = "INSIGHTS_SIGN_UP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub sign_up: Option<bool>,

    /// Mail server; without one, links are printed in the log
    #[arg(long, env = "INSIGHTS_SMTP_HOST", value_name = "HOST")]
    pub smtp_host: Option<String>,

    /// Its TCP port [default: 587, or 465 with `--smtp-tls tls`, or 25 without TLS]
    #[arg(long, env = "INSIGHTS_SMTP_PORT", value_name = "PORT")]
    pub smtp_port: Option<u16>,

    /// How the connection to it is secured [default: starttls]
    #[arg(long, env = "INSIGHTS_SMTP_TLS", value_name = "WAY")]
    pub smtp_tls: Option<SmtpTls>,

    /// Roots that its certificate must come from, PEM [default: those of the system]
    #[arg(long, env = "INSIGHTS_SMTP_CA_FILE", value_name = "FILE")]
    pub smtp_ca_file: Option<PathBuf>,

    /// User of the mail server, with `--smtp-password-file`
    #[arg(long, env = "INSIGHTS_SMTP_USER", value_name = "NAME")]
    pub smtp_user: Option<String>,

    /// File with the password, so that no command line shows it
    #[arg(long, env = "INSIGHTS_SMTP_PASSWORD_FILE", value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,

    /// Sender of mails [default: insights@SMTP_HOST]
    #[arg(long, env = "INSIGHTS_MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,

    /// Networks that webhooks of alerts may reach though they are not public, such as 10.1.0.0/16 [default: none]
    #[arg(long, env = "INSIGHTS_WEBHOOK_ALLOW", value_name = "PREFIX", value_delimiter = ',')]
    pub webhook_allow: Option<Vec<String>>,

    /// Form of the log on standard error [default: text]
    #[arg(long, env = "INSIGHTS_LOG_FORMAT", value_name = "FORM")]
    pub log_format: Option<LogFormat>,

    /// What is logged: a level (error, warn, info, debug, trace), or levels by module as tracing's filters have them [default: info]
    #[arg(long, env = "INSIGHTS_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Only in the configuration file: where the data is; `--data-dir` comes before it
    #[arg(skip)]
    pub data_dir: Option<PathBuf>,

    /// Only in the configuration file: the key of names and addresses; `--profile-key-file` comes before it
    #[arg(skip)]
    pub profile_key_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The options of a running service, all decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub profile_key_file: PathBuf,
    pub ingest_listen: SocketAddr,
    pub web_listen: SocketAddr,
    pub web_secure: bool,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub max_gateways: usize,
    /// `None`: time series are in the data folder.
    pub store: Option<ClickHouseOptions>,
    pub memory_bytes: usize,
    pub query_memory_bytes: usize,
    /// Empty: made of the address that the manager listens on.
    pub web_url: String,
    pub sign_up: bool,
    pub smtp: Option<SmtpOptions>,
    pub webhook_allow: Vec<AllowedPrefix>,
    pub log_format: LogFormat,
    pub log: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read the configuration file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("configuration file {}: {}", path.display(), source.message())]
    Parse {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("store is no address of a server")]
    Store(#[source] StoreError),
    #[error("{option} is {value}: must be {allowed}")]
    Value {
        option: &'static str,
        value: String,
        allowed: &'static str,
    },
}

const DEFAULT_DATA_DIR: &str = "/var/lib/insights-collector";
const DEFAULT_FILE: &str = "/etc/insights-collector.toml";

/// Every gateway holds a connection with its windows, some MiB at worst: as many as a small machine carries.
const DEFAULT_MAX_GATEWAYS: usize = 2_000;

impl Common {
    /// The configuration file's options; none where there is no file at the default place.
    fn file(&self) -> Result<ServeArgs, ConfigError> {
        let (path, required) = match &self.config {
            Some(path) => (path.as_path(), true),
            None => (Path::new(DEFAULT_FILE), false),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.into(), source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Ok(ServeArgs::default()),
            Err(source) => Err(ConfigError::Read { path: path.into(), source }),
        }
    }

    /// Where the data is.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.file()?.data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into())),
        }
    }

    /// Where the key of names and addresses is.
    pub fn profile_key_file(&self) -> Result<PathBuf, ConfigError> {
        match &self.profile_key_file {
            Some(path) => Ok(path.clone()),
            None => match self.file()?.profile_key_file {
                Some(path) => Ok(path),
                None => Ok(self.data_dir()?.join("profile.key")),
            },
        }
    }
}

impl Config {
    pub fn new(common: &Common, flags: ServeArgs) -> Result<Config, ConfigError> {
        let file = common.file()?;
        let data_dir = common.data_dir()?;
        let tls = |name: &str| data_dir.join("tls").join(name);
        let max_gateways = flags.max_gateways.or(file.max_gateways).unwrap_or(DEFAULT_MAX_GATEWAYS);
        let mib = |option, value: Option<usize>, default: usize| {
            let value = value.unwrap_or(default);
            if (16..=1 << 20).contains(&value) {
                Ok(value << 20)
            } else {
                Err(ConfigError::Value {
                    option,
                    value: value.to_string(),
                    allowed: "16 to 1048576 MiB",
                })
            }
        };
        if !(1..=100_000).contains(&max_gateways) {
            return Err(ConfigError::Value {
                option: "max-gateways",
                value: max_gateways.to_string(),
                allowed: "1 to 100000",
            });
        }
        let smtp = smtp(&flags, &file)?;
        let store = store(&flags, &file)?;
        let allow = flags.webhook_allow.clone().or(file.webhook_allow.clone()).unwrap_or_default();
        let prefix = |text: &String| {
            text.parse().map_err(|_| ConfigError::Value {
                option: "webhook-allow",
                value: text.clone(),
                allowed: "prefixes such as 10.1.0.0/16 or fd00::/8",
            })
        };
        let webhook_allow = allow.iter().map(prefix).collect::<Result<Vec<AllowedPrefix>, _>>()?;
        Ok(Config {
            profile_key_file: common.profile_key_file()?,
            ingest_listen: flags
                .ingest_listen
                .or(file.ingest_listen)
                .unwrap_or_else(|| SocketAddr::from(([0u16; 8], 443))),
            web_listen: flags
                .web_listen
                .or(file.web_listen)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            web_secure: flags.web_secure.or(file.web_secure).unwrap_or(false),
            tls_cert: flags.tls_cert.or(file.tls_cert).unwrap_or_else(|| tls("server.pem")),
            tls_key: flags.tls_key.or(file.tls_key).unwrap_or_else(|| tls("server.key")),
            max_gateways,
            store,
            memory_bytes: mib("memory-mib", flags.memory_mib.or(file.memory_mib), 512)?,
            query_memory_bytes: mib("query-memory-mib", flags.query_memory_mib.or(file.query_memory_mib), 512)?,
            web_url: flags.web_url.clone().or(file.web_url.clone()).unwrap_or_default(),
            sign_up: flags.sign_up.or(file.sign_up).unwrap_or(true),
            smtp,
            webhook_allow,
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            data_dir,
        })
    }
}

/// The server of time series, when one is named.
fn store(flags: &ServeArgs, file: &ServeArgs) -> Result<Option<ClickHouseOptions>, ConfigError> {
    let password_file = flags.store_password_file.as_ref().or(file.store_password_file.as_ref());
    let ca_file = flags.store_ca_file.as_ref().or(file.store_ca_file.as_ref());
    let Some(url) = flags.store.as_ref().or(file.store.as_ref()) else {
        return match password_file.or(ca_file) {
            None => Ok(None),
            Some(path) => Err(ConfigError::Value {
                option: "store-password-file or store-ca-file",
                value: path.display().to_string(),
                allowed: "given together with store",
            }),
        };
    };
    let read = |path: &PathBuf| std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source });
    let mut options = ClickHouseOptions::new(url.parse().map_err(ConfigError::Store)?);
    if let Some(path) = password_file {
        if !options.address.secure && !options.address.is_here() {
            return Err(ConfigError::Value {
                option: "store",
                value: options.address.to_string(),
                allowed: "clickhouses:// where a password is sent to another machine",
            });
        }
        options.password = Some(String::from_utf8_lossy(&read(path)?).trim_end_matches(['\r', '\n']).to_owned());
    }
    options.ca = ca_file.map(read).transpose()?;
    Ok(Some(options))
}

/// The mail server, when one is named.
fn smtp(flags: &ServeArgs, file: &ServeArgs) -> Result<Option<SmtpOptions>, ConfigError> {
    let Some(host) = flags.smtp_host.clone().or(file.smtp_host.clone()) else {
        return Ok(None);
    };
    let read = |path: &PathBuf| std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source });
    let tls = flags.smtp_tls.or(file.smtp_tls).unwrap_or_default();
    let password = flags.smtp_password_file.as_ref().or(file.smtp_password_file.as_ref());
    let login = match (flags.smtp_user.clone().or(file.smtp_user.clone()), password) {
        (Some(user), Some(path)) => {
            let text = String::from_utf8_lossy(&read(path)?).trim_end_matches(['\r', '\n']).to_owned();
            Some((user, text))
        }
        (None, None) => None,
        (user, _) => {
            return Err(ConfigError::Value {
                option: "smtp-user",
                value: user.unwrap_or_else(|| "missing".to_owned()),
                allowed: "given together with smtp-password-file",
            });
        }
    };
    if login.is_some() && tls == SmtpTls::None && host != "localhost" && !host.starts_with("127.") {
        return Err(ConfigError::Value {
            option: "smtp-tls",
            value: "none".to_owned(),
            allowed: "starttls or tls where a password is sent to another machine",
        });
    }
    Ok(Some(SmtpOptions {
        port: flags.smtp_port.or(file.smtp_port).unwrap_or(match tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None => 25,
        }),
        tls,
        ca: flags.smtp_ca_file.as_ref().or(file.smtp_ca_file.as_ref()).map(read).transpose()?,
        login,
        from: flags
            .mail_from
            .clone()
            .or(file.mail_from.clone())
            .unwrap_or_else(|| format!("MidoInsights <insights@{host}>")),
        host,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(file: &str) -> (tempfile::TempDir, Common) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        (
            dir,
            Common {
                config: Some(path),
                ..Common::default()
            },
        )
    }

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        let (_dir, common) = common("data_dir = \"/srv/insights\"\nweb_listen = \"127.0.0.1:1\"\nmax_gateways = 5\nlog_format = \"json\"\n");
        let flags = ServeArgs {
            web_listen: Some("127.0.0.1:2".parse().unwrap()),
            ..ServeArgs::default()
        };
        let config = Config::new(&common, flags).unwrap();
        assert_eq!(config.web_listen.port(), 2);
        assert_eq!(config.max_gateways, 5);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.ingest_listen.port(), 443);
        assert_eq!(config.tls_cert, Path::new("/srv/insights/tls/server.pem"));
    }

    #[test]
    fn a_mail_server_gets_the_port_of_its_security_and_no_password_in_clear() {
        let smtp = |text: &str| {
            let (dir, common) = common(text);
            let config = Config::new(&common, ServeArgs::default());
            drop(dir);
            config.map(|config| config.smtp)
        };
        assert_eq!(smtp("").unwrap(), None);
        let server = smtp("smtp_host = \"mail.example.org\"").unwrap().unwrap();
        assert_eq!((server.port, server.tls, server.login), (587, SmtpTls::Starttls, None));
        assert_eq!(server.from, "MidoInsights <insights@mail.example.org>");
        assert_eq!(smtp("smtp_host = \"a\"\nsmtp_tls = \"tls\"").unwrap().unwrap().port, 465);
        assert!(smtp("smtp_host = \"a\"\nsmtp_user = \"u\"").is_err());
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("p");
        std::fs::write(&password, "secret\n").unwrap();
        let with = |tls: &str| {
            smtp(&format!(
                "smtp_host = \"a\"\nsmtp_user = \"u\"\nsmtp_tls = \"{tls}\"\nsmtp_password_file = {password:?}"
            ))
        };
        assert_eq!(with("starttls").unwrap().unwrap().login, Some(("u".into(), "secret".into())));
        assert!(with("none").unwrap_err().to_string().contains("starttls or tls"));
    }

    #[test]
    fn a_server_of_time_series_gets_its_password_from_a_file_and_not_in_clear() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("p");
        std::fs::write(&password, "secret\n").unwrap();
        let store = |text: String| {
            let (_dir, common) = common(&text);
            Config::new(&common, ServeArgs::default()).map(|config| config.store)
        };
        assert_eq!(store(String::new()).unwrap(), None);
        let server = store("store = \"clickhouse://ch.example.org/insights\"".into()).unwrap().unwrap();
        assert_eq!((server.address.port, server.password), (8123, None));
        let with = |url: &str| store(format!("store = \"{url}\"\nstore_password_file = {password:?}"));
        let server = with("clickhouses://me@ch.example.org/insights").unwrap().unwrap();
        assert_eq!(server.password.as_deref(), Some("secret"));
        assert!(!format!("{server:?}").contains("secret"));
        assert!(with("clickhouse://me@127.0.0.1/insights").is_ok());
        assert!(
            with("clickhouse://me@ch.example.org/insights")
                .unwrap_err()
                .to_string()
                .contains("clickhouses://")
        );
        assert!(with("postgres://me@ch.example.org/insights").is_err());
        assert!(store(format!("store_ca_file = {password:?}")).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (_dir, broken) = common("web_lissten = 1\n");
        let error = Config::new(&broken, ServeArgs::default()).unwrap_err().to_string();
        assert!(error.contains("web_lissten"), "{error}");
        let (_dir, wrong) = common("memory_mib = 1\n");
        let error = Config::new(&wrong, ServeArgs::default()).unwrap_err().to_string();
        assert_eq!(error, "memory-mib is 1: must be 16 to 1048576 MiB");
        let missing = Common {
            config: Some("/nonexistent/c.toml".into()),
            ..Common::default()
        };
        assert!(matches!(Config::new(&missing, ServeArgs::default()), Err(ConfigError::Read { .. })));
    }
    #[test]
    fn the_packaged_file_shows_every_option_with_its_default() {
        let packaged = include_str!("../../../../packaging/collector/insights-collector.toml");
        // `#name = default`, and `# name = example` where there is no default.
        let lines = |start: &str| -> String {
            packaged
                .lines()
                .filter_map(|line| line.strip_prefix(start))
                .filter(|line| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')))
                .fold(String::new(), |text, line| text + line + "\n")
        };
        let (shown, examples) = (lines("#"), lines("# "));
        let (_dir, all) = common(&shown);
        let (_empty, none) = common(packaged);
        let decided = Config::new(&all, ServeArgs::default()).unwrap();
        assert_eq!(decided, Config::new(&none, ServeArgs::default()).unwrap());
        toml::from_str::<ServeArgs>(&examples).unwrap();
        let options = ServeArgs::augment_args(clap::Command::new("serve"));
        for option in options.get_arguments().map(|option| option.get_id().as_str()) {
            let start = format!("{option} = ");
            assert!(
                shown.lines().chain(examples.lines()).any(|line| line.starts_with(&start)),
                "{option} is not shown"
            );
        }
    }
}
