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

@test "the installed Python package is importable from where the README says" {
    cmake --install "$BUILD" --prefix "$BATS_TEST_TMPDIR/prefix" >/dev/null
    cd "$BATS_TEST_TMPDIR"
    PYTHONPATH="$BATS_TEST_TMPDIR/prefix/share/mangrove/python" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c \
        'import mangrove; assert mangrove.__file__.endswith("/prefix/share/mangrove/python/mangrove/__init__.py")'
}
