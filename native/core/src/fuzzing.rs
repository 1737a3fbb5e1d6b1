//! What the fuzzers run: one function per decoder of bytes from outside, with the property it must keep.
//!
//! A target returns whether it accepted the input and panics if a property is broken. Both `native/core/fuzz`
//! (libFuzzer, nightly) and `tests/fuzz_stable.rs` (stable, seeded, part of `cargo test`) run the entries of
//! [`TARGETS`]; a new decoder is added by one function and one entry here, and its name in each of those.

use ipld_core::ipld::Ipld;
use libp2p::identity::Keypair;

use crate::dagcbor::{self, Limits};
use crate::envelope::{self, EnvelopeError};
use crate::keyfile::{self, Seed};

/// A decoder under test.
pub struct Target {
    /// Its name; the libFuzzer target has the same.
    pub name: &'static str,
    /// Runs the decoder and checks its properties; whether the input was accepted.
    pub run: fn(&[u8]) -> bool,
    /// Valid inputs from which mutation starts.
    pub corpus: fn() -> Vec<Vec<u8>>,
}

/// Every decoder.
pub const TARGETS: &[Target] = &[
    Target { name: "dagcbor", run: dagcbor_document, corpus: dagcbor_corpus },
    Target { name: "envelope", run: signed_envelope, corpus: envelope_corpus },
    Target { name: "keyfile", run: key_file, corpus: keyfile_corpus },
];

/// The kind that [`signed_envelope`] opens.
const KIND: &str = "/covm/message";

/// What decodes re-encodes to the same bytes; the checks, the whole decoding and the crate's own serializer agree.
pub fn dagcbor_document(bytes: &[u8]) -> bool {
    let limits = Limits::default();
    let checked = dagcbor::validate(bytes, &limits);
    match dagcbor::decode(bytes, &limits) {
        Ok(value) => {
            assert_eq!(checked, Ok(()), "decoded although the checks refuse it");
            assert_eq!(dagcbor::encode(&value, &limits).as_deref(), Ok(bytes), "a second encoding");
            assert_eq!(serde_ipld_dagcbor::to_vec(&value).expect("no floats"), bytes, "the crate writes it otherwise");
            true
        }
        Err(error) => {
            assert_eq!(checked, Err(error), "the checks accept what cannot be decoded");
            assert!(error.offset <= bytes.len());
            false
        }
    }
}

/// What opens is exactly what its author's key signs: no other bytes carry the same author, kind and payload.
pub fn signed_envelope(bytes: &[u8]) -> bool {
    match envelope::open(KIND, bytes) {
        Ok((peer, payload)) => {
            let again = fuzz_key();
            assert_eq!(peer, again.public().to_peer_id(), "opened an envelope that no key we have has signed");
            assert_eq!(envelope::seal(&again, KIND, &payload), bytes, "a second encoding");
            true
        }
        Err(EnvelopeError::TooLarge) => panic!("fuzz inputs are small"),
        Err(_) => false,
    }
}

/// What parses renders to the same bytes.
pub fn key_file(bytes: &[u8]) -> bool {
    match keyfile::parse(bytes) {
        Ok(seed) => {
            assert_eq!(&keyfile::render(&seed)[..], bytes, "a second spelling");
            true
        }
        Err(_) => false,
    }
}

fn fuzz_key() -> Keypair {
    keyfile::keypair(&Seed::new([7; 32]))
}

fn dagcbor_corpus() -> Vec<Vec<u8>> {
    let cid = dagcbor::cid_of(b"corpus");
    let integers = [
        0,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        4_294_967_295,
        4_294_967_296,
        i128::from(u64::MAX),
        -1,
        -25,
        i128::from(i64::MIN),
    ];
    let list = |values: Vec<Ipld>| Ipld::List(values);
    let map = |entries: Vec<(&str, Ipld)>| {
        Ipld::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let nested = (0..20)
        .fold(Ipld::Null, |inner, level| if level % 2 == 0 { list(vec![inner]) } else { map(vec![("in", inner)]) });
    let message = map(vec![
        ("v", Ipld::Integer(1)),
        ("to", Ipld::Null),
        ("mid", Ipld::Bytes(vec![9; 16])),
        ("type", Ipld::String("governance.proposal".into())),
        (
            "payload",
            map(vec![
                ("title", Ipld::String("Bäckerei".into())),
                ("options", list(vec![Ipld::Bool(true), Ipld::Bool(false)])),
            ]),
        ),
        ("previous", Ipld::Link(cid)),
    ]);
    let values = [
        Ipld::Null,
        Ipld::String(String::new()),
        Ipld::String("é".repeat(40)),
        Ipld::Bytes(vec![0; 300]),
        Ipld::Link(cid),
        list(integers.into_iter().map(Ipld::Integer).collect()),
        list(vec![Ipld::Null; 30]),
        Ipld::Map((0..30).map(|n| ("k".repeat(n + 1), Ipld::Integer(n as i128))).collect()),
        nested,
        message,
    ];
    values.iter().map(|value| dagcbor::encode(value, &Limits::default()).expect("within the limits")).collect()
}

fn envelope_corpus() -> Vec<Vec<u8>> {
    let payloads: [&[u8]; 4] = [b"", b"x", &[0; 200], &[0xff; 127]];
    payloads.iter().map(|payload| envelope::seal(&fuzz_key(), KIND, payload)).collect()
}

fn keyfile_corpus() -> Vec<Vec<u8>> {
    (0..4).map(|fill| keyfile::render(&Seed::new([fill; 32])).to_vec()).collect()
}
