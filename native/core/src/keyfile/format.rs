//! The text of a key file, and back.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Seed, keypair};
use crate::limits;

const TITLE: &str = "covm node key v";
const FIRST_LINE: &str = "covm node key v1 (secret: keep it to yourself, mode 0600)";
const PEER: &str = "peer ";
const SEED: &str = "seed ";
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
}

/// The content of the key file for a seed.
#[must_use]
pub fn render(seed: &Seed) -> Zeroizing<Vec<u8>> {
    // Room for all of it, so that no growing buffer leaves a copy of the secret behind.
    let mut content = Zeroizing::new(Vec::with_capacity(limits::KEY_FILE_BYTES));
    let peer = keypair(seed).public().to_peer_id().to_base58();
    for part in [FIRST_LINE, "\n", PEER, &peer, "\n", SEED] {
        content.extend_from_slice(part.as_bytes());
    }
    push_hex(&mut content, &seed[..]);
    content.push(b'\n');
    let digest = Sha256::digest(&content[..]);
    content.extend_from_slice(CHECK.as_bytes());
    push_hex(&mut content, &digest);
    content.push(b'\n');
    content
}

/// The seed in the content of a key file.
///
/// # Errors
/// What is wrong with the content, if it is not exactly what [`render`] writes for some seed.
pub fn parse(content: &[u8]) -> Result<Seed, Damage> {
    if content.is_empty() {
        return Err(Damage::Empty);
    }
    if content.len() > limits::KEY_FILE_BYTES {
        return Err(Damage::TooLarge);
    }
    let mut lines = content.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if first != FIRST_LINE.as_bytes() {
        let versioned =
            first.starts_with(TITLE.as_bytes()) && !first.starts_with(&FIRST_LINE.as_bytes()[..TITLE.len() + 1]);
        return Err(if versioned { Damage::Version } else { Damage::NotAKey });
    }
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name.as_bytes())).ok_or(Damage::Line);
    let _peer = field(PEER)?;
    let seed = field(SEED).and_then(|line| unhex(line).ok_or(Damage::Line))?;
    let check = field(CHECK).and_then(|line| unhex(line).ok_or(Damage::Line))?;
    let tail = CHECK.len() + 2 * check.len() + 1;
    let body = content.len().checked_sub(tail).ok_or(Damage::Line)?;
    if Sha256::digest(&content[..body])[..] != check[..] {
        return Err(Damage::Checksum);
    }
    if render(&seed)[..] != *content {
        return Err(Damage::Peer);
    }
    Ok(seed)
}

fn push_hex(content: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        content.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn unhex(text: &[u8]) -> Option<Seed> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut bytes = Seed::default();
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'a'..=b'f' => Some(char - b'a' + 10),
        _ => None,
    }
}
