// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Text to tokens.

use std::ops::Range;

use super::{FilterError, value::is_word_char};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Word(String),
    /// Text in quotes: never a keyword.
    Quoted(String),
    Op(super::Op),
    Open,
    Close,
    Comma,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// In characters.
    pub(super) at: Range<usize>,
}

impl Token {
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(text) if text.eq_ignore_ascii_case(word))
    }

    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(text) => text.clone(),
            Kind::Quoted(text) => format!("\"{text}\""),
            Kind::Op(op) => op.text().to_owned(),
            Kind::Open => "(".to_owned(),
            Kind::Close => ")".to_owned(),
            Kind::Comma => ",".to_owned(),
        }
    }
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    use super::Op;
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let begin = at;
        let next = chars.get(at + 1);
        let kind = match chars[at] {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => Kind::Open,
            ')' => Kind::Close,
            ',' => Kind::Comma,
            '=' if next == Some(&'=') => two(&mut at, Op::Eq),
            '=' => Kind::Op(Op::Eq),
            '!' if next == Some(&'=') => two(&mut at, Op::Ne),
            '<' if next == Some(&'=') => two(&mut at, Op::Le),
            '<' if next == Some(&'>') => two(&mut at, Op::Ne),
            '<' => Kind::Op(Op::Lt),
            '>' if next == Some(&'=') => two(&mut at, Op::Ge),
            '>' => Kind::Op(Op::Gt),
            '"' => quoted(&chars, &mut at)?,
            c if is_word_char(c) => {
                while chars.get(at + 1).is_some_and(|c| is_word_char(*c)) {
                    at += 1;
                }
                Kind::Word(chars[begin..=at].iter().collect())
            }
            c => {
                return Err(FilterError {
                    message: format!("“{c}” can't stand here; names with such characters go in \"quotes\""),
                    at: begin..begin + 1,
                });
            }
        };
        at += 1;
        tokens.push(Token { kind, at: begin..at });
    }
    Ok(tokens)
}

fn two(at: &mut usize, op: super::Op) -> Kind {
    *at += 1;
    Kind::Op(op)
}

/// Leaves `at` on the closing quote.
fn quoted(chars: &[char], at: &mut usize) -> Result<Kind, FilterError> {
    let begin = *at;
    let mut text = String::new();
    loop {
        *at += 1;
        match chars.get(*at) {
            Some('"') => return Ok(Kind::Quoted(text)),
            Some('\\') => {
                *at += 1;
                text.extend(chars.get(*at));
            }
            Some(c) => text.push(*c),
            None => {
                return Err(FilterError {
                    message: "the quote is not closed".to_owned(),
                    at: begin..chars.len(),
                });
            }
        }
    }
}
