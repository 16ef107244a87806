// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The dashboard as a person reads it.

use anyhow::{Context, Result};

use crate::html::{self, Element};

/// What stands on the page.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The first sentence.
    pub verdict: String,
    pub tiles: Vec<Tile>,
    pub charts: Vec<Chart>,
    pub tenants: Vec<Tenant>,
    pub rules: Vec<Rule>,
    /// The time of day at which the page was made.
    pub asked: String,
    pub changes: Vec<Changed>,
    /// Names of the gateways, with what is said of them.
    pub gateways: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Tile {
    pub title: String,
    /// The large number with what stands behind it, such as `9 / 9`.
    pub value: String,
    pub note: String,
}

#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub unit: String,
    pub series: Vec<Series>,
    /// It says that something is missing, and shows nothing there.
    pub missing: bool,
    /// Begin of each row of the table of values, as text, newest first.
    pub begins: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    /// Min, mean, 95th percentile, max and last.
    pub figures: [String; 5],
    pub total: String,
    /// As the table of values has them, newest first.
    pub values: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: String,
    pub north_south: String,
    pub east_west: String,
    pub total: String,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub text: String,
    /// Columns of its small drawing, and where it has bars, with their heights as parts of the highest.
    pub columns: usize,
    pub bars: Vec<(usize, f64)>,
    pub dropped: String,
}

/// A line of the list of changes.
#[derive(Clone, Debug)]
pub struct Changed {
    /// When, to the second.
    pub time: String,
    /// The object's name and where it leads.
    pub name: String,
    pub link: String,
    /// The whole line without its time.
    pub text: String,
}

impl Dashboard {
    pub fn read(page: &str) -> Result<Dashboard> {
        let page = html::parse(page)?;
        let part = |id: &str| page.by_id(id).with_context(|| format!("the dashboard has no part {id}"));
        let tiles = part("tiles")?.all(&|element| element.has_class("tile"));
        let charts = ["c-ns", "c-total", "c-flows"].map(|id| part(id).and_then(chart));
        Ok(Dashboard {
            asked: part("verdict")?
                .all(&|element| element.has_class("at"))
                .first()
                .and_then(|at| at.text().split(' ').rev().nth(1).map(str::to_owned))
                .context("no time of asking")?,
            verdict: part("verdict")?.named("b").first().context("no first sentence")?.text(),
            tiles: tiles.into_iter().map(tile).collect::<Result<_>>()?,
            charts: charts.into_iter().collect::<Result<_>>()?,
            tenants: part("top-tenants")?.rows().iter().map(|row| tenant(row)).collect::<Result<_>>()?,
            rules: part("top-rules")?.rows().iter().map(|row| rule(row)).collect::<Result<_>>()?,
            changes: part("changes")?
                .all(&|element| element.name == "li" && !element.named("time").is_empty())
                .iter()
                .map(|line| changed(line))
                .collect::<Result<_>>()?,
            gateways: part("changes")?
                .all(&|element| element.name == "li" && element.named("time").is_empty())
                .iter()
                .map(|line| {
                    let text = |name: &str| line.named(name).last().map(|element| element.text()).unwrap_or_default();
                    (text("b"), text("span"))
                })
                .collect(),
        })
    }

    pub fn tile(&self, title: &str) -> Result<&Tile> {
        self.tiles
            .iter()
            .find(|tile| tile.title == title)
            .with_context(|| format!("no tile {title}"))
    }

    pub fn chart(&self, title: &str) -> Result<&Chart> {
        self.charts
            .iter()
            .find(|chart| chart.title == title)
            .with_context(|| format!("no chart {title}"))
    }
}

impl Chart {
    pub fn series(&self, name: &str) -> Result<&Series> {
        self.series
            .iter()
            .find(|series| series.name == name)
            .with_context(|| format!("the chart {} has no series {name}", self.title))
    }
}

fn tile(tile: &Element) -> Result<Tile> {
    let text = |class: &str| {
        let found = tile.all(&|element| element.has_class(class));
        found
            .first()
            .map(|element| element.text())
            .with_context(|| format!("a tile has no {class}"))
    };
    Ok(Tile {
        title: text("k")?,
        value: text("v")?,
        note: text("n")?,
    })
}

fn chart(card: &Element) -> Result<Chart> {
    let title = card.named("h2").first().context("a chart has a title")?.text();
    let tables = card.named("table");
    let legend = tables.iter().find(|table| table.has_class("legend"));
    let legend = legend.with_context(|| format!("the chart {title} has no legend"))?;
    let unit = legend.named("th").first().context("a legend has a unit")?.text();
    // Without a value there is no table of them.
    let rows: Vec<Vec<String>> = tables.iter().find(|table| table.has_class("t")).map_or_else(Vec::new, |table| {
        table.rows().iter().map(|row| row.iter().map(|cell| cell.text()).collect()).collect()
    });
    let series = legend.rows().into_iter().enumerate().map(|(at, row)| {
        let cells: Vec<String> = row.iter().map(|cell| cell.text()).collect();
        let [name, min, mean, p95, max, last, total] = <[String; 7]>::try_from(cells).ok().context("a legend has seven columns")?;
        Ok(Series {
            name,
            figures: [min, mean, p95, max, last],
            total,
            values: rows.iter().filter_map(|row| row.get(at + 1).cloned()).collect(),
        })
    });
    let complete = card.all(&|element| element.has_class("complete"));
    Ok(Chart {
        unit,
        missing: complete.iter().any(|text| text.text().contains("missing")),
        series: series.collect::<Result<_>>()?,
        begins: rows.iter().filter_map(|row| row.first().cloned()).collect(),
        title,
    })
}

fn tenant(row: &[&Element]) -> Result<Tenant> {
    let [name, north_south, east_west, total] = row else {
        anyhow::bail!("a tenant has {} columns", row.len())
    };
    Ok(Tenant {
        id: name.attribute("title").context("a tenant has its id")?.to_owned(),
        north_south: north_south.text(),
        east_west: east_west.text(),
        total: total.text(),
    })
}

fn changed(line: &Element) -> Result<Changed> {
    let links = line.named("a");
    let link = links.first().context("a change leads to its object")?;
    let time = line.named("time").first().and_then(|time| time.attribute("title")).map(str::to_owned);
    Ok(Changed {
        time: time.context("a change has its time")?.trim_end_matches(" UTC").to_owned(),
        name: link.text(),
        link: link.attribute("href").unwrap_or_default().to_owned(),
        text: line.elements().last().map(Element::text).unwrap_or_default(),
    })
}

/// Columns of a small drawing, and its bars: `M<column> <foot>v-<height>…`.
fn bars(cell: &Element) -> Result<(usize, Vec<(usize, f64)>)> {
    let (drawings, paths) = (cell.named("svg"), cell.named("path"));
    let of = |elements: &[&Element], name: &str| elements.first().and_then(|element| element.attribute(name)).map(str::to_owned);
    let view = of(&drawings, "viewBox").context("a drawing has its size")?;
    let size: Vec<f64> = view.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [_, _, columns, height] = size[..] else {
        anyhow::bail!("read the size {view:?}")
    };
    let path = of(&paths, "d").context("a drawing has a path")?;
    let bars = path.split('M').filter(|bar| !bar.is_empty()).map(|bar| {
        let (column, rest) = bar.split_once(' ').with_context(|| format!("read the bar {bar:?}"))?;
        let tall = rest.split_once("v-").and_then(|(_, rest)| rest.split_once('h'));
        let tall: f64 = tall.with_context(|| format!("read the bar {bar:?}"))?.0.parse()?;
        Ok((column.parse()?, tall / height))
    });
    Ok((columns as usize, bars.collect::<Result<_>>()?))
}

fn rule(row: &[&Element]) -> Result<Rule> {
    let [text, drawing, dropped] = row else {
        anyhow::bail!("a rule has {} columns", row.len())
    };
    let links = text.named("a");
    let link = links
        .first()
        .and_then(|link| link.attribute("href"))
        .context("a rule leads to its flows")?;
    // The only UUID of the filter's part of the URL.
    let id = link
        .rsplit("decided")
        .next()
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_hexdigit() && c != '-').find(|word| word.len() == 36))
        .with_context(|| format!("the link {link} has no rule"))?;
    let (columns, bars) = bars(drawing)?;
    Ok(Rule {
        id: id.to_owned(),
        text: text.attribute("title").unwrap_or_default().to_owned(),
        columns,
        bars,
        dropped: dropped.text(),
    })
}

/// What a number as text can stand for: from, to. Three digits are shown, with a unit's prefix.
pub fn range(text: &str) -> Result<(f64, f64)> {
    let text: String = text.chars().filter(|c| *c != '\u{202f}' && !c.is_whitespace()).collect();
    if text.starts_with('<') {
        return Ok((0.0, 0.001));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let value: f64 = number.parse().with_context(|| format!("read the number {text:?}"))?;
    let factor = match unit.chars().next() {
        Some('k') => 1e3,
        Some('M') => 1e6,
        Some('G') => 1e9,
        Some('T') => 1e12,
        _ => 1.0,
    };
    let digits = number.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let half = if value == 0.0 { 0.0 } else { 0.5 * 10f64.powi(-digits) };
    Ok(((value - half) * factor, (value + half) * factor))
}

/// Whether a number as text stands for this one.
pub fn shows(text: &str, value: f64) -> Result<bool> {
    let (from, to) = range(text)?;
    let slack = value.abs() * 1e-9;
    Ok((from - slack..=to + slack).contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_what_they_were_rounded_from() {
        for (text, value) in [
            ("6.29\u{202f}TB", 6_293_000_000_000.0),
            ("1\u{202f}807", 1_807.4),
            ("0", 0.0),
            ("12.6\u{202f}kB", 12_649.0),
        ] {
            assert!(shows(text, value).unwrap(), "{text}");
        }
        assert!(!shows("6.29\u{202f}TB", 6_296_000_000_000.0).unwrap() && !shows("0", 1.0).unwrap());
    }
}
