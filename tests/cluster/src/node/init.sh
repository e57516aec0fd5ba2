#!/bin/sh
# The first process of a node, in namespaces of its own for processes, mounts and network. Called with
# the node's folder. Prepares what the node's programs see, then reaps processes until it is killed.
set -eu
dir=$1

# Volumes may ask for propagation between a pod and the node; nothing reaches the machine itself.
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
mount --bind "$dir/lib" /var/lib
mount --bind "$dir/log" /var/log

# A kubelet sets these for the whole machine. Here it writes to files in their place.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
	kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
	file=$dir/sysctl/$setting
	mkdir -p "${file%/*}"
	cat "/proc/sys/$setting" >"$file"
	mount --bind "$file" "/proc/sys/$setting"
done

echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
: >"$dir/ready"

# `wait` also reaps orphans, of which containerd's shims are some.
while :; do
	sleep 2147483647 &
	wait $! || :
done
