#!/usr/bin/env bats
# What cmake --install puts in place works from there.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    BUILD=$(dirname "$(realpath "$MANGROVE")")
}

@test "an installed program runs and accepts an installed configuration" {
    cmake --install "$BUILD" --prefix "$BATS_TEST_TMPDIR/prefix" >/dev/null
    cd "$BATS_TEST_TMPDIR/prefix"
    bin/mangrove --version
    bin/mangrove config share/mangrove/configs/amazon.yaml
}
