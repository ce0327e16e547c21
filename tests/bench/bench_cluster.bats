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

bench_model() {
    "$MANGROVE" bench model --json --batch 100 "$@"
}

@test "bench train compares a cluster with local tables" {
    run --separate-stderr bench train --seconds 0.1
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    [ "${#lines[@]}" -eq 2 ]
    every <<<"$output"
    [ "$(facts bench yardstick_is <<<"${lines[0]}")" = "train the same worker with local tables" ]
    [[ "${lines[1]}" == *"by CPU time"* ]]
}

@test "bench scale reports sigma, two workers, the command and 1 to 64 waiting workers" {
    run --separate-stderr bench scale --seconds 0.1 --yardstick 'echo "speed 10 instances/s"'
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    [ "${#lines[@]}" -eq 12 ]
    printf '%s\n' "${lines[@]:0:10}" | every
    [ "$(facts target <<<"${lines[0]}")" = 0.3 ]
    [ "$(facts yardstick target <<<"${lines[2]}")" = "10 12" ]
    [[ "$(facts case <<<"${lines[9]}")" == "64 waiting:"* ]]
    every <<<"${lines[11]}"
}

@test "bench train, scale and model take groups of dense rows, bench train and scale configurations of sync" {
    for set in "dense.push=3 dense.fetch=2" "train.consistency=sync train.ranks=4"; do
        run --separate-stderr bench train --seconds 0.05 $(printf -- '--set %s ' $set)
        [ "$status" -eq 0 ] || { echo "$stderr"; false; }
        every <<<"$output"
        run --separate-stderr bench scale --seconds 0.05 $(printf -- '--set %s ' $set)
        [ "$status" -eq 0 ] || { echo "$stderr"; false; }
        every <<<"$output"
    done
    run --separate-stderr bench_model --seconds 0.05 --dir "$BATS_TEST_TMPDIR" --set dense.push=3
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
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

@test "bench model measures its constants and says how many servers clusters need" {
    run --separate-stderr bench_model --seconds 0.1 --dir "$BATS_TEST_TMPDIR"
    [ "$status" -eq 0 ] || { echo "$stderr"; false; }
    [ "${#lines[@]}" -eq $((2 + 3 * 10 * 6 + 3)) ]
    /usr/bin/python3 -c 'import json, math, sys
lines = [json.loads(line) for line in sys.stdin]
assert all(0 < x < math.inf for o in lines[:2] for k, x in o.items() if k.endswith("_us") and k != "server_step_us")
assert all(0 < o["instances_per_s"] < math.inf and o["servers_needed"] >= 0 for o in lines[2:-3])
assert {(o["gbit_per_s"], o["workers"]) for o in lines[2:-3]} == {(g, 2**i) for g in (1, 10, 25) for i in range(10)}
' <<<"$output"
}

# Steps of 1 ms and 100 kB either way, of 100 instances; a server that costs nothing.
@test "bench model computes what its formulas say" {
    constants=step_us=1000,latency_us=0,server_step_us=0,server_byte_ns=0.001,key_bytes=0,value_bytes=100000
    constants+=,dense_key_bytes=0,dense_value_bytes=0,machine_us=1
    run bench_model --constants "$constants" --gbit 1 # 1e9/8/1.07 bytes a second, 1000 an instance
    [ "$status" -eq 0 ]
    /usr/bin/python3 -c 'import json, sys
lines = [o for o in map(json.loads, sys.stdin) if o.get("wire") == "f32" and o["dense_every"] == 1]
network = 1e9 / 8 / 1.07 / 1000
for o in lines:
    w, c, t = o["workers"], 1e-3, 1e5 / (1e9 / 8 / 1.07)
    T = max(c, t, (c + 2 * t) / 2)
    bounds = {"the workers\u0027 network": w * 100 / T, "the servers\u0027 network": network, "s": 100 / (1e-12 * 2e5)}
    want = sum(b**-8 for b in bounds.values()) ** -0.125
    assert abs(o["instances_per_s"] / want - 1) < 1e-3, (o, want)  # printed with one decimal
    if w > 1: assert o["bound"] == "the servers\u0027 network", o
assert len(lines) == 10
' <<<"$output"
    run bench_model --constants "step_us=1000"
    [ "$status" -eq 2 ]
    [[ "$output" == *latency_us* ]]
    run bench_model --constants "$constants,dense_bytes=1"
    [ "$status" -eq 2 ]
    [[ "$output" == *'--constants has no "dense_bytes"'* ]]
    run bench_model --constants "$constants" --seconds 1
    [ "$status" -eq 2 ]
    [[ "$output" == *"leave out --data, --seconds and --dir"* ]]
    run "$MANGROVE" bench model --batch 100 --constants "${constants/server_step_us=0/server_step_us=300}"
    [ "$status" -eq 0 ]
    [[ "$output" == *" and 300 us of a server"* ]] # 1e-12 s a byte of 2e5 do not show
}
