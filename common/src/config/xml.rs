//! Reads the XML that Hadoop configuration is written in.
//!
//! What is no such configuration is refused, with its line: a file that is another's, or an element
//! with a slip of the pen, must not count as one that sets nothing.

use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::Event;

use super::error::ConfigError;

/// Deepest chain of files that include one another.
const MAX_INCLUDES: usize = 8;
/// Characters of misplaced text that are shown.
const SHOWN: usize = 40;

/// Reads the properties of `path` in order, with those of files that it includes.
pub(super) fn read_file(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    read_nested(path, 0)
}

fn read_nested(path: &Path, depth: usize) -> Result<Vec<(String, String)>, ConfigError> {
    if depth > MAX_INCLUDES {
        return Err(malformed(path, "too many files include one another"));
    }
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let items = Parser::new(path).parse(text.trim_start_matches('\u{feff}'))?;
    resolve(path, items, depth)
}

/// The properties of a file, with those that it includes in their place.
fn resolve(
    path: &Path,
    items: Vec<Item>,
    depth: usize,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut properties = Vec::new();
    for item in items {
        let (href, fallback) = match item {
            Item::Property(name, value) => {
                properties.push((name, value));
                continue;
            }
            Item::Include(href, fallback) => (href, fallback),
        };
        let included = path.parent().unwrap_or(Path::new(".")).join(href);
        let more = match fallback {
            Some(instead) if !included.exists() => resolve(path, instead, depth)?,
            _ => read_nested(&included, depth + 1)?,
        };
        properties.extend(more);
    }
    Ok(properties)
}

enum Item {
    Property(String, String),
    /// A file, and what counts instead where it does not exist.
    Include(PathBuf, Option<Vec<Item>>),
}

/// Whether an element may stand in another, as Hadoop has them.
fn may_hold(parent: Option<&str>, name: &str) -> bool {
    match parent {
        None => name == "configuration",
        Some("configuration" | "fallback") => {
            ["property", "include", "configuration"].contains(&name)
        }
        Some("property") => {
            ["name", "value", "description", "final", "source", "tag"].contains(&name)
        }
        Some("include") => name == "fallback",
        _ => false,
    }
}

/// Whether an element has text of its own.
fn has_text(name: &str) -> bool {
    ["name", "value", "description", "final", "source", "tag"].contains(&name)
}

/// The state of one pass over a file.
struct Parser<'a> {
    path: &'a Path,
    open: Vec<String>,
    text: String,
    name: Option<String>,
    value: Option<String>,
    items: Vec<Item>,
    /// What was found before a `<fallback>`.
    outside: Vec<Vec<Item>>,
    /// Whether the root element is over.
    ended: bool,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            open: Vec::new(),
            text: String::new(),
            name: None,
            value: None,
            items: Vec::new(),
            outside: Vec::new(),
            ended: false,
        }
    }

    fn parse(&mut self, text: &str) -> Result<Vec<Item>, ConfigError> {
        let mut reader = Reader::from_str(text);
        loop {
            let place = usize::try_from(reader.buffer_position()).unwrap_or(0);
            let line = 1 + text.as_bytes()[..place.min(text.len())]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            let event = reader
                .read_event()
                .map_err(|e| malformed(self.path, &format!("line {line}: {e}")))?;
            if matches!(event, Event::Eof) {
                return self.finish();
            }
            self.event(&event)
                .map_err(|reason| malformed(self.path, &format!("line {line}: {reason}")))?;
        }
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                self.start(name)?;
                self.attributes(start)?;
            }
            Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                self.start(name)?;
                self.attributes(start)?;
                self.end()?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => self.text.push_str(&text.xml10_content()),
            Event::CData(data) => self.text.push_str(&data.xml10_content()),
            Event::GeneralRef(reference) => self.reference(reference)?,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn reference(&mut self, reference: &quick_xml::events::BytesRef<'_>) -> Result<(), String> {
        if let Some(c) = reference.resolve_char_ref().map_err(|e| e.to_string())? {
            self.text.push(c);
            return Ok(());
        }
        let name = reference.xml10_content();
        let known = quick_xml::escape::resolve_xml_entity(&name)
            .ok_or_else(|| format!("unknown entity &{name};"))?;
        self.text.push_str(known);
        Ok(())
    }

    /// What stands in the tag itself: the file to include, and the short form of a property.
    fn attributes(&mut self, start: &quick_xml::events::BytesStart<'_>) -> Result<(), String> {
        let get = |key: &str| match start.try_get_attribute(key) {
            Ok(found) => Ok(found.map(|attribute| attribute.value.as_ref().to_owned())),
            Err(error) => Err(error.to_string()),
        };
        match self.open.last().map(String::as_str) {
            Some("include") => {
                let href = get("href")?.ok_or("include without href")?;
                self.items.push(Item::Include(PathBuf::from(href), None));
            }
            Some("property") => (self.name, self.value) = (get("name")?, get("value")?),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, name: String) -> Result<(), String> {
        self.check_text()?;
        let parent = self.open.last().map(String::as_str);
        // A description is for people, who may mark it up.
        if !self.in_description() && (self.ended || !may_hold(parent, &name)) {
            return Err(match parent {
                Some(parent) => format!("<{name}> has no place in <{parent}>"),
                None => format!("<{name}> where <configuration> was expected"),
            });
        }
        if name == "fallback" {
            self.outside.push(std::mem::take(&mut self.items));
        }
        self.text.clear();
        self.open.push(name);
        Ok(())
    }

    fn in_description(&self) -> bool {
        self.open.iter().any(|name| name == "description")
    }

    /// Refuses text where none has a meaning.
    fn check_text(&self) -> Result<(), String> {
        let text = self.text.trim();
        let place = self.open.last();
        if text.is_empty() || self.in_description() || place.is_some_and(|name| has_text(name)) {
            return Ok(());
        }
        let text: String = text.chars().take(SHOWN).collect();
        Err(match place {
            Some(place) => format!("text in <{place}>: {text:?}"),
            None => format!("text outside of <configuration>: {text:?}"),
        })
    }

    fn end(&mut self) -> Result<(), String> {
        self.check_text()?;
        let tag = self.open.pop().ok_or("unexpected end tag")?;
        let in_property = self.open.last().is_some_and(|parent| parent == "property");
        match tag.as_str() {
            "name" if in_property => self.name = Some(self.text.trim().to_owned()),
            "value" if in_property => self.value = Some(self.text.trim().to_owned()),
            "property" if !self.in_description() => self.property()?,
            "fallback" if !self.in_description() => self.fallback(),
            _ => {}
        }
        self.ended = self.open.is_empty();
        self.text.clear();
        Ok(())
    }

    fn fallback(&mut self) {
        let outside = self.outside.pop().unwrap_or_default();
        let instead = std::mem::replace(&mut self.items, outside);
        if let Some(Item::Include(_, fallback)) = self.items.last_mut() {
            *fallback = Some(instead);
        }
    }

    fn property(&mut self) -> Result<(), String> {
        let name = self.name.take().filter(|name| !name.is_empty());
        let name = name.ok_or("<property> without <name>")?;
        let value = self.value.take();
        let value = value.ok_or_else(|| format!("<property> {name} without <value>"))?;
        self.items.push(Item::Property(name, value));
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Item>, ConfigError> {
        let refuse = |reason: &str| Err(malformed(self.path, reason));
        if let Err(reason) = self.check_text() {
            return refuse(&reason);
        }
        match self.open.last() {
            Some(open) => refuse(&format!("<{open}> is never closed")),
            None if !self.ended => refuse("there is no <configuration> in it"),
            None => Ok(std::mem::take(&mut self.items)),
        }
    }
}

fn malformed(path: &Path, reason: &str) -> ConfigError {
    ConfigError::Malformed {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ozone-site.xml");
        std::fs::write(&path, xml).unwrap();
        read_file(&path)
    }

    #[test]
    fn properties_are_read_with_entities_comments_and_space() {
        let xml = r#"<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="configuration.xsl"?>
<configuration>
  <!-- a comment -->
  <property><name> ozone.administrators </name><value>a&amp;b,&#99;</value>
    <description>x</description><final>true</final></property>
  <property><name>ozone.s3g.volume.name</name><value/></property>
</configuration>"#;
        let got = read(xml).unwrap();
        assert_eq!(got[0], ("ozone.administrators".into(), "a&b,c".into()));
        assert_eq!(got[1], ("ozone.s3g.volume.name".into(), String::new()));
    }

    #[test]
    fn includes_are_followed_and_loops_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main.xml");
        let more = dir.path().join("more.xml");
        let head = r#"<configuration xmlns:xi="http://www.w3.org/2001/XInclude">"#;
        std::fs::write(
            &main,
            format!(r#"{head}<xi:include href="more.xml"/></configuration>"#),
        )
        .unwrap();
        let body = "<property><name>a.b</name><value>1</value></property>";
        std::fs::write(&more, format!("{head}{body}</configuration>")).unwrap();
        assert_eq!(read_file(&main).unwrap(), [("a.b".into(), "1".into())]);
        std::fs::write(
            &more,
            format!(r#"{head}<xi:include href="main.xml"/></configuration>"#),
        )
        .unwrap();
        assert!(read_file(&main).is_err());
    }

    #[test]
    fn what_hadoop_reads_is_read() {
        let xml = "\u{feff}<configuration><property name=\"a.b\" value=\"1\"/>
<property><name>c.d</name><value>2</value><description>with <b>bold</b> words</description>
<source>by hand</source><tag>OM,HA</tag><final>true</final></property>
<configuration><property><name>e.f</name><value>3</value></property></configuration>
<xi:include href=\"no-such-file.xml\"><xi:fallback><property><name>g.h</name>
<value>4</value></property></xi:fallback></xi:include></configuration>\n";
        let expected = [("a.b", "1"), ("c.d", "2"), ("e.f", "3"), ("g.h", "4")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(xml).unwrap(), expected);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for (text, word) in [
            ("", "no <configuration>"),
            ("<!-- nothing -->\n", "no <configuration>"),
            ("hello", "hello"),
            ("{\"json\": true}", "json"),
            ("<configuration/>\nhello", "hello"),
            ("<configuration>hello</configuration>", "hello"),
            ("<configuration/><configuration/>", "<configuration>"),
            (
                "<configuration>\n<propertie><name>a</name><value>b</value></propertie></configuration>",
                "line 2: <propertie>",
            ),
            (
                "<configuration><property><name>a</name><value>b</value><vaule>c</vaule></property></configuration>",
                "<vaule>",
            ),
            ("<configuration><name>a</name></configuration>", "<name>"),
            (
                "<configuration><property>x<name>a</name><value>b</value></property></configuration>",
                "text in <property>",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains(word) && error.contains("ozone-site.xml"),
                "{error}"
            );
        }
    }

    #[test]
    fn broken_files_are_named_with_the_line() {
        for xml in [
            "<configuration><property><name>a</name></configuration>",
            "<configuration>\n<property><name>a</name></property></configuration>",
            "<other/>",
            "<configuration><property>",
        ] {
            let text = read(xml).unwrap_err().to_string();
            assert!(text.contains("ozone-site.xml"), "{text}");
        }
    }
}
