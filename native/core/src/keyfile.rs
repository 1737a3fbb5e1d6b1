//! The key file: a node's Ed25519 key, made once, never overwritten, readable by its owner alone.
//!
//! # Format, version 1
//!
//! Four lines of ASCII, each ended by one newline, nothing else:
//!
//! ```text
//! covm node key v1 (secret: keep it to yourself, mode 0600)
//! peer 12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV
//! seed 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60
//! check 1d259ef7e0dd55f91356747bf96d6d898d5fcc1b1efb9002982d1ebcb9fb767f
//! ```
//!
//! `seed` is the 32-byte Ed25519 seed (RFC 8032) in lower-case hex; `peer` is the peer id that follows from it, for
//! people; `check` is the SHA-256 of all bytes before that line's first, in lower-case hex. A file is good only if
//! writing its seed again gives the same bytes, so damage anywhere is noticed.
//!
//! # Writing
//!
//! The file is written beside its place under a temporary name (`O_EXCL`, `O_NOFOLLOW`, 0600), synced, and linked into
//! place, which fails if anything is there, a symbolic link included; then the directory is synced. So the place holds
//! nothing or a whole key, whatever happens meanwhile.

mod format;
mod place;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use libp2p::identity::Keypair;

pub use format::{Damage, parse, render};

/// The 32 bytes from which an Ed25519 key follows, erased when dropped.
pub type Seed = Zeroizing<[u8; 32]>;

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileProblem {
    /// There is none.
    #[error("there is no key file; create one with `covm init`, or check the path")]
    Missing,
    /// There is one already.
    #[error("a file is there already, and a key is never overwritten; load it, or choose another path")]
    Exists,
    /// Others may read or write it.
    #[error("permissions are {mode:04o}, so other users could read the key; run chmod 600 {path}")]
    Permissions {
        /// The permission bits found.
        mode: u32,
        /// The file, as a shell word.
        path: String,
    },
    /// It belongs to another user.
    #[error("it belongs to user id {owner} and this process runs as {user}; run it as the owner, or chown the file")]
    Owner {
        /// The user id that owns the file.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// It is a symbolic link.
    #[error("it is a symbolic link, which could point anywhere; give the path of the file itself")]
    Symlink,
    /// Its content is not a whole key.
    #[error("the content is damaged: {0}; restore it from a backup. A new key would be another node")]
    Damaged(#[from] Damage),
    /// The system refused.
    #[error("cannot {doing}: {error}; check the path, its permissions and the disk")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A key file could not be read or made: which, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("key file {}: {problem}", path.display())]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: KeyFileProblem,
}

impl KeyFileError {
    /// A stable name: missing, exists, permissions, owner, symlink, damaged or io.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.problem {
            KeyFileProblem::Missing => "missing",
            KeyFileProblem::Exists => "exists",
            KeyFileProblem::Permissions { .. } => "permissions",
            KeyFileProblem::Owner { .. } => "owner",
            KeyFileProblem::Symlink => "symlink",
            KeyFileProblem::Damaged(_) => "damaged",
            KeyFileProblem::Io { .. } => "io",
        }
    }
}

/// Reads the key at `path`.
///
/// # Errors
/// [`KeyFileError`], for a file that is missing, a symbolic link, not ours, open to others, or damaged.
pub fn load(path: &Path) -> Result<Keypair, KeyFileError> {
    let read = || {
        let content = place::read(path)?;
        Ok(keypair(&parse(&content)?))
    };
    read().map_err(|problem| KeyFileError { path: path.to_owned(), problem })
}

/// Makes a new key and writes it to `path`, which must not exist. Missing directories are made with mode 0700. On
/// return the key is on disk.
///
/// # Errors
/// [`KeyFileError`], if something is there or it cannot be written. Unless it was the last sync that failed, nothing
/// was left in its place.
pub fn create(path: &Path) -> Result<Keypair, KeyFileError> {
    let write = || {
        let fresh = libp2p::identity::ed25519::SecretKey::generate();
        let seed = Seed::new(fresh.as_ref().try_into().expect("an Ed25519 seed has 32 bytes"));
        place::write(path, &render(&seed))?;
        Ok(keypair(&seed))
    };
    write().map_err(|problem| KeyFileError { path: path.to_owned(), problem })
}

/// The key pair that follows from a seed.
#[must_use]
pub fn keypair(seed: &Seed) -> Keypair {
    let mut bytes = seed.clone();
    Keypair::ed25519_from_bytes(&mut bytes[..]).expect("any 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests;
