// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use crate::text::{self, Literal, Visitor};

/// What stands in place of a secret.
pub const REMOVED: &str = "<removed>";

/// The declared fields that hold secrets, by class.
pub const SECRET_FIELDS: &[(&str, &str)] = &[("BgpPeer", "password"), ("NeutronBgpPeer", "password"), ("IPSecSiteConnection", "psk")];

/// A field of any class, declared or not, that has one of these in its name is taken to hold a secret.
pub const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "psk",
    "private_key",
    "privatekey",
    "shared_key",
    "sharedkey",
    "pre_shared",
    "preshared",
    "auth_key",
    "authkey",
    "key_material",
    "credential",
    "token",
];

/// An object's text without its secrets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redacted {
    /// The stored text, byte for byte but for the secrets.
    pub bytes: Vec<u8>,
    /// Names of the fields whose values were removed, as often as that happened.
    pub removed: Vec<String>,
    /// The text could not be read from this byte on, and was cut off there: what can't be read can't be searched for secrets.
    pub cut_at: Option<usize>,
}

/// Declared names that are no secrets: nearly all that are met, so they are not searched for words each time.
static PLAIN_NAMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let names = super::messages().flat_map(|class| class.fields).map(|field| field.name);
    names
        .chain(["msb", "lsb", "version", "address", "prefix_length"])
        .filter(|name| !has_secret_word(name))
        .collect()
});

/// Whether a field of this name is taken to hold a secret.
pub fn is_secret_name(name: &str) -> bool {
    !PLAIN_NAMES.contains(name) && has_secret_word(name)
}

fn has_secret_word(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Removes the secrets from the stored text of an object. Data of a class that MidoNet keeps as JSON is searched in the same way.
pub fn redact(class: &str, bytes: &[u8]) -> Redacted {
    if bytes.first().is_some_and(|byte| matches!(byte, b'{' | b'[')) {
        return redact_json(bytes);
    }
    let mut finder = Finder {
        class,
        open: vec![Pair::default()],
        secret_depth: 0,
        depth: 0,
        end: 0,
        spans: Vec::new(),
        removed: Vec::new(),
    };
    let cut_at = text::visit(bytes, &mut finder).err().map(|_| finder.end);
    let bytes = &bytes[..cut_at.unwrap_or(bytes.len())];
    finder.spans.sort_by_key(|span| span.start);
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for span in finder.spans {
        out.extend_from_slice(&bytes[from..span.start]);
        out.extend_from_slice(format!("\"{REMOVED}\"").as_bytes());
        from = span.end;
    }
    out.extend_from_slice(&bytes[from..]);
    Redacted {
        bytes: out,
        removed: finder.removed,
        cut_at,
    }
}

/// Looks for the values of secret fields.
struct Finder<'a> {
    class: &'a str,
    /// What each open message has of a metadata entry.
    open: Vec<Pair>,
    depth: usize,
    /// The depth from which on everything is secret, because the message around it is; 0 for none.
    secret_depth: usize,
    /// The end of the last value that was read.
    end: usize,
    spans: Vec<Range<usize>>,
    removed: Vec<String>,
}

/// Metadata comes as a message of `key` and `value`, in this order when MidoNet writes it.
#[derive(Default)]
struct Pair {
    /// The key, if it names a secret.
    secret_key: Option<String>,
    value: Option<Range<usize>>,
}

impl Visitor for Finder<'_> {
    fn open(&mut self, name: &str) {
        self.depth += 1;
        self.open.push(Pair::default());
        if self.secret_depth == 0 && is_secret_name(name) {
            self.secret_depth = self.depth;
        }
    }

    fn close(&mut self) {
        if self.secret_depth == self.depth {
            self.secret_depth = 0;
        }
        self.depth -= 1;
        self.open.pop();
    }

    fn literal(&mut self, name: &str, value: Literal<'_>, span: Range<usize>) {
        self.end = span.end;
        let declared = self.depth == 0 && SECRET_FIELDS.contains(&(self.class, name));
        if declared || self.secret_depth > 0 || is_secret_name(name) {
            self.removed.push(name.to_owned());
            self.spans.push(span);
            return;
        }
        let Some(pair) = self.open.last_mut() else { return };
        if name == "key" {
            pair.secret_key = secret_key(value);
        } else if name == "value" {
            pair.value = Some(span);
        } else {
            return;
        }
        if let Some(key) = &pair.secret_key
            && let Some(span) = pair.value.take()
        {
            self.removed.push(key.clone());
            self.spans.push(span);
        }
    }
}

/// The text of a metadata key, if it names a secret.
fn secret_key(literal: Literal<'_>) -> Option<String> {
    match literal.to_value() {
        text::Value::Bytes(key) => Some(String::from_utf8_lossy(&key).into_owned()).filter(|key| is_secret_name(key)),
        _ => None,
    }
}

fn redact_json(bytes: &[u8]) -> Redacted {
    let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return Redacted {
            bytes: Vec::new(),
            removed: Vec::new(),
            cut_at: Some(0),
        };
    };
    let mut removed = Vec::new();
    remove_members(&mut json, &mut removed);
    let bytes = if removed.is_empty() {
        bytes.to_vec()
    } else {
        json.to_string().into_bytes()
    };
    Redacted {
        bytes,
        removed,
        cut_at: None,
    }
}

/// The parser bounds the depth to 128.
fn remove_members(json: &mut serde_json::Value, removed: &mut Vec<String>) {
    match json {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| remove_members(item, removed)),
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                if is_secret_name(name) {
                    removed.push(name.clone());
                    *value = REMOVED.into();
                } else {
                    remove_members(value, removed);
                }
            }
        }
        _ => {}
    }
}
