#!/usr/bin/env bats
# mangrove bench gemm: a line for each width and direction.

@test "bench gemm reports every width and direction beside OpenBLAS" {
    run "$MANGROVE" bench gemm --json --seconds 0.001 --rounds 1 --batch 3 --history 4
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 16 ]
    for width in 20 40 100 200; do
        for direction in forward "to the input" "to the matrix" "all three"; do
            [[ "$output" =~ "\"case\": \"D $width batch 3 $direction\"" ]]
        done
    done
    for line in "${lines[@]}"; do
        [[ "$line" =~ \"ratio\":\ [0-9.]*[1-9] ]] # finite and above 0
    done
}
