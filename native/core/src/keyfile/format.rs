//! The text of a key file, and back.

use std::fmt;

use libp2p::PeerId;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::sealed::Sealed;
use super::{Seed, hex, keypair};
use crate::limits;

const TITLE: &str = "covm node key v";
const FIRST_LINE: &str = "covm node key v1 (secret: keep it to yourself, mode 0600)";
pub(super) const FIRST_LINE_SEALED: &str =
    "covm node key v2 (encrypted with a passphrase: keep both to yourself, mode 0600)";
pub(super) const PEER: &str = "peer ";
pub(super) const SEED: &str = "seed ";
const CHECK: &str = "check ";

/// How a key file's content is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// Larger than any key file.
    #[error("it is larger than {} bytes", limits::KEY_FILE_BYTES)]
    TooLarge,
    /// Its first line is that of a later version.
    #[error("it is of a version that this program does not know")]
    Version,
    /// Its first line is not a key file's.
    #[error("its first line is not that of a covm node key")]
    NotAKey,
    /// A line is missing, cut short, or not what it should be.
    #[error("a line is missing, cut short or altered")]
    Line,
    /// The checksum does not fit the content.
    #[error("its checksum does not match")]
    Checksum,
    /// The peer id is not the seed's.
    #[error("its peer id does not belong to its seed")]
    Peer,
    /// What deriving the key from the passphrase would cost is out of bounds.
    #[error("it asks for more memory or time to be opened than any key file does, or for too little")]
    Cost,
}

/// What a key file holds. Its `Debug` shows whose it is, and no secret.
pub enum Content {
    /// Version 1: the seed itself.
    Plain(Seed),
    /// Version 2: the seed, encrypted with a passphrase.
    Sealed(Box<Sealed>),
}

impl Content {
    /// Whose key it is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        match self {
            Self::Plain(seed) => keypair(seed).public().to_peer_id(),
            Self::Sealed(sealed) => *sealed.peer(),
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn render(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Plain(seed) => render(seed),
            Self::Sealed(sealed) => sealed.render(),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let kind = if matches!(self, Self::Plain(_)) { "Plain" } else { "Sealed" };
        formatter.debug_tuple(kind).field(&self.peer()).finish()
    }
}

/// The content of the key file for a seed, not encrypted.
#[must_use]
pub fn render(seed: &Seed) -> Zeroizing<Vec<u8>> {
    let mut content = room();
    let peer = keypair(seed).public().to_peer_id().to_base58();
    for part in [FIRST_LINE, "\n", PEER, &peer, "\n", SEED] {
        content.extend_from_slice(part.as_bytes());
    }
    hex::push(&mut content, &seed[..]);
    checked(content)
}

/// Room for all of a file, so that no growing buffer leaves a copy of the secret behind.
pub(super) fn room() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(limits::KEY_FILE_BYTES))
}

/// The content with the end of its last line, and the checksum behind it.
pub(super) fn checked(mut content: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    content.push(b'\n');
    let digest = Sha256::digest(&content[..]);
    content.extend_from_slice(CHECK.as_bytes());
    hex::push(&mut content, &digest);
    content.push(b'\n');
    content
}

/// What is in the content of a key file.
///
/// # Errors
/// What is wrong with the content, if it is not exactly what [`Content::render`] writes.
pub fn parse(content: &[u8]) -> Result<Content, Damage> {
    if content.is_empty() {
        return Err(Damage::Empty);
    }
    if content.len() > limits::KEY_FILE_BYTES {
        return Err(Damage::TooLarge);
    }
    let mut lines = Lines(content.split(|&byte| byte == b'\n'));
    let first = lines.0.next().unwrap_or_default();
    let (parsed, otherwise) = if first == FIRST_LINE.as_bytes() {
        lines.field(PEER)?;
        (Content::Plain(lines.hex(SEED)?), Damage::Peer)
    } else if first == FIRST_LINE_SEALED.as_bytes() {
        (Content::Sealed(Box::new(Sealed::parse(&mut lines)?)), Damage::Line)
    } else {
        return Err(damage_of_title(first));
    };
    let check = lines.hex::<32>(CHECK)?;
    let tail = CHECK.len() + 2 * check.len() + 1;
    let body = content.len().checked_sub(tail).ok_or(Damage::Line)?;
    if Sha256::digest(&content[..body])[..] != check[..] {
        return Err(Damage::Checksum);
    }
    if let Content::Sealed(sealed) = &parsed {
        sealed.check_cost()?;
    }
    if parsed.render()[..] != *content {
        return Err(otherwise);
    }
    Ok(parsed)
}

fn damage_of_title(first: &[u8]) -> Damage {
    match first.strip_prefix(TITLE.as_bytes()) {
        None | Some([b'1' | b'2', ..]) => Damage::NotAKey,
        Some(_) => Damage::Version,
    }
}

/// The lines of a key file behind its first.
pub(super) struct Lines<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Lines<I> {
    /// The rest of the next line, which begins with `name`.
    pub(super) fn field(&mut self, name: &str) -> Result<&'a [u8], Damage> {
        self.0.next().and_then(|line| line.strip_prefix(name.as_bytes())).ok_or(Damage::Line)
    }

    /// The bytes in the next line, which begins with `name`.
    pub(super) fn hex<const N: usize>(&mut self, name: &str) -> Result<Zeroizing<[u8; N]>, Damage> {
        hex::read(self.field(name)?).ok_or(Damage::Line)
    }
}
