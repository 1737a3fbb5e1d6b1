//! The content of the test vectors.

use std::path::{Path, PathBuf};

use covm_core::dagcbor::{self, Limits};
use covm_core::did::did_key;
use covm_core::envelope::{self, DOMAIN};
use covm_core::keyfile::{Seed, keypair};

/// Valid documents: what each is, in CBOR's diagnostic notation, and its bytes in hex.
const VALID: &[(&str, &str)] = &[
    ("null", "f6"),
    ("false", "f4"),
    ("true", "f5"),
    ("0", "00"),
    ("23", "17"),
    ("24", "1818"),
    ("255", "18ff"),
    ("256", "190100"),
    ("65536", "1a00010000"),
    ("4294967296", "1b0000000100000000"),
    ("18446744073709551615", "1bffffffffffffffff"),
    ("-1", "20"),
    ("-25", "3818"),
    ("-9223372036854775808", "3b7fffffffffffffff"),
    ("\"\"", "60"),
    ("\"Bäckerei\"", "6942c3a4636b65726569"),
    ("h''", "40"),
    ("h'00ff'", "4200ff"),
    ("[]", "80"),
    ("[1, [2, [3]]]", "820182028103"),
    ("{}", "a0"),
    ("{\"b\": 1, \"aa\": 2, \"ab\": 3}", "a361620162616102626162 03"),
    ("{\"\": null, \"ä\": true}", "a260f662c3a4f5"),
    (
        "42(h'00017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae')",
        "d82a5825 00017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ),
    (
        "42(h'0012202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae')",
        "d82a5823 0012202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ),
];

/// Documents that must be refused: why that is easily missed, and their bytes in hex.
const INVALID: &[(&str, &str)] = &[
    ("no bytes", ""),
    ("a head without its argument", "19ff"),
    ("a text cut short", "6261"),
    ("a list of two with one entry", "8201"),
    ("a list that claims 2^32-1 entries", "9affffffff"),
    ("two values", "0000"),
    ("23 in two bytes", "1817"),
    ("255 in three bytes", "1900ff"),
    ("65535 in five bytes", "1a0000ffff"),
    ("2^32-1 in nine bytes", "1b00000000ffffffff"),
    ("-1 in two bytes", "3800"),
    ("a byte string with a longer length", "580100"),
    ("a text with a longer length", "780161"),
    ("a list with a longer length", "9800"),
    ("a map with a longer length", "b800"),
    ("a key with a longer length", "a1780161f6"),
    ("tag 42 in three bytes", "d9002a5825 00017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
    ("a byte string in chunks", "5f4161ff"),
    ("a text in chunks", "7f6161ff"),
    ("a list without length", "9f01ff"),
    ("a map without length", "bfff"),
    ("a key in chunks", "a17f6161fff6"),
    ("a link in chunks", "d82a5f41005824017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7aeff"),
    ("a break without a beginning", "ff"),
    ("a reserved head", "1c"),
    ("1.5 in half precision", "f93e00"),
    ("1.5 in single precision", "fa3fc00000"),
    ("1.5 in double precision", "fb3ff8000000000000"),
    ("not a number", "fb7ff8000000000000"),
    ("undefined", "f7"),
    ("a simple value", "e0"),
    ("false in two bytes", "f814"),
    ("-2^63-1", "3b8000000000000000"),
    ("a big integer", "c2420100"),
    ("a date", "c11a514b67b0"),
    ("a link to nothing", "d82a4100"),
    (
        "a link without the leading zero",
        "d82a5824 017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ),
    (
        "a link with a byte after its CID",
        "d82a5826 00017112202c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae00",
    ),
    ("a link around text", "d82a6100"),
    ("text that is not UTF-8", "61ff"),
    ("a surrogate in text", "63eda080"),
    ("an integer as key", "a10102"),
    ("bytes as key", "a1416102"),
    ("a longer key before a shorter", "a2626161016162 02"),
    ("keys of one length out of order", "a2616201616102"),
    ("a key twice", "a2616101616102"),
];

/// Each file, and what belongs into it.
pub fn files() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    vec![(directory.join("dagcbor.json"), dagcbor_json()), (directory.join("envelopes.json"), envelopes_json())]
}

fn dagcbor_json() -> String {
    let limits = Limits::default();
    let valid = VALID.iter().map(|(diagnostic, text)| {
        let bytes = unhex(text);
        dagcbor::validate(&bytes, &limits).unwrap_or_else(|error| panic!("{diagnostic}: {error}"));
        object(&[("diagnostic", diagnostic), ("hex", &hex(&bytes)), ("cid", &dagcbor::cid_of(&bytes).to_string())])
    });
    let too_deep = ("nested deeper than 32", format!("{}f6", "81".repeat(33)));
    let long_key = ("a key of 257 bytes", format!("a1790101{}f6", "61".repeat(257)));
    let invalid = INVALID.iter().map(|(about, text)| (*about, (*text).to_owned())).chain([too_deep, long_key]);
    let invalid = invalid.map(|(about, text)| {
        let bytes = unhex(&text);
        let error = dagcbor::validate(&bytes, &limits).expect_err(about);
        object(&[("description", about), ("hex", &hex(&bytes)), ("reason", error.reason.name())])
    });
    let about = "Canonical DAG-CBOR as covm accepts it. CIDs are version 1, dag-cbor, sha2-256 of the bytes. \
                 The reason is covm's name for the rule that is broken; others need only refuse.";
    document(about, &[("valid", valid.collect()), ("invalid", invalid.collect())])
}

fn envelopes_json() -> String {
    let message = unhex("a3 6176 01 62746f f6 64 74797065 63 612e62");
    let large: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
    let cases: [(u8, &str, &[u8]); 4] = [
        (0, "/covm/message", b""),
        (1, "/covm/message", &message),
        (2, "/covm/record", &message),
        (255, "/covm/credential", &large),
    ];
    let valid = cases.iter().map(|(fill, kind, payload)| {
        let seed = Seed::new([*fill; 32]);
        let key = keypair(&seed);
        let sealed = envelope::seal(&key, kind, payload);
        let public = key.public().try_into_ed25519().expect("an Ed25519 key");
        object(&[
            ("seed", &hex(&seed[..])),
            ("peer_id", &key.public().to_peer_id().to_base58()),
            ("did_key", &did_key(&public)),
            ("kind", kind),
            ("payload", &hex(payload)),
            ("envelope", &hex(&sealed)),
        ])
    });
    let invalid = broken_envelopes().into_iter().map(|(about, bytes)| {
        let error = envelope::open("/covm/message", &bytes).expect_err(about);
        object(&[
            ("description", about),
            ("kind", "/covm/message"),
            ("envelope", &hex(&bytes)),
            ("reason", error.name()),
        ])
    });
    let about = format!(
        "libp2p signed envelopes (RFC 0002) in the domain {DOMAIN}. The seed is the Ed25519 seed; kind is the payload \
         type; everything else is hex. Invalid ones must be refused when opened as the kind that is given."
    );
    document(&about, &[("valid", valid.collect()), ("invalid", invalid.collect())])
}

fn broken_envelopes() -> Vec<(&'static str, Vec<u8>)> {
    let key = keypair(&Seed::new([1; 32]));
    let good = envelope::seal(&key, "/covm/message", b"hello");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let payload_at = good.len() - 66 - 1;
    let kind_first = [&good[38..53], &good[..38], &good[53..]].concat();
    let longer_length = [&[0x0a, 0xa4, 0x00], &good[2..]].concat();
    vec![
        ("another kind", envelope::seal(&key, "/covm/record", b"hello")),
        ("a flipped bit in the payload", flipped(payload_at)),
        ("a flipped bit in the signature", flipped(good.len() - 1)),
        ("a flipped bit in the key's type", flipped(3)),
        ("an unknown field at the end", [&good[..], &[0x32, 0x00]].concat()),
        ("fields in another order", kind_first),
        ("a length with a needless byte", longer_length),
        ("the same field twice", [&good[..38], &good[..]].concat()),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("no bytes", Vec::new()),
    ]
}

fn document(about: &str, lists: &[(&str, Vec<String>)]) -> String {
    let lists = lists.iter().map(|(name, objects)| format!("  {}: [\n{}\n  ]", quote(name), objects.join(",\n")));
    format!("{{\n  \"about\": {},\n{}\n}}\n", quote(about), lists.collect::<Vec<_>>().join(",\n"))
}

fn object(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("      {}: {}", quote(name), quote(value)));
    format!("    {{\n{}\n    }}", fields.collect::<Vec<_>>().join(",\n"))
}

fn quote(text: &str) -> String {
    assert!(!text.contains(char::is_control), "the vectors need no control characters");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(pair).collect()
}
