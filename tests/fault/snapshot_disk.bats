# Disks that are full or cannot be written: the training goes on, the snapshots from before stay whole, and the next
# good one leaves nothing behind of those that failed. The mounts live in namespaces of their own and go with them.
load ../cluster/cluster

setup_file() {
    unshare --mount true || skip "mounting needs root"
    export CONFIG="$BATS_FILE_TMPDIR/config.yaml"
    make_data "$BATS_FILE_TMPDIR/data" >/dev/null
    make_config "$CONFIG" "$BATS_FILE_TMPDIR/data" "$BATS_FILE_TMPDIR/unused"
    sed -i 's/epochs: 2/epochs: 5, patience: 50/; s/sync, ranks: 2/async/' "$CONFIG"
}

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    export RUN="$BATS_TEST_TMPDIR/run"
    mkdir -p "$RUN/snapshots"
}

teardown() { kill_spawned; }

n_epochs() { [ "$(wc -l <"$RUN/metrics.jsonl")" = "$1" ]; }
every_directory_is_a_snapshot() {
    local dir
    for dir in "$RUN"/snapshots/*; do test -e "$dir/manifest.json" || { ls -R "$RUN/snapshots" && return 1; }; done
    [ -z "$(find "$RUN" -name '*.tmp*')" ]
}
export -f n_epochs every_directory_is_a_snapshot

@test "a full disk costs snapshots, not the training; the next good one leaves nothing behind" {
    unshare --mount bash -ex <<'SCRIPT'
        mount -t tmpfs -o size=1200k none "$RUN/snapshots"
        "$MANGROVE" train "$CONFIG" --set run.dir="$RUN" --set snapshot.keep=100 2>"$RUN/err"
        n_epochs 5
        grep -q "training goes on without it.*No space left on device" "$RUN/err"
        "$MANGROVE" verify "$RUN"
        test -e "$RUN/snapshots/epoch-0001/manifest.json"
        test ! -e "$RUN/snapshots/epoch-0005/manifest.json"
        mount -o remount,size=64m "$RUN/snapshots"
        "$MANGROVE" train --resume "$RUN" --set train.epochs=6 2>"$RUN/err"
        n_epochs 6
        "$MANGROVE" verify "$RUN"
        test -e "$RUN/snapshots/epoch-0006/manifest.json"
        every_directory_is_a_snapshot
SCRIPT
}

@test "a directory that cannot be written costs snapshots, not the training" {
    unshare --mount bash -ex <<'SCRIPT'
        mount --bind "$RUN/snapshots" "$RUN/snapshots"
        mount -o remount,ro,bind "$RUN/snapshots"
        "$MANGROVE" train "$CONFIG" --set run.dir="$RUN" --set train.epochs=2 2>"$RUN/err"
        n_epochs 2
        grep -q "training goes on without it.*Read-only file system" "$RUN/err"
        test -z "$(ls "$RUN/snapshots")"
SCRIPT
}
