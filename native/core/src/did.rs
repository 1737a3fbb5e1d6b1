//! The other spelling of a peer id: `did:key`, which tools outside of libp2p read.
//!
//! Source: <https://w3c-ccg.github.io/did-key-spec/>.

use cid::multibase::{Base, encode};
use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};

/// The multicodec of an Ed25519 public key, as a varint.
const ED25519_PUBLIC: [u8; 2] = [0xed, 0x01];

/// `did:key:z6Mk...` for a public key.
#[must_use]
pub fn did_key(key: &ed25519::PublicKey) -> String {
    let spelled = [&ED25519_PUBLIC[..], &key.to_bytes()].concat();
    format!("did:key:{}", encode(Base::Base58Btc, spelled))
}

/// `did:key:z6Mk...` for the public key that a node's peer id holds.
///
/// # Panics
/// For the peer id of another kind of key, which [`parse_peer`](crate::addresses::parse_peer) would not have read.
#[must_use]
pub fn did_key_of_peer(peer: &PeerId) -> String {
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok().and_then(|key| key.try_into_ed25519().ok());
    did_key(&key.expect("a node's peer id holds its Ed25519 key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_test_key_of_rfc_8032_has_the_did_that_other_tools_give_it() {
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
            0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        let key = ed25519::PublicKey::try_from_bytes(&public).unwrap();
        assert_eq!(did_key(&key), "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw");
        let peer = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV".parse().unwrap();
        assert_eq!(did_key_of_peer(&peer), did_key(&key));
    }
}
