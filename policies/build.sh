#!/usr/bin/env bash
# Builds the policies of this repository to Wasm components in policies/target/components: the built-in
# ones as <name>.wasm, examples/<name>.wasm, fixtures/<name>.wasm. The program `weir` embeds the built-in
# ones, so it can't build them; a policy of your own is made and built by `weir policy new` and `build`.
#
# Needs cargo, and one of: the target wasm32-unknown-unknown of the installed toolchain (rustup target
# add wasm32-unknown-unknown), or Debian's rustc-web, cargo-web, rust-web-src and lld, with which the
# standard library is compiled here once. As root on Debian the latter are installed when missing.
set -euo pipefail

readonly TARGET=wasm32-unknown-unknown
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

have_target() { [[ -d $("$1" --print target-libdir --target "$TARGET" 2>/dev/null || true) ]]; }

have_debian() {
  [[ -x /usr/bin/rustc && -x /usr/bin/cargo ]] && command -v wasm-ld >/dev/null &&
    [[ -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library ]]
}

# Sets GUEST_CARGO (a command line) to a cargo that can compile for the target.
find_toolchain() {
  GUEST_CARGO=()
  if command -v rustc >/dev/null && have_target rustc; then
    GUEST_CARGO=(cargo build)
  elif [[ -x /usr/bin/rustc ]] && have_debian; then
    use_debian
  elif command -v rustup >/dev/null && rustup target add "$TARGET" >/dev/null 2>&1 && have_target rustc; then
    GUEST_CARGO=(cargo build)
  elif [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing rustc-web, cargo-web, rust-web-src and lld: the toolchain here has no target $TARGET"
    install_debian || die "apt-get could not install them; install the target $TARGET for your Rust toolchain instead"
    have_debian || die "Debian's rustc-web does not bring what is needed; install the target $TARGET for your Rust toolchain instead"
    use_debian
  else
    die "no Rust toolchain here compiles for $TARGET. Either run: rustup target add $TARGET
       or, on Debian: sudo apt-get install rustc-web cargo-web rust-web-src lld"
  fi
}

install_debian() {
  export DEBIAN_FRONTEND=noninteractive
  local packages=(rustc-web cargo-web rust-web-src lld)
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 && return
  apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# Debian ships the standard library for this target as source only: it is compiled along, which the
# stable compiler does when told that it is allowed to (RUSTC_BOOTSTRAP).
use_debian() {
  GUEST_CARGO=(env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld
    /usr/bin/cargo build -Z "build-std=std,panic_abort")
}

# How guests are compiled: small and fast to instantiate, as `weir policy build` does it. A policy needs
# little stack; less of it is a smaller memory. Paths of this machine stay out of the component.
guest_build() {
  local flags=("-Clink-arg=-zstack-size=131072" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" "--remap-path-prefix=$HERE=/policies")
  [[ -d $HERE/target/guest/$TARGET ]] || say "compiling for $TARGET for the first time; this takes a few minutes"
  env CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=true CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
    CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_ENCODED_RUSTFLAGS="$(printf '%s\x1f' "${flags[@]}" | sed 's/\x1f$//')" CARGO_TARGET_DIR="$HERE/target/guest" \
    "${GUEST_CARGO[@]}" --quiet --target "$TARGET" --release "$@"
}

# The packer runs here, so it is compiled by whatever cargo there is for this machine.
build_packer() {
  (cd "$HERE" && CARGO_TARGET_DIR="$HERE/target" cargo build --quiet --locked --package weir-pack)
}

pack() { "$HERE/target/debug/weir-pack" "$@"; }

wasm_of() { printf '%s/target/guest/%s/release/%s.wasm' "$HERE" "$TARGET" "${1//-/_}"; }

build_all() {
  local scaling=(threshold backlog) placement=(balanced) examples=(surge-guard) name
  local components=$HERE/target/components
  # A run of cargo for each kind: the SDK exports one world.
  (cd "$HERE" && guest_build --locked "${scaling[@]/#/--package=}" "${examples[@]/#/--package=}" && guest_build --locked "${placement[@]/#/--package=}")
  for name in "${scaling[@]}" "${placement[@]}"; do pack component "$components/$name.wasm" "$(wasm_of "$name")"; done
  for name in "${examples[@]}"; do pack component "$components/examples/$name.wasm" "$(wasm_of "$name")"; done
  pack fixtures "$components/fixtures" "$HERE/fixtures" "$HERE/../wit"
}

main() {
  command -v cargo >/dev/null || [[ -x /usr/bin/cargo ]] || die "cargo is missing: install Rust (https://rustup.rs)"
  [[ $# == 0 ]] || die "this builds the policies of this repository; for your own: weir policy build path/to/policy"
  find_toolchain
  build_packer
  build_all
}

main "$@"
