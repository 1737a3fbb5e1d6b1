#!/usr/bin/env bash
# Lock what requirements/*.in ask for: exact versions with hashes, for every supported Python and platform in one file.
# `tools/lock.sh` keeps the versions that still fit; `tools/lock.sh --upgrade` takes the newest.
# uv does the locking only, from an environment of its own that goes away again; nothing else here needs it.
# The files name packages and hashes, never where they come from: that is the business of who installs.
set -euo pipefail
cd "$(dirname "$0")/../requirements"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv --without-pip "$scratch"
"${PYTHON:-python3}" -m pip --python "$scratch/bin/python" install --quiet --require-hashes -r lock.txt

for name in lock runtime dev; do
  "$scratch/bin/uv" pip compile "$name.in" --output-file "$name.txt" --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "make lock" "$@"
done

if grep -nE -- '--(index|extra-index|find-links)|://' lock.txt runtime.txt dev.txt; then
  echo "The lines above name an address; lock files must not." >&2
  exit 1
fi
