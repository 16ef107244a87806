// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The manager as a person's browser asks it, cookies and all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stack::Account;

/// A page of a large list on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser that may be signed in.
#[derive(Clone, Debug)]
pub struct Browser {
    agent: ureq::Agent,
    base: String,
}

impl Browser {
    pub fn new(web: &str) -> Browser {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build();
        Browser {
            agent: config.into(),
            base: format!("http://{web}"),
        }
    }

    /// A browser that is signed in, and the id of the account's first site.
    pub fn at_home(web: &str, account: &Account) -> Result<(Browser, String)> {
        let browser = Browser::new(web);
        browser.sign_in(account)?;
        let (_, page) = browser.get("/")?;
        let site = page.split("/s/").nth(1).and_then(|rest| rest.get(..36));
        Ok((browser, site.context("the dashboard has no link to a site")?.to_owned()))
    }

    /// Signs in through the form.
    pub fn sign_in(&self, account: &Account) -> Result<()> {
        let form = [("email", account.email.as_str()), ("password", account.password.as_str())];
        let origin = self.base.clone();
        let response = self
            .agent
            .post(format!("{}/sign-in", self.base))
            .header("Origin", &origin)
            .send_form(form)
            .context("sign in")?;
        ensure!(response.status().is_success(), "sign in: {}", response.status());
        let (status, page) = self.get("/")?;
        ensure!(
            status == 200 && page.contains(&account.name),
            "sign in: the dashboard does not greet {}",
            account.name
        );
        Ok(())
    }

    /// Status and text of a page.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self
            .agent
            .get(format!("{}{path}", self.base))
            .call()
            .with_context(|| format!("get {path}"))?;
        let text = response
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .with_context(|| format!("read {path}"))?;
        Ok((response.status().as_u16(), text))
    }

    /// Sends a form; the status of the page that it leads to.
    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<u16> {
        let response = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Origin", &self.base)
            .send_form(form.iter().copied())
            .with_context(|| format!("post {path}"))?;
        Ok(response.status().as_u16())
    }

    /// The JSON of an address of the API.
    pub fn json(&self, path: &str) -> Result<Value> {
        let (status, text) = self.get(path)?;
        ensure!(
            status == 200,
            "get {path}: status {status}: {}",
            text.chars().take(300).collect::<String>()
        );
        serde_json::from_str(&text).with_context(|| format!("read the JSON of {path}"))
    }
}
