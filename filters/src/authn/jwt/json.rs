//! JSON that has one reading only. Where an object has a name twice, one reader takes the first value and another the
//! last (RFC 8259, section 4), so that what one of them checked is not what the other uses: here it is a flaw.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many arrays and objects may stand in one another. Tokens and key sets have four at most.
const MAX_DEPTH: u8 = 32;

/// The value that a text is; `None` where it is not JSON to its last byte, or has more than one reading.
pub(super) fn read(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = OneReading { depth_left: MAX_DEPTH }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// As [`read`], where it is an object.
pub(super) fn read_object(text: &[u8]) -> Option<Map<String, Value>> {
    match read(text)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct OneReading {
    depth_left: u8,
}

impl OneReading {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for OneReading {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneReading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.insert(name, members.next_value_seed(inner)?).is_some() {
                return Err(A::Error::custom("a name that occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reading_is_read_as_any_parser_reads_it() {
        let texts = [
            r#"{}"#,
            r#" {"a": [1, -2, 2.5, 1e3, true, null, "\u00e9\"\ud83d\ude00"], "b": {"a": {"a": 1}}} "#,
            r#"[18446744073709551615, -9223372036854775808, 0, -0.0]"#,
            r#""text""#,
        ];
        for text in texts {
            assert_eq!(read(text.as_bytes()), Some(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_has_more_than_one_is_not_read() {
        let texts = [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 3}"#,
            r#"{"o": {"a": 1, "a": 2}}"#,
            r#"[[{"a": 1, "b": 2, "a": 2}]]"#,
            r#"{"a": 1} {}"#,
            r#"{"a": 1},"#,
            "{\"a\": 1}\0",
            "\u{feff}{}",
            r#"{"a": 1e999}"#,
            r#"{"a": NaN}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 01}"#,
            r#"{'a': 1}"#,
            r#"{"a": 1"#,
            "",
        ];
        for text in texts {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"{\"a\": \"\xff\"}"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(read(&nested(usize::from(MAX_DEPTH))).is_some());
        assert!(read(&nested(usize::from(MAX_DEPTH) + 1)).is_none());
        assert!(read(&nested(1_000_000)).is_none());
        assert_eq!(read_object(b"[]"), None);
        assert_eq!(read_object(br#"{"a":1}"#).map(|object| object.len()), Some(1));
    }
}
