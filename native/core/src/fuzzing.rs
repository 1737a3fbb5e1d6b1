//! What the fuzzers run: one function per decoder of bytes from outside, with the property it must keep.
//!
//! A target returns whether it accepted the input and panics if a property is broken. Both `native/core/fuzz`
//! (libFuzzer, nightly) and `tests/fuzz_stable.rs` (stable, seeded, part of `cargo test`) run the entries of
//! [`TARGETS`]; a new decoder is added by one function and one entry here, and its name in each of those.

use ipld_core::ipld::Ipld;
use libp2p::identity::Keypair;

use crate::addresses;
use crate::dagcbor::{self, Limits};
use crate::envelope::{self, EnvelopeError};
use crate::join::{self, Frame};
use crate::keyfile::{self, Seed};
use crate::records;
use crate::streams::frame::{FrameReader, append_frame};

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
    Target { name: "records", run: carried_records, corpus: records_corpus },
    Target { name: "keyfile", run: key_file, corpus: keyfile_corpus },
    Target { name: "frames", run: stream_frames, corpus: frames_corpus },
    Target { name: "join", run: join_frame, corpus: join_corpus },
    Target { name: "address", run: address, corpus: address_corpus },
];

/// The longest frame that [`stream_frames`] reads: small, so that mutated lengths fall on either side of it.
const FRAME_BYTES: usize = 1024;

/// Records of one input of [`carried_records`].
const RECORDS: usize = 16;

/// Bytes of a join frame's length prefix, which is read apart from the frame.
const JOIN_PREFIX: usize = 2;

/// The kind that [`signed_envelope`] opens.
const KIND: &str = "/covm/message";

/// An encrypted key file: making one anew would cost a tenth of a second in each fuzzer.
const ENCRYPTED_KEY: &str = "\
covm node key v2 (encrypted with a passphrase: keep both to yourself, mode 0600)
peer 12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV
argon2id memory_kib=65536 passes=3 lanes=1
salt 16a62f0eefbbe2d877181ab05c72427a
nonce 4444148b699eb370fb106f400a5436e3cb1b31b4d071932b
seed 754cad94955d9237ad56a80848260c78315fa14c8c641ea6df661b1daae1c87198e84503c220da0fd2f35c1f27703dcd
check 3c0d3e0e93d3f11f6c19b064b60573619b44e89351b89fe780e7593b784b56df
";

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

/// Records that come apart are, one behind the other, the bytes again.
pub fn carried_records(bytes: &[u8]) -> bool {
    let Some((bare, joined)) = bytes.split_first() else { return false };
    let Ok(found) = records::split(joined, &[*bare], RECORDS) else { return false };
    assert!(found.len() <= RECORDS);
    let again: Vec<u8> =
        found.iter().flat_map(|each| [each.envelope, each.body.unwrap_or(&[])]).flatten().copied().collect();
    assert_eq!(again, joined, "put together again, they are other bytes");
    true
}

/// What parses renders to the same bytes.
pub fn key_file(bytes: &[u8]) -> bool {
    match keyfile::parse(bytes) {
        Ok(content) => {
            assert_eq!(&content.render()[..], bytes, "a second spelling");
            true
        }
        Err(_) => false,
    }
}

/// However the bytes are cut, the same frames come out, and unfinished ones hold no more than what came.
pub fn stream_frames(bytes: &[u8]) -> bool {
    let (mut whole, mut cut) = (FrameReader::new(FRAME_BYTES), FrameReader::new(FRAME_BYTES));
    let (mut frames, mut frames_of_cut) = (Vec::new(), Vec::new());
    let result = whole.push(bytes, &mut frames);
    let (left, right) = bytes.split_at(bytes.len() / 3);
    let result_of_cut = cut.push(left, &mut frames_of_cut).and_then(|()| cut.push(right, &mut frames_of_cut));
    assert_eq!((&frames, result), (&frames_of_cut, result_of_cut), "the cut changes what is read");
    let mut again = Vec::new();
    for frame in &frames {
        append_frame(&mut again, frame);
    }
    assert!(bytes.starts_with(&again), "a frame is not what was sent");
    result.is_ok()
}

/// What parses encodes to the same bytes, behind its prefix.
pub fn join_frame(bytes: &[u8]) -> bool {
    match join::parse_frame(bytes) {
        Ok(frame) => {
            assert!(frame.encode().expect("what parses is within the limits").ends_with(bytes), "a second encoding");
            true
        }
        Err(_) => false,
    }
}

/// What is read as an address is written so that it reads the same.
pub fn address(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(parsed) = addresses::parse(text) else { return false };
    let peer = parsed.peer.map(|peer| format!("/p2p/{peer}")).unwrap_or_default();
    let again = addresses::parse(&format!("{}{peer}", parsed.transport));
    assert_eq!(again.as_ref(), Ok(&parsed), "written, it reads otherwise");
    true
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

fn records_corpus() -> Vec<Vec<u8>> {
    let record = |size: usize| {
        let header = Ipld::Map([("size".to_owned(), Ipld::Integer(size as i128))].into());
        let header = dagcbor::encode(&header, &Limits::default()).expect("within the limits");
        envelope::seal(&fuzz_key(), "/covm/record", &header)
    };
    let (large, none) = (record(40), record(0));
    [[&[0][..], &large, &[7; 40], &none].concat(), [&[0b01][..], &large, &large, &[7; 40]].concat(), vec![0]].to_vec()
}

fn keyfile_corpus() -> Vec<Vec<u8>> {
    let plain = (0..4).map(|fill| keyfile::render(&Seed::new([fill; 32])).to_vec());
    plain.chain([ENCRYPTED_KEY.as_bytes().to_vec()]).collect()
}

fn frames_corpus() -> Vec<Vec<u8>> {
    let sizes: [&[usize]; 4] = [&[1], &[3, 200, 1], &[FRAME_BYTES], &[40; 20]];
    let stream = |sizes: &[usize]| {
        let mut bytes = Vec::new();
        for size in sizes {
            append_frame(&mut bytes, &vec![7; *size]);
        }
        bytes
    };
    sizes.iter().map(|sizes| stream(sizes)).collect()
}

fn join_corpus() -> Vec<Vec<u8>> {
    let frames = [
        Frame::Hello(vec![7; 200]),
        Frame::Ready,
        Frame::refused("another federation, wärmer"),
        Frame::Talk(b"here is my invite".to_vec()),
    ];
    frames.iter().map(|frame| frame.encode().expect("within the limits")[JOIN_PREFIX..].to_vec()).collect()
}

fn address_corpus() -> Vec<Vec<u8>> {
    let peer = fuzz_key().public().to_peer_id();
    [
        format!("/ip4/203.0.113.5/tcp/9000/p2p/{peer}"),
        format!("/ip6/2001:db8::1/udp/9000/quic-v1/p2p/{peer}"),
        "/dns4/coop.example/tcp/443/wss".to_owned(),
        format!("/p2p/{peer}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}
