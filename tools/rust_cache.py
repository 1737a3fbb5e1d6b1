"""What libp2p and the other libraries compiled to, lent from clone to clone of this machine.

Each clone has a target folder of its own: cargo gives a workspace's own crates the same names in every clone, so in
one shared folder a clone could be handed another's build as fresh. Only the libraries are lent, whole and by copy,
under a key of everything that decides what they compile to.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tools.places import ROOT, cache_dir, target_dir

# One for the branch at hand and one for the branch before; each takes about 1 GB.
KEPT = 2
_OURS = ("covm", "libcovm", "lib_native", "_native")


def borrow() -> None:
    """Begin a new target folder with the libraries that another clone compiled, if there are any."""
    target, lent = target_dir(), _lent()
    if (target / "release").exists() or not lent.is_dir():
        return
    target.mkdir(parents=True, exist_ok=True)
    print("  native core: the libraries are here already, compiled for another clone", flush=True)
    subprocess.run(["cp", "-a", f"{lent}/.", str(target)], check=True)


def lend() -> None:
    """Keep the libraries for the next clone, unless that was done; a copy cut short is never found."""
    lent = _lent()
    if lent.is_dir() or not (target_dir() / "release").is_dir():
        return
    lent.parent.mkdir(parents=True, exist_ok=True)
    part = lent.with_name(f"{lent.name}.part-{os.getpid()}")
    shutil.copytree(target_dir() / "release", part / "release", symlinks=True, ignore=_leave_out, copy_function=_copy)
    try:
        part.rename(lent)
    except OSError:
        shutil.rmtree(part)  # another clone was faster
    for old in sorted(lent.parent.glob("libraries-*"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _lent() -> Path:
    rustc = subprocess.run(["rustc", "-vV"], capture_output=True, check=True).stdout
    flags = os.environ.get("RUSTFLAGS", "").encode()
    manifests = [(ROOT / name).read_bytes() for name in ("Cargo.lock", "Cargo.toml", "native/core/Cargo.toml")]
    key = hashlib.sha256(b"\0".join([rustc, flags, *manifests])).hexdigest()[:16]
    return cache_dir() / f"libraries-{key}"


def _leave_out(folder: str, names: list[str]) -> set[str]:
    in_release = Path(folder).name == "release"
    ours = {name for name in names if name.startswith(_OURS)}
    return ours | ({"incremental", "examples", ".cargo-lock"} & set(names) if in_release else set())


def _copy(source: str, target: str) -> None:
    # With its times: cargo takes a library for fresh by them.
    shutil.copy2(source, target, follow_symlinks=False)
