// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Expressions to text, in the one form that the parser gives back unchanged.

use std::fmt;

use super::{Expr, Op, Test};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::And(parts) => joined(f, parts, " and ", |part| matches!(part, Expr::Or(_))),
            Expr::Or(parts) => joined(f, parts, " or ", |_| false),
            Expr::Not(part) => match **part {
                Expr::And(_) | Expr::Or(_) => write!(f, "not ({part})"),
                _ => write!(f, "not {part}"),
            },
            Expr::Test(test) => test.fmt(f),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.field.name(), self.op.text(), self.value_text())
    }
}

impl Test {
    /// The right side, as it is written.
    pub fn value_text(&self) -> String {
        let values: Vec<_> = self.values.iter().map(|value| value.text(self.field)).collect();
        match (&self.values[..], self.op) {
            ([_], _) => values.concat(),
            (_, Op::In | Op::NotIn) => format!("({})", values.join(", ")),
            _ => values.join(", "),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, wrap: fn(&Expr) -> bool) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(word)?;
        }
        if wrap(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}
