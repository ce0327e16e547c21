# `mangrove server` as a process: addresses, signals, and a scheduler that is not there any more.

load cluster
bats_require_minimum_version 1.5.0

setup_file() { make_data "$BATS_FILE_TMPDIR/data" >/dev/null; }
setup() { make_config "$BATS_TEST_TMPDIR/config.yaml" "$BATS_FILE_TMPDIR/data" "$BATS_TEST_TMPDIR/run"; }
teardown() { kill_spawned; }

start_scheduler() {
    spawn scheduler "$MANGROVE" scheduler "$BATS_TEST_TMPDIR/config.yaml" "$@"
    endpoint=$(endpoint_of "$BATS_TEST_TMPDIR/run")
}
says() { grep -q "$2" "$BATS_TEST_TMPDIR/$1.log"; }

@test "an address that other hosts can reach needs --insecure" {
    run -2 mangrove server --scheduler tcp://192.0.2.1:7000
    [[ "$output" == *"the scheduler's address tcp://192.0.2.1:7000 can be reached from other hosts"*"--insecure"* ]]
    run -2 mangrove server --scheduler tcp://127.0.0.1:7000 --bind tcp://0.0.0.0:0
    [[ "$output" == *"the address tcp://0.0.0.0:0 can be reached from other hosts"*"--insecure"* ]]
}

@test "an address that cannot be bound is named" {
    run -1 mangrove server --scheduler tcp://127.0.0.1:7000 --bind tcp://192.0.2.1:0 --insecure
    [[ "$output" == *"tcp://192.0.2.1:0"* ]]
}

@test "a wildcard is advertised as the address from which the scheduler is reached" {
    start_scheduler
    spawn server "$MANGROVE" server --scheduler "$endpoint" --bind tcp://0.0.0.0:0 --insecure
    poll 20 says scheduler 'server-0 has joined from .*, serving at tcp://127.0.0.1:[1-9]'
}

@test "an advertised address gets the port that was bound" {
    start_scheduler
    spawn server "$MANGROVE" server --scheduler "$endpoint" --advertise tcp://localhost
    poll 20 says scheduler 'serving at tcp://localhost:[1-9]'
}

@test "a server that is told to stop says so and exits 75" {
    start_scheduler
    "$MANGROVE" server --scheduler "$endpoint" >"$BATS_TEST_TMPDIR/server.log" 2>&1 3>&- &
    local pid=$!
    poll 20 says scheduler 'server-0 has joined'
    kill -TERM "$pid"
    local code=0
    wait "$pid" || code=$?
    [ "$code" = 75 ]
    says server 'this server was told to stop'
    poll 20 says scheduler 'server-0 .*left the run: this server was told to stop'
}

@test "a server ends within 15 s when its scheduler is killed, and names it" {
    start_scheduler
    spawn server "$MANGROVE" server --scheduler "$endpoint"
    poll 20 says scheduler 'server-0 has joined'
    kill -9 "$(pid_of scheduler)"
    poll 15 is_gone server # twice dead_ms of 5 s, and the time between two ticks
    says server 'the scheduler has been silent for 10... ms: it has died or cannot be reached'
}
