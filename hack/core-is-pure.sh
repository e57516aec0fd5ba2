#!/usr/bin/env bash
# host/core holds decisions that must replay to the bit: no async, no Kubernetes client, no clock,
# no random numbers, no environment, no threads, no global state. This looks at what it depends on
# and at what it names.
set -euo pipefail
cd "$(dirname "$0")/.."
fail=0
dependencies=$(cargo tree -p weir-core --edges normal --prefix none --format '{p}' | awk '{print $1}' | sort -u)
for forbidden in tokio futures futures-util async-std async-trait kube kube-client kube-runtime k8s-openapi wasmtime reqwest hyper rand getrandom chrono jiff time; do
	if grep -qx "$forbidden" <<<"$dependencies"; then
		echo "host/core must not depend on $forbidden" >&2
		fail=1
	fi
done
pattern='async fn|\.await|std::time::(Instant|SystemTime)|Instant::now|SystemTime::now|std::env|std::fs|std::net|std::thread|static mut|thread_local!|OnceLock|LazyLock|RandomState|HashMap|HashSet|println!'
if grep -nE "$pattern" -r host/core/src --include='*.rs'; then
	echo "host/core must not name these (HashMap: its order is not the same on every run)" >&2
	fail=1
fi
[ "$fail" = 0 ] && echo "host/core is pure"
exit "$fail"
