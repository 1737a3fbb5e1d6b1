//! The key file's place on disk: reading and writing it without trusting what is there.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Damage, KeyFileProblem};
use crate::limits;

/// What group and others may do; none of it is allowed.
const OPEN_TO_OTHERS: u32 = 0o077;

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> KeyFileProblem {
    move |error| KeyFileProblem::Io { doing, error }
}

/// The content of the file at `path`, if it is ours alone.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileProblem> {
    // O_NONBLOCK: a named pipe in this place must not make us wait for a writer.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => KeyFileProblem::Missing,
            Some(libc::ELOOP) if path.is_symlink() => KeyFileProblem::Symlink,
            _ => KeyFileProblem::Io { doing: "open it", error },
        })?;
    check(path, &file)?;
    // One byte more than allowed, and room for it from the start: no growing buffer leaves a copy of the secret behind.
    let mut content = Zeroizing::new(Vec::with_capacity(limits::KEY_FILE_BYTES + 1));
    file.take(limits::KEY_FILE_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed("read it"))?;
    Ok(content)
}

fn check(path: &Path, file: &File) -> Result<(), KeyFileProblem> {
    let metadata = file.metadata().map_err(failed("look at it"))?;
    if !metadata.is_file() {
        return Err(Damage::NotAFile.into());
    }
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    let user = unsafe { libc::geteuid() };
    if metadata.uid() != user {
        return Err(KeyFileProblem::Owner { owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OPEN_TO_OTHERS != 0 {
        return Err(KeyFileProblem::Permissions { mode, path: shell_word(path) });
    }
    Ok(())
}

/// The path as one can paste it behind a command.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+~".contains(char);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Writes `content` to `path`, where nothing may be, and returns once it is on disk.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), KeyFileProblem> {
    let directory = directory_of(path);
    make_directory(directory)?;
    // Asked before the secret touches the disk; the link below asks again, and decides.
    if path.symlink_metadata().is_ok() {
        return Err(KeyFileProblem::Exists);
    }
    let temporary = Temporary::write(path, content)?;
    fs::hard_link(&temporary.0, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileProblem::Exists,
        _ => KeyFileProblem::Io { doing: "link it into place (does the file system have hard links?)", error },
    })?;
    drop(temporary);
    sync(directory)
}

/// Puts `content` in the place of `before`, which lies at `path`, and returns once it is on disk.
pub(super) fn replace(path: &Path, before: &[u8], content: &[u8]) -> Result<(), KeyFileProblem> {
    let temporary = Temporary::write(path, content)?;
    // Asked as late as can be: a rename does not ask what it replaces, and a key is never overwritten by another.
    if read(path)?[..] != *before {
        return Err(KeyFileProblem::Changed);
    }
    fs::rename(&temporary.0, path).map_err(failed("put it in the place of the old one"))?;
    sync(directory_of(path))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a missing directory, and those above it, for its owner alone, and syncs the directory that gained an entry.
fn make_directory(directory: &Path) -> Result<(), KeyFileProblem> {
    if directory.is_dir() {
        return Ok(());
    }
    let standing = directory.ancestors().skip(1).find(|above| above.is_dir()).map(PathBuf::from);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make its directory"))?;
    let made = directory.ancestors().skip(1).take_while(|above| Some(*above) != standing.as_deref());
    made.chain(standing.as_deref()).try_for_each(sync)
}

fn sync(directory: &Path) -> Result<(), KeyFileProblem> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("sync its directory"))
}

/// A complete, synced copy under another name in the same directory; removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, content: &[u8]) -> Result<Self, KeyFileProblem> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{:016x}.new", rand::random::<u64>()));
        let temporary = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let mut file = options.open(&temporary).map_err(failed("create it"))?;
        let temporary = Self(temporary);
        // The mode again: the process's umask may have taken the owner's own rights.
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed("set its permissions"))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write it"))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A copy that cannot be removed is as well protected as the key itself.
        let _ = fs::remove_file(&self.0);
    }
}
