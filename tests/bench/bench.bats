#!/usr/bin/env bats
# mangrove bench: what step and snapshot print, options, and what it says of a yardstick that is none.

# Short rounds: the figures are not looked at, only that they are there.
step() {
    "$MANGROVE" bench step --seconds 0.1 --rounds 1 "$@"
}

@test "bench step prints the phases and a rate" {
    run step
    [ "$status" -eq 0 ]
    for phase in batch lookup pull forward backward push; do
        [[ "$output" =~ $phase\ +[0-9.]+ ]]
    done
    [[ "$output" =~ [1-9][0-9]*\ instances/s ]]
    for kind in gemm attention elementwise rows pull optimizer overhead; do
        [[ "$output" =~ $kind\ +[0-9.]+\ +[0-9.]+% ]]
    done
}

@test "bench step fills made-up histories where asked" {
    run step --history 20 --batch 3
    [ "$status" -eq 0 ]
    [[ "$output" =~ "batch 3, mean history 20.0" ]]
}

@test "bench step --json prints one object with the same figures" {
    run step --json --batch 7
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 4 ]
    [[ "$output" =~ \"gemm_percent\":\ [1-9] ]]
    [[ "$output" =~ \"batch\":\ 7, ]]
    [[ "$output" =~ \"instances_per_s\":\ [1-9] ]]
    [[ "$output" =~ \"backward_us\":\ [0-9.]+ ]]
}

@test "bench step compares with a yardstick" {
    run step --yardstick 'echo warming up; echo "speed 10 instances/s with 1 thread"'
    [ "$status" -eq 0 ]
    [[ "$output" =~ "given command" ]]
    run step --json --yardstick 'echo "speed 10 instances/s with 1 thread"'
    [[ "${lines[0]}" =~ "\"rounds\": 1" ]]
    [[ "${lines[0]}" =~ "\"yardstick\": 10" ]]
    [[ "${lines[0]}" =~ \"ratio\":\ [1-9] ]]
}

@test "bench step names a yardstick without a rate" {
    run step --yardstick 'echo fast'
    [ "$status" -eq 1 ]
    [[ "$output" =~ "speed N instances/s" ]]
    run step --yardstick 'echo "speed 10 instances/s"; exit 3'
    [ "$status" -eq 1 ]
}

@test "bench --csv appends a row for each result" {
    csv=$BATS_TEST_TMPDIR/results.csv
    step --csv "$csv" --yardstick 'echo "speed 10 instances/s"'
    step --csv "$csv" --batch 7
    [ "$(wc -l <"$csv")" -eq 5 ] # head, rate and overhead twice
    [ "$(awk -F, '{ print NF }' "$csv" | sort -u)" -eq 18 ]
    grep -q '^-,step,man D [0-9]* T [0-9]* batch 7,instances/s,' "$csv"
    run step --csv /nonexistent/results.csv
    [ "$status" -eq 1 ]
    [[ "$output" =~ "cannot write /nonexistent/results.csv" ]]
}

@test "bench snapshot reports pauses, rates and copies" {
    run "$MANGROVE" bench snapshot --json --gib 0.01 --cuts 2 --dir "$BATS_TEST_TMPDIR"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 7 ]
    [[ "${lines[4]}" =~ "row updates while writing".*\"ratio\":\ [0-9.]+.*\"verdict\" ]]
    [ -z "$(ls "$BATS_TEST_TMPDIR"/bench-snapshot-* 2>/dev/null)" ]
}

@test "bench names what it cannot measure" {
    run "$MANGROVE" bench nothing
    [ "$status" -eq 2 ]
    [[ "$output" =~ step ]]
    run step --data /nonexistent
    [ "$status" -ne 0 ]
    [[ "$output" =~ /nonexistent ]]
}

# refused ARGUMENTS PATTERN: with code 2 and this sentence
refused() {
    run "$MANGROVE" bench $1
    [ "$status" -eq 2 ] && [[ $output == *"$2"* ]] || { echo "$status: $output"; false; }
}

@test "bench counts rounds and cuts in whole numbers from 1 on" {
    for n in 0 0.5 -1 1e3 ""; do
        refused "step --rounds=$n" "--rounds is \"$n\", expected a whole number from 1"
        refused "snapshot --cuts=$n" "--cuts is \"$n\", expected a whole number from 1"
    done
}

@test "bench refuses the options of another benchmark by their names" {
    for option in gib=1 cuts=3 dir=.; do
        refused "step --$option" "bench step has no --${option%=*}"
        refused "--$option step" "bench step has no --${option%=*}"
    done
    for option in data=. batch=3 seconds=1 rounds=1 history=4 yardstick=true; do
        refused "snapshot --$option" "bench snapshot has no --${option%=*}"
    done
}
