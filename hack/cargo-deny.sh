#!/usr/bin/env bash
# Licences, bans and sources by cargo-deny, built once into the cargo home if it is not there.
# Advisories need their database from the network; they are checked where it can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cargo-deny >/dev/null 2>&1; then
	echo "building cargo-deny, once"
	cargo install --locked --quiet cargo-deny
fi
cargo deny --all-features check licenses bans sources
