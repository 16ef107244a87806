// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The filter language of flow history: `src.ip in 10.0.0.0/8 and dst.port = 443 and result = dropped`.
//!
//! ```text
//! filter := or
//! or     := and { "or" and }
//! and    := unary { "and" unary }
//! unary  := "not" unary | "(" or ")" | test
//! test   := field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!         | field [ "not" ] "in" ( value | "(" value { "," value } ")" )
//! ```
//!
//! [`parse`] reads it, `Display` of [`Expr`] writes it in one canonical form, [`resolve::resolve`] gives names their ids and makes the store's
//! filter of it, and [`complete`] says what can follow. What an expression means stands in the store's `FlowFilter`.

pub mod complete;
mod field;
mod lexer;
mod parser;
mod print;
pub mod resolve;
mod value;

pub use field::{ALL_FIELDS, Field, FieldKind};
pub use parser::parse;
pub use value::{IpSet, Value};

use std::ops::Range;

/// Longest text that is read. A form makes some 500 characters; a link must fit into a URL.
pub const MAX_TEXT: usize = 8_192;
/// Deepest nesting of parentheses and `not`: half of what the store takes, since resolving adds levels of its own.
pub const MAX_DEPTH: usize = 12;
/// Most values in the whole text, so that the store's bound on tests holds after resolving.
pub const MAX_VALUES: usize = 128;

/// An expression. `And` of nothing matches everything and is what the empty text means.
///
/// The parser makes a normal form: `And` and `Or` have at least two parts, none of which is of the same kind (save the empty `And` on top).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// One criterion.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Test {
    pub field: Field,
    pub op: Op,
    /// One value, or at least one for `in`.
    pub values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

impl Op {
    pub fn text(self) -> &'static str {
        match self {
            Op::Eq => "=",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::In => "in",
            Op::NotIn => "not in",
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// One sentence for the person who typed it.
    pub message: String,
    /// The characters that it is about (characters, not bytes); empty at the end of the text.
    pub at: Range<usize>,
}

impl Expr {
    /// Matches everything.
    pub fn all() -> Self {
        Expr::And(Vec::new())
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Expr::And(parts) if parts.is_empty())
    }

    /// The parts that must all hold: those of the outermost `and`, or the expression itself.
    pub fn conjuncts(&self) -> &[Expr] {
        match self {
            Expr::And(parts) => parts,
            other => std::slice::from_ref(other),
        }
    }

    /// All of the parts must hold.
    pub fn from_conjuncts(parts: Vec<Expr>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Expr::And(flat) }
    }

    /// This and one more test; a test that is there already is not added again.
    pub fn with(&self, test: Test) -> Self {
        let mut parts = self.conjuncts().to_vec();
        let test = Expr::Test(test);
        if !parts.contains(&test) {
            parts.push(test);
        }
        Expr::from_conjuncts(parts)
    }

    /// Without the conjunct at a place; places are those of [`Expr::conjuncts`].
    pub fn without(&self, place: usize) -> Self {
        let parts = self
            .conjuncts()
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != place)
            .map(|(_, part)| part.clone())
            .collect();
        Expr::from_conjuncts(parts)
    }

    /// Source and destination exchanged.
    pub fn swapped(&self) -> Self {
        match self {
            Expr::And(parts) => Expr::And(parts.iter().map(Expr::swapped).collect()),
            Expr::Or(parts) => Expr::Or(parts.iter().map(Expr::swapped).collect()),
            Expr::Not(part) => Expr::Not(Box::new(part.swapped())),
            Expr::Test(test) => Expr::Test(Test {
                field: test.field.swapped(),
                ..test.clone()
            }),
        }
    }

    /// Every test in it, outermost first.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Expr::And(parts) | Expr::Or(parts) => parts.iter().flat_map(Expr::tests).collect(),
            Expr::Not(part) => part.tests(),
            Expr::Test(test) => vec![test],
        }
    }
}

impl Test {
    pub fn eq(field: Field, value: Value) -> Self {
        Self {
            field,
            op: Op::Eq,
            values: vec![value],
        }
    }

    pub fn ne(field: Field, value: Value) -> Self {
        Self {
            field,
            op: Op::Ne,
            values: vec![value],
        }
    }
}

#[cfg(test)]
mod tests;
