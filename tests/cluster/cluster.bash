# Shared by the cluster and fault tests: a small data set, roles started by hand, waits with deadlines, and nothing left
# behind. Loaded by `load`.

export MANGROVE=${MANGROVE:-$PWD/build/mangrove}
PYTHON=/usr/bin/python3 # the one that has Debian's NumPy

# Calls the program: mangrove train …
mangrove() { "$MANGROVE" "$@"; }

# poll SECONDS COMMAND…: until the command succeeds, or fails the test at the deadline.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then
            echo "not within the deadline: $*" >&2
            return 1
        fi
        read -rt 0.05 <> <(:) || true
    done
}

# spawn NAME COMMAND…: in the background, output to $BATS_TEST_TMPDIR/NAME.log, pid in $BATS_TEST_TMPDIR/NAME.pid
spawn() {
    local name=$1
    shift
    setsid "$@" >"$BATS_TEST_TMPDIR/$name.log" 2>&1 3>&- &
    echo $! >"$BATS_TEST_TMPDIR/$name.pid"
    disown
}
pid_of() { cat "$BATS_TEST_TMPDIR/$1.pid"; }
is_gone() { ! kill -0 "$(pid_of "$1")" 2>/dev/null; }

# kill_spawned: ends everything that spawn started, with its children.
kill_spawned() {
    local file
    for file in "$BATS_TEST_TMPDIR"/*.pid; do
        [ -e "$file" ] && kill -9 -- "-$(cat "$file")" 2>/dev/null
    done
    return 0
}

# endpoint_of RUN_DIR: the scheduler's endpoint once it is bound.
endpoint_of() {
    poll 20 test -s "$1/scheduler.endpoint" && cat "$1/scheduler.endpoint"
}

# make_data DIR: a small prepared set with several chunks; about 5,000 instances of both domains.
make_data() {
    mangrove synth "$1-ratings" --preset transfer --users-a 600 --users-b 600 --items-a 400 --items-b 400 --seed 3 &&
        mangrove prepare "$1-ratings/ratings_A.csv" "$1-ratings/ratings_B.csv" --out "$1" --chunk 300
}

# make_config FILE DATA_DIR RUN_DIR: a small model that trains in seconds
make_config() {
    cat >"$1" <<YAML
data: {dir: "$2"}
run: {dir: "$3"}
model: {dim: 8, seq_len: 10, groups: 3, mlp: [8, 4], att_mlp: [8, 4]}
train: {batch: 25, epochs: 2, consistency: sync, ranks: 2}
cluster: {servers: 2, workers: 2, join_s: 30}
YAML
}

# rows_of RUN_DIR EPOCH: what the epoch's snapshot holds, whoever wrote it
rows_of() { "$PYTHON" tests/cluster/snapshot_rows.py "$1/snapshots/epoch-$(printf %04d "$2")"; }
