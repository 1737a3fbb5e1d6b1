//! The key file's story: made once, loaded often, refused when anything about it is wrong.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

/// A directory of its own for one test, removed afterwards.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("covm-keyfile-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_key_that_was_created_is_the_one_that_loads() {
    let directory = Directory::new();
    let home = directory.path("new/home");
    let path = home.join("identity.key");
    let created = create(&path, None).unwrap();
    assert_eq!(load(&path, None).unwrap().public(), created.public());
    assert_eq!((mode(&path), mode(&home), mode(home.parent().unwrap())), (0o600, 0o700, 0o700));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "a temporary file was left behind");
    assert!(fs::read_to_string(&path).unwrap().contains(&created.public().to_peer_id().to_base58()));
}

#[test]
fn a_key_is_never_overwritten_nor_anything_else_in_its_place() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, None).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(create(&path, None).unwrap_err().code(), "exists");
    assert_eq!(fs::read(&path).unwrap(), before);

    let dangling = directory.path("dangling");
    symlink(directory.path("elsewhere"), &dangling).unwrap();
    assert_eq!(create(&dangling, None).unwrap_err().code(), "exists");
    assert!(!directory.path("elsewhere").exists());
}

#[test]
fn many_who_create_at_once_get_one_key() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&path, None))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 7));
    assert_eq!(load(&path, None).unwrap().public(), made.into_iter().next().unwrap().unwrap().public());
    assert!(refused.into_iter().all(|outcome| outcome.unwrap_err().code() == "exists"));
}

#[test]
fn a_missing_key_is_told_and_not_made() {
    let directory = Directory::new();
    let error = load(&directory.path("identity.key"), None).unwrap_err();
    assert_eq!(error.code(), "missing");
    assert!(error.to_string().contains("covm init"), "{error}");
}

#[test]
fn a_key_that_others_could_read_is_refused_with_the_command_that_helps() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, None).unwrap();
    for open in [0o644, 0o640, 0o601, 0o620, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let error = load(&path, None).unwrap_err();
        assert_eq!(error.code(), "permissions");
        let text = error.to_string();
        assert!(text.contains(&format!("permissions are {open:04o}")), "{text}");
        assert!(text.contains(&format!("run chmod 600 {}", path.display())), "{text}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(load(&path, None).is_ok());
}

#[test]
fn a_path_with_spaces_is_quoted_in_the_advice() {
    let directory = Directory::new();
    let path = directory.path("my key");
    create(&path, None).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(load(&path, None).unwrap_err().to_string().ends_with("my key'"));
}

#[test]
fn a_symbolic_link_a_directory_and_a_pipe_are_refused_without_waiting() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, None).unwrap();
    let link = directory.path("link");
    symlink(&path, &link).unwrap();
    assert_eq!(load(&link, None).unwrap_err().code(), "symlink");
    assert_eq!(load(&directory.0, None).unwrap_err().code(), "damaged");

    let pipe = directory.path("pipe");
    let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the name is a valid string that ends in a zero byte and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(load(&pipe, None).unwrap_err().code(), "damaged");
}

#[test]
fn a_file_of_another_user_is_refused() {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return; // only root can give a file away
    }
    let directory = Directory::new();
    let path = directory.path("identity.key");
    create(&path, None).unwrap();
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let error = load(&path, None).unwrap_err();
    assert_eq!(error.code(), "owner");
    assert!(error.to_string().contains("12345"), "{error}");
}

#[test]
fn the_format_is_the_one_that_the_documentation_shows() {
    let documented = documented("v1");
    assert!(documented.contains("seed 9d61b19d"), "{documented}");
    let content = parse(documented.as_bytes()).unwrap();
    assert!(matches!(content, Content::Plain(_)));
    assert_eq!(content.render()[..], *documented.as_bytes());
}

#[test]
fn every_single_damaged_byte_and_every_cut_is_noticed() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    let good = render(&Seed::new([3; 32]));
    write(&path, &good);
    assert!(load(&path, None).is_ok());
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1;
        assert!(parse(&altered).is_err(), "byte {at}");
        assert!(parse(&good[..at]).is_err(), "cut at {at}");
    }
    for content in [&good[..100], &[&good[..], b"\n"].concat(), &[0; 5000], b""] {
        write(&path, content);
        assert_eq!(load(&path, None).unwrap_err().code(), "damaged");
    }
}

#[test]
fn each_kind_of_damage_has_its_own_words() {
    let good = String::from_utf8(render(&Seed::new([3; 32])).to_vec()).unwrap();
    let other = String::from_utf8(render(&Seed::new([4; 32])).to_vec()).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let seed = lines[2];
    let swapped = good.replace(seed, other.lines().nth(2).unwrap());
    assert_eq!(parse(b"").unwrap_err(), Damage::Empty);
    assert_eq!(parse(&[b'x'; limits_plus_one()]).unwrap_err(), Damage::TooLarge);
    assert_eq!(parse(good.replace("v1", "v3").as_bytes()).unwrap_err(), Damage::Version);
    assert_eq!(parse(b"-----BEGIN PRIVATE KEY-----\n").unwrap_err(), Damage::NotAKey);
    assert_eq!(parse(lines[..3].join("\n").as_bytes()).unwrap_err(), Damage::Line);
    assert_eq!(parse(good.replace("seed 0303", "seed 03").as_bytes()).unwrap_err(), Damage::Line);
    assert_eq!(parse(swapped.as_bytes()).unwrap_err(), Damage::Checksum);
}

#[test]
fn a_peer_id_that_is_not_the_seeds_is_noticed_even_with_a_right_checksum() {
    use sha2::{Digest, Sha256};
    let good = String::from_utf8(render(&Seed::new([3; 32])).to_vec()).unwrap();
    let other = String::from_utf8(render(&Seed::new([4; 32])).to_vec()).unwrap();
    let line = |text: &str, number: usize| text.lines().nth(number).unwrap().to_owned();
    let body = format!("{}\n{}\n{}\n", line(&good, 0), line(&other, 1), line(&good, 2));
    let check: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(parse(format!("{body}check {check}\n").as_bytes()).unwrap_err(), Damage::Peer);
}

#[test]
fn no_error_tells_the_secret() {
    let directory = Directory::new();
    let path = directory.path("identity.key");
    let good = render(&Seed::new([0xab; 32]));
    let cut = good.len() - 10;
    write(&path, &good[..cut]);
    let error = load(&path, None).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("abab"), "{error}");
}

/// The key file of a version, as the module's documentation shows it.
pub(super) fn documented(version: &str) -> String {
    let lines: Vec<&str> = include_str!("../keyfile.rs").lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let first = lines.iter().position(|line| line.starts_with(&format!("covm node key {version} "))).unwrap();
    lines[first..].iter().take_while(|line| **line != "```").flat_map(|line| [line, "\n"]).collect()
}

const fn limits_plus_one() -> usize {
    crate::limits::KEY_FILE_BYTES + 1
}
