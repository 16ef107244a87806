// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::ops::Range;

use super::token::{Lexer, Literal, Token, unescape};
use super::{Field, MAX_DEPTH, MAX_FIELDS, MAX_TEXT_BYTES, Message, TextError, Value};

/// Takes what a text holds as it is read; see [`visit`].
pub trait Visitor {
    /// A message begins.
    fn open(&mut self, name: &str);
    /// The innermost message ends.
    fn close(&mut self);
    /// A field with a value; `span` is where the value stands in the text.
    fn literal(&mut self, name: &str, value: Literal<'_>, span: Range<usize>);
}

/// Reads a message.
pub fn parse(bytes: &[u8]) -> Result<Message, TextError> {
    let mut builder = Builder {
        open: vec![(String::new(), Message::default())],
    };
    visit(bytes, &mut builder)?;
    // The outermost message is the first one opened, and the only one left when all braces match.
    Ok(builder.open.pop().map(|(_, message)| message).unwrap_or_default())
}

/// Reads a message and hands its parts to a visitor. What came before an error was handed over.
pub fn visit(bytes: &[u8], visitor: &mut impl Visitor) -> Result<(), TextError> {
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(TextError::TooLong { size: bytes.len() });
    }
    let mut lexer = Lexer::new(bytes);
    let mut closers: Vec<u8> = Vec::new();
    let mut fields = 0;
    loop {
        match lexer.token {
            Token::End if closers.is_empty() => return Ok(()),
            Token::Symbol(symbol) if closers.last() == Some(&symbol) => {
                closers.pop();
                lexer.advance();
                visitor.close();
            }
            _ => {
                fields += 1;
                if fields > MAX_FIELDS {
                    let (line, column) = lexer.place();
                    return Err(TextError::TooManyFields { line, column });
                }
                if let Some(closer) = field(&mut lexer, bytes, visitor)? {
                    if closers.len() + 1 > MAX_DEPTH {
                        let (line, column) = lexer.place();
                        return Err(TextError::TooDeep { line, column });
                    }
                    closers.push(closer);
                }
            }
        }
    }
}

/// Reads one field; for a message only its opening brace, and gives the closing one.
fn field(lexer: &mut Lexer<'_>, bytes: &[u8], visitor: &mut impl Visitor) -> Result<Option<u8>, TextError> {
    let name = name(lexer)?;
    let colon = lexer.token == Token::Symbol(b':');
    if colon {
        lexer.advance();
    }
    let closer = match lexer.token {
        Token::Symbol(b'{') => b'}',
        Token::Symbol(b'<') => b'>',
        Token::Quoted if colon => {
            let start = lexer.span.start;
            let mut end = start;
            while lexer.token == Token::Quoted {
                end = lexer.span.end;
                lexer.advance();
            }
            visitor.literal(name, Literal::Quoted(&bytes[start..end]), start..end);
            return Ok(None);
        }
        Token::Word if colon => {
            visitor.literal(name, Literal::Bare(lexer.text()), lexer.span.clone());
            lexer.advance();
            return Ok(None);
        }
        _ => return Err(syntax(lexer, if colon { "a value" } else { "':' or '{'" })),
    };
    lexer.advance();
    visitor.open(name);
    Ok(Some(closer))
}

/// A field's name, or the bracketed name of an extension with its brackets.
fn name<'a>(lexer: &mut Lexer<'a>) -> Result<&'a str, TextError> {
    let text = match lexer.token {
        Token::Word if !matches!(lexer.text()[0], b'+' | b'-' | b'.') => lexer.text(),
        Token::Symbol(b'[') => return extension(lexer),
        _ => return Err(syntax(lexer, "the name of a field")),
    };
    let text = ascii(text);
    lexer.advance();
    Ok(text)
}

fn extension<'a>(lexer: &mut Lexer<'a>) -> Result<&'a str, TextError> {
    lexer.advance();
    if lexer.token != Token::Word {
        return Err(syntax(lexer, "the name of an extension"));
    }
    let text = ascii(lexer.text());
    lexer.advance();
    if lexer.token != Token::Symbol(b']') {
        return Err(syntax(lexer, "']'"));
    }
    lexer.advance();
    Ok(text)
}

fn syntax(lexer: &Lexer<'_>, expected: &'static str) -> TextError {
    let (line, column) = lexer.place();
    TextError::Syntax {
        line,
        column,
        found: lexer.describe(),
        expected,
    }
}

/// Words hold ASCII only.
fn ascii(word: &[u8]) -> &str {
    std::str::from_utf8(word).unwrap_or_default()
}

struct Builder {
    /// Names and messages that are open, the outermost first.
    open: Vec<(String, Message)>,
}

impl Builder {
    fn push(&mut self, name: String, value: Value) {
        if let Some((_, message)) = self.open.last_mut() {
            message.fields.push(Field { name, value });
        }
    }
}

impl Visitor for Builder {
    fn open(&mut self, name: &str) {
        self.open.push((name.to_owned(), Message::default()));
    }

    fn close(&mut self) {
        if let Some((name, message)) = self.open.pop() {
            self.push(name, Value::Message(message));
        }
    }

    fn literal(&mut self, name: &str, value: Literal<'_>, _: Range<usize>) {
        self.push(name.to_owned(), value.to_value());
    }
}

impl Literal<'_> {
    /// The value that the literal stands for.
    pub fn to_value(self) -> Value {
        match self {
            Literal::Quoted(text) => {
                let plain = &text[1..text.len() - 1];
                if memchr::memchr3(b'\\', b'"', b'\'', plain).is_none() {
                    return Value::Bytes(plain.to_vec());
                }
                let mut out = Vec::with_capacity(text.len());
                let mut lexer = Lexer::new(text);
                while lexer.token == Token::Quoted {
                    unescape(lexer.text(), &mut out);
                    lexer.advance();
                }
                Value::Bytes(out)
            }
            Literal::Bare(word) => number(word).unwrap_or_else(|| Value::Word(ascii(word).to_owned())),
        }
    }
}

/// An integer in any of the three bases, if the word is one and fits.
fn number(word: &[u8]) -> Option<Value> {
    let text = ascii(word);
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let magnitude = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse()
    }
    .ok()?;
    match (negative, magnitude) {
        (false, value) => Some(Value::Unsigned(value)),
        (true, 0) => Some(Value::Unsigned(0)),
        (true, value) => 0_i64.checked_sub_unsigned(value).map(Value::Negative),
    }
}
