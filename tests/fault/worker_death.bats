# A worker of a cluster of four hosts is killed with -9 in mid-epoch, at random moments. The other finishes the run, and
# every step has been applied exactly once on every server. MANGROVE_DEATHS: how many runs (5).
load ../cluster/cluster
load ../cluster/hosts

EPOCHS=2
LR=0.0009765625 # 2^-10: multiples of it are exact in float

setup() {
    hosts_possible || skip "making network namespaces needs root and CAP_NET_ADMIN"
    cd "$BATS_TEST_DIRNAME/../.."
    export MANGROVE
    make_data "$BATS_TEST_TMPDIR/data" >/dev/null
    hosts_make
}

teardown() {
    kill_spawned
    [ -z "${HOSTS:-}" ] || hosts_remove
}

# probe HOST NAME ROLE_ARGUMENTS…
probe() {
    local host=$1 name=$2
    shift 2
    spawn "$name" ip netns exec "$HOSTS-$host" "$MANGROVE_PROBE" "$@"
}

# one_death NUMBER [DENSE]: trains, kills a worker at a random moment of the run, checks the last snapshot; DENSE: every
# how many batches dense rows are fetched and pushed
one_death() {
    local dense=${2:-1} run="$BATS_TEST_TMPDIR/run-$1" scheduler="tcp://10.77.0.1:$((7000 + $1))"
    rm -f "$BATS_TEST_TMPDIR"/*.log "$BATS_TEST_TMPDIR"/*.pid
    cat >"$BATS_TEST_TMPDIR/config.yaml" <<YAML
data: {dir: "$BATS_TEST_TMPDIR/data"}
run: {dir: "$run"}
model: {name: probe}
optimizer: {kind: sgd, lr: $LR}
train: {batch: 4, epochs: $EPOCHS, patience: 50, seed: $1}
dense: {fetch: $dense, push: $dense}
cluster: {servers: 2, workers: 2, join_s: 30, dead_ms: 1000, heartbeat_ms: 100}
YAML
    probe 3 worker-a worker --scheduler "$scheduler" --data "$BATS_TEST_TMPDIR/data"
    probe 2 server-a server --scheduler "$scheduler" --insecure
    probe 1 scheduler scheduler "$BATS_TEST_TMPDIR/config.yaml" --bind "$scheduler" --insecure
    probe 4 worker-b worker --scheduler "$scheduler" --data "$BATS_TEST_TMPDIR/data"
    probe 2 server-b server --scheduler "$scheduler" --insecure
    poll 30 grep -q 'worker-1 has joined' "$BATS_TEST_TMPDIR/scheduler.log"
    local pause=0.$((RANDOM % 9))$((RANDOM % 10))
    read -rt "$pause" <> <(:) || true
    kill -9 "$(pid_of worker-a)" || true
    poll 90 is_gone scheduler || { tail -n 20 "$BATS_TEST_TMPDIR"/*.log; return 1; }
    for role in worker-b server-a server-b; do poll 10 is_gone $role; done
    "$PYTHON" tests/fault/probe_rows.py "$run/snapshots/epoch-000$EPOCHS" $LR $EPOCHS
}

@test "a killed worker's steps are done by the other, each once on every server" {
    for number in $(seq "${MANGROVE_DEATHS:-5}"); do
        one_death "$number" || { cat "$BATS_TEST_TMPDIR"/*.log; echo "run $number"; false; }
    done
}

@test "a worker killed in the middle of groups of dense gradients loses and doubles none" {
    for number in $(seq "${MANGROVE_DEATHS:-3}"); do
        one_death "$number" 7 || { cat "$BATS_TEST_TMPDIR"/*.log; echo "run $number"; false; }
    done
}
