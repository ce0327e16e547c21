# mangrove train --local: everything in one process, without a wire.
load cluster

setup() {
    make_data "$BATS_TEST_TMPDIR/data" >/dev/null
    make_config "$BATS_TEST_TMPDIR/config.yaml" "$BATS_TEST_TMPDIR/data" "$BATS_TEST_TMPDIR/run"
}

teardown() { kill_spawned; }

@test "train --local that diverges ends at once and says why" {
    run timeout 30 "$MANGROVE" train "$BATS_TEST_TMPDIR/config.yaml" --local --set optimizer.kind=sgd \
        --set optimizer.lr=100 --set cluster.join_s=3600
    [ "$status" -eq 1 ] || { echo "$output"; false; }
    [[ "${lines[-1]}" == *"is not finite in epoch 1"* ]] || { echo "$output"; false; }
}

@test "train --local told to stop writes a snapshot and ends with code 75" {
    for signal in INT TERM; do
        local run="$BATS_TEST_TMPDIR/run-$signal"
        spawn $signal sh -c '"$@" & echo $! >"$0"; wait $!; echo "exit code $?"' "$BATS_TEST_TMPDIR/$signal.child" \
            "$MANGROVE" train "$BATS_TEST_TMPDIR/config.yaml" --local --set train.epochs=10000 \
            --set train.patience=10000 --set run.dir="$run"
        poll 60 test -s "$run/metrics.jsonl"
        kill -$signal "$(cat "$BATS_TEST_TMPDIR/$signal.child")"
        poll 30 is_gone $signal
        grep -qx "exit code 75" "$BATS_TEST_TMPDIR/$signal.log" || { cat "$BATS_TEST_TMPDIR/$signal.log"; false; }
        for snapshot in "$run"/snapshots/*; do test -e "$snapshot/manifest.json"; done
    done
}
