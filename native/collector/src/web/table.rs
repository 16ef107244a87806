// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Lists: one description gives the table of the page, its sort links and its CSV.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::context::Ctx;

/// Rows of a page; more are on the next.
pub(crate) const PAGE_ROWS: usize = 200;

pub(crate) struct Column {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) numeric: bool,
    /// Left out on phones.
    pub(crate) wide_only: bool,
}

impl Column {
    pub(crate) const fn text(key: &'static str, title: &'static str) -> Self {
        Self {
            key,
            title,
            numeric: false,
            wide_only: false,
        }
    }

    pub(crate) const fn number(key: &'static str, title: &'static str) -> Self {
        Self {
            key,
            title,
            numeric: true,
            wide_only: false,
        }
    }

    pub(crate) const fn wide(mut self) -> Self {
        self.wide_only = true;
        self
    }
}

/// What a cell shows, what it links to, and what it is sorted by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) href: String,
    /// A second, smaller line.
    pub(crate) sub: String,
    /// A state's shape before the text: `up`, `down`, …
    pub(crate) state: &'static str,
    pub(crate) mono: bool,
    pub(crate) bold: bool,
    pub(crate) muted: bool,
    /// The whole text, where the one shown is shortened.
    pub(crate) title: String,
    order: Order,
    /// As CSV has it; the text when empty.
    plain: String,
}

#[derive(Clone, Debug, Default, PartialEq, PartialOrd)]
enum Order {
    #[default]
    Last,
    Number(f64),
    Text(String),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            order: Order::Text(text.to_lowercase()),
            text,
            ..Self::default()
        }
    }

    pub(crate) fn number(value: f64, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            order: Order::Number(value),
            plain: if value.fract() == 0.0 {
                format!("{value:.0}")
            } else {
                format!("{value}")
            },
            ..Self::default()
        }
    }

    pub(crate) fn count(value: usize) -> Self {
        Self::number(value as f64, super::units::count(value as u64))
    }

    /// Nothing is known or there is none.
    pub(crate) fn none() -> Self {
        Self {
            text: "–".to_owned(),
            muted: true,
            plain: " ".to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn link(mut self, href: impl Into<String>) -> Self {
        self.href = href.into();
        self
    }

    pub(crate) fn sub(mut self, sub: impl Into<String>) -> Self {
        self.sub = sub.into();
        self
    }

    pub(crate) fn state(mut self, state: &'static str) -> Self {
        self.state = state;
        self
    }

    pub(crate) fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    pub(crate) fn mono(mut self) -> Self {
        self.mono = true;
        self
    }

    /// A tenant by its name or shortened id; the id is whole in its title and in CSV.
    pub(crate) fn project(id: &str, short: String) -> Self {
        let cell = Self::text(short.clone()).plain(id);
        Self {
            title: if short == id { String::new() } else { id.to_owned() },
            text: short,
            ..cell
        }
    }

    /// What CSV has instead of the text.
    pub(crate) fn plain(mut self, plain: impl Into<String>) -> Self {
        self.plain = plain.into();
        self
    }

    fn csv(&self) -> &str {
        if self.plain.is_empty() { &self.text } else { self.plain.trim() }
    }
}

pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A heading with its sort link.
pub(crate) struct Head {
    pub(crate) title: &'static str,
    pub(crate) href: String,
    pub(crate) numeric: bool,
    pub(crate) wide_only: bool,
    /// `ascending`, `descending` or empty.
    pub(crate) sorted: &'static str,
}

/// A table as a page shows it.
pub(crate) struct TableView {
    pub(crate) total: String,
    pub(crate) shown: String,
    pub(crate) heads: Vec<Head>,
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) csv: String,
    pub(crate) next: Option<String>,
    pub(crate) previous: Option<String>,
    /// Text that narrows the list, as typed.
    pub(crate) find: String,
    pub(crate) path: String,
    pub(crate) kept: Vec<(String, String)>,
}

impl Table {
    /// Narrows by `find`, sorts by `sort` (`name`, `-traffic`), cuts to the page.
    pub(crate) fn view(mut self, ctx: &Ctx, default_sort: &str) -> TableView {
        let find = ctx.params.get("find").unwrap_or_default().trim().to_owned();
        self.narrow(&find);
        let sort = ctx.params.get("sort").unwrap_or(default_sort).to_owned();
        self.sort(&sort);
        let total = self.rows.len();
        let pages = total.div_ceil(PAGE_ROWS).max(1);
        let page = ctx
            .params
            .get("page")
            .and_then(|text| text.parse::<usize>().ok())
            .unwrap_or(1)
            .clamp(1, pages);
        let heads = self
            .columns
            .iter()
            .map(|column| {
                let down = sort.strip_prefix('-') == Some(column.key);
                let up = sort == column.key;
                // Numbers are looked at from the top.
                let next = if up || (!down && column.numeric) {
                    format!("-{}", column.key)
                } else {
                    column.key.to_owned()
                };
                Head {
                    title: column.title,
                    href: ctx.here(&[("sort", &next), ("page", "")]),
                    numeric: column.numeric,
                    wide_only: column.wide_only,
                    sorted: if down {
                        "descending"
                    } else if up {
                        "ascending"
                    } else {
                        ""
                    },
                }
            })
            .collect();
        let first = (page - 1) * PAGE_ROWS;
        let rows: Vec<_> = self.rows.into_iter().skip(first).take(PAGE_ROWS).collect();
        let to_page = |page: usize| ctx.here(&[("page", &page.to_string())]);
        TableView {
            total: super::units::count(total as u64),
            shown: if pages > 1 {
                format!("{}–{}", first + 1, first + rows.len())
            } else {
                String::new()
            },
            heads,
            rows,
            csv: ctx.here(&[("format", "csv"), ("page", "")]),
            next: (page < pages).then(|| to_page(page + 1)),
            previous: (page > 1).then(|| to_page(page - 1)),
            find,
            path: ctx.uri.path().to_owned(),
            kept: ctx
                .params
                .iter()
                .filter(|(name, value)| !matches!(*name, "find" | "page") && !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    fn narrow(&mut self, find: &str) {
        let find = find.to_lowercase();
        if !find.is_empty() {
            self.rows.retain(|row| {
                row.iter()
                    .any(|cell| cell.text.to_lowercase().contains(&find) || cell.sub.to_lowercase().contains(&find))
            });
        }
    }

    fn sort(&mut self, sort: &str) {
        let (key, down) = sort.strip_prefix('-').map_or((sort, false), |key| (key, true));
        let Some(at) = self.columns.iter().position(|column| column.key == key) else {
            return;
        };
        self.rows.sort_by(|a, b| {
            let (a, b) = (&a[at].order, &b[at].order);
            match (a, b) {
                // What is not known comes last, whichever way.
                (Order::Last, Order::Last) => std::cmp::Ordering::Equal,
                (Order::Last, _) => std::cmp::Ordering::Greater,
                (_, Order::Last) => std::cmp::Ordering::Less,
                _ => {
                    let order = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
                    if down { order.reverse() } else { order }
                }
            }
        });
    }

    /// All rows as a file.
    pub(crate) fn csv(mut self, ctx: &Ctx, default_sort: &str) -> Response {
        self.narrow(ctx.params.get("find").unwrap_or_default().trim());
        self.sort(ctx.params.get("sort").unwrap_or(default_sort));
        let mut out = String::new();
        csv_line(&mut out, self.columns.iter().map(|column| column.key));
        for row in &self.rows {
            csv_line(&mut out, row.iter().map(Cell::csv));
        }
        csv_response(&format!("{}-{}.csv", ctx.site_name, self.name), out)
    }
}

/// One line by RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe.
pub(crate) fn csv_line<'a>(out: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let formula = cell.starts_with(['=', '@', '\t', '\r']) || (cell.starts_with(['+', '-']) && cell.parse::<f64>().is_err());
        if formula || cell.contains([',', '"', '\n', '\r']) {
            out.push('"');
            if formula {
                out.push('\'');
            }
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

pub(crate) fn csv_response(name: &str, body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
            (header::CONTENT_DISPOSITION, attachment(name)),
        ],
        body,
    )
        .into_response()
}

/// Makes browsers save the answer under a name, of which only what no system stumbles over is kept.
pub(crate) fn attachment(name: &str) -> HeaderValue {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_and_disarms() {
        let mut out = String::new();
        csv_line(&mut out, ["plain", "a,b", "say \"x\"", "=1+1", "-5", "-cmd", "line\nbreak"]);
        assert_eq!(out, "plain,\"a,b\",\"say \"\"x\"\"\",\"'=1+1\",-5,\"'-cmd\",\"line\nbreak\"\r\n");
    }

    #[test]
    fn unknown_sorts_last_both_ways() {
        let rows = || vec![vec![Cell::number(1.0, "1")], vec![Cell::none()], vec![Cell::number(3.0, "3")]];
        let mut table = Table {
            name: "t",
            columns: vec![Column::number("n", "N")],
            rows: rows(),
        };
        table.sort("-n");
        let texts: Vec<_> = table.rows.iter().map(|row| row[0].text.clone()).collect();
        assert_eq!(texts, ["3", "1", "–"]);
        table.sort("n");
        assert_eq!(table.rows[2][0].text, "–");
    }
}
