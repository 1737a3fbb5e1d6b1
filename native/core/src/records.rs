//! Records as a sync frame carries them: one behind the other, with no length before any of them.
//!
//! Each is an envelope and, unless its bit says that none follows, its body. An envelope ends with its signature, field
//! 5, and the header in it says under `size` how many bytes the body has. Nothing is verified here: whoever takes the
//! records does that.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::dagcbor::{self, Limits};

/// The fields of an envelope, in their order: public key, kind, payload, signature.
const FIELDS: [u8; 4] = [0x0a, 0x12, 0x1a, 0x2a];

/// Which of them is the payload.
const PAYLOAD: usize = 2;

/// Bytes of a length: what a frame can hold takes three.
const LENGTH_BYTES: usize = 4;

/// One record of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried<'a> {
    /// Its envelope.
    pub envelope: &'a [u8],
    /// Its body, where that follows it.
    pub body: Option<&'a [u8]>,
}

/// Why bytes are not records one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// What stands in a record's place is no envelope.
    #[error("what stands in the place of a record is no envelope")]
    Envelope,
    /// Its payload says no size of a body.
    #[error("a record's header does not say how large its body is")]
    Size,
    /// The bytes end in the middle of a record.
    #[error("the bytes end in the middle of a record")]
    Truncated,
    /// More records than the limit.
    #[error("there are too many records")]
    TooMany,
}

/// The records in `bytes`, at most `limit`. `bare` has a bit for each record, the lowest first: set where no body
/// follows; those that it has no byte for are not set.
///
/// # Errors
/// The first thing that is wrong.
pub fn split<'a>(bytes: &'a [u8], bare: &[u8], limit: usize) -> Result<Vec<Carried<'a>>, SplitError> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if found.len() == limit {
            return Err(SplitError::TooMany);
        }
        let (envelope, payload) = take_envelope(&mut rest)?;
        let is_bare = bare.get(found.len() / 8).is_some_and(|bits| bits >> (found.len() % 8) & 1 == 1);
        let body = if is_bare { None } else { take_body(&mut rest, payload)? };
        found.push(Carried { envelope, body });
    }
    Ok(found)
}

/// An envelope and the payload in it.
fn take_envelope<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), SplitError> {
    let begin = *rest;
    let mut payload: &[u8] = &[];
    for (place, field) in FIELDS.into_iter().enumerate() {
        let (tag, behind) = rest.split_first().ok_or(SplitError::Truncated)?;
        if *tag != field {
            return Err(SplitError::Envelope);
        }
        *rest = behind;
        let length = take_length(rest)?;
        let content = take(rest, length)?;
        if place == PAYLOAD {
            payload = content;
        }
    }
    Ok((&begin[..begin.len() - rest.len()], payload))
}

/// The body that a header names; `None` where it has none.
fn take_body<'a>(rest: &mut &'a [u8], header: &[u8]) -> Result<Option<&'a [u8]>, SplitError> {
    let size = dagcbor::decode_with(header, &Limits::default(), SizeOf).ok().flatten().ok_or(SplitError::Size)?;
    let size = usize::try_from(size).map_err(|_| SplitError::Truncated)?;
    if size == 0 { Ok(None) } else { take(rest, size).map(Some) }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], SplitError> {
    let (content, behind) = rest.split_at_checked(length).ok_or(SplitError::Truncated)?;
    *rest = behind;
    Ok(content)
}

/// A length as protobuf writes it, seven bits a byte. Whether it is the shortest form is for who opens the envelope.
fn take_length(rest: &mut &[u8]) -> Result<usize, SplitError> {
    let mut length = 0;
    for place in 0..LENGTH_BYTES {
        let (byte, behind) = rest.split_first().ok_or(SplitError::Truncated)?;
        *rest = behind;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(SplitError::Envelope)
}

/// Reads the number under `size` of a map, and nothing else of it.
struct SizeOf;

impl<'de> DeserializeSeed<'de> for SizeOf {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SizeOf {
    type Value = Option<u64>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the header of a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut size = None;
        while let Some(is_size) = entries.next_key_seed(IsSize)? {
            if is_size {
                size = Some(entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(size)
    }
}

/// Whether a map key is `size`.
struct IsSize;

impl<'de> DeserializeSeed<'de> for IsSize {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsSize {
    type Value = bool;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a map key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == "size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope, keyfile};
    use ipld_core::ipld::Ipld;

    fn record(size: i128) -> Vec<u8> {
        let fields = [("key", Ipld::String("k".into())), ("prev", Ipld::Null), ("size", Ipld::Integer(size))];
        let header = Ipld::Map(fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect());
        let header = dagcbor::encode(&header, &Limits::default()).unwrap();
        envelope::seal(&keyfile::keypair(&keyfile::Seed::new([1; 32])), "/covm/record", &header)
    }

    #[test]
    fn records_come_apart_as_they_were_put_together() {
        let (first, bare, last) = (record(300), record(5), record(0));
        let body = vec![7; 300];
        let joined = [&first[..], &body, &bare, &last].concat();
        let found = split(&joined, &[0b010], 3).unwrap();
        let wanted = [(&first, Some(&body[..])), (&bare, None), (&last, None)];
        assert_eq!(found, wanted.map(|(envelope, body)| Carried { envelope, body }));
        assert_eq!(split(&[], &[], 0), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_is_no_record_is_refused() {
        let whole = [record(3), vec![7; 3]].concat();
        for end in 1..whole.len() {
            assert_eq!(split(&whole[..end], &[], 9), Err(SplitError::Truncated), "cut at {end}");
        }
        assert_eq!(split(&[&whole[..], &[0]].concat(), &[], 9), Err(SplitError::Envelope));
        assert_eq!(split(&whole.repeat(3), &[], 2), Err(SplitError::TooMany));
        let key = keyfile::keypair(&keyfile::Seed::new([1; 32]));
        assert_eq!(split(&envelope::seal(&key, "/covm/record", b"x"), &[], 9), Err(SplitError::Size));
        assert_eq!(split(&record(-1), &[], 9), Err(SplitError::Size));
        assert_eq!(split(&record(i128::from(u64::MAX)), &[], 9), Err(SplitError::Truncated));
        assert_eq!(split(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x01], &[], 9), Err(SplitError::Envelope));
    }
}
