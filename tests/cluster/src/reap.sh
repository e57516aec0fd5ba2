#!/bin/sh
# Ends everything that belongs to one test cluster. Called as: reap.sh DIR now|wait
#
# With `wait` it first waits for the end of its standard input. The write end of that pipe is held by
# the process that owns the cluster, and the kernel closes it however that process ends, so nothing is
# left behind after a SIGKILL either. It is a shell script because the owner can be any test binary,
# and what must outlive that has to be a program which is there on every machine.
#
# What DIR/links and DIR/cgroups name, one entry a line, is deleted; every process that carries the
# cluster's mark is killed (the processes of a node are in a pid namespace whose first process carries
# it, so containers go with it, and the namespace's mounts with them).
set -u
dir=$1
trap '' INT TERM HUP QUIT
case $dir in
/*) ;;
*) echo "reap: not an absolute path: $dir" >&2; exit 2 ;;
esac
[ "$2" = wait ] && cat >/dev/null

marked() {
	for environ in $(grep -lszxF "WEIR_CLUSTER_MARK=$dir" /proc/[0-9]*/environ); do
		environ=${environ%/environ}
		echo "${environ#/proc/}"
	done
}

# Every loop below is bounded: a process that cannot die must not hold this one for ever.
tries=0
while pids=$(marked) && [ -n "$pids" ] && [ $tries -lt 200 ]; do
	kill -9 $pids 2>/dev/null
	tries=$((tries + 1))
	sleep 0.05
done

if [ -f "$dir/links" ]; then
	while read -r link; do
		ip link delete "$link" 2>/dev/null
	done <"$dir/links"
fi

if [ -f "$dir/cgroups" ]; then
	while read -r cgroup; do
		tries=0
		while [ -d "$cgroup" ] && [ $tries -lt 100 ]; do
			find "$cgroup" -depth -type d -delete 2>/dev/null
			[ -d "$cgroup" ] && sleep 0.05
			tries=$((tries + 1))
		done
	done <"$dir/cgroups"
fi

# Only a folder that a cluster was started in is deleted, and only unless it shall be kept.
if [ -f "$dir/cluster.mark" ] && [ ! -f "$dir/keep" ]; then
	rm -rf "$dir"
fi
