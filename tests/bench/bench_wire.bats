#!/usr/bin/env bats
# mangrove bench wire: bytes per instance, the same in every run, because nothing is timed.

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data"
    "$MANGROVE" synth "$DATA-ratings" --preset transfer --users-a 200 --users-b 200 --items-a 100 --items-b 100 --seed 3
    "$MANGROVE" prepare "$DATA-ratings/ratings_A.csv" "$DATA-ratings/ratings_B.csv" --out "$DATA" --chunk 300
}

@test "bench wire counts pulls and pushes, and bf16 needs fewer bytes" {
    run "$MANGROVE" bench wire --json --data "$DATA" --rounds 1
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -ge 2 ]
    for line in "${lines[@]}"; do
        [[ "$line" =~ \"case\":\ \"pu(ll|sh)\ bf16.*\"mangrove\":\ [1-9].*\"yardstick\":\ [1-9].*\"ratio\":\ 0\.[0-9]*[1-9] ]]
    done
    local first="$output"
    run "$MANGROVE" bench wire --json --data "$DATA" --rounds 1
    [ "$output" = "$first" ]
}

@test "bench wire names a data set that is not there" {
    run "$MANGROVE" bench wire --data /nonexistent
    [ "$status" -eq 3 ]
    [[ "$output" =~ /nonexistent ]]
}
