//! Writing canonical DAG-CBOR.
//!
//! The heads are written here rather than by `serde_ipld_dagcbor`'s serializer: that one copies each map entry into a
//! buffer of its own at every level and loses the error of a nested value, which must name its path. That both write
//! the same bytes is tested, and fuzzed.

use std::cmp::Ordering;
use std::fmt;

use cid::Cid;
use ipld_core::ipld::Ipld;

use super::Limits;

/// The order of map keys in DAG-CBOR: by length, then by bytes.
#[inline]
#[must_use]
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// Why a value has no canonical encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeReason {
    /// The document would be larger than the limit.
    #[error("the document is larger than {0} bytes")]
    TooLarge(usize),
    /// Containers nest deeper than the limit, or contain themselves.
    #[error("lists and dictionaries are nested deeper than {0}")]
    Depth(usize),
    /// A list or map has more entries than the limit.
    #[error("a list or dictionary has more than {0} entries")]
    Entries(usize),
    /// The document has more items than the limit.
    #[error("the document has more than {0} items")]
    Items(usize),
    /// A key is longer than the limit.
    #[error("the key is longer than {0} bytes")]
    KeyLength(usize),
    /// Keys were written out of order, or twice.
    #[error("keys must be written once each, sorted by length and then by bytes")]
    KeyOrder,
    /// A key that is not text.
    #[error("keys must be text, not {0}")]
    KeyType(String),
    /// A float.
    #[error("floats are not allowed in signed content; use integers in minor units, or text")]
    Float,
    /// An integer outside -2^63..2^64-1.
    #[error("the integer is outside -2^63 to 2^64-1")]
    IntegerRange,
    /// Text that is not valid Unicode.
    #[error("the text is not valid Unicode (it has lone surrogates)")]
    Utf8,
    /// A value of another type.
    #[error("a value of type {0} has no encoding; use None, bool, int, str, bytes, list, tuple, dict or Link")]
    Type(String),
}

impl EncodeReason {
    /// A stable snake_case name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Depth(_) => "depth",
            Self::Entries(_) => "entries",
            Self::Items(_) => "items",
            Self::KeyLength(_) => "key_length",
            Self::KeyOrder => "key_order",
            Self::KeyType(_) => "key_type",
            Self::Float => "float",
            Self::IntegerRange => "integer_range",
            Self::Utf8 => "utf8",
            Self::Type(_) => "type",
        }
    }
}

/// One step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// An index of a list.
    Index(usize),
}

/// A value has no canonical encoding: why, and which value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    /// The rule.
    pub reason: EncodeReason,
    /// The steps to the value, innermost first: they are pushed while the error rises.
    steps: Vec<Step>,
}

impl From<EncodeReason> for EncodeError {
    fn from(reason: EncodeReason) -> Self {
        Self { reason, steps: Vec::new() }
    }
}

impl EncodeError {
    /// The same error, seen from the container that holds the value at `step`.
    #[must_use]
    pub fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The path to the value, as `payload.options[0].price`; empty for the outermost value. A key that is not a plain
    /// name is quoted, as `payload["a key"]`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) if !is_plain(key) => path.push_str(&format!("[{key:?}]")),
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
            }
        }
        path
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '-')
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path().as_str() {
            "" => write!(f, "{}", self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A container that is being written.
struct Open {
    /// The key written last, as a range of the output.
    last_key: Option<(usize, usize)>,
}

/// Writes one document, item by item, and refuses what [`super::validate`] would refuse.
///
/// A list is [`Encoder::begin_list`], its entries, [`Encoder::end`]; a map is [`Encoder::begin_map`], then for each
/// entry [`Encoder::key`] (in order) and a value, then [`Encoder::end`]. That as many entries are written as were
/// announced is the caller's duty.
pub struct Encoder<'a> {
    out: Vec<u8>,
    open: Vec<Open>,
    items: usize,
    limits: &'a Limits,
}

impl<'a> Encoder<'a> {
    /// An encoder for one document.
    #[must_use]
    pub fn new(limits: &'a Limits) -> Self {
        Self { out: Vec::with_capacity(256), open: Vec::new(), items: 0, limits }
    }

    /// The document.
    ///
    /// # Errors
    /// [`EncodeReason::TooLarge`] when its last heads took it beyond the limit.
    pub fn finish(self) -> Result<Vec<u8>, EncodeReason> {
        if self.out.len() > self.limits.size_bytes {
            return Err(EncodeReason::TooLarge(self.limits.size_bytes));
        }
        Ok(self.out)
    }

    #[inline]
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        match argument {
            0..24 => self.out.push(major | bytes[7]),
            24..0x100 => self.out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..0x1_0000 => self.out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
            0x1_0000..0x1_0000_0000 => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    /// Counts one item that brings `payload_bytes` besides its head.
    #[inline]
    fn count(&mut self, payload_bytes: usize) -> Result<(), EncodeReason> {
        self.items += 1;
        if self.items > self.limits.items {
            return Err(EncodeReason::Items(self.limits.items));
        }
        // Heads are left to `finish`: this check is here so that a large value is refused before it is copied.
        if self.out.len().saturating_add(payload_bytes) > self.limits.size_bytes {
            return Err(EncodeReason::TooLarge(self.limits.size_bytes));
        }
        Ok(())
    }

    /// Null.
    pub fn null(&mut self) -> Result<(), EncodeReason> {
        self.count(0)?;
        self.out.push(0xf6);
        Ok(())
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) -> Result<(), EncodeReason> {
        self.count(0)?;
        self.out.push(0xf4 + u8::from(value));
        Ok(())
    }

    /// An integer from 0 to 2^64-1.
    #[inline]
    pub fn unsigned(&mut self, value: u64) -> Result<(), EncodeReason> {
        self.count(0)?;
        self.head(0, value);
        Ok(())
    }

    /// An integer from -2^63 to 2^63-1.
    #[inline]
    pub fn signed(&mut self, value: i64) -> Result<(), EncodeReason> {
        self.count(0)?;
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_) => self.head(1, !value as u64),
        }
        Ok(())
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, value: &str) -> Result<(), EncodeReason> {
        self.count(value.len())?;
        self.head(3, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), EncodeReason> {
        self.count(value.len())?;
        self.head(2, value.len() as u64);
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// A link: tag 42 around a zero byte and the CID.
    pub fn link(&mut self, cid: &Cid) -> Result<(), EncodeReason> {
        let length = 1 + cid.encoded_len();
        self.count(2 + length)?;
        self.out.extend_from_slice(&[0xd8, 42]);
        self.head(2, length as u64);
        self.out.push(0);
        cid.write_bytes(&mut self.out).expect("a vector takes every write");
        Ok(())
    }

    /// Begins a list of `entries` values.
    pub fn begin_list(&mut self, entries: usize) -> Result<(), EncodeReason> {
        self.begin(4, entries)
    }

    /// Begins a map of `entries` keys and values.
    pub fn begin_map(&mut self, entries: usize) -> Result<(), EncodeReason> {
        self.begin(5, entries)
    }

    fn begin(&mut self, major: u8, entries: usize) -> Result<(), EncodeReason> {
        if self.open.len() >= self.limits.depth {
            return Err(EncodeReason::Depth(self.limits.depth));
        }
        if entries > self.limits.entries {
            return Err(EncodeReason::Entries(self.limits.entries));
        }
        self.count(0)?;
        self.head(major, entries as u64);
        self.open.push(Open { last_key: None });
        Ok(())
    }

    /// A key of the innermost map; a value must follow.
    #[inline]
    pub fn key(&mut self, key: &str) -> Result<(), EncodeReason> {
        if key.len() > self.limits.key_bytes {
            return Err(EncodeReason::KeyLength(self.limits.key_bytes));
        }
        self.text(key)?;
        let Some(open) = self.open.last_mut() else {
            return Err(EncodeReason::KeyOrder);
        };
        let end = self.out.len();
        let start = end - key.len();
        if let Some((from, to)) = open.last_key.replace((start, end)) {
            let last = &self.out[from..to];
            if (last.len(), last) >= (key.len(), key.as_bytes()) {
                return Err(EncodeReason::KeyOrder);
            }
        }
        Ok(())
    }

    /// Ends the innermost list or map.
    pub fn end(&mut self) {
        self.open.pop();
    }
}

/// Encodes an [`Ipld`] tree canonically, for Rust callers.
///
/// # Errors
/// The first value that has no canonical encoding within the limits, with its path.
pub fn encode(value: &Ipld, limits: &Limits) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::new(limits);
    write(&mut encoder, value)?;
    Ok(encoder.finish()?)
}

fn write(encoder: &mut Encoder<'_>, value: &Ipld) -> Result<(), EncodeError> {
    match value {
        Ipld::Null => encoder.null()?,
        Ipld::Bool(value) => encoder.bool(*value)?,
        Ipld::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
            (Ok(value), _) => encoder.unsigned(value)?,
            (_, Ok(value)) => encoder.signed(value)?,
            _ => return Err(EncodeReason::IntegerRange.into()),
        },
        Ipld::Float(_) => return Err(EncodeReason::Float.into()),
        Ipld::String(value) => encoder.text(value)?,
        Ipld::Bytes(value) => encoder.bytes(value)?,
        Ipld::Link(cid) => encoder.link(cid)?,
        Ipld::List(values) => {
            encoder.begin_list(values.len())?;
            for (index, value) in values.iter().enumerate() {
                write(encoder, value).map_err(|error| error.within(Step::Index(index)))?;
            }
            encoder.end();
        }
        Ipld::Map(values) => {
            let mut entries: Vec<_> = values.iter().collect();
            entries.sort_unstable_by(|(a, _), (b, _)| key_order(a, b));
            encoder.begin_map(entries.len())?;
            for (key, value) in entries {
                let entry = encoder.key(key).map_err(EncodeError::from).and_then(|()| write(encoder, value));
                entry.map_err(|error| error.within(Step::Key(key.clone())))?;
            }
            encoder.end();
        }
    }
    Ok(())
}
