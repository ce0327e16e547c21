#!/usr/bin/env bash
# Predicted beside measured: trains across network namespaces whose links are shaped to 100 Mbit/s and 1 Gbit/s, and
# asks mangrove bench model for the same cluster.
#   tests/bench/shaped_hosts.sh MANGROVE DATA      as root; DATA is a prepared data set of the Amazon pairs' shape
# One line per rate, batch and number of workers; fails where a network is the bound and predicted/measured is not within
# 20 %. (All hosts share this machine's processors: where those are the bound, other work on it decides.)
set -eu
MANGROVE=$(realpath "$1")
DATA=$(realpath "$2")
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../cluster/hosts.bash"
WORK=$(mktemp -d)
trap 'hosts_remove; rm -rf "$WORK"' EXIT
hosts_possible || { echo "network namespaces need root" >&2; exit 1; }
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# shape RATE BURST: either way, of every host
shape() {
    local i
    for i in 1 2 3 4; do
        on "$i" tc qdisc replace dev eth0 root tbf rate "$1" burst "$2" latency 50ms
        tc qdisc replace dev "$HOSTS.$i" root tbf rate "$1" burst "$2" latency 50ms
    done
}

# train BATCH WORKERS: prints instances per second of about 8 seconds of training
train() {
    local run=$WORK/run.$RANDOM endpoint pids=() i
    on 1 "$MANGROVE" scheduler "$WORK/config.yaml" --bind tcp://10.77.0.1:0 --insecure --set "train.batch=$1" \
        --set "cluster.workers=$2" --set "run.dir=$run" >/dev/null 2>"$WORK/scheduler.log" &
    pids+=($!)
    for i in {1..100}; do [ -s "$run/scheduler.endpoint" ] && break; sleep .1; done
    endpoint=$(cat "$run/scheduler.endpoint")
    on 2 "$MANGROVE" server --scheduler "$endpoint" --insecure >/dev/null 2>"$WORK/server.log" &
    pids+=($!)
    for ((i = 0; i < $2; i++)); do
        on $((3 + i)) "$MANGROVE" worker --scheduler "$endpoint" --data "$DATA" >/dev/null 2>"$WORK/worker-$i.log" &
        pids+=($!)
    done
    ip netns exec "$HOSTS-1" /usr/bin/python3 - "$MANGROVE" "$endpoint" <<'E2'
import json, subprocess, sys, time

def look():
    out = subprocess.run([sys.argv[1], "status", "--json", sys.argv[2]], capture_output=True, text=True, check=True)
    return time.monotonic(), json.loads(out.stdout)

end, first = time.monotonic() + 60, None
while time.monotonic() < end:
    now, status = look()
    if status["phase"] != "training" or first and first[1] != status["epoch"]:
        first = None
    elif status["instances"] and not first:
        time.sleep(3)  # let the first rows be made
        now, status = look()
        first = (now, status["epoch"], status["instances"]) if status["phase"] == "training" else None
    elif first and now - first[0] >= 8:
        print((status["instances"] - first[2]) / (now - first[0]))
        sys.exit()
    time.sleep(.3)
sys.exit("no 8 seconds of training within a minute")
E2
    kill -9 "${pids[@]}" 2>/dev/null || true
    for i in 1 2 3 4; do # what netns exec had started
        local pid
        for pid in $(ip netns pids "$HOSTS-$i"); do kill -9 "$pid" 2>/dev/null || true; done
    done
    wait "${pids[@]}" 2>/dev/null || true
}

hosts_make
cat >"$WORK/config.yaml" <<E2
train: {epochs: 1000, patience: 1000}
cluster: {servers: 1, heartbeat_ms: 50}
snapshot: {enabled: false}
E2
for batch in 20 200; do
    "$MANGROVE" bench model "$WORK/config.yaml" --json --data "$DATA" --dir "$WORK" --batch "$batch" --gbit 1 |
        grep "step_us" | head -1 >"$WORK/constants.$batch"
done
failed=0
printf '%-8s %5s %7s %10s %10s %6s  %s\n' rate batch workers predicted measured ratio bound
for rate in "100mbit 64kb 0.1" "1gbit 512kb 1"; do
    read -r name burst gbit <<<"$rate"
    shape "$name" "$burst"
    for batch in 20 200; do
        list=$(/usr/bin/python3 -c 'import json, sys
o = json.load(open(sys.argv[1]))
print(",".join(f"{k}={v}" for k, v in o.items() if k not in ("bench", "batch", "machine_instances_per_s")))' "$WORK/constants.$batch")
        "$MANGROVE" bench model "$WORK/config.yaml" --json --batch "$batch" --gbit "$gbit" --constants "$list" >"$WORK/model"
        for workers in 1 2; do
            measured=$(train "$batch" "$workers")
            /usr/bin/python3 - "$WORK/model" "$name" "$batch" "$workers" "$measured" <<'E2' || failed=1
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
name, batch, workers, measured = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
machine = next(o["machine_instances_per_s"] for o in lines if "step_us" in o)
model = next(o for o in lines if o.get("workers") == workers and o["wire"] == "f32" and o["dense_every"] == 1)
predicted, bound = min((model["instances_per_s"], model["bound"]), (machine, "this machine's processors"))
print(f"{name:8} {batch:5} {workers:7} {predicted:10.0f} {measured:10.0f} {predicted / measured:6.2f}  {bound}", flush=True)
sys.exit("network" in bound and not 0.8 <= predicted / measured <= 1.25)
E2
        done
    done
done
exit $failed
