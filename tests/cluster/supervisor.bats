# `mangrove train` as the parent of its roles: what it passes on and how it ends.
load cluster

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data"
    make_data "$DATA" >/dev/null
}

setup() {
    RUN="$BATS_TEST_TMPDIR/run" CONFIG="$BATS_TEST_TMPDIR/config.yaml"
    make_config "$CONFIG" "$DATA" "$RUN"
}

teardown() { kill_spawned; }

# The scheduler closes its output a moment before it can be waited for: once in twenty times that was taken for a
# failure of its own. Sixty times: that goes unseen in one of twenty runs.
@test "a scheduler that refuses to start gives train its exit code and is named" {
    mkdir -p "$RUN"
    echo '{}' >"$RUN/metrics.jsonl" # an earlier run
    for ((i = 0; i < 60; i++)); do
        run mangrove train "$CONFIG"
        [ "$status" -eq 3 ] || { echo "$status: $output"; false; }
    done
    [[ $output == *"holds an earlier run"*"scheduler"*"ended with exit code 3"* ]]
}

# Workers of other hosts may join then; the roles of this one meet at its public address too.
@test "a public address trains where the configuration allows it" {
    run mangrove train "$CONFIG" --set cluster.bind=tcp://0.0.0.0:0
    [ "$status" -eq 2 ] && [[ $output == *"add --insecure"* ]]
    run mangrove train "$CONFIG" --set cluster.bind=tcp://0.0.0.0:0 --set cluster.advertise=tcp://127.0.0.1 \
        --set cluster.insecure=true
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    address=$(hostname -I | cut -d' ' -f1)
    [ -n "$address" ] || skip "this host has no address but loopback"
    run mangrove train "$CONFIG" --set run.dir="$RUN-2" --set cluster.bind="tcp://$address:0" --set cluster.insecure=true
    [ "$status" -eq 0 ] || { echo "$output"; false; }
}

# The reader takes nothing before the scheduler has printed everything. By then 60 epochs have filled its pipe of one page, train's
# buffer, and more than another one of the pipe between scheduler and train.
@test "the result is whole behind a reader that is slow" {
    mkfifo "$BATS_TEST_TMPDIR/out"
    cat >"$BATS_TEST_TMPDIR/reader.py" <<'PYTHON'
import fcntl, pathlib, sys, time
here = pathlib.Path(sys.argv[1])
log = here / "train.log"
with open(here / "out") as out:
    fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 4096)
    deadline = time.monotonic() + 100
    while not (log.exists() and "complete:" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    sys.stdout.write(out.read())
PYTHON
    spawn reader "$PYTHON" "$BATS_TEST_TMPDIR/reader.py" "$BATS_TEST_TMPDIR"
    OUT="$BATS_TEST_TMPDIR/out" spawn train sh -c '"$0" train "$@" >"$OUT"' "$MANGROVE" "$CONFIG" --set train.epochs=60 \
        --set train.patience=60 --set train.batch=500 --set snapshot.enabled=false --set train.consistency=async \
        --set train.ranks=1
    poll 120 is_gone reader
    [ "$(grep -c '^ *[0-9][0-9]* *[AB] ' "$BATS_TEST_TMPDIR/reader.log")" -eq 120 ]
    tail -n 1 "$BATS_TEST_TMPDIR/reader.log" | grep -q "cold first"
}

# The scheduler of such a run ends before everybody has said HELLO, and nobody tells the others that it is gone. A worker
# that finds a pipe in its data waits in open() and never says it.
@test "a run with nothing left to do ends with 0 although its roles come late" {
    mangrove train "$CONFIG" --set train.epochs=1 >/dev/null
    mkdir "$BATS_TEST_TMPDIR/data"
    ln -s "$DATA"/* "$BATS_TEST_TMPDIR/data"
    rm "$BATS_TEST_TMPDIR/data/users.bin"
    mkfifo "$BATS_TEST_TMPDIR/data/users.bin"
    for data in "$DATA" "$BATS_TEST_TMPDIR/data"; do
        local start_s=$SECONDS
        run mangrove train --resume "$RUN/snapshots/epoch-0001" --set train.epochs=1 --set run.dir="$RUN-late" \
            --set data.dir="$data"
        [ "$status" -eq 0 ] && [[ $output == *"nothing is left to train"* ]] || { echo "$status: $output"; false; }
        [ $((SECONDS - start_s)) -lt 8 ] # they were asked, not killed
        rm -r "$RUN-late"
    done
}
