//! The encrypted key file's story: shows whose it is to all, opens to who knows the passphrase, and tells what is wrong.

use sha2::{Digest, Sha256};
use std::fs;

use super::*;
use crate::keyfile::tests::{Directory, documented, mode};
use crate::keyfile::{Content, Peeked, create, load, parse, peek, render, set_passphrase};

const WORDS: &[u8] = b"correct horse battery staple";
const CHEAP: Cost = Cost { memory_kib: *limits::KEY_FILE_MEMORY_KIB.start(), passes: 1, lanes: 1 };

fn seed() -> Seed {
    Seed::new([0xab; 32])
}

fn sealed(cost: Cost) -> Zeroizing<Vec<u8>> {
    Sealed::seal(&seed(), WORDS, cost).unwrap().render()
}

fn read(content: &[u8]) -> Box<Sealed> {
    match parse(content) {
        Ok(Content::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
}

fn code(opened: Result<Seed, KeyFileProblem>) -> String {
    opened.map_or_else(|problem| format!("{problem:?}"), |_| "opened".to_owned())
}

/// The text with `from` made `to`, and a checksum that fits.
fn forged(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = str::from_utf8(text).unwrap();
    assert!(text.contains(from), "{text}");
    let body = text.split("check ").next().unwrap().replace(from, to);
    let check: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body}check {check}\n").into_bytes()
}

#[test]
fn the_documented_file_opens_with_the_documented_passphrase() {
    let documented = documented("v2");
    let content = read(documented.as_bytes());
    assert_eq!(content.render()[..], *documented.as_bytes());
    assert_eq!(content.cost, Cost::NEW);
    let plain = crate::keyfile::tests::documented("v1");
    assert_eq!(render(&content.open(WORDS).unwrap())[..], *plain.as_bytes());
}

#[test]
fn an_encrypted_key_shows_whose_it_is_and_opens_with_its_passphrase_alone() {
    let directory = Directory::new();
    let path = directory.path("home/identity.key");
    let created = create(&path, Some(WORDS)).unwrap();
    let peer = created.public().to_peer_id();
    assert_eq!((mode(&path), peek(&path).unwrap()), (0o600, Peeked { peer, is_encrypted: true }));
    assert_eq!(load(&path, Some(WORDS)).unwrap().public(), created.public());
    assert_eq!(load(&path, None).unwrap_err().code(), "passphrase_needed");
    for wrong in [&b"correct horse battery stapler"[..], b"", b"Correct horse battery staple"] {
        let error = load(&path, Some(wrong)).unwrap_err();
        assert_eq!(error.code(), "wrong_passphrase");
        assert!(!format!("{error} {error:?}").contains("orrect horse"), "{error}");
    }
    assert_eq!(create(&path, Some(WORDS)).unwrap_err().code(), "exists");
}

#[test]
fn the_same_key_is_never_written_twice_the_same() {
    let (one, other) = (sealed(CHEAP), sealed(CHEAP));
    assert_ne!(one[..], other[..]);
    let hex = "ab".repeat(32);
    assert!(!String::from_utf8(one.to_vec()).unwrap().contains(&hex), "the seed stands in the file");
    assert_eq!(read(&one).open(WORDS).unwrap(), read(&other).open(WORDS).unwrap());
}

#[test]
fn every_single_damaged_byte_and_every_cut_is_damage_and_no_wrong_passphrase() {
    let good = sealed(CHEAP);
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1;
        assert!(parse(&altered).is_err(), "byte {at}");
        assert!(parse(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(parse(&[&good[..], b"\n"].concat()).is_err());
}

#[test]
fn who_does_not_know_the_passphrase_can_change_nothing() {
    let good = sealed(CHEAP);
    let other = keypair(&Seed::new([4; 32])).public().to_peer_id().to_base58();
    let peer = keypair(&seed()).public().to_peer_id().to_base58();
    assert_eq!(code(read(&forged(&good, &peer, &other)).open(WORDS)), "WrongPassphrase");
    assert_eq!(code(read(&forged(&good, "passes=1", "passes=2")).open(WORDS)), "WrongPassphrase");
    let nonce = format!("nonce {:02x}", read(&good).nonce[0]);
    assert_eq!(code(read(&forged(&good, &nonce, "nonce 00")).open(WORDS)), "WrongPassphrase");
    // Even who knows it cannot pass one node's key off as another's.
    let mut swapped = Sealed::seal(&seed(), WORDS, CHEAP).unwrap();
    swapped.peer = other.parse().unwrap();
    let cipher = swapped.cipher(WORDS).unwrap();
    let mut bytes = seed();
    let tag = cipher.encrypt_in_place_detached(&swapped.nonce.into(), &swapped.head(), &mut bytes[..]).unwrap();
    swapped.sealed = [&bytes[..], &tag[..]].concat().try_into().unwrap();
    assert_eq!(code(read(&swapped.render()).open(WORDS)), "Damaged(Peer)");
}

#[test]
fn a_file_that_asks_for_too_much_or_too_little_is_refused_before_anything_is_spent() {
    let good = sealed(CHEAP);
    let cheap = "memory_kib=19456 passes=1 lanes=1";
    let refused = [
        "memory_kib=19455 passes=1 lanes=1",
        "memory_kib=262145 passes=1 lanes=1",
        "memory_kib=4294967295 passes=1 lanes=1",
        "memory_kib=19456 passes=0 lanes=1",
        "memory_kib=19456 passes=17 lanes=1",
        "memory_kib=19456 passes=1 lanes=0",
        "memory_kib=19456 passes=1 lanes=9",
    ];
    for cost in refused {
        assert_eq!(parse(&forged(&good, cheap, cost)).unwrap_err(), Damage::Cost, "{cost}");
    }
    for cost in ["memory_kib=262144 passes=16 lanes=8", "memory_kib=19456 passes=1 lanes=8"] {
        assert!(parse(&forged(&good, cheap, cost)).is_ok(), "{cost}");
    }
    let eight = Cost { lanes: 8, ..CHEAP };
    assert_eq!(read(&sealed(eight)).open(WORDS).unwrap(), seed());
}

#[test]
fn a_file_has_one_form() {
    let good = sealed(CHEAP);
    let cheap = "memory_kib=19456 passes=1 lanes=1";
    for spelled in ["memory_kib=019456 passes=1 lanes=1", "memory_kib=+19456 passes=1 lanes=1"] {
        assert_eq!(parse(&forged(&good, cheap, spelled)).unwrap_err(), Damage::Line);
    }
    for wrong in
        ["memory_kib=19456 passes=1 lanes=1 ", "passes=1 memory_kib=19456 lanes=1", "memory_kib=x passes=1", ""]
    {
        assert_eq!(parse(&forged(&good, cheap, wrong)).unwrap_err(), Damage::Line);
    }
    // A peer id of another kind of key, which no node has.
    let peer = keypair(&seed()).public().to_peer_id().to_base58();
    let hash = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    assert_eq!(parse(&forged(&good, &peer, hash)).unwrap_err(), Damage::Line);
}

#[test]
fn a_passphrase_is_set_changed_and_removed_and_the_key_stays_the_same() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    let key = create(&path, None).unwrap().public();
    let plain = fs::read(&path).unwrap();
    set_passphrase(&path, None, Some(WORDS)).unwrap();
    assert!(peek(&path).unwrap().is_encrypted);
    set_passphrase(&path, Some(WORDS), Some(b"other words")).unwrap();
    assert_eq!(load(&path, Some(WORDS)).unwrap_err().code(), "wrong_passphrase");
    assert_eq!(load(&path, Some(b"other words")).unwrap().public(), key);
    assert_eq!(mode(&path), 0o600);
    set_passphrase(&path, Some(b"other words"), None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), plain);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file was left behind");
}

#[test]
fn a_change_that_is_refused_leaves_the_file_as_it_was() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, Some(WORDS)).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(set_passphrase(&path, None, None).unwrap_err().code(), "passphrase_needed");
    assert_eq!(set_passphrase(&path, Some(b"wrong"), None).unwrap_err().code(), "wrong_passphrase");
    assert_eq!(set_passphrase(&directory.path("none"), None, Some(WORDS)).unwrap_err().code(), "missing");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_key_that_came_meanwhile_is_not_overwritten() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, None).unwrap();
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = create(&path, None).unwrap().public();
    let replaced = crate::keyfile::place::replace(&path, &before, &sealed(CHEAP));
    assert!(matches!(replaced, Err(KeyFileProblem::Changed)), "{replaced:?}");
    assert_eq!(load(&path, None).unwrap().public(), other);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn nothing_shown_has_the_seed() {
    let plain = Content::Plain(seed());
    let shown = format!("{plain:?} {:?}", read(&sealed(CHEAP)));
    assert!(!shown.contains("171, 171") && !shown.contains("abab"), "{shown}");
}
