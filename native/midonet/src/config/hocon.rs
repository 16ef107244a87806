// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The part of HOCON that configuration nodes use: JSON, comments, unquoted keys with dots, `=`, missing commas, merged objects, all kinds of
//! strings. Substitutions and arrays are passed over; includes are refused, since there are no files here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Longest configuration: the bound of a node in ZooKeeper.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Deepest nesting; MidoNet's schemas have 6 levels.
pub const MAX_CONFIG_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Object(BTreeMap<String, Node>),
    Array,
    /// A string, number or boolean as text.
    Scalar(String),
    /// A value with a substitution in it.
    Substitution,
    Null,
}

/// Why data is not HOCON.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HoconError {
    #[error("configuration has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed")]
    TooLong { size: usize },
    #[error("configuration is not UTF-8 from byte {at} on")]
    Encoding { at: usize },
    #[error("configuration nests deeper than {MAX_CONFIG_DEPTH} at line {line}")]
    TooDeep { line: usize },
    #[error("configuration at line {line}: expected {expected}")]
    Syntax { line: usize, expected: &'static str },
}

impl Node {
    /// What stands at a path with dots.
    pub(super) fn path(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, name| node.member(name))
    }

    pub(super) fn member(&self, name: &str) -> Option<&Node> {
        if let Node::Object(members) = self { members.get(name) } else { None }
    }

    /// Puts `other` over this: objects are merged, everything else is replaced.
    fn merge(&mut self, other: Node) {
        match (self, other) {
            (Node::Object(members), Node::Object(others)) => {
                for (name, other) in others {
                    insert(members, name, other);
                }
            }
            (place, other) => *place = other,
        }
    }
}

fn insert(members: &mut BTreeMap<String, Node>, name: String, node: Node) {
    match members.entry(name) {
        Entry::Vacant(place) => {
            place.insert(node);
        }
        Entry::Occupied(mut place) => place.get_mut().merge(node),
    }
}

/// Reads a configuration; no data is an empty object.
pub(super) fn parse(data: &[u8]) -> Result<Node, HoconError> {
    if data.len() > MAX_CONFIG_BYTES {
        return Err(HoconError::TooLong { size: data.len() });
    }
    let text = std::str::from_utf8(data).map_err(|error| HoconError::Encoding { at: error.valid_up_to() })?;
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.blank();
    let node = match parser.peek() {
        None => Node::Object(BTreeMap::new()),
        Some('{') => parser.object()?,
        Some(_) => parser.members(None)?,
    };
    parser.blank();
    if parser.peek().is_some() {
        Err(parser.syntax("the end"))
    } else {
        Ok(node)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn syntax(&self, expected: &'static str) -> HoconError {
        HoconError::Syntax { line: self.line(), expected }
    }

    fn line(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.text.as_bytes()[..self.at]).count() + 1
    }

    /// Passes over blanks, newlines and comments.
    fn blank(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len();
            if !(self.rest().starts_with('#') || self.rest().starts_with("//")) {
                return;
            }
            self.at += memchr::memchr(b'\n', self.rest().as_bytes()).unwrap_or(self.rest().len());
        }
    }

    fn enter(&mut self) -> Result<(), HoconError> {
        self.depth += 1;
        if self.depth > MAX_CONFIG_DEPTH {
            Err(HoconError::TooDeep { line: self.line() })
        } else {
            Ok(())
        }
    }

    /// An object; the current character is its brace.
    fn object(&mut self) -> Result<Node, HoconError> {
        self.enter()?;
        self.at += 1;
        let node = self.members(Some('}'))?;
        self.at += 1;
        self.depth -= 1;
        Ok(node)
    }

    /// Members up to the closing brace, which is left, or the end of the text.
    fn members(&mut self, end: Option<char>) -> Result<Node, HoconError> {
        let mut members = BTreeMap::new();
        loop {
            self.blank();
            match self.peek() {
                c if c == end => return Ok(Node::Object(members)),
                None => return Err(self.syntax("'}'")),
                Some(',') => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {}
            }
            let mut path = self.key()?;
            self.blank();
            let appends = self.rest().starts_with("+=");
            match self.peek() {
                Some('{') => {}
                Some(':' | '=') => self.at += 1,
                Some('+') if appends => self.at += 2,
                _ => return Err(self.syntax("':', '=' or '{'")),
            }
            let mut node = if appends { self.value().map(|_| Node::Array)? } else { self.value()? };
            // The parser bounds the depth of braces; a path nests too.
            if self.depth + path.len() > MAX_CONFIG_DEPTH {
                return Err(HoconError::TooDeep { line: self.line() });
            }
            while path.len() > 1 {
                node = Node::Object(BTreeMap::from([(path.pop().unwrap_or_default(), node)]));
            }
            insert(&mut members, path.pop().unwrap_or_default(), node);
        }
    }

    /// A key as path: quoted parts stand for themselves, dots outside quotes divide.
    fn key(&mut self) -> Result<Vec<String>, HoconError> {
        let mut path = vec![String::new()];
        let start = self.at;
        loop {
            match self.peek() {
                Some('"') => {
                    let part = self.quoted()?;
                    path.last_mut().expect("a path has a part from the beginning").push_str(&part);
                }
                Some('.') => {
                    self.at += 1;
                    path.push(String::new());
                }
                Some(c) if !is_special(c) => {
                    self.at += c.len_utf8();
                    path.last_mut().expect("a path has a part from the beginning").push(c);
                }
                _ => break,
            }
        }
        for part in &mut path {
            part.truncate(part.trim_end().len());
        }
        if self.at == start || path.iter().any(String::is_empty) {
            return Err(self.syntax("a key"));
        }
        if path.len() == 1 && path[0].starts_with("include ") {
            return Err(self.syntax("a key, not an include"));
        }
        Ok(path)
    }

    /// A value up to the end of its line, or to a comma or brace.
    fn value(&mut self) -> Result<Node, HoconError> {
        self.blank();
        let mut whole: Option<Node> = None;
        let mut text = String::new();
        // Blanks at the end don't belong to the value, unless in quotes.
        let mut end = 0;
        let mut quoted = false;
        let mut substitution = false;
        let start = self.at;
        loop {
            match self.peek() {
                None | Some(',' | '\n' | '}' | ']' | '#') => break,
                Some(_) if self.rest().starts_with("//") => break,
                Some('{') => {
                    let object = self.object()?;
                    match &mut whole {
                        Some(node) => node.merge(object),
                        None => whole = Some(object),
                    }
                }
                Some('[') => {
                    self.array()?;
                    whole = Some(Node::Array);
                }
                Some('"') => {
                    quoted = true;
                    text.push_str(&self.quoted()?);
                    end = text.len();
                }
                Some('$') if self.rest().starts_with("${") => {
                    substitution = true;
                    self.at += self
                        .rest()
                        .find(['}', '\n'])
                        .filter(|end| self.rest()[*end..].starts_with('}'))
                        .ok_or(self.syntax("'}'"))?
                        + 1;
                }
                Some(c) => {
                    text.push(c);
                    self.at += c.len_utf8();
                    if !c.is_whitespace() {
                        end = text.len();
                    }
                }
            }
        }
        text.truncate(end);
        if self.at == start {
            return Err(self.syntax("a value"));
        }
        if whole.is_some() && !text.is_empty() {
            return Err(self.syntax("a comma or a new line behind an object or array"));
        }
        Ok(match whole {
            // An object with a substitution in front keeps what it says itself.
            Some(node) => node,
            None if substitution => Node::Substitution,
            None if text == "null" && !quoted => Node::Null,
            None => Node::Scalar(text),
        })
    }

    /// Passes over an array; the current character is its bracket.
    fn array(&mut self) -> Result<(), HoconError> {
        self.enter()?;
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                Some(']') => break,
                Some(',') => self.at += 1,
                None => return Err(self.syntax("']'")),
                Some(_) => {
                    self.value()?;
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// A quoted string; the current character is its quote.
    fn quoted(&mut self) -> Result<String, HoconError> {
        if let Some(raw) = self.rest().strip_prefix("\"\"\"") {
            let end = raw.find("\"\"\"").ok_or(self.syntax("'\"\"\"'"))?;
            // Quotes right before the closing ones belong to the string.
            let more = raw[end + 3..].len() - raw[end + 3..].trim_start_matches('"').len();
            let out = raw[..end + more].to_owned();
            self.at += end + more + 6;
            return Ok(out);
        }
        let bytes = self.rest().as_bytes();
        let mut end = 1;
        while *bytes.get(end).ok_or(self.syntax("'\"'"))? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let json = self.rest().get(..=end).ok_or(self.syntax("'\"'"))?;
        let out = serde_json::from_str(json).map_err(|_| self.syntax("a string with valid escapes"))?;
        self.at += end + 1;
        Ok(out)
    }
}

/// Characters that end an unquoted key.
fn is_special(c: char) -> bool {
    matches!(
        c,
        '{' | '}' | '[' | ']' | ':' | '=' | ',' | '+' | '#' | '`' | '^' | '?' | '!' | '@' | '*' | '&' | '\\' | '"' | '$' | '\n'
    )
}
