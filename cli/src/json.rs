//! JSON as Ozone's tools print it, to the byte: two-space indent, `"key" : value`, and arrays that
//! stay on the line of their first and last element.

use std::collections::BTreeMap;
use std::io;

use ozone_client::wire::hdds::KeyValue;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use time::OffsetDateTime;
use time::macros::format_description;

/// A value in Ozone's form, without a line end.
pub(crate) fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Pretty::default());
    value.serialize(&mut serializer)?;
    Ok(text)
}

/// An array that is printed piece by piece, so that a long listing is never in memory.
#[derive(Debug, Default)]
pub(crate) struct Array {
    begun: bool,
}

impl Array {
    /// The text of some more elements.
    pub(crate) fn more<T: Serialize>(
        &mut self,
        elements: impl IntoIterator<Item = T>,
    ) -> serde_json::Result<Vec<u8>> {
        let mut text = Vec::new();
        for element in elements {
            text.extend_from_slice(if self.begun { b", " } else { b"[ " });
            text.extend(pretty(&element)?);
            self.begun = true;
        }
        Ok(text)
    }

    /// The text of the array's end.
    pub(crate) fn end(self) -> &'static [u8] {
        if self.begun { b" ]\n" } else { b"[ ]\n" }
    }
}

/// A moment in milliseconds since 1970; printed as `2020-07-28T12:31:50.112Z`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant(pub(crate) u64);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanos = i128::from(self.0) * 1_000_000;
        let text = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .map_err(serde::ser::Error::custom)?
            .format(form)
            .map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

/// Names and values, in the order of their names.
pub(crate) type Pairs = BTreeMap<String, String>;

/// Names and values of a message as an object.
pub(crate) fn pairs(list: Vec<KeyValue>) -> Pairs {
    list.into_iter()
        .map(|pair| (pair.key, pair.value.unwrap_or_default()))
        .collect()
}

#[derive(Debug, Default)]
struct Pretty {
    depth: usize,
    /// Whether the object at hand has a field.
    filled: bool,
}

impl Pretty {
    fn line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        write!(out, "\n{:width$}", "", width = 2 * self.depth)
    }
}

impl Formatter for Pretty {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        out.write_all(if first { b" " } else { b", " })
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b" ]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        self.line(out)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        match self.filled {
            true => self.line(out)?,
            false => out.write_all(b" ")?,
        }
        out.write_all(b"}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(pretty(value).unwrap()).unwrap()
    }

    #[test]
    fn fields_have_spaces_around_the_colon_and_two_of_indent() {
        let value = json!({"name": "a\"b", "dataSize": 1, "inner": {"link": false}});
        let expected = "{\n  \"name\" : \"a\\\"b\",\n  \"dataSize\" : 1,\n  \"inner\" : {\n    \
                        \"link\" : false\n  }\n}";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn arrays_open_and_close_on_the_lines_of_their_elements() {
        let value = json!([{"a": 1}, {"a": [1, 2]}]);
        let expected = "[ {\n  \"a\" : 1\n}, {\n  \"a\" : [ 1, 2 ]\n} ]";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn empty_arrays_and_objects_keep_one_space() {
        assert_eq!(text(&json!([])), "[ ]");
        assert_eq!(text(&json!({})), "{ }");
        let nested = json!({"a": {}, "b": [], "c": [{}]});
        let expected = "{\n  \"a\" : { },\n  \"b\" : [ ],\n  \"c\" : [ { } ]\n}";
        assert_eq!(text(&nested), expected);
    }

    #[test]
    fn an_array_in_pieces_is_the_array() {
        let all = vec![json!({"n": 1}), json!({"n": 2}), json!([])];
        let mut array = Array::default();
        let mut pieces = array.more(&all[..1]).unwrap();
        pieces.extend(array.more(&all[1..1]).unwrap());
        pieces.extend(array.more(&all[1..]).unwrap());
        pieces.extend(array.end());
        assert_eq!(String::from_utf8(pieces).unwrap(), text(&all) + "\n");
        assert_eq!(Array::default().end(), b"[ ]\n");
    }

    #[test]
    fn instants_are_utc_with_milliseconds() {
        assert_eq!(
            text(&Instant(1_595_939_510_112)),
            "\"2020-07-28T12:31:50.112Z\""
        );
        assert_eq!(text(&Instant(0)), "\"1970-01-01T00:00:00.000Z\"");
    }
}
