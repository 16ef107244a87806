// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::ops::Range;

/// A value other than a message, as the text has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Literal<'a> {
    /// One or more quoted strings, escapes and all, with what stands between them.
    Quoted(&'a [u8]),
    /// A number or a name, with its sign.
    Bare(&'a [u8]),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token {
    /// A name or a number.
    Word,
    Quoted,
    /// Anything else, one byte.
    Symbol(u8),
    End,
}

/// Cuts a text into tokens; the current one lies in `span`.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Lexer<'a> {
        let mut lexer = Lexer {
            bytes,
            token: Token::End,
            span: 0..0,
        };
        lexer.advance();
        lexer
    }

    pub(super) fn text(&self) -> &'a [u8] {
        &self.bytes[self.span.clone()]
    }

    pub(super) fn advance(&mut self) {
        let start = self.blank(self.span.end);
        let rest = &self.bytes[start..];
        let (token, length) = match rest.first() {
            None => (Token::End, 0),
            Some(&quote @ (b'"' | b'\'')) => match quoted_length(rest, quote) {
                Some(length) => (Token::Quoted, length),
                None => (Token::Symbol(quote), 1),
            },
            Some(&byte) if is_word(byte) => (Token::Word, word_length(rest)),
            Some(&byte) => (Token::Symbol(byte), 1),
        };
        self.token = token;
        self.span = start..start + length;
    }

    /// The end of blanks and comments from `at` on.
    fn blank(&self, mut at: usize) -> usize {
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0c | 0x0b => at += 1,
                b'#' => at = memchr::memchr(b'\n', &self.bytes[at..]).map_or(self.bytes.len(), |length| at + length),
                _ => break,
            }
        }
        at
    }

    /// Line and column of the current token, from 1, the column in bytes.
    pub(super) fn place(&self) -> (usize, usize) {
        let before = &self.bytes[..self.span.start];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1;
        (line, column)
    }

    /// The current token for a message: at most 40 characters of it.
    pub(super) fn describe(&self) -> String {
        match self.token {
            Token::End => "the end of the text".to_owned(),
            // The content of a string can be a secret.
            Token::Quoted => "a string".to_owned(),
            Token::Symbol(b'"' | b'\'') => "a string without an end".to_owned(),
            Token::Word | Token::Symbol(_) => format!("{:?}", String::from_utf8_lossy(&self.text()[..self.text().len().min(40)])),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-')
}

/// Names and numbers; `-` belongs to a number at its start and after an exponent only.
fn word_length(bytes: &[u8]) -> usize {
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_number = unsigned.first().is_some_and(u8::is_ascii_digit);
    let mut length = 1;
    while let Some(&byte) = bytes.get(length) {
        let sign_of_exponent = matches!(byte, b'+' | b'-') && matches!(bytes[length - 1], b'e' | b'E') && is_number;
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || sign_of_exponent) {
            break;
        }
        length += 1;
    }
    length
}

/// The length with both quotes; `None` if the line ends first.
fn quoted_length(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\n' => return None,
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The bytes of a quoted string, without its escapes. Unknown escapes stand for the byte after the backslash.
pub(super) fn unescape(quoted: &[u8], out: &mut Vec<u8>) {
    let mut rest = &quoted[1..quoted.len() - 1];
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let Some((&escape, tail)) = (if byte == b'\\' { tail.split_first() } else { None }) else {
            out.push(byte);
            continue;
        };
        rest = tail;
        let (byte, digits) = match escape {
            b'0'..=b'7' => {
                let digits = 1 + tail.iter().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let value = std::iter::once(&escape)
                    .chain(tail)
                    .take(digits)
                    .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                (value as u8, digits - 1)
            }
            b'x' | b'X' => {
                let digits = tail.iter().take(2).take_while(|digit| digit.is_ascii_hexdigit()).count();
                let value = tail[..digits]
                    .iter()
                    .fold(0_u32, |value, digit| value * 16 + char::from(*digit).to_digit(16).unwrap_or(0));
                (if digits == 0 { escape } else { value as u8 }, digits)
            }
            b'a' => (0x07, 0),
            b'b' => (0x08, 0),
            b'f' => (0x0c, 0),
            b'n' => (b'\n', 0),
            b'r' => (b'\r', 0),
            b't' => (b'\t', 0),
            b'v' => (0x0b, 0),
            other => (other, 0),
        };
        out.push(byte);
        rest = &rest[digits..];
    }
}
