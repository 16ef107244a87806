// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Pages as a person reads them: elements and their text. Enough of HTML for pages that close what they open.

use anyhow::{Context, Result, ensure};

/// Elements without an end.
const VOID: [&str; 8] = ["br", "hr", "img", "input", "link", "meta", "source", "wbr"];

/// An element. The root of a page has no name.
#[derive(Clone, Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
}

#[derive(Clone, Debug)]
pub enum Node {
    Element(Element),
    Text(String),
}

/// Reads a page; fails where an element is closed that is not open.
pub fn parse(page: &str) -> Result<Element> {
    let mut open = vec![Element::default()];
    let mut rest = page;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            push(&mut open, Node::Text(unescape(&rest[..end])));
            rest = &rest[end..];
            continue;
        };
        if let Some(comment) = after.strip_prefix("!--") {
            rest = &comment[comment.find("-->").context("a comment does not end")? + 3..];
        } else if after.starts_with('!') {
            rest = &after[after.find('>').context("a declaration does not end")? + 1..];
        } else if let Some(after) = after.strip_prefix('/') {
            let end = after.find('>').context("an end tag does not end")?;
            let element = open.pop().context("no element is open")?;
            ensure!(element.name == after[..end].trim(), "</{}> closes <{}>", &after[..end], element.name);
            push(&mut open, Node::Element(element));
            rest = &after[end + 1..];
        } else {
            let end = tag_end(after).context("a tag does not end")?;
            let tag = &after[..end];
            let element = element(tag.trim_end_matches('/'));
            rest = &after[end + 1..];
            if tag.ends_with('/') || VOID.contains(&&*element.name) {
                push(&mut open, Node::Element(element));
            } else if matches!(&*element.name, "script" | "style") {
                let close = format!("</{}>", element.name);
                rest = &rest[rest.find(&close).context("a script does not end")? + close.len()..];
            } else {
                open.push(element);
            }
        }
    }
    ensure!(open.len() == 1, "<{}> is not closed", open[open.len() - 1].name);
    open.pop().context("the root is there")
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    pub fn has_class(&self, class: &str) -> bool {
        self.attribute("class")
            .is_some_and(|classes| classes.split_whitespace().any(|own| own == class))
    }

    /// All elements beneath that fit, in the order of the page.
    pub fn all<'a>(&'a self, fits: &dyn Fn(&Element) -> bool) -> Vec<&'a Element> {
        let mut found = Vec::new();
        self.collect(fits, &mut found);
        found
    }

    fn collect<'a>(&'a self, fits: &dyn Fn(&Element) -> bool, found: &mut Vec<&'a Element>) {
        for child in self.elements() {
            if fits(child) {
                found.push(child);
            }
            child.collect(fits, found);
        }
    }

    /// All elements of a name beneath.
    pub fn named(&self, name: &str) -> Vec<&Element> {
        self.all(&|element| element.name == name)
    }

    /// The element with an id.
    pub fn by_id(&self, id: &str) -> Option<&Element> {
        self.all(&|element| element.attribute("id") == Some(id)).into_iter().next()
    }

    /// Child elements.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The text, with one space where there is any white space or a new element begins.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.add_text(&mut text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn add_text(&self, text: &mut String) {
        for child in &self.children {
            match child {
                Node::Text(own) => text.push_str(own),
                Node::Element(element) => {
                    text.push(' ');
                    element.add_text(text);
                    text.push(' ');
                }
            }
        }
    }

    /// The cells of a table, row by row, without its head.
    pub fn rows(&self) -> Vec<Vec<&Element>> {
        self.named("tbody")
            .iter()
            .flat_map(|body| body.elements())
            .map(|row| row.elements().collect())
            .collect()
    }
}

fn push(open: &mut [Element], node: Node) {
    if let Some(element) = open.last_mut() {
        element.children.push(node);
    }
}

/// The end of a tag, whatever stands in its attributes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(at)
    })
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (own, after) = rest.split_at(end);
        match after.strip_prefix("=\"").and_then(|value| value.split_once('"')) {
            Some((value, after)) => {
                attributes.push((own.to_owned(), unescape(value)));
                rest = after;
            }
            None => {
                attributes.push((own.to_owned(), String::new()));
                rest = after.trim_start_matches('=');
            }
        }
    }
    Element {
        name: name.to_owned(),
        attributes,
        children: Vec::new(),
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&nbsp;", ' ')];
        let numbered = rest.strip_prefix("&#").and_then(|number| {
            let end = number.find(';')?;
            let code = match number[..end].strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number[..end].parse().ok()?,
            };
            Some((end + 3, char::from_u32(code)?))
        });
        let found = known
            .iter()
            .find(|(name, _)| rest.starts_with(name))
            .map(|(name, c)| (name.len(), *c))
            .or(numbered);
        let (length, c) = found.unwrap_or((1, '&'));
        out.push(c);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let page =
            parse("<!doctype html><div id=\"a\" hidden><p>one &amp; <b>two</b><br>&#39;three&#x27;</p><svg><use href=\"#i\"/></svg></div>").unwrap();
        let div = page.by_id("a").unwrap();
        assert_eq!(div.text(), "one & two 'three'");
        assert_eq!(div.named("use")[0].attribute("href"), Some("#i"));
        assert_eq!(div.attribute("hidden"), Some(""));
        assert!(parse("<p><b></p></b>").is_err() && parse("<p>").is_err());
    }
}
