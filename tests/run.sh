#!/usr/bin/env bash
# The one test command: installs what the tests need, builds, runs everything. Ends with ctest's summary; exits
# non-zero when anything fails.
#   tests/run.sh            the suite, then the suite again under AddressSanitizer and UBSan
#   tests/run.sh quick      the suite alone
# MANGROVE_SHARED names a directory with golden dumps and real ratings; tests that need it skip where it is absent.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/packages.sh build tests
export MANGROVE_SHARED=${MANGROVE_SHARED:-$(cd .. && pwd)/shared}
jobs=$(nproc)

# run DIR CMAKE_OPTIONS… -- CTEST_OPTIONS…
run() {
    local dir=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    cmake -S . -B "$dir" -G Ninja "${options[@]}" >"$dir.log" 2>&1 || { cat "$dir.log"; return 1; }
    cmake --build "$dir" -j "$jobs"
    ctest --test-dir "$dir" --output-on-failure -j "$jobs" "$@"
}

status=0
if [ "${1:-}" != quick ]; then
    run build-asan -DMANGROVE_ASAN=ON -- -LE no-asan || status=1
fi
run build -- || status=1
exit $status
