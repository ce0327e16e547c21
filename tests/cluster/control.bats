# `mangrove status`, `mangrove snapshot` and `mangrove stop` talk to the scheduler of a running cluster.
load cluster

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data"
    make_data "$DATA" >/dev/null
}

setup() {
    RUN="$BATS_TEST_TMPDIR/run"
    make_config "$BATS_TEST_TMPDIR/config.yaml" "$DATA" "$RUN"
}

teardown() { kill_spawned; }

is_training() { mangrove status "$RUN" --json | grep -q '"phase":"training"'; }

@test "a run says how it stands, and stop ends it with a snapshot and code 75" {
    spawn train sh -c '"$0" train "$@"; echo "exit code $?"' "$MANGROVE" "$BATS_TEST_TMPDIR/config.yaml" \
        --set train.epochs=200 --set train.patience=200
    poll 60 is_training
    poll 60 test -s "$RUN/metrics.jsonl"
    run mangrove status "$(cat "$RUN/scheduler.endpoint")"
    [ "$status" -eq 0 ]
    [[ $output == *", epoch "*" of at most 200, "*"domain A: loss "*"domain B: loss "* ]] || { echo "$output"; false; }
    [ "$(grep -cE '^(server|worker)-[01] +present ' <<<"$output")" -eq 4 ]
    mangrove status "$RUN" --json | "$PYTHON" -c '
import json, sys
status = json.load(sys.stdin)
assert status["epochs"] == 200 and len(status["members"]) == 4 and not status["stopping"], status'
    run mangrove stop "$RUN"
    [ "$status" -eq 0 ]
    poll 60 is_gone train
    grep -qx "exit code 75" "$BATS_TEST_TMPDIR/train.log"
    for snapshot in "$RUN"/snapshots/*; do test -e "$snapshot/manifest.json"; done
}

@test "a snapshot on request is named once it is on disk, and the run goes on" {
    spawn train sh -c '"$0" train "$@"; echo "exit code $?"' "$MANGROVE" "$BATS_TEST_TMPDIR/config.yaml" \
        --set train.epochs=200 --set train.patience=200 --set snapshot.keep=1000
    poll 60 is_training
    for i in 1 2 3; do
        dir=$(mangrove snapshot "$RUN" --timeout 60)
        [[ $dir == "$RUN"/snapshots/epoch-* ]]
        mangrove verify "$dir"
    done
    mangrove snapshot "$RUN" --json | "$PYTHON" -c '
import json, os, sys
snapshot = json.load(sys.stdin)["snapshot"]
assert snapshot["request"]["state"] == "committed" and snapshot["number"] > 0 and not snapshot["failure"], snapshot
assert os.path.exists(snapshot["request"]["text"] + "/manifest.json"), snapshot'
    ls "$RUN/snapshots" | grep -qE '^epoch-[0-9]{4}-step-[0-9]{6}$' # not all of them came at an epoch's end
    mangrove status "$RUN" | grep -q "of at most 200"
    mangrove status "$RUN" | grep -qE "^last snapshot: $RUN/snapshots/epoch-[0-9]{4}(-step-[0-9]{6})?(, another is.*)?$"
    mangrove stop "$RUN"
    poll 60 is_gone train
    grep -qx "exit code 75" "$BATS_TEST_TMPDIR/train.log"
}

@test "a run without snapshots says so" {
    spawn train "$MANGROVE" train "$BATS_TEST_TMPDIR/config.yaml" --set train.epochs=200 --set train.patience=200 \
        --set snapshot.enabled=false
    poll 60 is_training
    run mangrove snapshot "$RUN"
    [ "$status" -eq 1 ] && [[ $output == *"snapshots are off (snapshot.enabled)"* ]]
    mangrove status "$RUN" | grep -qx "last snapshot: none yet"
}

@test "a scheduler that is not there is named within the time given" {
    run mangrove status tcp://127.0.0.1:1 --timeout 1
    [ "$status" -eq 4 ] && [[ $output == *"tcp://127.0.0.1:1: no answer"* ]]
    run mangrove stop "$BATS_TEST_TMPDIR" # no run's directory
    [ "$status" -eq 1 ] && [[ $output == *"scheduler.endpoint"* ]]
    run mangrove stop 127.0.0.1:1
    [ "$status" -eq 1 ] && [[ $output == *"must begin with tcp://"* ]]
}

@test "a wrong command line ends with 2" {
    for command in status snapshot stop; do
        mangrove $command --help | head -n 1 | grep -q "^Example: mangrove $command "
        run mangrove $command
        [ "$status" -eq 2 ]
        run mangrove $command tcp://127.0.0.1:1 --timeout 0
        [ "$status" -eq 2 ]
    done
}
