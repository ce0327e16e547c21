# A cluster of real processes on this host, started by hand in an order that is not the obvious one, computes what one
# process computes.
load cluster

ASYNC=(--set train.consistency=async --set train.ranks=1)

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data" LOCAL="$BATS_FILE_TMPDIR/local"
    make_data "$DATA" >/dev/null
    make_config "$BATS_FILE_TMPDIR/local.yaml" "$DATA" "$LOCAL"
    mangrove train "$BATS_FILE_TMPDIR/local.yaml" --local >/dev/null
}

setup() {
    RUN="$BATS_TEST_TMPDIR/run"
    make_config "$BATS_TEST_TMPDIR/config.yaml" "$DATA" "$RUN"
}

teardown() { kill_spawned; }

# free_port: one that nobody listens on now; the scheduler is told it before it starts
free_port() { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_cluster SERVERS WORKERS OPTION…: workers first, then servers, then the scheduler that they all wait for
start_cluster() {
    local servers=$1 workers=$2 i
    SCHEDULER="tcp://127.0.0.1:$(free_port)"
    shift 2
    for ((i = 0; i < workers; i++)); do
        spawn worker-$i "$MANGROVE" worker --scheduler "$SCHEDULER" --data "$DATA"
    done
    for ((i = 0; i < servers; i++)); do
        spawn server-$i "$MANGROVE" server --scheduler "$SCHEDULER"
    done
    spawn scheduler sh -c '"$@"; echo "exit code $?"' - "$MANGROVE" scheduler "$BATS_TEST_TMPDIR/config.yaml" \
        --bind "$SCHEDULER" --set cluster.servers="$servers" --set cluster.workers="$workers" "$@"
}

all_are_gone() {
    local file
    for file in "$BATS_TEST_TMPDIR"/*.pid; do
        is_gone "$(basename "$file" .pid)" || return 1
    done
}

show_logs() { tail -n 20 "$BATS_TEST_TMPDIR"/*.log; }

ends_with_code() {
    poll 120 all_are_gone || { show_logs; return 1; }
    grep -qx "exit code $1" "$BATS_TEST_TMPDIR/scheduler.log" || { show_logs; return 1; }
}

equals_local() {
    cmp "$LOCAL/metrics.jsonl" "$RUN/metrics.jsonl"
    [ "$(rows_of "$LOCAL" 2)" = "$(rows_of "$RUN" 2)" ]
}

@test "sync on one server and one worker ends in the bits of train --local" {
    start_cluster 1 1
    ends_with_code 0
    equals_local
}

@test "sync on three servers and two workers ends in the bits of train --local" {
    start_cluster 3 2
    ends_with_code 0
    equals_local
}

@test "sync with more workers than ranks ends in the bits of train --local" {
    start_cluster 2 4
    ends_with_code 0
    equals_local
}

@test "async with one worker and no prefetch ends in the bits of sync with one rank" {
    mangrove train "$BATS_TEST_TMPDIR/config.yaml" --local --set train.ranks=1 --set run.dir="$RUN-sync" >/dev/null
    start_cluster 2 1 "${ASYNC[@]}" --set train.prefetch=0
    ends_with_code 0
    cmp "$RUN-sync/metrics.jsonl" "$RUN/metrics.jsonl"
    [ "$(rows_of "$RUN-sync" 2)" = "$(rows_of "$RUN" 2)" ]
}

@test "async on two workers trains every step of every epoch once" {
    start_cluster 2 2 "${ASYNC[@]}" --set train.prefetch=1
    ends_with_code 0
    "$PYTHON" - "$RUN" <<'PYTHON'
import json, pathlib, sys
run = pathlib.Path(sys.argv[1])
lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
assert [line["epoch"] for line in lines] == [1, 2]
manifest = json.load(open(run / "snapshots/epoch-0002/manifest.json"))
for d, name in enumerate("AB"):
    assert manifest["t"][d] == 2 * lines[0][name]["steps"], (manifest["t"], lines[0][name]["steps"])
PYTHON
}

@test "a worker that is told to go gives its work back, and the others finish the run" {
    start_cluster 2 2 "${ASYNC[@]}" --set train.epochs=6 --set train.patience=6
    poll 60 test -s "$RUN/metrics.jsonl"
    kill -TERM "$(pid_of worker-0)"
    poll 10 is_gone worker-0
    grep -q "stopped as asked" "$BATS_TEST_TMPDIR/worker-0.log"
    ends_with_code 0
    [ "$(wc -l <"$RUN/metrics.jsonl")" -eq 6 ]
}

@test "a worker that goes in sync changes no bit" {
    local options=(--set train.epochs=4 --set train.patience=4)
    mangrove train "$BATS_TEST_TMPDIR/config.yaml" --local "${options[@]}" --set run.dir="$RUN-local" >/dev/null
    start_cluster 2 2 "${options[@]}"
    poll 60 test -s "$RUN/metrics.jsonl"
    kill -TERM "$(pid_of worker-1)"
    ends_with_code 0
    cmp "$RUN-local/metrics.jsonl" "$RUN/metrics.jsonl"
    [ "$(rows_of "$RUN-local" 4)" = "$(rows_of "$RUN" 4)" ]
}

@test "a scheduler told to stop ends everybody with a snapshot and code 75" {
    start_cluster 2 2 "${ASYNC[@]}" --set train.epochs=200 --set train.patience=200
    poll 60 test -s "$RUN/metrics.jsonl"
    pkill -TERM -P "$(pid_of scheduler)"
    ends_with_code 75
    for snapshot in "$RUN"/snapshots/*; do test -e "$snapshot/manifest.json"; done
}

@test "evaluate prints training's metrics to the last digit" {
    mangrove evaluate "$LOCAL/snapshots/epoch-0002" --data "$DATA" --json >"$BATS_TEST_TMPDIR/test.json"
    mangrove evaluate "$LOCAL/snapshots/epoch-0002" --data "$DATA" --json --split valid >"$BATS_TEST_TMPDIR/valid.json"
    "$PYTHON" - "$LOCAL/metrics.jsonl" "$BATS_TEST_TMPDIR" <<'PYTHON'
import json, sys
trained = json.loads(open(sys.argv[1]).readlines()[-1])
n = 0
for split in "valid", "test":
    evaluated = json.load(open(f"{sys.argv[2]}/{split}.json"))
    for domain in "AB":
        for name, value in (trained[domain][split] or {}).items():
            assert evaluated[domain][name] == value, (split, domain, name)
            n += 1
        assert set(evaluated[domain]["probes"]) == {"newest first", "popular first", "cold first"}
assert n >= 20, n
PYTHON
}

@test "evaluate reads a run's best snapshots, and several runs side by side" {
    run mangrove evaluate "$LOCAL" "$LOCAL/snapshots/epoch-0002" --data "$DATA" --protocol all
    [ "$status" -eq 0 ]
    [ "$(grep -c '^  man ' <<<"$output")" -eq 4 ]
}

@test "evaluate refuses what does not belong together, with the documented codes" {
    make_data "$BATS_TEST_TMPDIR/other" >/dev/null
    mangrove synth "$BATS_TEST_TMPDIR/o" --users-a 100 --users-b 100 --items-a 80 --items-b 80 --seed 9 >/dev/null
    mangrove prepare "$BATS_TEST_TMPDIR"/o/ratings_[AB].csv --out "$BATS_TEST_TMPDIR/another" >/dev/null
    run mangrove evaluate "$LOCAL" --data "$BATS_TEST_TMPDIR/another"
    [ "$status" -eq 3 ] && [[ $output == *"was trained on"* ]]
    run mangrove evaluate "$BATS_TEST_TMPDIR" --data "$DATA"
    [ "$status" -eq 1 ] && [[ $output == *"neither a snapshot"* ]]
    run mangrove evaluate --data "$DATA"
    [ "$status" -eq 2 ]
    cp -r "$LOCAL/snapshots/epoch-0002" "$BATS_TEST_TMPDIR/damaged"
    printf x | dd of="$BATS_TEST_TMPDIR/damaged/server-0.A.safetensors" bs=1 seek=9000 conv=notrunc status=none
    run mangrove evaluate "$BATS_TEST_TMPDIR/damaged" --data "$DATA"
    [ "$status" -eq 5 ]
}

@test "a worker with other data is refused and says so" {
    mangrove synth "$BATS_TEST_TMPDIR/o" --users-a 100 --users-b 100 --items-a 80 --items-b 80 --seed 9 >/dev/null
    mangrove prepare "$BATS_TEST_TMPDIR"/o/ratings_[AB].csv --out "$BATS_TEST_TMPDIR/another" >/dev/null
    start_cluster 1 2 --set train.epochs=50 --set train.patience=50
    poll 60 test -s "$RUN/metrics.jsonl"
    run timeout 20 "$MANGROVE" worker --scheduler "$SCHEDULER" --data "$BATS_TEST_TMPDIR/another"
    [ "$status" -eq 3 ]
    [[ $output == *"data set"* ]] || { echo "$output"; false; }
}

@test "each role shows an example first and refuses nonsense with code 2" {
    for role in train scheduler server worker evaluate; do
        mangrove $role --help | head -n 1 | grep -q "^Example: mangrove $role "
        run mangrove $role --no-such-option
        [ "$status" -eq 2 ]
    done
    run mangrove worker --scheduler tcp://127.0.0.1:1
    [ "$status" -eq 2 ]
    run mangrove worker --scheduler tcp://127.0.0.1:1 --data "$BATS_TEST_TMPDIR"
    [ "$status" -eq 1 ] || [ "$status" -eq 3 ]
}
