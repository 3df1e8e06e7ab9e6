#!/usr/bin/env bash
# Installs what the build and the tests need on Debian. Does nothing where it is there already.
set -euo pipefail

# Installs packages of Debian.
install() {
  (($#)) || return 0
  local sudo=""
  if ((EUID != 0)); then
    sudo="sudo"
    command -v sudo >/dev/null || {
      echo "setup: $* must be installed: run this as root once (scripts/setup.sh), or install sudo" >&2
      exit 1
    }
  fi
  echo "installing: $*"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

packages=(libclang-dev clang mold cmake pkg-config fuse3 attr e2fsprogs git sqlite3)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
install "${missing[@]}"

# Clients of S3, for its tests: any version will do that is there already.
clients=()
python3 -c 'import boto3' 2>/dev/null || clients+=(python3-boto3)
command -v aws >/dev/null || clients+=(awscli)
command -v s3cmd >/dev/null || clients+=(s3cmd)
command -v rclone >/dev/null || clients+=(rclone)
install "${clients[@]}"

if ! command -v cargo >/dev/null; then
  echo "setup: a Rust toolchain is needed: install rustup, then run this again" >&2
  exit 1
fi
if ! cargo deny --version >/dev/null 2>&1; then
  echo "installing cargo-deny"
  # Not optimised, in a target directory of its own: it runs for seconds.
  CARGO_TARGET_DIR="${TMPDIR:-/tmp}/cargo-deny-build" cargo install --quiet --debug --locked cargo-deny@0.20.2
fi
if [[ ! -e /dev/fuse ]]; then
  echo "setup: /dev/fuse is missing: load the fuse module (modprobe fuse), or run the container with --device /dev/fuse" >&2
  exit 1
fi
