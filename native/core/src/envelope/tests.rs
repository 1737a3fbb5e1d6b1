//! What an envelope promises, and every way to break it.

use super::*;

const KIND: &str = "/covm/message";

fn key() -> Keypair {
    Keypair::ed25519_from_bytes([1; 32]).unwrap()
}

#[test]
fn what_is_sealed_opens_with_its_author_and_payload() {
    let sealed = seal(&key(), KIND, b"hello");
    assert_eq!(open(KIND, &sealed), Ok((key().public().to_peer_id(), b"hello".to_vec())));
    assert_eq!(sealed, seal(&key(), KIND, b"hello"));
    assert!(open(KIND, &seal(&key(), KIND, b"")).is_ok());
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let sealed = seal(&key(), KIND, b"hello");
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(KIND, &altered).is_err(), "bit {bit}");
    }
    for cut in 0..sealed.len() {
        assert!(open(KIND, &sealed[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn the_same_envelope_framed_otherwise_is_not_canonical() {
    let sealed = seal(&key(), KIND, b"hello");
    let kind_at = 2 + 36;
    let payload_at = kind_at + 2 + KIND.len();
    let (head, kind, rest) = (&sealed[..kind_at], &sealed[kind_at..payload_at], &sealed[payload_at..]);
    let unknown_field: &[u8] = &[0x32, 0x01, 0x00];
    let longer_length = [&[0x0a, 0xa4, 0x00], &head[2..]].concat();
    for other in [
        [kind, head, rest].concat(),
        [&sealed[..], kind].concat(),
        [&sealed[..], unknown_field].concat(),
        [&longer_length[..], kind, rest].concat(),
        [head, head, kind, rest].concat(),
    ] {
        assert_eq!(open(KIND, &other), Err(EnvelopeError::NotCanonical));
    }
}

#[test]
fn another_kind_or_domain_is_refused() {
    let sealed = seal(&key(), "/covm/record", b"hello");
    assert_eq!(open(KIND, &sealed), Err(EnvelopeError::WrongKind));
    let elsewhere = SignedEnvelope::new(&key(), "libp2p-peer-record".into(), KIND.into(), b"hello".to_vec()).unwrap();
    assert_eq!(open(KIND, &elsewhere.into_protobuf_encoding()), Err(EnvelopeError::BadSignature));
}

#[test]
fn a_key_that_is_not_ed25519_and_a_missing_one_are_refused() {
    let sealed = seal(&key(), KIND, b"hello");
    let mut secp256k1 = sealed.clone();
    secp256k1[3] = 2;
    assert_eq!(open(KIND, &secp256k1), Err(EnvelopeError::KeyType));
    assert_eq!(open(KIND, &sealed[2 + 36..]), Err(EnvelopeError::KeyType));
    assert_eq!(open(KIND, b""), Err(EnvelopeError::KeyType));
}

#[test]
fn bytes_that_are_no_envelope_and_bytes_beyond_the_limit_are_told_apart() {
    assert_eq!(open(KIND, &[0xff; 100]), Err(EnvelopeError::Malformed));
    let large = seal(&key(), KIND, &vec![0; limits::ENVELOPE_BYTES]);
    assert_eq!(open(KIND, &large), Err(EnvelopeError::TooLarge));
    let full = vec![0; limits::ENVELOPE_BYTES - 1024];
    assert!(open(KIND, &seal(&key(), KIND, &full)).is_ok());
}

#[test]
fn a_batch_gives_each_envelope_its_own_answer_in_order_whatever_its_size() {
    for count in [0usize, 1, 7, 8, 9, 100, 257] {
        let payloads: Vec<Vec<u8>> = (0..count).map(|n| n.to_be_bytes().repeat(n)).collect();
        let mut sealed = seal_many(&key(), KIND, &payloads);
        assert_eq!(sealed.len(), count);
        if let Some(middle) = sealed.get_mut(count / 2) {
            *middle.last_mut().unwrap() ^= 1;
        }
        let opened = open_many(KIND, &sealed);
        assert_eq!(opened.len(), count);
        for (n, (opened, payload)) in opened.into_iter().zip(payloads).enumerate() {
            let expected = Ok((key().public().to_peer_id(), payload));
            assert_eq!(opened, if n == count / 2 { Err(EnvelopeError::BadSignature) } else { expected });
        }
    }
}
