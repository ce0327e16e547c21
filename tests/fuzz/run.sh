#!/usr/bin/env bash
# Fuzzes the message decoder with libFuzzer under AddressSanitizer and UBSan, and measures how much of it was reached.
#   tests/fuzz/run.sh [SECONDS]     default $FUZZ_SECONDS, or 60
# Fails on a crash, a leak, a hang, over 512 MiB, or when under 90 % of the decoder's lines were covered. Exits 77,
# saying what is missing, where clang, its fuzzer run-time library or llvm-cov are not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-${FUZZ_SECONDS:-60}}
least_percent=90
decoder=proto/message_codec.c

missing() {
    echo "fuzzing needs $1: apt-get install clang libclang-rt-14-dev llvm-14"
    exit 77
}
find_tool() { command -v "$1" || command -v "$1-14" || missing "$1"; }
clang=$(find_tool clang) || { echo "$clang"; exit 77; }
profdata=$(find_tool llvm-profdata) || { echo "$profdata"; exit 77; }
cov=$(find_tool llvm-cov) || { echo "$cov"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-std=gnu11 -O1 -g -D_GNU_SOURCE -I.)
read -ra packer < <(pkg-config --cflags --libs msgpack-c 2>/dev/null || pkg-config --cflags --libs msgpack)

echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return !d || !n; }' >"$work/probe.c"
"$clang" -fsanitize=fuzzer,address "$work/probe.c" -o "$work/probe" 2>/dev/null || missing "clang's fuzzer library"

"$clang" "${flags[@]}" -fsanitize=address,undefined tests/fuzz/seed_messages.c "$decoder" common/err.c "${packer[@]}" \
    -o "$work/seed_messages"
"$clang" "${flags[@]}" -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fprofile-instr-generate \
    -fcoverage-mapping tests/fuzz/fuzz_message.c "$decoder" common/err.c "${packer[@]}" -o "$work/fuzz_message"
mkdir "$work/corpus" "$work/seeds"
"$work/seed_messages" "$work/seeds"

status=0
LLVM_PROFILE_FILE="$work/profile.raw" "$work/fuzz_message" "$work/corpus" "$work/seeds" -max_total_time="$seconds" \
    -max_len=4200 -timeout=5 -rss_limit_mb=512 -artifact_prefix="$work/" -print_final_stats=1 \
    >"$work/log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    tail -50 "$work/log"
    for input in "$work"/{crash,leak,timeout,oom}-*; do
        [ -e "$input" ] && { echo "the input, in base64:"; base64 -w 0 "$input"; echo; }
    done
    exit 1
fi
"$profdata" merge "$work/profile.raw" -o "$work/profile"
"$cov" report "$work/fuzz_message" -instr-profile="$work/profile" "$decoder" >"$work/report"
percent=$(awk '$1 == "TOTAL" {print int($10)}' "$work/report")
echo "$(awk '/number_of_executed_units/ {print $2}' "$work/log") inputs in $seconds s," \
    "${percent:-0} % of the lines of $decoder covered"
if [ "${percent:-0}" -lt "$least_percent" ]; then
    echo "that is under $least_percent %; not reached:"
    "$cov" show "$work/fuzz_message" -instr-profile="$work/profile" "$decoder" | grep -E '^ +[0-9]+\| +0\|' | head -40
    exit 1
fi
