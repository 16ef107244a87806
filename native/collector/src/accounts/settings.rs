// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use insights_protocol::{Kinds, control::Settings};
use serde::{Deserialize, Serialize};

use super::{AccountError, Accounts, SiteScope, events::Told};

/// What the service asks a site's gateways to send. The site's own configuration has the last word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SiteSettings {
    pub topology: bool,
    pub state: bool,
    pub metering: bool,
    pub flows: bool,
    /// Seconds between meter readings; 0 leaves it to the site's configuration.
    pub metering_interval_s: u32,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            topology: true,
            state: true,
            metering: true,
            flows: true,
            metering_interval_s: 0,
        }
    }
}

impl SiteSettings {
    pub fn kinds(self) -> Kinds {
        Kinds {
            topology: self.topology,
            state: self.state,
            metering: self.metering,
            flows: self.flows,
        }
    }

    /// As the catalogue keeps it; what can't be read is the default.
    pub(crate) fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    pub(crate) fn wire(self) -> Settings {
        Settings {
            kinds: self.kinds(),
            metering_interval_s: self.metering_interval_s,
        }
    }
}

impl Accounts {
    pub async fn settings(&self, scope: &SiteScope) -> Result<SiteSettings, AccountError> {
        let site = self.catalog.site(scope.site()).await?.ok_or(AccountError::NoSite)?;
        Ok(SiteSettings::parse(&site.settings))
    }

    /// Gateways that are connected get them at once.
    pub async fn set_settings(&self, scope: &SiteScope, settings: SiteSettings, now_us: i64) -> Result<(), AccountError> {
        let json = serde_json::to_string(&settings).unwrap_or_else(|_| "{}".to_owned());
        self.catalog.set_site_settings(scope.site(), json).await?;
        self.changed();
        let on: Vec<_> = [
            ("topology", settings.topology),
            ("state", settings.state),
            ("metering", settings.metering),
            ("flows", settings.flows),
        ]
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect();
        let on = if on.is_empty() { "nothing".to_owned() } else { on.join(", ") };
        let every = match settings.metering_interval_s {
            0 => "as the site's configuration says".to_owned(),
            seconds => format!("every {seconds} s"),
        };
        let text = format!("the site is to send {on}; meters {every}");
        self.tell(scope, Told::new("account.settings", "site.settings", text), now_us).await;
        Ok(())
    }
}
