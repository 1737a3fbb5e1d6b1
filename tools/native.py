"""Build the native core: into the source tree for development, or into a wheel."""

from __future__ import annotations

from pathlib import Path

from tools import rust_cache
from tools.places import BIN, DEVELOPMENT_FEATURES, ROOT, build_lock, cargo_env
from tools.progress import crates_to_compile, run_showing_progress

# A `Downloading` line names a count, not a crate; `Compiling` names one.
CARGO_STEPS = ("Compiling",)
PACKAGE = "covm-native"


def develop() -> None:
    """Put the native core beside the Python sources, which stay editable, and `covm` into the environment."""
    argv = [str(BIN / "maturin"), "develop", "--release", "--locked", "--features", DEVELOPMENT_FEATURES]
    total = crates_to_compile(PACKAGE, DEVELOPMENT_FEATURES)
    with build_lock():
        rust_cache.borrow()
        run_showing_progress("native core", argv, counting=CARGO_STEPS, total=total, env=cargo_env())
        rust_cache.lend()


def wheel(profile: str, out: Path) -> Path:
    """Build the wheel for this machine, without any defence's switch, and say where it is.

    `profile` is `dist` for what ships, or `release`, which shares all libraries with the development build.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in out.glob("covm-*.whl")}
    argv = [str(BIN / "maturin"), "build", "--profile", profile, "--locked", "--out", str(out)]
    env = cargo_env()
    if profile == "dist":
        # Panics and backtraces name source files: as they are called here, not where they lie on this machine.
        places = {Path(env.get("CARGO_HOME") or Path.home() / ".cargo"): "cargo", ROOT: "covm"}
        remaps = [f"--remap-path-prefix={path}={name}" for path, name in places.items()]
        env["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(remaps)
    with build_lock():
        run_showing_progress(
            f"wheel ({profile})", argv, counting=CARGO_STEPS, total=crates_to_compile(PACKAGE, ""), env=env
        )
    made = [path for path in out.glob("covm-*.whl") if before.get(path) != path.stat().st_mtime_ns]
    if len(made) != 1:
        raise FileNotFoundError(f"maturin said it succeeded, but {out} holds {len(made)} new wheels instead of one")
    return made[0]
