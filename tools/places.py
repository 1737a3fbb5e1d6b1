"""Where things are, and the two locks that keep builds side by side from spoiling each other."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
BUILD = ROOT / "build"

# The development build has every defence's switch, so that a test can show what the defence is for. A wheel has none.
DEVELOPMENT_FEATURES = "switches"

# What the extension module is made of. Rust tests, benches and fuzz targets are not part of it.
_NATIVE_SOURCES = (
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "native/core/Cargo.toml",
    "native/core/build.rs",
    "native/core/src/**/*",
    "native/python/Cargo.toml",
    "native/python/build.rs",
    "native/python/src/**/*",
)


def cache_dir() -> Path:
    """What clones on this machine lend each other: compiled libraries and the tools built from source."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covm"


def target_dir() -> Path:
    """Rust's target folder, this clone's own; `CARGO_TARGET_DIR` puts it elsewhere."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def cargo_env() -> dict[str, str]:
    """The environment in which every cargo and maturin of this project runs, so that they share what they built."""
    kept = {k: v for k, v in os.environ.items() if k not in {"CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH"}}
    return kept | {
        "CARGO_TARGET_DIR": str(target_dir()),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYO3_PYTHON": str(BIN / "python"),
        "VIRTUAL_ENV": str(VENV),
    }


def clippy_env() -> dict[str, str]:
    """With what maturin adds for the binding: were it to differ, each of the two would compile PyO3 after the other."""
    env = cargo_env() | {"PYO3_BUILD_EXTENSION_MODULE": "1"}
    configs = list((target_dir() / "maturin").glob("pyo3-config-*-abi3.txt"))
    return env | {"PYO3_CONFIG_FILE": str(configs[0])} if len(configs) == 1 else env


def native_hash() -> str:
    """A digest of all that the native core is built from."""
    return content_hash(path for pattern in _NATIVE_SOURCES for path in ROOT.glob(pattern))


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents of the files among `paths`, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@contextmanager
def build_lock() -> Iterator[None]:
    """One build at a time in the target folder, from compiling to having copied the result.

    Cargo locks the folder only while it compiles; the development build and the wheel's have one name.
    """
    target = target_dir()
    target.mkdir(parents=True, exist_ok=True)
    with (target / "covm-build.lock").open("w") as handle:
        _wait_for(handle.fileno(), "another build of covm is under way in this folder; waiting for it")
        yield


@contextmanager
def clone_lock() -> Iterator[None]:
    """One set-up at a time in this clone."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        _wait_for(handle, "another set-up is under way in this folder; waiting for it")
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, message: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"  {message}", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
