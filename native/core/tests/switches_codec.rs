//! Each defence of the codec and the envelopes, on and off: what it refuses passes once it is off, so the tests that
//! rely on it would fail without it. One test alone, because switches are process-wide.

#![cfg(feature = "switches")]

use covm_core::dagcbor::{self, DecodeReason, Limits};
use covm_core::envelope::{self, EnvelopeError};
use covm_core::keyfile::{Seed, keypair};
use covm_core::switches::{switch_off, switch_on};

const KIND: &str = "/covm/message";

fn without<R>(defence: &str, act: impl FnOnce() -> R) -> R {
    switch_off(defence).unwrap();
    let result = act();
    switch_on(defence).unwrap();
    result
}

#[test]
fn what_each_defence_refuses_passes_only_while_it_is_off() {
    a_link_with_bytes_after_its_cid();
    nesting_beyond_the_limit();
    an_envelope_framed_otherwise();
    an_envelope_of_another_kind();
    an_envelope_with_an_altered_payload();
}

fn a_link_with_bytes_after_its_cid() {
    let cid = [&[0][..], &dagcbor::cid_of(b"x").to_bytes(), b"!"].concat();
    let link = [&[0xd8, 0x2a, 0x58, cid.len() as u8][..], &cid].concat();
    let decode = || dagcbor::decode(&link, &Limits::default());
    assert_eq!(decode().unwrap_err().reason, DecodeReason::Link);
    assert!(without("dagcbor_canonical", decode).is_ok());
}

fn nesting_beyond_the_limit() {
    let nested = [vec![0x81; 100], vec![0xf6]].concat();
    let decode = || dagcbor::decode(&nested, &Limits::default());
    assert_eq!(decode().unwrap_err().reason, DecodeReason::Depth);
    assert!(without("dagcbor_depth", decode).is_ok());
}

fn an_envelope_framed_otherwise() {
    let framed = [&envelope::seal(&keypair(&Seed::new([1; 32])), KIND, b"hello")[..], &[0x32, 0x00]].concat();
    let open = || envelope::open(KIND, &framed);
    assert_eq!(open(), Err(EnvelopeError::NotCanonical));
    assert!(without("envelope_canonical", open).is_ok());
}

fn an_envelope_of_another_kind() {
    let other = envelope::seal(&keypair(&Seed::new([1; 32])), "/covm/credential", b"hello");
    let open = || envelope::open(KIND, &other);
    assert_eq!(open(), Err(EnvelopeError::WrongKind));
    assert_eq!(without("envelope_kind", open).unwrap().1, b"hello");
}

fn an_envelope_with_an_altered_payload() {
    let key = keypair(&Seed::new([1; 32]));
    let mut altered = envelope::seal(&key, KIND, b"hello");
    let at = altered.windows(5).position(|window| window == b"hello").unwrap();
    altered[at] = b'j';
    let open = || envelope::open(KIND, &altered);
    assert_eq!(open(), Err(EnvelopeError::BadSignature));
    assert_eq!(without("envelope_signature", open), Ok((key.public().to_peer_id(), b"jello".to_vec())));
}
