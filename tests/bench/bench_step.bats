#!/usr/bin/env bats
# mangrove bench step: what it prints, and what it says of a yardstick that is none.

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
}

@test "bench step --json prints one object with the same figures" {
    run step --json --batch 7
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" =~ \"batch\":\ 7, ]]
    [[ "$output" =~ \"instances_per_s\":\ [1-9] ]]
    [[ "$output" =~ \"backward_us\":\ [0-9.]+ ]]
}

@test "bench step compares with a yardstick" {
    run step --yardstick 'echo warming up; echo "speed 10 instances/s with 1 thread"'
    [ "$status" -eq 0 ]
    [[ "$output" =~ yardstick\ 10\ instances/s:\ mangrove\ is\ [0-9.]+\ times\ as\ fast ]]
}

@test "bench step names a yardstick without a rate" {
    run step --yardstick 'echo fast'
    [ "$status" -eq 1 ]
    [[ "$output" =~ "speed N instances/s" ]]
    run step --yardstick 'echo "speed 10 instances/s"; exit 3'
    [ "$status" -eq 1 ]
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
