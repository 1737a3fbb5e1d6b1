//! Every rule of the codec, by example.

use super::*;
use std::collections::BTreeMap;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn refused(text: &str) -> DecodeReason {
    refused_bytes(&unhex(text))
}

fn refused_bytes(bytes: &[u8]) -> DecodeReason {
    let error = validate(bytes, &Limits::default()).expect_err("must be refused");
    assert_eq!(decode(bytes, &Limits::default()), Err(error), "the checks and the decoder disagree");
    assert!(error.offset <= bytes.len());
    error.reason
}

fn accepted(text: &str) -> Ipld {
    let bytes = unhex(text);
    let value = decode(&bytes, &Limits::default()).expect("must be accepted");
    assert_eq!(encode(&value, &Limits::default()).unwrap(), bytes);
    assert_eq!(serde_ipld_dagcbor::to_vec(&value).unwrap(), bytes, "the crate writes it otherwise");
    value
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = vec![0x81; depth];
    bytes.push(0xf6);
    bytes
}

const LINK: &str = "d82a5825 00 01711220 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

#[test]
fn integers_are_accepted_in_their_shortest_form_from_i64_min_to_u64_max() {
    for (text, value) in [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("18ff", 255),
        ("190100", 256),
        ("19ffff", 65_535),
        ("1a00010000", 65_536),
        ("1affffffff", 4_294_967_295),
        ("1b0000000100000000", 4_294_967_296),
        ("1bffffffffffffffff", i128::from(u64::MAX)),
        ("20", -1),
        ("3818", -25),
        ("3b7fffffffffffffff", i128::from(i64::MIN)),
    ] {
        assert_eq!(accepted(text), Ipld::Integer(value), "{text}");
    }
}

#[test]
fn longer_forms_of_integers_and_lengths_are_refused() {
    for text in [
        "1800",
        "1817",
        "190017",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "3800",
        "3900ff",
        "5800",
        "580141",
        "780161",
        "79000161",
        "9800",
        "9800",
        "980100",
        "990001f6",
        "b800",
        "b8016161f6",
        "a1780161f6",
        "a179000161f6",
        "d9002a5825000171122000",
        "da0000002a4100",
    ] {
        assert_eq!(refused(text), DecodeReason::NotMinimal, "{text}");
    }
}

#[test]
fn indefinite_lengths_are_refused_even_where_the_crate_takes_them() {
    for text in ["5f4161ff", "7f6161ff", "9fff", "bfff", "9f01ff", "a17f6161fff6", "1c", "3f", "ff", "fc", "81ff"] {
        let reason = refused(text);
        assert!(matches!(reason, DecodeReason::Indefinite | DecodeReason::Simple), "{text}: {reason:?}");
    }
    // A map key and a CID in chunks: the crate alone would accept both.
    let key = unhex("a17f6161fff6");
    assert!(serde_ipld_dagcbor::from_slice::<Ipld>(&key).is_ok());
    let link = unhex("d82a5f 41 00 5824 017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae ff");
    assert!(serde_ipld_dagcbor::from_slice::<Ipld>(&link).is_ok());
    assert_eq!(refused_bytes(&link), DecodeReason::Indefinite);
}

#[test]
fn floats_are_refused_in_every_width_and_on_the_way_out() {
    for text in ["f90000", "fa3fc00000", "fb3ff8000000000000", "fb7ff8000000000000", "81fb3ff0000000000000"] {
        assert_eq!(refused(text), DecodeReason::Float, "{text}");
    }
    let price = Ipld::Map(BTreeMap::from([("price".into(), Ipld::Float(1.5))]));
    let message = Ipld::Map(BTreeMap::from([("options".into(), Ipld::List(vec![Ipld::Null, price]))]));
    let error = encode(&message, &Limits::default()).unwrap_err();
    assert_eq!((error.reason.clone(), error.path().as_str()), (EncodeReason::Float, "options[1].price"));
}

#[test]
fn of_simple_values_only_three_are_accepted() {
    assert_eq!(accepted("f4"), Ipld::Bool(false));
    assert_eq!(accepted("f5"), Ipld::Bool(true));
    assert_eq!(accepted("f6"), Ipld::Null);
    for text in ["f7", "e0", "f3", "f818", "f8ff", "f800"] {
        assert_eq!(refused(text), DecodeReason::Simple, "{text}");
    }
}

#[test]
fn map_keys_are_text_sorted_by_length_then_bytes_and_unique() {
    accepted("a0");
    accepted("a3 6162 01 626161 02 626162 03");
    assert_eq!(refused("a2 626161 02 6162 01"), DecodeReason::KeyOrder);
    assert_eq!(refused("a2 626162 02 626161 01"), DecodeReason::KeyOrder);
    assert_eq!(refused("a2 6161 01 6161 02"), DecodeReason::KeyDuplicate);
    assert_eq!(refused("a1 01 02"), DecodeReason::KeyType);
    assert_eq!(refused("a1 4161 02"), DecodeReason::KeyType);
    assert_eq!(refused("a1 61ff 02"), DecodeReason::Utf8);
}

#[test]
fn a_link_is_tag_42_around_a_canonical_cid_and_never_bytes() {
    assert!(matches!(accepted(LINK), Ipld::Link(cid) if cid == cid_of(b"foo")));
    let version_0 = "d82a5823 00 1220 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    assert!(matches!(accepted(version_0), Ipld::Link(_)));
    // The same bytes without the tag stay bytes.
    assert!(matches!(accepted(&LINK[4..]), Ipld::Bytes(_)));
    for (text, reason) in [
        (
            "d82a5826 00 01711220 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae 00",
            DecodeReason::Link,
        ),
        ("d82a5826 00 0171922000 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", DecodeReason::Link),
        ("d82a5825 01 01711220 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", DecodeReason::Link),
        ("d82a40", DecodeReason::Link),
        ("d82a4100", DecodeReason::Link),
        ("d82a6100", DecodeReason::Link),
        ("d82af6", DecodeReason::Link),
        ("d82a", DecodeReason::Truncated),
        ("c11a514b67b0", DecodeReason::Tag),
        ("c2420100", DecodeReason::Tag),
        ("c249010000000000000000", DecodeReason::Tag),
        ("d82b4100", DecodeReason::Tag),
    ] {
        assert_eq!(refused(text), reason, "{text}");
    }
}

#[test]
fn integers_below_i64_min_are_refused() {
    for text in ["3b8000000000000000", "3bffffffffffffffff"] {
        assert_eq!(refused(text), DecodeReason::IntegerRange, "{text}");
    }
    let below = Ipld::Integer(i128::from(i64::MIN) - 1);
    assert_eq!(encode(&below, &Limits::default()).unwrap_err().reason, EncodeReason::IntegerRange);
}

#[test]
fn truncated_and_trailing_bytes_are_refused_at_every_cut() {
    let whole = unhex(&format!("a2 6161 83 01 {LINK} 20 626262 6461626364"));
    accepted(&format!("a2 6161 83 01 {LINK} 20 626262 6461626364"));
    for cut in 0..whole.len() {
        assert_eq!(refused_bytes(&whole[..cut]), DecodeReason::Truncated, "cut at {cut}");
    }
    let error = validate(&[&whole[..], &[0xf6]].concat(), &Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError { reason: DecodeReason::Trailing, offset: whole.len() });
}

#[test]
fn depth_is_accepted_up_to_the_limit_and_refused_beyond_whatever_the_size() {
    let limit = Limits::default().depth;
    assert!(decode(&nested(limit), &Limits::default()).is_ok());
    assert_eq!(refused_bytes(&nested(limit + 1)), DecodeReason::Depth);
    assert_eq!(refused_bytes(&nested(1_000_000)), DecodeReason::Depth);
    let deep = (0..=limit).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
    assert_eq!(encode(&deep, &Limits::default()).unwrap_err().reason, EncodeReason::Depth(limit));
}

#[test]
fn a_container_that_claims_more_than_its_bytes_can_hold_is_refused_on_its_head() {
    assert_eq!(refused("9affffffff"), DecodeReason::Entries);
    assert_eq!(refused("bbffffffffffffffff"), DecodeReason::Entries);
    assert_eq!(refused("99fffff6"), DecodeReason::Truncated);
    assert_eq!(refused("5bffffffffffffffff00"), DecodeReason::Truncated);
    assert_eq!(refused("7affffffff61"), DecodeReason::Truncated);
}

#[test]
fn keys_entries_items_and_size_are_bounded_both_ways() {
    let limits = Limits { size_bytes: 40, depth: 4, key_bytes: 3, entries: 4, items: 8 };
    let key = |length: usize| Ipld::Map(BTreeMap::from([("k".repeat(length), Ipld::Null)]));
    let list = |length: usize| Ipld::List(vec![Ipld::Null; length]);
    for (good, bad, inbound, outbound) in [
        (key(3), key(4), DecodeReason::KeyLength, EncodeReason::KeyLength(3)),
        (list(4), list(5), DecodeReason::Entries, EncodeReason::Entries(4)),
        (
            Ipld::List(vec![list(3), list(2)]),
            Ipld::List(vec![list(3), list(3)]),
            DecodeReason::Items,
            EncodeReason::Items(8),
        ),
        (Ipld::Bytes(vec![0; 38]), Ipld::Bytes(vec![0; 39]), DecodeReason::TooLarge, EncodeReason::TooLarge(40)),
    ] {
        let bytes = encode(&good, &limits).unwrap();
        assert_eq!(decode(&bytes, &limits).unwrap(), good);
        assert_eq!(encode(&bad, &limits).unwrap_err().reason, outbound);
        let bytes = encode(&bad, &Limits::default()).unwrap();
        assert_eq!(validate(&bytes, &limits).unwrap_err().reason, inbound);
    }
}

#[test]
fn an_encoder_refuses_keys_out_of_order_or_twice() {
    let limits = Limits::default();
    for second in ["a", "b", "", "bb"] {
        let mut encoder = Encoder::new(&limits);
        encoder.begin_map(2).unwrap();
        encoder.key("bb").unwrap();
        encoder.null().unwrap();
        assert_eq!(encoder.key(second), Err(EncodeReason::KeyOrder), "{second:?}");
    }
}

#[test]
fn a_path_quotes_keys_that_are_no_plain_names() {
    let error = EncodeError::from(EncodeReason::Float);
    let error = error.within(Step::Key("a.b\n".into())).within(Step::Index(3)).within(Step::Key("x".into()));
    assert_eq!(error.path(), r#"x[3]["a.b\n"]"#);
}

#[test]
fn the_id_of_bytes_is_the_cid_that_any_ipld_tool_computes() {
    assert_eq!(cid_of(&unhex("a0")).to_string(), "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua");
}
