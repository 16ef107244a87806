// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Pairs and triples of values as bands between columns, their width the number of flow records.

use std::{collections::BTreeMap, fmt::Write};

use insights_store::query::Bin;

use crate::web::{chart::escape, units};

/// Sizes of the drawing, which scales with its card.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 420.0;
const TOP: f64 = 26.0;
const NODE: f64 = 12.0;
const GAP: f64 = 6.0;
/// Thinnest band that can be pointed at.
const THIN: f64 = 1.5;

/// A value in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Node {
    flows: u64,
    y: f64,
    height: f64,
    /// How far its bands reach already, at its left and its right.
    left: f64,
    right: f64,
}

/// One picture; bands of which more than half was dropped are red. The table beneath says the same.
pub(super) fn drawing(heads: &[&str], rows: &[(Vec<String>, Bin)], other: u64) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let columns = heads.len();
    let mut nodes: Vec<BTreeMap<&str, Node>> = vec![BTreeMap::new(); columns];
    for (values, flows) in rows {
        for (column, value) in values.iter().enumerate().take(columns) {
            nodes[column].entry(value).or_default().flows += flows.total();
        }
    }
    let most = nodes.iter().map(BTreeMap::len).max().unwrap_or(1);
    let sum: u64 = rows.iter().map(|(_, flows)| flows.total()).sum();
    let scale = (HEIGHT - TOP - GAP * (most - 1) as f64).max(HEIGHT / 3.0) / sum.max(1) as f64;
    for column in &mut nodes {
        let mut order: Vec<(&str, u64)> = column.iter().map(|(value, node)| (*value, node.flows)).collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut y = TOP;
        for (value, flows) in order {
            let height = (flows as f64 * scale).max(THIN);
            if let Some(node) = column.get_mut(value) {
                (node.y, node.height) = (y, height);
            }
            y += height + GAP;
        }
    }
    let bottom = nodes
        .iter()
        .flat_map(BTreeMap::values)
        .map(|node| node.y + node.height)
        .fold(HEIGHT, f64::max);
    let x = |column: usize| column as f64 * (WIDTH - NODE) / (columns - 1).max(1) as f64;
    let mut out = format!(
        "<svg class=\"sankey\" viewBox=\"0 0 {WIDTH:.0} {:.0}\" role=\"img\" aria-label=\"Flow records from {}. The table beneath says the same.\">",
        bottom + if other > 0 { 26.0 } else { 8.0 },
        escape(&heads.join(" to "))
    );
    for (column, head) in heads.iter().enumerate() {
        let (x, anchor) = label(x(column), column, columns);
        let _ = write!(
            out,
            "<text class=\"col\" x=\"{x:.0}\" y=\"14\" text-anchor=\"{anchor}\">{}</text>",
            escape(head)
        );
    }
    for (values, flows) in rows {
        for column in 0..columns - 1 {
            let width = (flows.total() as f64 * scale).max(THIN);
            let (from, to) = (values[column].as_str(), values[column + 1].as_str());
            let mut begin = 0.0;
            if let Some(node) = nodes[column].get_mut(from) {
                begin = node.y + node.right + width / 2.0;
                node.right += width;
            }
            let mut end = 0.0;
            if let Some(node) = nodes[column + 1].get_mut(to) {
                end = node.y + node.left + width / 2.0;
                node.left += width;
            }
            let (x1, x2) = (x(column) + NODE, x(column + 1));
            let middle = f64::midpoint(x1, x2);
            let class = if flows.dropped * 2 > flows.total() { "band bad" } else { "band" };
            let _ = write!(
                out,
                "<path class=\"{class}\" stroke-width=\"{width:.1}\" d=\"M{x1:.0} {begin:.1}C{middle:.0} {begin:.1} {middle:.0} {end:.1} {x2:.0} {end:.1}\">\
                 <title>{}: {} records, {} dropped</title></path>",
                escape(&values.join(" → ")),
                units::count(flows.total()),
                units::count(flows.dropped)
            );
        }
    }
    for (column, column_nodes) in nodes.iter().enumerate() {
        for (value, node) in column_nodes {
            let at = x(column);
            let (text_x, anchor) = label(at, column, columns);
            let _ = write!(
                out,
                "<rect class=\"nd\" x=\"{at:.0}\" y=\"{:.1}\" width=\"{NODE:.0}\" height=\"{:.1}\" rx=\"2\"><title>{}: {} records</title></rect>",
                node.y,
                node.height,
                escape(value),
                units::count(node.flows)
            );
            // A name needs its line.
            if node.height >= 9.0 || column_nodes.len() <= 24 {
                let _ = write!(
                    out,
                    "<text x=\"{text_x:.0}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    node.y + node.height / 2.0 + 4.0,
                    escape(&short(value))
                );
            }
        }
    }
    if other > 0 {
        let _ = write!(
            out,
            "<text class=\"rest\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{} records of other values are not drawn</text>",
            WIDTH / 2.0,
            bottom + 20.0,
            units::count(other)
        );
    }
    out.push_str("</svg>");
    out
}

/// Where the text of a node stands: inside of the drawing.
fn label(x: f64, column: usize, columns: usize) -> (f64, &'static str) {
    if column + 1 == columns {
        (x - 6.0, "end")
    } else {
        (x + NODE + 6.0, "start")
    }
}

fn short(text: &str) -> String {
    const ROOM: usize = 30;
    if text.chars().count() <= ROOM {
        text.to_owned()
    } else {
        text.chars().take(ROOM - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(allowed: u64, dropped: u64) -> Bin {
        Bin {
            allowed,
            dropped,
            ..Bin::default()
        }
    }

    #[test]
    fn bands_join_the_columns_and_names_are_escaped() {
        let rows = [
            (vec!["a<b".to_owned(), "x".to_owned(), "443".to_owned()], flows(10, 0)),
            (vec!["a<b".to_owned(), "y".to_owned(), "443".to_owned()], flows(1, 4)),
        ];
        let svg = drawing(&["One", "Two", "Three"], &rows, 7);
        assert_eq!(svg.matches("<path").count(), 4);
        assert_eq!(svg.matches("class=\"band bad\"").count(), 2);
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("7 records of other values"));
        assert_eq!(drawing(&["One", "Two"], &[], 0), "");
    }
}
