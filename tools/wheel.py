"""Build the wheel that ships, and try it where there is no Rust."""

from __future__ import annotations

import os
import subprocess
import sys

from tools import native
from tools.places import BIN, ROOT
from tools.progress import CommandFailed


def main() -> int:
    """Build into dist/, then run the wheel's own tests on it."""
    try:
        wheel = native.wheel("dist", ROOT / "dist")
    except CommandFailed as failure:
        print(f"{failure.output}\n{failure}; what it said stands above.", file=sys.stderr)
        return 1
    print(f"{wheel.relative_to(ROOT)}  {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    tests = [str(BIN / "python"), "-m", "pytest", "-q", "tests/packaging"]
    return subprocess.run(tests, cwd=ROOT, env=os.environ | {"HOUSE_WHEEL": str(wheel)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
