//! A seed encrypted with a passphrase: Argon2id (RFC 9106) makes a key of it, XChaCha20-Poly1305 encrypts and signs.
//!
//! The tag covers everything that stands before the seed in the file, so that neither the peer id nor the cost can be
//! changed by somebody who does not know the passphrase.

use std::io;
use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use libp2p::PeerId;
use zeroize::Zeroizing;

use super::format::{Damage, FIRST_LINE_SEALED, Lines, PEER, SEED, checked, room};
use super::{KeyFileProblem, Seed, hex, keypair};
use crate::addresses::parse_peer;
use crate::limits;

const COST: &str = "argon2id ";
const SALT: &str = "salt ";
const NONCE: &str = "nonce ";

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const SEED_BYTES: usize = 32;
const SEALED_BYTES: usize = SEED_BYTES + 16;

/// What trying one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// What new files are written with: a tenth of a second, and the memory of the second choice of RFC 9106. One lane,
    /// because more would help only those who try out passphrases on many cores.
    pub const NEW: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = str::from_utf8(text).ok()?.split(' ');
        let mut number = |name: &str| fields.next()?.strip_prefix(name)?.parse().ok();
        Some(Self { memory_kib: number("memory_kib=")?, passes: number("passes=")?, lanes: number("lanes=")? })
    }

    fn is_bounded(self) -> bool {
        let within = |range: RangeInclusive<u32>, value| range.contains(&value);
        within(limits::KEY_FILE_MEMORY_KIB, self.memory_kib)
            && within(limits::KEY_FILE_PASSES, self.passes)
            && within(limits::KEY_FILE_LANES, self.lanes)
    }
}

/// An encrypted seed, and all that is needed to open it but the passphrase.
#[derive(Debug)]
pub struct Sealed {
    peer: PeerId,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: [u8; SEALED_BYTES],
}

impl Sealed {
    /// Encrypts a seed, with a salt and a nonce of its own.
    ///
    /// # Errors
    /// [`KeyFileProblem::Io`], where there is not memory enough.
    ///
    /// # Panics
    /// For a cost that no key file may have.
    pub fn seal(seed: &Seed, passphrase: &[u8], cost: Cost) -> Result<Self, KeyFileProblem> {
        assert!(cost.is_bounded(), "a file is written as it may be read");
        let peer = keypair(seed).public().to_peer_id();
        let mut made = Self { peer, cost, salt: rand::random(), nonce: rand::random(), sealed: [0; SEALED_BYTES] };
        let cipher = made.cipher(passphrase)?;
        let mut bytes = seed.clone();
        let tag = cipher
            .encrypt_in_place_detached(&made.nonce.into(), &made.head(), &mut bytes[..])
            .expect("32 bytes are not too many to encrypt");
        made.sealed[..SEED_BYTES].copy_from_slice(&bytes[..]);
        made.sealed[SEED_BYTES..].copy_from_slice(&tag);
        Ok(made)
    }

    /// The seed.
    ///
    /// # Errors
    /// [`KeyFileProblem::WrongPassphrase`]; [`KeyFileProblem::Damaged`], if what opens is not the peer's seed;
    /// [`KeyFileProblem::Io`], where there is not memory enough.
    pub fn open(&self, passphrase: &[u8]) -> Result<Seed, KeyFileProblem> {
        let cipher = self.cipher(passphrase)?;
        let (sealed, tag) = self.sealed.split_at(SEED_BYTES);
        let mut seed = Seed::default();
        seed.copy_from_slice(sealed);
        cipher
            .decrypt_in_place_detached(&self.nonce.into(), &self.head(), &mut seed[..], tag.into())
            .map_err(|_| KeyFileProblem::WrongPassphrase)?;
        if keypair(&seed).public().to_peer_id() != self.peer {
            return Err(Damage::Peer.into());
        }
        Ok(seed)
    }

    /// Whose key it is, as the file says; opening it proves it.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        &self.peer
    }

    pub(super) fn parse<'a>(lines: &mut Lines<impl Iterator<Item = &'a [u8]>>) -> Result<Self, Damage> {
        let peer = str::from_utf8(lines.field(PEER)?).ok().and_then(|text| parse_peer(text).ok());
        Ok(Self {
            peer: peer.ok_or(Damage::Line)?,
            cost: Cost::parse(lines.field(COST)?).ok_or(Damage::Line)?,
            salt: *lines.hex(SALT)?,
            nonce: *lines.hex(NONCE)?,
            sealed: *lines.hex(SEED)?,
        })
    }

    pub(super) fn check_cost(&self) -> Result<(), Damage> {
        if self.cost.is_bounded() { Ok(()) } else { Err(Damage::Cost) }
    }

    pub(super) fn render(&self) -> Zeroizing<Vec<u8>> {
        let mut content = self.head();
        content.extend_from_slice(SEED.as_bytes());
        hex::push(&mut content, &self.sealed);
        checked(content)
    }

    /// The file's lines before the seed.
    fn head(&self) -> Zeroizing<Vec<u8>> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let mut content = room();
        let cost = format!("memory_kib={memory_kib} passes={passes} lanes={lanes}");
        for part in [FIRST_LINE_SEALED, "\n", PEER, &self.peer.to_base58(), "\n", COST, &cost, "\n", SALT] {
            content.extend_from_slice(part.as_bytes());
        }
        hex::push(&mut content, &self.salt);
        content.extend_from_slice(b"\n");
        content.extend_from_slice(NONCE.as_bytes());
        hex::push(&mut content, &self.nonce);
        content.push(b'\n');
        content
    }

    fn cipher(&self, passphrase: &[u8]) -> Result<XChaCha20Poly1305, KeyFileProblem> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).expect("the cost was checked");
        // Memory of our own: it is asked for with a chance to hear no, and erased before others get it.
        let mut memory = Zeroizing::new(Vec::new());
        let no_memory = |_| KeyFileProblem::Io {
            doing: "set aside the memory that its passphrase takes",
            error: io::ErrorKind::OutOfMemory.into(),
        };
        memory.try_reserve_exact(params.block_count()).map_err(no_memory)?;
        memory.resize(params.block_count(), Block::default());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, &self.salt, &mut key[..], &mut memory[..])
            .expect("salt and key have allowed lengths, and the memory is what was asked for");
        Ok(XChaCha20Poly1305::new((&*key).into()))
    }
}

#[cfg(test)]
mod tests;
