// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::{IpAddr, Ipv4Addr};

/// Where a request comes from: its address, and the program by its own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Visitor {
    pub address: IpAddr,
    /// Such as `Firefox on Linux`; empty when the program does not say.
    pub browser: String,
}

impl Visitor {
    /// `agent` is the header `User-Agent`. Only name and system are kept of it: the rest tells more of a person than anybody needs.
    pub fn new(address: IpAddr, agent: &str) -> Self {
        Self {
            address: address.to_canonical(),
            browser: browser(agent),
        }
    }
}

impl From<IpAddr> for Visitor {
    fn from(address: IpAddr) -> Self {
        Self::new(address, "")
    }
}

impl Default for Visitor {
    fn default() -> Self {
        Self::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// Longest name of a program that is kept.
const LONGEST_PROGRAM: usize = 40;

/// Browsers by their marks. All but Firefox claim to be several of those below them as well, so the order decides.
const BROWSERS: [(&str, &str); 7] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Android says that it is Linux, iPhones that they are like Mac OS X.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

fn browser(agent: &str) -> String {
    let find = |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        // A program such as `curl/8.5.0`.
        (None, _) => agent
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
            .take(LONGEST_PROGRAM)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_own_words() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                "Safari on macOS",
            ),
            ("curl/8.5.0", "curl/8.5.0"),
            ("<script>alert(1)</script>", ""),
            ("", ""),
        ] {
            assert_eq!(browser(agent), name, "{agent}");
        }
        assert_eq!(browser(&"x".repeat(10_000)).len(), LONGEST_PROGRAM);
    }

    #[test]
    fn an_address_is_kept_in_one_form() {
        assert_eq!(Visitor::new("::ffff:192.0.2.1".parse().unwrap(), "").address.to_string(), "192.0.2.1");
    }
}
