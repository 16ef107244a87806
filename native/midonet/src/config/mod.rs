// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The layers of `mn-conf`: settings of a node, of its template, of the default template, and the schemas' defaults.
//!
//! The data is HOCON. MidoNet writes it as JSON, but for schemas, which hold substitutions (`${…}`) that only their readers resolve. Nothing is
//! resolved here: a setting that is one is reported as such, all others are read.

mod hocon;
#[cfg(test)]
mod tests;

use uuid::Uuid;

pub use hocon::{HoconError, MAX_CONFIG_BYTES, MAX_CONFIG_DEPTH};
use hocon::{Node, parse};

/// Port of an agent's HTTP server for meters.
pub const STATS_PORT: &str = "agent.midolman.stats_http_server_port";

/// What the schema of all releases gives for it.
pub const DEFAULT_STATS_PORT: u16 = 7300;

/// The template of nodes that have none assigned.
pub const DEFAULT_TEMPLATE: &str = "default";

/// Settings in layers; the first layer that has one wins.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    layers: Vec<(String, Node)>,
}

/// A setting and where it comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setting<'a> {
    /// The name under which its layer was pushed.
    pub layer: &'a str,
    /// A scalar as text, without quotes.
    pub text: &'a str,
}

/// A setting can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("{key} in {layer} is a substitution")]
    Substitution { key: String, layer: String },
    #[error("{key} in {layer} is not a scalar")]
    NotScalar { key: String, layer: String },
    #[error("{key} in {layer} is {text:?}, expected {expected}")]
    Value {
        key: String,
        layer: String,
        text: String,
        expected: &'static str,
    },
}

impl Layers {
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Adds a layer behind the earlier ones. Data that can't be read adds none. No data is an empty layer.
    pub fn push(&mut self, name: impl Into<String>, data: &[u8]) -> Result<(), HoconError> {
        let node = parse(data)?;
        self.layers.push((name.into(), node));
        Ok(())
    }

    /// A setting by its path with dots. `null` hides what deeper layers have, as in HOCON.
    pub fn get(&self, key: &str) -> Result<Option<Setting<'_>>, ConfigError> {
        let owned = |layer: &str| (key.to_owned(), layer.to_owned());
        for (layer, node) in &self.layers {
            return match node.path(key) {
                None => continue,
                Some(Node::Null) => Ok(None),
                Some(Node::Scalar(text)) => Ok(Some(Setting { layer, text })),
                Some(Node::Substitution) => {
                    let (key, layer) = owned(layer);
                    Err(ConfigError::Substitution { key, layer })
                }
                Some(Node::Object(_) | Node::Array) => {
                    let (key, layer) = owned(layer);
                    Err(ConfigError::NotScalar { key, layer })
                }
            };
        }
        Ok(None)
    }

    /// A boolean setting; `yes`, `on` and their opposites are taken too.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", |text| match text {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// The port of the agent's HTTP server for meters. 0 means a random port, which can't be known.
    pub fn stats_port(&self) -> Result<u16, ConfigError> {
        self.read(STATS_PORT, "a port number", |text| text.parse().ok())
            .map(|port| port.unwrap_or(DEFAULT_STATS_PORT))
    }

    fn read<T>(&self, key: &str, expected: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        let Some(setting) = self.get(key)? else { return Ok(None) };
        match parse(setting.text) {
            Some(value) => Ok(Some(value)),
            None => {
                let text = setting.text.chars().take(80).collect();
                Err(ConfigError::Value {
                    key: key.to_owned(),
                    layer: setting.layer.to_owned(),
                    text,
                    expected,
                })
            }
        }
    }
}

/// The template of a node by the data of `config/template-mappings`.
pub fn template_of(mappings: &[u8], node: Uuid) -> Result<String, HoconError> {
    Ok(match parse(mappings)?.member(&node.to_string()) {
        Some(Node::Scalar(template)) => template.clone(),
        _ => DEFAULT_TEMPLATE.to_owned(),
    })
}
