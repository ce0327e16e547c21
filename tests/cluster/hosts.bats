# Four hosts made of network namespaces: what a cluster of machines computes is what one machine computes.
load cluster
load hosts

setup() {
    hosts_possible || skip "making network namespaces needs root and CAP_NET_ADMIN"
    cd "$BATS_TEST_TMPDIR"
    make_data "$PWD/data" >/dev/null
    make_config "$PWD/one.yaml" "$PWD/data" "$PWD/one"
    make_config "$PWD/four.yaml" "$PWD/data" "$PWD/four"
    cd "$BATS_TEST_DIRNAME/../.."
    hosts_make
}

teardown() {
    kill_spawned
    [ -z "${HOSTS:-}" ] || hosts_remove
}

# start_cluster CONFIG: every role by hand, in an order that is not the obvious one
start_cluster() {
    local scheduler=tcp://10.77.0.1:7000
    spawn worker-a ip netns exec "$HOSTS-3" "$MANGROVE" worker --scheduler "$scheduler" --data "$BATS_TEST_TMPDIR/data"
    spawn server-a ip netns exec "$HOSTS-2" "$MANGROVE" server --scheduler "$scheduler" --insecure
    spawn scheduler ip netns exec "$HOSTS-1" "$MANGROVE" scheduler "$1" --bind tcp://10.77.0.1:7000 --insecure
    spawn worker-b ip netns exec "$HOSTS-4" "$MANGROVE" worker --scheduler "$scheduler" --data "$BATS_TEST_TMPDIR/data"
    spawn server-b ip netns exec "$HOSTS-2" "$MANGROVE" server --scheduler "$scheduler" --insecure
}

@test "four hosts in sync end in the bits of one host" {
    mangrove train "$BATS_TEST_TMPDIR/one.yaml" >/dev/null
    start_cluster "$BATS_TEST_TMPDIR/four.yaml"
    poll 120 is_gone scheduler || { cat "$BATS_TEST_TMPDIR"/*.log; false; }
    cmp "$BATS_TEST_TMPDIR/one/metrics.jsonl" "$BATS_TEST_TMPDIR/four/metrics.jsonl"
    [ "$(rows_of "$BATS_TEST_TMPDIR/one" 2)" = "$(rows_of "$BATS_TEST_TMPDIR/four" 2)" ]
    for role in worker-a worker-b server-a server-b; do poll 10 is_gone $role; done
}

@test "a scheduler on a public address without --insecure is refused" {
    run on 1 "$MANGROVE" scheduler "$BATS_TEST_TMPDIR/four.yaml" --bind tcp://10.77.0.1:7000
    [ "$status" -eq 3 ] || [ "$status" -eq 2 ]
    [[ "$output" == *insecure* ]]
}
