#!/usr/bin/env bats
# mangrove bench table, grow and prepare: small, for a fraction of a second. The figures are not looked at, only that they
# are there.

bats_require_minimum_version 1.5.0

bench() {
    "$MANGROVE" bench "$@" --json --rounds 1
}

# every N: stdin is N JSON objects with finite positive figures
every() {
    /usr/bin/python3 -c 'import json, math, sys
lines = [json.loads(line) for line in sys.stdin]
assert len(lines) == int(sys.argv[1]), lines
for o in lines:
    figures = [o["mangrove"]] + [o[k] for k in ("yardstick", "ratio") if "yardstick_is" in o]
    assert all(0 < x < math.inf for x in figures), o' "$1"
}

@test "bench table compares gathers and adam with a plain array, and says what growth took" {
    run --separate-stderr bench table --rows 20000 --seconds 0.05
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    every 5 <<<"$output"
    [ "$(grep -c '"yardstick_is": "plain array"' <<<"$output")" -eq 2 ]
    run bench table --rows 100
    [ "$status" -eq 2 ]
    [[ "$output" =~ "--rows is 100, expected from 4000" ]]
}

@test "bench grow reports three sizes and how far they are apart" {
    run --separate-stderr bench grow --rows 20000 --seconds 0.05
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    every 4 <<<"$output"
    for n in 200 2000 20000; do
        grep -q "\"case\": \"$n items\"" <<<"$output"
    done
    run bench grow --rows 999
    [ "$status" -eq 2 ]
    [[ "$output" =~ "--rows is 999, expected at least 1000" ]]
}

@test "bench prepare hands its files to the yardstick and removes them" {
    count='echo "speed $(cat "$RATINGS_A" "$RATINGS_B" | wc -l) instances/s"'
    run --separate-stderr bench prepare --rows 20000 --dir "$BATS_TEST_TMPDIR" --yardstick "$count"
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    every 2 <<<"$output"
    [[ "${lines[0]}" =~ \"yardstick\":\ (1[6-9]|2[0-4])[0-9]{3}, ]]
    [ -z "$(ls "$BATS_TEST_TMPDIR" | grep mangrove-bench)" ]
    run bench prepare --rows 20000 --dir /proc/nothing
    [ "$status" -eq 1 ]
    run bench prepare --rows 5 --dir "$BATS_TEST_TMPDIR"
    [ "$status" -eq 2 ]
}

@test "bench prepare takes what it has started along when it is killed" {
    "$MANGROVE" bench prepare --rows 200000 --dir "$BATS_TEST_TMPDIR" >/dev/null 3>&- &
    local bench=$! child="" deadline=$((SECONDS + 60))
    until child=$(pgrep -P "$bench" -f "mangrove prepare") && kill -STOP "$child"; do # nothing but SIGKILL ends it now
        kill -0 "$bench"
        [ "$SECONDS" -lt "$deadline" ]
    done
    kill -KILL "$bench"
    while grep -q '^State:.[^ZX]' "/proc/$child/status" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || { kill -KILL "$child"; false; }
    done
}
