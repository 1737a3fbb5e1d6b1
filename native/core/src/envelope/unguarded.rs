//! Opening with a defence switched off. Compiled only for tests of the defences: libp2p's envelope gives its payload to
//! nobody who does not name the right kind and hold the right signature, so what is let through is read from the bytes.

use libp2p::core::SignedEnvelope;
use libp2p::identity::PublicKey;

use super::{EnvelopeError, Opened, read};
use crate::switches::{Defence, on};

pub(super) fn open(envelope: &SignedEnvelope, payload_type: &str, bytes: &[u8]) -> Opened {
    let [key, kind, payload] = fields(bytes).ok_or(EnvelopeError::Malformed)?;
    if on(Defence::EnvelopeKind) && kind != payload_type.as_bytes() {
        return Err(EnvelopeError::WrongKind);
    }
    if on(Defence::EnvelopeSignature) {
        let kind = std::str::from_utf8(kind).map_err(|_| EnvelopeError::WrongKind)?;
        return read(envelope, kind);
    }
    let key = PublicKey::try_decode_protobuf(key).map_err(|_| EnvelopeError::KeyType)?;
    Ok((key.to_peer_id(), payload.to_vec()))
}

/// The fields public key, payload type and payload of a canonically encoded envelope.
fn fields(mut bytes: &[u8]) -> Option<[&[u8]; 3]> {
    let mut found = [&[][..]; 3];
    while let [tag, rest @ ..] = bytes {
        let (length, rest) = varint(rest)?;
        let field = rest.get(..length)?;
        if let Some(slot) = usize::from(tag >> 3).checked_sub(1).and_then(|number| found.get_mut(number)) {
            *slot = field;
        }
        bytes = &rest[length..];
    }
    Some(found)
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((value, &bytes[last + 1..]))
}
