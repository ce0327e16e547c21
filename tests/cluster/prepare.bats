#!/usr/bin/env bats
# The command lines of prepare and synth: exit codes, streams, and what they leave.

setup() {
    WORK=$(mktemp -d)
    "$MANGROVE" synth "$WORK/ratings" --scale 0.05 >"$WORK/synth.txt"
}

teardown() {
    rm -rf "$WORK"
}

prepare() {
    "$MANGROVE" prepare "$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv" --out "$WORK/out" "$@"
}

@test "synth and prepare make a data set and print a table" {
    prepare >"$WORK/table.txt" 2>"$WORK/messages.txt"
    [ -f "$WORK/out/manifest.json" ]
    [ ! -s "$WORK/messages.txt" ]
    grep -q "^training instances " "$WORK/table.txt"
    grep -q "^popular first, test, warm " "$WORK/table.txt"
    grep -q "rows of 175 users and 100 items" "$WORK/synth.txt"
    [ "$(ls "$WORK")" = $'messages.txt\nout\nratings\nsynth.txt\ntable.txt' ]
}

@test "help begins with an example and exits 0" {
    run "$MANGROVE" prepare --help
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "Example: mangrove prepare "* ]]
    run "$MANGROVE" synth --help
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "Example: mangrove synth "* ]]
}

@test "wrong usage exits 2 and says what was expected" {
    run prepare --split random
    [ "$status" -eq 2 ]
    [[ "$output" == *'--split "random" is neither quantile nor days nor leave_one_out'* ]]
    run prepare --format xml
    [ "$status" -eq 2 ]
    [[ "$output" == *'--format "xml" is neither csv nor inter nor jsonl'* ]]
    run prepare --k-core 0
    [ "$status" -eq 2 ]
    [[ "$output" == *'--k-core "0" is no integer in [1, 1000000]'* ]]
    run "$MANGROVE" prepare "$WORK/ratings/ratings_A.csv" --out "$WORK/out"
    [ "$status" -eq 2 ]
    [[ "$output" == *"two ratings files are expected, one for each domain"* ]]
    run "$MANGROVE" synth "$WORK/x" --preset netflix
    [ "$status" -eq 2 ]
    [[ "$output" == *'--preset "netflix" is neither transfer nor amazon nor micro_video'* ]]
    run "$MANGROVE" synth "$WORK/x" --noise 2
    [ "$status" -eq 2 ]
    [ ! -e "$WORK/x" ]
}

@test "the table says in which format and unit each file was found" {
    sed -E 's/^([^,]*),([^,]*),([^,]*),(.*)$/{"user_id": "\1", "parent_asin": "\2", "rating": \3, "timestamp": \4123}/' \
        "$WORK/ratings/ratings_A.csv" | gzip >"$WORK/ratings/A.jsonl.gz"
    "$MANGROVE" prepare "$WORK/ratings/A.jsonl.gz" "$WORK/ratings/ratings_B.csv" --out "$WORK/out" >"$WORK/table.txt"
    grep -Eq "^format +jsonl +csv$" "$WORK/table.txt"
    grep -Eq "^times in +milliseconds +seconds$" "$WORK/table.txt"
    prepare --force >"$WORK/plain.txt"
    cmp <(grep -E "^(events|users|items|test|validation)" "$WORK/table.txt") \
        <(grep -E "^(events|users|items|test|validation)" "$WORK/plain.txt")
}

@test "bad data exit 3 with one line on stderr and none on stdout" {
    : >"$WORK/ratings/ratings_B.csv"
    run prepare
    [ "$status" -eq 3 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"ratings_B.csv is empty" ]]
    [ ! -e "$WORK/out" ]
}

@test "malformed rows below the limit are told and skipped" {
    echo "nonsense" >>"$WORK/ratings/ratings_A.csv"
    prepare >"$WORK/table.txt" 2>"$WORK/messages.txt"
    grep -q "rows are malformed and were skipped; the first is line .*, where the line has too few fields" \
        "$WORK/messages.txt"
    grep -Eq "^malformed +1 +0$" "$WORK/table.txt"
}

@test "an existing data set stays without --force" {
    prepare >/dev/null
    before=$(cat "$WORK/out/manifest.json")
    run prepare --k-core 6
    [ "$status" -eq 2 ]
    [ "$(cat "$WORK/out/manifest.json")" = "$before" ]
    prepare --k-core 6 --force >/dev/null
    [ "$(cat "$WORK/out/manifest.json")" != "$before" ]
}

@test "the preset lies below other options wherever it stands" {
    "$MANGROVE" synth "$WORK/first" --preset amazon --users-a 30 --items-a 200 --scale 1 --users-b 10 >"$WORK/1"
    "$MANGROVE" synth "$WORK/last" --users-a 30 --items-a 200 --scale 1 --users-b 10 --preset amazon >"$WORK/2"
    cmp "$WORK/first/ratings_A.csv" "$WORK/last/ratings_A.csv"
    grep -q "of 30 users and 200 items" "$WORK/2"
}

@test "prepare killed at any moment leaves no data set or a whole one" {
    for delay in 0.001 0.003 0.006 0.01 0.02; do
        rm -rf "$WORK/out"
        timeout -s KILL $delay "$MANGROVE" prepare "$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv" \
            --out "$WORK/out" >/dev/null 2>&1 || true
        [ ! -e "$WORK/out" ] || [ -f "$WORK/out/manifest.json" ]
    done
}
