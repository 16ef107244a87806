// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What can follow in a text that is being typed. Names come from the topology, never from a look at flows.

use super::{
    ALL_FIELDS, Field, FieldKind,
    lexer::{Kind, tokens},
};

/// Most suggestions at once: what fits under the field without scrolling.
pub const MAX_SUGGESTIONS: usize = 8;

/// One suggestion.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Suggestion {
    /// What replaces the characters of [`Completion::from`] up to the cursor.
    pub text: String,
    pub about: String,
}

#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Completion {
    /// Where the word under the cursor begins, in characters.
    pub from: usize,
    pub suggestions: Vec<Suggestion>,
}

/// What is expected at the end of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    Field,
    Op(Field),
    Value(Field),
    Connective,
}

/// Suggestions for the end of `text` (the text up to the cursor). `names` gives objects of a field that match a beginning, best first:
/// name and what it is.
pub fn complete(text: &str, names: impl Fn(Field, &str) -> Vec<(String, String)>) -> Completion {
    let length = text.chars().count();
    let word: String = text
        .chars()
        .rev()
        .take_while(|c| super::value::is_word_char(*c))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let from = length - word.chars().count();
    let before: String = text.chars().take(from).collect();
    let suggestions = match expected(&before) {
        None => Vec::new(),
        Some(Expected::Field) => {
            let mut list: Vec<_> = ALL_FIELDS
                .into_iter()
                .filter(|field| matches_word(field.name(), &word))
                .map(|field| item(field.name(), field.describe()))
                .collect();
            if list.is_empty() {
                list.extend(nearest_field(&word).map(|field| item(field.name(), field.describe())));
            }
            if "not".starts_with(&word.to_lowercase()) && !word.is_empty() {
                list.push(item("not", "the opposite of what follows"));
            }
            list
        }
        Some(Expected::Op(field)) => ops(field)
            .iter()
            .filter(|(op, _)| op.starts_with(&word))
            .map(|(op, about)| item(op, about))
            .collect(),
        Some(Expected::Value(field)) => values(field, &word, names),
        Some(Expected::Connective) => [("and", "both hold"), ("or", "one of them holds")]
            .iter()
            .filter(|(text, _)| text.starts_with(&word.to_lowercase()))
            .map(|(text, about)| item(text, about))
            .collect(),
    };
    Completion {
        from,
        suggestions: suggestions.into_iter().take(MAX_SUGGESTIONS).collect(),
    }
}

/// The field whose name is nearest to a mistyped one; none when all are far.
pub(super) fn nearest_field(name: &str) -> Option<Field> {
    let name = name.to_lowercase();
    let alias = match name.as_str() {
        "sip" | "srcip" | "src" | "source" | "src.addr" | "srcaddr" => Some(Field::SrcIp),
        "dip" | "dstip" | "dst" | "destination" | "dst.addr" | "dstaddr" => Some(Field::DstIp),
        "srcport" | "sport" => Some(Field::SrcPort),
        "dstport" | "dport" => Some(Field::DstPort),
        "protocol" => Some(Field::Proto),
        "action" | "verdict" => Some(Field::Result),
        "project" => Some(Field::Tenant),
        _ => None,
    };
    alias.or_else(|| {
        let (distance, field) = ALL_FIELDS
            .into_iter()
            .map(|field| (distance(field.name(), &name), field))
            .min_by_key(|(distance, _)| *distance)?;
        (distance <= 2).then_some(field)
    })
}

fn expected(before: &str) -> Option<Expected> {
    let tokens = tokens(before).ok()?;
    let mut state = Expected::Field;
    let mut list = false;
    let mut not = false;
    for token in &tokens {
        state = match (state, &token.kind) {
            (Expected::Field, Kind::Word(word)) if word.eq_ignore_ascii_case("not") => Expected::Field,
            (Expected::Field, Kind::Open) => Expected::Field,
            (Expected::Field, Kind::Word(word)) => Expected::Op(Field::from_name(word)?),
            (Expected::Op(field), Kind::Op(_)) => Expected::Value(field),
            (Expected::Op(field), Kind::Word(word)) if word.eq_ignore_ascii_case("in") => Expected::Value(field),
            (Expected::Op(field), Kind::Word(word)) if word.eq_ignore_ascii_case("not") => {
                not = true;
                Expected::Op(field)
            }
            (Expected::Value(field), Kind::Open) => {
                list = true;
                Expected::Value(field)
            }
            (Expected::Value(field), Kind::Comma) if list => Expected::Value(field),
            (Expected::Value(field), Kind::Word(_) | Kind::Quoted(_)) if list => Expected::Value(field),
            (Expected::Value(_), Kind::Close) if list => {
                list = false;
                Expected::Connective
            }
            (Expected::Value(_), Kind::Word(_) | Kind::Quoted(_)) => Expected::Connective,
            (Expected::Connective, Kind::Close) => Expected::Connective,
            (Expected::Connective, Kind::Word(word)) if word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or") => Expected::Field,
            _ => return None,
        };
        if not && !matches!(state, Expected::Op(_)) {
            not = false;
        }
    }
    Some(state)
}

fn ops(field: Field) -> &'static [(&'static str, &'static str)] {
    match field.kind() {
        FieldKind::Number(_) => &[
            ("=", "equal"),
            ("!=", "not equal"),
            ("in", "one of a list or range"),
            (">", "above"),
            ("<", "below"),
            (">=", "at least"),
            ("<=", "at most"),
        ],
        FieldKind::Ip => &[
            ("=", "equal"),
            ("in", "within a prefix or a list"),
            ("!=", "not equal"),
            ("not in", "outside of a prefix or a list"),
        ],
        _ => &[("=", "equal"), ("!=", "not equal"), ("in", "one of a list"), ("not in", "none of a list")],
    }
}

fn values(field: Field, word: &str, names: impl Fn(Field, &str) -> Vec<(String, String)>) -> Vec<Suggestion> {
    let mut list: Vec<_> = field
        .words()
        .iter()
        .filter(|(text, _)| text.starts_with(&word.to_lowercase()))
        .map(|(text, number)| item(text, &about_word(field, *number)))
        .collect();
    if field == Field::DstPort || field == Field::SrcPort || field == Field::Port {
        let known = [
            ("22", "SSH"),
            ("53", "DNS"),
            ("80", "HTTP"),
            ("443", "HTTPS"),
            ("3306", "MySQL"),
            ("5432", "PostgreSQL"),
        ];
        list.extend(
            known
                .iter()
                .filter(|(text, _)| text.starts_with(word))
                .map(|(text, about)| item(text, about)),
        );
    }
    if matches!(field.kind(), FieldKind::Object | FieldKind::Tenant | FieldKind::Ip | FieldKind::Mac) {
        for (name, about) in names(field, word) {
            list.push(Suggestion {
                text: super::Value::Name(name).text(field),
                about,
            });
        }
    }
    if field.may_be_none() && "none".starts_with(&word.to_lowercase()) {
        list.push(item("none", "not known"));
    }
    list
}

fn about_word(field: Field, number: u64) -> String {
    match field {
        Field::Proto => format!("protocol {number}"),
        Field::EtherType => format!("0x{number:04x}"),
        Field::Result if number == 1 => "forwarded by the virtual network".to_owned(),
        Field::Result if number == 2 => "ended by a rule, a route or a policy".to_owned(),
        Field::Result => "ended in the virtual network itself: DHCP, ARP".to_owned(),
        _ => String::new(),
    }
}

fn item(text: &str, about: &str) -> Suggestion {
    Suggestion {
        text: text.to_owned(),
        about: about.to_owned(),
    }
}

/// The name, or the part behind its dot, begins with the word.
fn matches_word(name: &str, word: &str) -> bool {
    let word = word.to_lowercase();
    name.starts_with(&word) || name.split_once('.').is_some_and(|(_, rest)| rest.starts_with(&word))
}

/// Edits between two short texts (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(ca != *cb));
            diagonal = above;
        }
    }
    row[b.len()]
}
