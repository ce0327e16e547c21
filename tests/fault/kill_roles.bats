# Any one role of `train`, and `train` itself, is killed with -9: everything ends within ten seconds, non-zero, the role
# is named last, no process is left, and an earlier snapshot is untouched.
load ../cluster/cluster

setup_file() {
    export RUN="$BATS_FILE_TMPDIR/run" CONFIG="$BATS_FILE_TMPDIR/config.yaml"
    make_data "$BATS_FILE_TMPDIR/data" >/dev/null
    make_config "$CONFIG" "$BATS_FILE_TMPDIR/data" "$RUN"
    sed -i 's/epochs: 2/epochs: 50, patience: 50/; s/sync, ranks: 2/async/' "$CONFIG"
}

setup() { cd "$BATS_TEST_DIRNAME/../.."; }
teardown() { kill_spawned; }

# The processes of this test's run: they name its data directory or are its children.
left_behind() { pgrep -g "$1" || pgrep -f "$BATS_FILE_TMPDIR"; }
nothing_left() { ! left_behind "$1" >/dev/null; }

# child NAME: pid of the role, from the process tree of train
role_pid() {
    case $1 in
    scheduler) pgrep -P "$(pid_of train)" -f "mangrove scheduler" ;;
    train) pid_of train ;;
    *) pgrep -P "$(pid_of train)" -f "mangrove ${1%-*}" | sed -n "$((${1##*-} + 1))p" ;;
    esac
}

# kills ROLE once a snapshot has been committed, and checks how the run ends
kill_and_check() {
    local role=$1 victim snapshot before
    rm -rf "$RUN"
    spawn train "$MANGROVE" train "$CONFIG"
    poll 60 test -e "$RUN/snapshots/epoch-0001/evaluation.json"
    snapshot="$RUN/snapshots/epoch-0001"
    cp -r "$snapshot" "$BATS_TEST_TMPDIR/kept" # the run may prune it later, the copy is compared if it is there
    victim=$(role_pid "$role")
    local train_pid children
    train_pid=$(pid_of train)
    children=$(pgrep -P "$train_pid" | tr '\n' ' ')
    before=$SECONDS
    kill -9 "$victim"
    poll 10 is_gone train
    for child in $children; do poll 10 eval "! kill -0 $child 2>/dev/null"; done
    [ $((SECONDS - before)) -le 10 ]
    if [ "$role" != train ]; then
        tail -n 2 "$BATS_TEST_TMPDIR/train.log" | grep -q "$role"
    fi
    if [ -e "$snapshot/manifest.json" ]; then diff -r "$snapshot" "$BATS_TEST_TMPDIR/kept"; fi
}

@test "a killed server ends the run and is named" { kill_and_check server-1; }
@test "a killed worker ends the run and is named" { kill_and_check worker-1; }
@test "a killed scheduler ends the run and is named" { kill_and_check scheduler; }
@test "a killed train takes every role with it" { kill_and_check train; }
