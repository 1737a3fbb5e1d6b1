"""Rules about the home of a node and what lies in it: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from covm.federation.diagnosis.finding import Area, Finding, Verdict

LEAST_FREE_BYTES = 64 * 1024**2
"""Below this the next backup of the store's log, or one file from a peer, fills the disk."""

LITTLE_FREE_BYTES = 1024**3
"""Below this a busy node has days left: told while there is time."""

LEAST_FREE_FILES = 1_000

CLOCK_TOLERANCE_MS = 60_000
"""Files on a drive of another machine carry that machine's time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the home, or the home itself."""

    path: str
    mode: int
    """Permission bits."""
    is_own: bool
    """Whether it belongs to the user that asks."""
    is_folder: bool
    is_writable: bool


@dataclass(frozen=True, slots=True)
class Household:
    """What lies where a home is looked for."""

    home: Entry | None
    """None where there is none."""
    key: Entry | None
    secrets: tuple[Entry, ...]
    """A member's keys, if they are kept here."""
    has_store: bool
    why: str = ""
    """Why it could not be looked at, if it could not."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk on which the home is."""

    free_bytes: int
    free_files: int | None
    """None where the file system does not count them."""
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """What a look into the store of a node that does not run gave."""

    where: str
    schema: str
    """Empty where there is no store."""
    newest: str
    """The schema of this covm."""
    why: str = ""
    """Why it could not be opened, with what to do."""


def configuration(path: str, problem: str, *, exists: bool, is_complete: bool) -> Finding:
    """Whether the configuration can be used. `is_complete`: it says which federation, or network, the node is of."""
    if problem:
        check = f"correct it; `covm config check {path}` lists everything that is wrong with it"
        return _finding(Area.CONFIGURATION, Verdict.PROBLEM, "it is not valid", problem, check)
    if not is_complete:
        return _finding(
            Area.CONFIGURATION,
            Verdict.PROBLEM,
            "the node is of no federation yet",
            "the configuration names none",
            "found one with `covm federation create NAME`, join one with `covm federation join LINK`, or try it out "
            "with `covm federation start --network NAME`",
        )
    return _finding(
        Area.CONFIGURATION, Verdict.OK, f"{path} is valid" if exists else "there is no file; the defaults are used"
    )


def permissions(place: str, seen: Household) -> list[Finding]:
    """Whether the home and the keys in it are the user's own and closed to others."""
    home, key = seen.home, seen.key
    if seen.why:
        return [_denied(f"{place} cannot be looked at", seen.why, "run the command as the user whose node it is")]
    if home is None:
        return [_denied(f"there is no home at {place}", "", f"make it with `covm init --home {place}`, or give --home")]
    if not home.is_folder:
        return [_denied(f"{place} is not a folder", "", "choose another --home")]
    wrong = [
        *_wrong_home(home),
        *(_open_secret(entry) for entry in (key, *seen.secrets) if entry and entry.mode & 0o077),
    ]
    if wrong:
        return wrong
    if key is None and seen.has_store:
        return [
            _denied(
                "the home has a store and no key",
                "the store belongs to the key that is gone",
                "bring identity.key back, or restore a backup with `covm store restore FILE --replace`",
            )
        ]
    if key is None:
        return [
            _finding(
                Area.PERMISSIONS,
                Verdict.WARNING,
                "the home has no key yet",
                "",
                "the first start makes it, or `covm init`",
            )
        ]
    return [_finding(Area.PERMISSIONS, Verdict.OK, "the home and its key are closed to other users")]


def socket_path(path: str, size_bytes: int, limit_bytes: int, kind: str, *, is_running: bool) -> Finding:
    """Whether the control socket can be made. `kind` of what is there: `socket`, `other`, or empty for nothing."""
    if size_bytes > limit_bytes:
        return _finding(
            Area.SOCKET_PATH,
            Verdict.PROBLEM,
            f"{path} is too long",
            f"it has {size_bytes} bytes, a socket's path may have {limit_bytes}",
            "choose a shorter --home (or COVM_HOME)",
        )
    if kind == "other":
        return _finding(
            Area.SOCKET_PATH,
            Verdict.PROBLEM,
            f"{path} is in the way",
            "it is no socket",
            f"move it away: `mv {path} ...`",
        )
    if kind == "socket" and not is_running:
        left = "a node that was killed left it; the next start replaces it"
        return _finding(Area.SOCKET_PATH, Verdict.OK, f"{size_bytes} of {limit_bytes} bytes", left)
    return _finding(Area.SOCKET_PATH, Verdict.OK, f"{size_bytes} of {limit_bytes} bytes")


def disk(place: str, seen: Disk) -> Finding:
    """Whether there is room for what the node writes."""
    free = (
        f"{seen.free_bytes / 1024**2:,.0f} MiB"
        if seen.free_bytes < 1024**3
        else f"{seen.free_bytes / 1024**3:,.1f} GiB"
    )
    make_room = f"make room: `du -xh {place} | sort -h | tail` shows what the node itself takes"
    if seen.is_read_only:
        return _finding(
            Area.DISK, Verdict.PROBLEM, f"{place} is read-only", "the file system is mounted so", "look at `dmesg`"
        )
    if seen.free_bytes < LEAST_FREE_BYTES:
        return _finding(Area.DISK, Verdict.PROBLEM, f"{free} are free", "a full disk stops all receiving", make_room)
    if seen.free_files is not None and seen.free_files < LEAST_FREE_FILES:
        why = "a disk can run out of places for files while it has room"
        return _finding(Area.DISK, Verdict.PROBLEM, f"places for {seen.free_files} more files are free", why, make_room)
    if seen.free_bytes < LITTLE_FREE_BYTES:
        return _finding(Area.DISK, Verdict.WARNING, f"{free} are free", "a full disk stops all receiving", make_room)
    return _finding(Area.DISK, Verdict.OK, f"{free} are free")


def store(seen: StoreSeen) -> Finding:
    """Whether the store of a node that does not run can be opened by this covm."""
    if seen.why:
        return _finding(Area.STORE, Verdict.PROBLEM, f"the store {seen.where} cannot be opened", seen.why, "")
    if not seen.schema:
        return _finding(Area.STORE, Verdict.OK, "there is none yet", "the first start makes it")
    if seen.schema != seen.newest:
        return _finding(
            Area.STORE,
            Verdict.OK,
            f"the store {seen.where} opens",
            f"its schema is {seen.schema}; the next start brings it to {seen.newest}, after a backup",
        )
    return _finding(
        Area.STORE, Verdict.OK, f"the store {seen.where} opens", "", "`covm store check` reads everything in it"
    )


def clock_against_files(now_ms: int, newest_ms: int, newest: str, software_ms: int) -> Finding:
    """Whether the clock is sane beside the times of files: of the home's newest, and of this covm's own."""
    set_it = "set this machine's clock: `timedatectl set-ntp true`, or `date -s`"
    if now_ms + CLOCK_TOLERANCE_MS < software_ms:
        return _finding(
            Area.CLOCK, Verdict.PROBLEM, "the clock is behind", "this covm was installed later than it shows", set_it
        )
    if now_ms + CLOCK_TOLERANCE_MS < newest_ms:
        return _finding(
            Area.CLOCK, Verdict.PROBLEM, "the clock was set back", f"{newest} was written later than it shows", set_it
        )
    return _finding(Area.CLOCK, Verdict.OK, "it is not behind any file that the node has written")


def _wrong_home(home: Entry) -> Iterator[Finding]:
    if not home.is_own:
        yield _denied(f"{home.path} belongs to another user", "", "run covm as that user, or choose another --home")
    if home.mode & 0o077:
        yield _denied(
            f"{home.path} is open to other users",
            f"its mode is {home.mode:04o}, and the node's key lies there",
            f"`chmod 700 {home.path}`",
        )
    if home.is_own and not home.is_writable:
        yield _denied(f"{home.path} cannot be written", f"its mode is {home.mode:04o}", f"`chmod 700 {home.path}`")


def _open_secret(entry: Entry) -> Finding:
    return _denied(
        f"{entry.path} can be read by other users",
        f"its mode is {entry.mode:04o}",
        f"`chmod {700 if entry.is_folder else 600} {entry.path}`; if others may have read it, replace the key",
    )


def _denied(what: str, why: str, next_step: str) -> Finding:
    return _finding(Area.PERMISSIONS, Verdict.PROBLEM, what, why, next_step)


def _finding(area: Area, verdict: Verdict, what: str, why: str = "", next_step: str = "") -> Finding:
    return Finding(area, verdict, what, why, next_step)


def is_complete(membership: str, federation: str) -> bool:
    """Whether a configuration says what the node is of."""
    return membership == "open" or bool(federation)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The worst of them; what was not checked is no verdict."""
    found = {finding.verdict for finding in findings}
    return next((each for each in (Verdict.PROBLEM, Verdict.WARNING) if each in found), Verdict.OK)
