//! What a message costs before it travels and after it came: its body's bytes and its envelope.

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use covm_core::{
    dagcbor::{self, Limits},
    envelope,
    identity::Keypair,
};
use ipld_core::ipld::Ipld;

use crate::owner::KIND;

/// With the two keys and the time beside it, a payload of 200 bytes.
const FILLING_BYTES: usize = 174;
const BATCH: usize = 256;

/// Bodies encoded and decoded, envelopes sealed and opened a second: one by one on one thread, then in batches.
pub fn codec(count: usize) -> String {
    let (limits, keypair) = (Limits::default(), Keypair::generate_ed25519());
    let body = body(&keypair);
    let encoded = dagcbor::encode(&body, &limits).expect("a body within the limits");
    let sealed = envelope::seal(&keypair, KIND, &encoded);
    let (bodies, envelopes) = (vec![encoded.clone(); BATCH], vec![sealed.clone(); BATCH]);
    let figures = [
        ("encode_per_s", per_s(count, || dagcbor::encode(&body, &limits).is_ok())),
        ("decode_per_s", per_s(count, || dagcbor::decode(&encoded, &limits).is_ok())),
        ("seal_per_s", per_s(count, || !envelope::seal(&keypair, KIND, &encoded).is_empty())),
        ("open_per_s", per_s(count, || envelope::open(KIND, &sealed).is_ok())),
        ("seal_batch_per_s", per_batch_s(count, || envelope::seal_many(&keypair, KIND, &bodies).len() == BATCH)),
        ("open_batch_per_s", per_batch_s(count, || envelope::open_many(KIND, &envelopes).iter().all(Result::is_ok))),
    ];
    let fields: Vec<String> = figures.iter().map(|(name, rate)| format!(r#""{name}":{rate:.0}"#)).collect();
    format!("{{{}}}", fields.join(","))
}

fn per_batch_s(count: usize, work: impl Fn() -> bool) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let size = BATCH as f64;
    per_s((count / BATCH).max(1), work) * size
}

fn per_s(count: usize, work: impl Fn() -> bool) -> f64 {
    let began = Instant::now();
    for _ in 0..count {
        assert!(black_box(work()), "every one succeeds");
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let rate = count as f64 / began.elapsed().as_secs_f64();
    rate
}

/// A message's body as the service writes it.
fn body(keypair: &Keypair) -> Ipld {
    let federation = Ipld::Link(dagcbor::cid_of(b"the federation"));
    let payload = BTreeMap::from([
        ("at_ns".to_owned(), Ipld::Integer(1_700_000_000_000_000_000)),
        ("filling".to_owned(), Ipld::Bytes(vec![7; FILLING_BYTES])),
    ]);
    Ipld::Map(BTreeMap::from([
        ("v".to_owned(), Ipld::Integer(1)),
        ("federation".to_owned(), federation),
        ("type".to_owned(), Ipld::String("benchmark.sample".to_owned())),
        ("author".to_owned(), Ipld::String(keypair.public().to_peer_id().to_base58())),
        ("incarnation".to_owned(), Ipld::List(vec![Ipld::Integer(1_700_000_000_000), Ipld::Bytes(vec![1; 8])])),
        ("seq".to_owned(), Ipld::Integer(1_000)),
        ("mid".to_owned(), Ipld::Bytes(vec![2; 16])),
        ("to".to_owned(), Ipld::Null),
        ("sent_at".to_owned(), Ipld::Integer(1_700_000_000_000)),
        ("expires_at".to_owned(), Ipld::Null),
        ("payload".to_owned(), Ipld::Map(payload)),
    ]))
}
