#!/usr/bin/env bats
# mangrove bench train and scale: real processes, a fraction of a second of each. The figures are not looked at, only
# that they are there; batch 200 of a small made-up data set.

bats_require_minimum_version 1.5.0

# facts NAME…: of each line of stdin, a JSON object, these values
facts() {
    /usr/bin/python3 -c 'import json, sys
for line in sys.stdin: print(*(json.loads(line).get(name) for name in sys.argv[1:]))' "$@"
}

# every: each line of stdin is a JSON object with positive figures of one round
every() {
    /usr/bin/python3 -c 'import json, math, sys
lines = [json.loads(line) for line in sys.stdin]
for o in lines:
    figures = [o["mangrove"]] + [o[k] for k in ("yardstick", "ratio") if "yardstick_is" in o]
    assert o["rounds"] == 1 and all(0 < x < math.inf for x in figures), o
assert lines'
}

bench() {
    "$MANGROVE" bench "$@" --json --rounds 1 --batch 200 --dir "$BATS_TEST_TMPDIR"
}

@test "bench train compares a cluster with local tables" {
    run --separate-stderr bench train --seconds 0.1
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    [ "${#lines[@]}" -eq 1 ]
    every <<<"$output"
    [ "$(facts bench yardstick_is <<<"$output")" = "train the same worker with local tables" ]
}

@test "bench scale reports sigma, two workers, the command and 1 to 64 waiting workers" {
    run --separate-stderr bench scale --seconds 0.1 --yardstick 'echo "speed 10 instances/s"'
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    [ "${#lines[@]}" -eq 11 ]
    printf '%s\n' "${lines[@]:0:10}" | every
    [ "$(facts target <<<"${lines[0]}")" = 0.3 ]
    [ "$(facts yardstick target <<<"${lines[2]}")" = "10 12" ]
    [[ "$(facts case <<<"${lines[9]}")" == "64 waiting:"* ]]
}

@test "a benchmark leaves nothing behind, and says why it cannot run" {
    run bench train --seconds 0.1 --set model.name=nothing
    [ "$status" -eq 1 ]
    [[ "$output" == *'there is no model "nothing"'* ]]
    run bench train --data /nonexistent
    [ "$status" -ne 0 ]
    [[ "$output" == *"/nonexistent"* ]]
    [ -z "$(find "$BATS_TEST_TMPDIR" -maxdepth 1 -name 'mangrove-bench-*')" ]
    run "$MANGROVE" bench train --dir /nonexistent/dir
    [ "$status" -eq 1 ]
    [[ "$output" == *"/nonexistent/dir"* ]]
}
