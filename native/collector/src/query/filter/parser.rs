// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tokens to expressions.

use std::ops::Range;

use super::{
    Expr, Field, FieldKind, FilterError, MAX_DEPTH, MAX_TEXT, MAX_VALUES, Op, Test, Value,
    lexer::{Kind, Token, tokens},
};

/// Reads a filter. The empty text matches everything.
pub fn parse(text: &str) -> Result<Expr, FilterError> {
    let length = text.chars().count();
    if length > MAX_TEXT {
        return Err(FilterError {
            message: format!("the filter is longer than {MAX_TEXT} characters"),
            at: MAX_TEXT..length,
        });
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(Expr::all());
    }
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        end: length,
        values: 0,
    };
    let expr = parser.or(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) if token.kind == Kind::Close => Err(error("this parenthesis was never opened", &token.at)),
        Some(token) => Err(error(format!("here goes “and” or “or”, not “{}”", token.shown()), &token.at)),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    /// Length of the text, where errors of its end point to.
    end: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next);
        self.next += usize::from(token.is_some());
        token
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is_keyword(word));
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.and(depth)?];
        while self.keyword("or") {
            parts.push(self.and(depth)?);
        }
        Ok(joined(
            parts,
            |expr| if let Expr::Or(inner) = expr { Ok(inner) } else { Err(expr) },
            Expr::Or,
        ))
    }

    fn and(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.unary(depth)?];
        while self.keyword("and") {
            parts.push(self.unary(depth)?);
        }
        Ok(joined(
            parts,
            |expr| if let Expr::And(inner) = expr { Ok(inner) } else { Err(expr) },
            Expr::And,
        ))
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, FilterError> {
        if let Some(token) = self.peek()
            && depth >= MAX_DEPTH
            && (token.kind == Kind::Open || token.is_keyword("not"))
        {
            return Err(error(format!("parentheses and “not” nest at most {MAX_DEPTH} deep"), &token.at));
        }
        if self.keyword("not") {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.peek().is_some_and(|token| token.kind == Kind::Open) {
            let open = self.next;
            self.next += 1;
            let inner = self.or(depth + 1)?;
            return match self.take() {
                Some(token) if token.kind == Kind::Close => Ok(inner),
                Some(token) => Err(error(format!("here goes “and”, “or” or “)”, not “{}”", token.shown()), &token.at)),
                None => Err(error("this parenthesis is not closed", &self.tokens[open].at)),
            };
        }
        self.test().map(Expr::Test)
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        let field = self.field()?;
        let Some(token) = self.take() else {
            return Err(self.at_end(format!("after {} goes =, !=, in, <, >, <= or >=", field.name())));
        };
        let op = match &token.kind {
            Kind::Op(op) => *op,
            _ if token.is_keyword("in") => Op::In,
            _ if token.is_keyword("not") => match self.take() {
                Some(token) if token.is_keyword("in") => Op::NotIn,
                Some(token) => return Err(error(format!("after “not” goes “in”, not “{}”", token.shown()), &token.at)),
                None => return Err(self.at_end("after “not” goes “in”".to_owned())),
            },
            _ => {
                return Err(error(
                    format!("after {} goes =, !=, in, <, >, <= or >=, not “{}”", field.name(), token.shown()),
                    &token.at,
                ));
            }
        };
        if matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge) && !matches!(field.kind(), FieldKind::Number(_)) {
            return Err(error(format!("{} has no order; it takes =, != and in", field.name()), &token.at));
        }
        let set = matches!(op, Op::In | Op::NotIn) && self.peek().is_some_and(|token| token.kind == Kind::Open);
        let values = if set { self.set(field)? } else { vec![self.value(field, op)?] };
        Ok(Test { field, op, values })
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        let Some(token) = self.take() else {
            return Err(self.at_end("here goes a field such as src.ip or result".to_owned()));
        };
        let Kind::Word(name) = &token.kind else {
            return Err(error(
                format!("here goes a field such as src.ip or result, not “{}”", token.shown()),
                &token.at,
            ));
        };
        Field::from_name(name).ok_or_else(|| {
            let hint = super::complete::nearest_field(name).map_or_else(String::new, |field| format!("; do you mean {}?", field.name()));
            error(format!("there is no field “{name}”{hint}"), &token.at)
        })
    }

    fn set(&mut self, field: Field) -> Result<Vec<Value>, FilterError> {
        let open = self.next;
        self.next += 1;
        let mut values = vec![self.value(field, Op::In)?];
        loop {
            match self.take() {
                Some(token) if token.kind == Kind::Comma => values.push(self.value(field, Op::In)?),
                Some(token) if token.kind == Kind::Close => return Ok(values),
                Some(token) => return Err(error(format!("between values goes a comma, not “{}”", token.shown()), &token.at)),
                None => return Err(error("this list is not closed", &self.tokens[open].at)),
            }
        }
    }

    fn value(&mut self, field: Field, op: Op) -> Result<Value, FilterError> {
        let Some(token) = self.take() else {
            return Err(self.at_end(format!("after {} {} goes a value: {}", field.name(), op.text(), field.describe())));
        };
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(error(format!("a filter has at most {MAX_VALUES} values"), &token.at));
        }
        let value = match &token.kind {
            Kind::Word(text) => Value::read(field, text),
            Kind::Quoted(text) => match field.kind() {
                FieldKind::Object | FieldKind::Tenant => Ok(Value::Name(text.clone())),
                _ => Value::read(field, text),
            },
            _ => Err(format!("here goes a value, not “{}”", token.shown())),
        }
        .map_err(|message| error(message, &token.at))?;
        let ordered = matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge);
        if ordered && !matches!(value, Value::Number(low, high) if low == high) {
            return Err(error(format!("{} takes one number after {}", field.name(), op.text()), &token.at));
        }
        Ok(value)
    }

    fn at_end(&self, message: String) -> FilterError {
        FilterError {
            message,
            at: self.end..self.end,
        }
    }
}

/// One part stays itself; parts of the same kind are taken apart.
fn joined(parts: Vec<Expr>, open: fn(Expr) -> Result<Vec<Expr>, Expr>, close: fn(Vec<Expr>) -> Expr) -> Expr {
    let mut flat = Vec::new();
    for part in parts {
        match open(part) {
            Ok(inner) => flat.extend(inner),
            Err(part) => flat.push(part),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { close(flat) }
}

fn error(message: impl Into<String>, at: &Range<usize>) -> FilterError {
    FilterError {
        message: message.into(),
        at: at.clone(),
    }
}
