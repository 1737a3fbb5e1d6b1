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
//! # Format, version 2
//!
//! The same key, encrypted with the passphrase `correct horse battery staple`:
//!
//! ```text
//! covm node key v2 (encrypted with a passphrase: keep both to yourself, mode 0600)
//! peer 12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV
//! argon2id memory_kib=65536 passes=3 lanes=1
//! salt 16a62f0eefbbe2d877181ab05c72427a
//! nonce 4444148b699eb370fb106f400a5436e3cb1b31b4d071932b
//! seed 754cad94955d9237ad56a80848260c78315fa14c8c641ea6df661b1daae1c87198e84503c220da0fd2f35c1f27703dcd
//! check 3c0d3e0e93d3f11f6c19b064b60573619b44e89351b89fe780e7593b784b56df
//! ```
//!
//! `argon2id` says what one try costs, within the bounds of [`limits`](crate::limits): Argon2id (RFC 9106, version 0x13)
//! makes 32 bytes of the passphrase and the 16 bytes of `salt`. They are the key with which XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03) encrypts the seed under the 24 bytes of `nonce`, with all bytes before the line `seed`
//! as associated data. `seed` is the 32 bytes and the tag's 16. `peer` can be read without the passphrase; opening the
//! file proves it. `check` is as in version 1, so that damage is told from a wrong passphrase. Each writing takes a new
//! salt and a new nonce.
//!
//! # Writing
//!
//! The file is written beside its place under a temporary name (`O_EXCL`, `O_NOFOLLOW`, 0600), synced, and linked into
//! place, which fails if anything is there, a symbolic link included; then the directory is synced. So the place holds
//! nothing or a whole key, whatever happens meanwhile. A change of the passphrase renames the new file over the old one,
//! of the same key, in the same way.

mod format;
mod hex;
mod place;
mod sealed;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use libp2p::PeerId;
pub use libp2p::identity::Keypair;

pub use format::{Content, Damage, parse, render};
pub use sealed::{Cost, Sealed};

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
    /// It is encrypted, and no passphrase was given.
    #[error("it is encrypted; give its passphrase")]
    PassphraseNeeded,
    /// It is encrypted with another passphrase than the one given.
    #[error("the passphrase is wrong; the file itself is whole, so try another passphrase")]
    WrongPassphrase,
    /// Another file was put in its place while its passphrase was changed.
    #[error("another file was put in its place meanwhile, and was left as it is; look at it, and try again")]
    Changed,
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
    /// A stable name: missing, exists, permissions, owner, symlink, damaged, passphrase_needed, wrong_passphrase,
    /// changed or io.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.problem {
            KeyFileProblem::Missing => "missing",
            KeyFileProblem::Exists => "exists",
            KeyFileProblem::Permissions { .. } => "permissions",
            KeyFileProblem::Owner { .. } => "owner",
            KeyFileProblem::Symlink => "symlink",
            KeyFileProblem::Damaged(_) => "damaged",
            KeyFileProblem::PassphraseNeeded => "passphrase_needed",
            KeyFileProblem::WrongPassphrase => "wrong_passphrase",
            KeyFileProblem::Changed => "changed",
            KeyFileProblem::Io { .. } => "io",
        }
    }
}

/// A passphrase, if there is one: any bytes.
pub type Passphrase<'a> = Option<&'a [u8]>;

/// What a key file tells without its passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peeked {
    /// Whose key it is. Of an encrypted file nobody has proved it before it is opened.
    pub peer: PeerId,
    /// Whether it takes a passphrase to open.
    pub is_encrypted: bool,
}

/// Reads the key at `path`. A passphrase that is not needed is not looked at.
///
/// # Errors
/// [`KeyFileError`], for a file that is missing, a symbolic link, not ours, open to others, or damaged, and for a
/// passphrase that is missing or wrong.
pub fn load(path: &Path, passphrase: Passphrase) -> Result<Keypair, KeyFileError> {
    let read = || Ok(keypair(&open(parse(&place::read(path)?)?, passphrase)?));
    read().map_err(at(path))
}

/// Reads whose key lies at `path`, without its passphrase.
///
/// # Errors
/// As [`load`], but for the passphrase.
pub fn peek(path: &Path) -> Result<Peeked, KeyFileError> {
    let read = || {
        let content = parse(&place::read(path)?)?;
        Ok(Peeked { peer: content.peer(), is_encrypted: matches!(content, Content::Sealed(_)) })
    };
    read().map_err(at(path))
}

/// Makes a new key and writes it to `path`, which must not exist, encrypted if there is a passphrase. Missing
/// directories are made with mode 0700. On return the key is on disk.
///
/// # Errors
/// [`KeyFileError`], if something is there or it cannot be written. Unless it was the last sync that failed, nothing
/// was left in its place.
pub fn create(path: &Path, passphrase: Passphrase) -> Result<Keypair, KeyFileError> {
    let write = || {
        let fresh = libp2p::identity::ed25519::SecretKey::generate();
        let seed = Seed::new(fresh.as_ref().try_into().expect("an Ed25519 seed has 32 bytes"));
        place::write(path, &written(&seed, passphrase)?)?;
        Ok(keypair(&seed))
    };
    write().map_err(at(path))
}

/// Writes the key at `path` again, encrypted with `new`, or not at all if that is `None`. On return it is on disk; after
/// a crash the file is the old or the new one.
///
/// What the disk held before may be readable on it for long; copies elsewhere open as they did.
///
/// # Errors
/// As [`load`] with `old`, and if it cannot be written.
pub fn set_passphrase(path: &Path, old: Passphrase, new: Passphrase) -> Result<(), KeyFileError> {
    let rewrite = || {
        let before = place::read(path)?;
        let seed = open(parse(&before)?, old)?;
        place::replace(path, &before, &written(&seed, new)?)
    };
    rewrite().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(KeyFileProblem) -> KeyFileError {
    |problem| KeyFileError { path: path.to_owned(), problem }
}

fn open(content: Content, passphrase: Passphrase) -> Result<Seed, KeyFileProblem> {
    match content {
        Content::Plain(seed) => Ok(seed),
        Content::Sealed(sealed) => sealed.open(passphrase.ok_or(KeyFileProblem::PassphraseNeeded)?),
    }
}

fn written(seed: &Seed, passphrase: Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyFileProblem> {
    match passphrase {
        None => Ok(render(seed)),
        Some(passphrase) => Ok(Content::Sealed(Box::new(Sealed::seal(seed, passphrase, Cost::NEW)?)).render()),
    }
}

/// The key pair that follows from a seed.
#[must_use]
pub fn keypair(seed: &Seed) -> Keypair {
    let mut bytes = seed.clone();
    Keypair::ed25519_from_bytes(&mut bytes[..]).expect("any 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests;
