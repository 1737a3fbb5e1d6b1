//! Signed envelopes (libp2p RFC 0002): who says it, of which kind it is, and the bytes.
//!
//! The signing domain is [`DOMAIN`]; the payload type names the kind, as `/covm/message`, and one kind never passes for
//! another. An envelope has exactly one accepted encoding: it must re-encode to the bytes it came in, so that its id
//! cannot be varied by whoever carries it. Only Ed25519 keys are accepted.
//!
//! Source: <https://github.com/libp2p/specs/blob/master/RFC/0002-signed-envelopes.md>.

mod batch;
#[cfg(feature = "switches")]
mod unguarded;

use libp2p::core::SignedEnvelope;
use libp2p::core::signed_envelope::{DecodingError, ReadPayloadError};
use libp2p::identity::{KeyType, Keypair};

pub use batch::{open_many, seal_many};
pub use libp2p::PeerId;

use crate::limits;
use crate::switches::{Defence, on};

/// The domain that separates our signatures from any other use of the same key.
pub const DOMAIN: &str = "covm-federation-v1";

/// Why an envelope was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than [`limits::ENVELOPE_BYTES`]; nothing of it was read.
    #[error("the envelope is larger than {} bytes", limits::ENVELOPE_BYTES)]
    TooLarge,
    /// Not an envelope at all.
    #[error("the bytes are not a signed envelope")]
    Malformed,
    /// An envelope that does not re-encode to the same bytes.
    #[error("the envelope is not in its one canonical encoding")]
    NotCanonical,
    /// Of another kind than was asked for.
    #[error("the envelope is of another kind")]
    WrongKind,
    /// The signature does not verify in our domain.
    #[error("the signature does not verify in the domain {DOMAIN}")]
    BadSignature,
    /// The key is not a valid Ed25519 key.
    #[error("the envelope's key is not an Ed25519 key")]
    KeyType,
}

impl EnvelopeError {
    /// A stable snake_case name, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NotCanonical => "not_canonical",
            Self::WrongKind => "wrong_kind",
            Self::BadSignature => "bad_signature",
            Self::KeyType => "key_type",
        }
    }
}

/// What a good envelope says, and who says it.
pub type Opened = Result<(PeerId, Vec<u8>), EnvelopeError>;

/// Signs `payload` as `payload_type` and wraps it. The same key, kind and payload always give the same bytes.
///
/// # Panics
/// If `keypair` is not an Ed25519 key, which nodes never have.
#[must_use]
pub fn seal(keypair: &Keypair, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    assert_eq!(keypair.key_type(), KeyType::Ed25519, "nodes sign with Ed25519");
    SignedEnvelope::new(keypair, DOMAIN.to_owned(), payload_type.into(), payload.to_vec())
        .expect("Ed25519 signs every message")
        .into_protobuf_encoding()
}

/// Opens an envelope that must be of kind `payload_type`: its author's peer id, and the payload.
///
/// # Errors
/// The first check that fails, cheapest first: size, form, kind, signature.
pub fn open(payload_type: &str, bytes: &[u8]) -> Opened {
    if bytes.len() > limits::ENVELOPE_BYTES {
        return Err(EnvelopeError::TooLarge);
    }
    let envelope = SignedEnvelope::from_protobuf_encoding(bytes).map_err(|error| match error {
        DecodingError::InvalidEnvelope(_) => EnvelopeError::Malformed,
        DecodingError::InvalidPublicKey(_) | DecodingError::MissingPublicKey => EnvelopeError::KeyType,
    })?;
    if on(Defence::EnvelopeCanonical) && envelope.clone().into_protobuf_encoding() != bytes {
        return Err(EnvelopeError::NotCanonical);
    }
    #[cfg(feature = "switches")]
    if !on(Defence::EnvelopeKind) || !on(Defence::EnvelopeSignature) {
        return unguarded::open(&envelope, payload_type, bytes);
    }
    read(&envelope, payload_type)
}

fn read(envelope: &SignedEnvelope, payload_type: &str) -> Opened {
    let (payload, key) =
        envelope.payload_and_signing_key(DOMAIN.to_owned(), payload_type.as_bytes()).map_err(|error| match error {
            ReadPayloadError::InvalidSignature => EnvelopeError::BadSignature,
            ReadPayloadError::UnexpectedPayloadType { .. } => EnvelopeError::WrongKind,
        })?;
    if key.key_type() != KeyType::Ed25519 {
        return Err(EnvelopeError::KeyType);
    }
    Ok((key.to_peer_id(), payload.to_vec()))
}

#[cfg(test)]
mod tests;
