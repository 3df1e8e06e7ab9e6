//! Reads the XML that Hadoop configuration is written in.

use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::Event;

use super::error::ConfigError;

/// Deepest chain of files that include one another.
const MAX_INCLUDES: usize = 8;

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
    let mut parser = Parser::new(path);
    let mut properties = Vec::new();
    for item in parser.parse(&text)? {
        match item {
            Item::Property(name, value) => properties.push((name, value)),
            Item::Include(href) => {
                let base = path.parent().unwrap_or(Path::new("."));
                properties.extend(read_nested(&base.join(href), depth + 1)?);
            }
        }
    }
    Ok(properties)
}

enum Item {
    Property(String, String),
    Include(PathBuf),
}

/// The state of one pass over a file.
struct Parser<'a> {
    path: &'a Path,
    open: Vec<String>,
    text: String,
    name: Option<String>,
    value: Option<String>,
    items: Vec<Item>,
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
                self.include(&name, start)?;
                self.start(name)?;
            }
            Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                self.include(&name, start)?;
                self.start(name)?;
                self.end()?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => self.text.push_str(&text.xml10_content()),
            Event::CData(data) => self.text.push_str(&data.xml10_content()),
            Event::GeneralRef(reference) => self.reference(reference)?,
            _ => {}
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

    fn include(
        &mut self,
        name: &str,
        start: &quick_xml::events::BytesStart<'_>,
    ) -> Result<(), String> {
        if name != "include" {
            return Ok(());
        }
        let href = start
            .try_get_attribute("href")
            .map_err(|e| e.to_string())?
            .ok_or("include without href")?;
        self.items
            .push(Item::Include(PathBuf::from(href.value.as_ref())));
        Ok(())
    }

    fn start(&mut self, name: String) -> Result<(), String> {
        if self.open.is_empty() && name != "configuration" {
            return Err(format!("<{name}> where <configuration> was expected"));
        }
        if name == "property" {
            (self.name, self.value) = (None, None);
        }
        self.text.clear();
        self.open.push(name);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let tag = self.open.pop().ok_or("unexpected end tag")?;
        let in_property = self.open.last().is_some_and(|parent| parent == "property");
        match tag.as_str() {
            "name" if in_property => self.name = Some(self.text.trim().to_owned()),
            "value" if in_property => self.value = Some(self.text.trim().to_owned()),
            "property" => self.property()?,
            _ => {}
        }
        self.text.clear();
        Ok(())
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
        match self.open.last() {
            Some(open) => Err(malformed(self.path, &format!("<{open}> is never closed"))),
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
