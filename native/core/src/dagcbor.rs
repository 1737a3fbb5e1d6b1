//! Strict DAG-CBOR: one value has one encoding, and nothing else is accepted.
//!
//! Decoding goes in two steps. [`validate`] walks the bytes once, without allocating, and holds them to every rule and
//! limit: shortest integers and lengths, no indefinite lengths, map keys that are text, sorted by length and then by
//! bytes, without duplicates, no floats, no tag but 42 around a canonical CID, integers from -2^63 to 2^64-1, valid
//! UTF-8, and the bounds of [`Limits`]. Only then does [`decode_with`] let `serde_ipld_dagcbor` drive the caller's
//! seed, so that values (Python's, or [`Ipld`]) are built directly, in one pass, from bytes that are already known to
//! be good. The crate is strict as well, but not quite: it takes map keys and CIDs of indefinite length, bytes after a
//! CID, and integers down to -2^64.
//!
//! Source: <https://ipld.io/specs/codecs/dag-cbor/spec/>.

mod encode;
mod scan;

use cid::multihash::Multihash;
use ipld_core::ipld::Ipld;
use serde::Deserialize;
use serde::de::DeserializeSeed;
use sha2::{Digest, Sha256};

pub use cid::Cid;
pub use encode::{EncodeError, EncodeReason, Encoder, Step, encode, key_order};

use crate::limits;
use crate::switches::{Defence, on};

/// The multicodec of DAG-CBOR, as a CID names it.
pub const DAG_CBOR: u64 = 0x71;
/// The multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// How much a document may hold. The default is what the wire allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole document.
    pub size_bytes: usize,
    /// Containers within containers.
    pub depth: usize,
    /// Bytes of one map key.
    pub key_bytes: usize,
    /// Entries of one list or map.
    pub entries: usize,
    /// Data items in all, keys and containers included.
    pub items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes: limits::DAGCBOR_BYTES,
            depth: limits::DAGCBOR_DEPTH,
            key_bytes: limits::DAGCBOR_KEY_BYTES,
            entries: limits::DAGCBOR_ENTRIES,
            items: limits::DAGCBOR_ITEMS,
        }
    }
}

/// Which rule a document broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeReason {
    /// The document is larger than the limit.
    #[error("the document is too large")]
    TooLarge,
    /// The bytes end before the value does.
    #[error("the bytes end before the value does")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Trailing,
    /// An integer or length is not in its shortest form.
    #[error("an integer or length is not in its shortest form")]
    NotMinimal,
    /// A length is indefinite, or a head is a reserved one.
    #[error("indefinite lengths and reserved heads are not allowed")]
    Indefinite,
    /// A float.
    #[error("floats are not allowed; use integers in minor units")]
    Float,
    /// A simple value other than false, true and null.
    #[error("of the simple values only false, true and null are allowed")]
    Simple,
    /// A tag other than 42.
    #[error("of the tags only 42, a link, is allowed")]
    Tag,
    /// Tag 42 around anything but a zero byte and a canonical CID.
    #[error("a link does not hold one canonical CID")]
    Link,
    /// A negative integer below -2^63.
    #[error("an integer is below -2^63")]
    IntegerRange,
    /// Text that is not UTF-8.
    #[error("a text is not valid UTF-8")]
    Utf8,
    /// A map key that is not text.
    #[error("a map key is not text")]
    KeyType,
    /// A map key longer than the limit.
    #[error("a map key is too long")]
    KeyLength,
    /// Map keys out of order.
    #[error("map keys are not sorted by length and then by bytes")]
    KeyOrder,
    /// The same map key twice.
    #[error("a map key occurs twice")]
    KeyDuplicate,
    /// Containers nest deeper than the limit.
    #[error("lists and maps are nested too deep")]
    Depth,
    /// A list or map has more entries than the limit.
    #[error("a list or map has too many entries")]
    Entries,
    /// The document has more data items than the limit.
    #[error("the document has too many items")]
    Items,
    /// The builder that was handed in could not take the value.
    #[error("the value could not be built")]
    Build,
}

impl DecodeReason {
    /// A stable snake_case name, for counters and test vectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::Trailing => "trailing",
            Self::NotMinimal => "not_minimal",
            Self::Indefinite => "indefinite",
            Self::Float => "float",
            Self::Simple => "simple",
            Self::Tag => "tag",
            Self::Link => "link",
            Self::IntegerRange => "integer_range",
            Self::Utf8 => "utf8",
            Self::KeyType => "key_type",
            Self::KeyLength => "key_length",
            Self::KeyOrder => "key_order",
            Self::KeyDuplicate => "key_duplicate",
            Self::Depth => "depth",
            Self::Entries => "entries",
            Self::Items => "items",
            Self::Build => "build",
        }
    }

    /// Whether the rule only says how a value is spelled, not how large it may be.
    const fn is_spelling(self) -> bool {
        matches!(
            self,
            Self::NotMinimal
                | Self::Indefinite
                | Self::Link
                | Self::IntegerRange
                | Self::KeyOrder
                | Self::KeyDuplicate
                | Self::Trailing
        )
    }

    /// Whether the defence that stands for this rule was switched off by a test.
    fn is_waived(self) -> bool {
        (self.is_spelling() && !on(Defence::DagcborCanonical)) || (self == Self::Depth && !on(Defence::DagcborDepth))
    }
}

/// A document was refused: which rule, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical DAG-CBOR: {reason} (at byte {offset})")]
pub struct DecodeError {
    /// The rule.
    pub reason: DecodeReason,
    /// The offset in bytes at which it was found broken; 0 for [`DecodeReason::Build`].
    pub offset: usize,
}

/// Checks that `bytes` are one canonical document within `limits`, allocating nothing.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    scan::scan(bytes, limits)
}

/// Validates `bytes` and builds a value from them with `seed`, which sees nothing of a document that breaks a rule.
///
/// The seed should ask its deserializer for `deserialize_any` and meets: unit or none, bool, u64, i64, borrowed str,
/// borrowed bytes, seq, map, and a newtype struct around bytes (without the leading zero) for a link. Size hints are
/// exact and within the limits.
///
/// # Errors
/// The first rule that is broken, or [`DecodeReason::Build`] when the seed refuses.
pub fn decode_with<'de, S>(bytes: &'de [u8], limits: &Limits, seed: S) -> Result<S::Value, DecodeError>
where
    S: DeserializeSeed<'de>,
{
    match validate(bytes, limits) {
        Err(error) if !error.reason.is_waived() => return Err(error),
        _ => {}
    }
    let mut deserializer = serde_ipld_dagcbor::de::Deserializer::from_slice(bytes);
    let refused = DecodeError { reason: DecodeReason::Build, offset: 0 };
    seed.deserialize(&mut deserializer).map_err(|_| refused)
}

/// Decodes a document into an [`Ipld`] tree, for Rust callers.
///
/// # Errors
/// As [`decode_with`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Ipld, DecodeError> {
    struct Tree;
    impl<'de> DeserializeSeed<'de> for Tree {
        type Value = Ipld;
        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Ipld, D::Error> {
            Ipld::deserialize(deserializer)
        }
    }
    decode_with(bytes, limits, Tree)
}

/// The CIDv1 (dag-cbor, sha2-256) of encoded bytes: the id of what they say.
#[must_use]
pub fn cid_of(bytes: &[u8]) -> Cid {
    let digest = Sha256::digest(bytes);
    let hash = Multihash::wrap(SHA2_256, &digest).expect("a SHA-256 digest fits into a multihash of 64 bytes");
    Cid::new_v1(DAG_CBOR, hash)
}

/// Reads a CID (version 0 or 1) that is spelled canonically, with nothing after it.
#[must_use]
pub fn cid_from_bytes(bytes: &[u8]) -> Option<Cid> {
    let mut rest = bytes;
    let cid = Cid::read_bytes(&mut rest).ok()?;
    (rest.is_empty() && cid.encoded_len() == bytes.len() && cid.to_bytes() == bytes).then_some(cid)
}

#[cfg(test)]
mod tests;
