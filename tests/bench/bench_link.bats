#!/usr/bin/env bats
# mangrove bench link and rtt: that both sides give figures, and that no process stays behind.
bats_require_minimum_version 1.5.0

# of OUTPUT: each line has a ratio above 0
has_ratios() {
    [ -n "$1" ]
    ! grep -vE '"ratio": ([1-9]|0\.0*[1-9]|0*[1-9][0-9.]*e-?[0-9]+)' <<<"$1"
}

children_of() {
    pgrep -P "$1" || true
}

@test "bench link compares with raw ZeroMQ, and with redis where it is installed" {
    run --separate-stderr "$MANGROVE" bench link --json --rows 5000 --rounds 1 --seconds 0.05
    echo "$output" "$stderr"
    [ "$status" -eq 0 ]
    has_ratios "$output"
    [ "$(grep -c '"yardstick_is": "raw ZeroMQ"' <<<"$output")" -eq 4 ]
    [ "$(grep -c "/s of CPU" <<<"$output")" -eq 2 ]
    if command -v redis-server; then
        [ "${#lines[@]}" -eq 5 ]
        [[ $output == *'"yardstick_is": "redis MGET + MSET"'* ]]
    else
        [ "${#lines[@]}" -eq 4 ]
        [[ $stderr == *"there is no redis-server on the PATH"* ]]
    fi
}

@test "bench rtt compares with raw ZeroMQ" {
    run --separate-stderr "$MANGROVE" bench rtt --json --rows 100 --rounds 1 --seconds 0.05 --set train.wire=bf16
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    has_ratios "$output"
}

@test "bench link refuses a table smaller than a request" {
    run "$MANGROVE" bench link --rows 3999
    [ "$status" -eq 2 ]
    [[ $output == *"--rows must be at least 4000"* ]]
}

@test "the servers of bench link end with it" {
    "$MANGROVE" bench link --rows 5000 --seconds 60 >/dev/null 2>&1 3>&- &
    bench=$!
    deadline=$((SECONDS + 30))
    until [ "$(children_of $bench | wc -l)" -ge 2 ]; do
        [ $SECONDS -lt $deadline ]
    done
    children=$(children_of $bench)
    kill -KILL $bench
    wait $bench || true
    for child in $children; do
        while [ -e "/proc/$child" ] && ! grep -q '^State:.Z' "/proc/$child/status"; do
            [ $SECONDS -lt $deadline ]
        done
    done
}

@test "bench link fails where its server has died" {
    "$MANGROVE" bench link --rows 5000 --seconds 60 >/dev/null 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
    bench=$!
    deadline=$((SECONDS + 60))
    until [ "$(children_of $bench | wc -l)" -ge 2 ]; do
        [ $SECONDS -lt $deadline ]
    done
    kill -KILL $(children_of $bench | head -1)
    status=0
    wait $bench || status=$?
    cat "$BATS_TEST_TMPDIR/errors"
    [ "$status" -ne 0 ]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/errors")" -eq 1 ]
}
