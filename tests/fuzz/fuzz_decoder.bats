# The message decoder against libFuzzer, which brings sanitizers of its own.
# label: no-asan

@test "the decoder survives fuzzing, which reaches 90 % of its lines" {
    run "$BATS_TEST_DIRNAME/run.sh"
    echo "$output"
    [ "$status" -ne 77 ] || skip "$output"
    [ "$status" -eq 0 ]
}
