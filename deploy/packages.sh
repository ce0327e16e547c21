#!/usr/bin/env bash
# Installs the Debian packages that a purpose needs and that are missing: `deploy/packages.sh build [tests] [bench]`.
set -euo pipefail

build="cmake ninja-build gcc libc6-dev pkg-config libzmq3-dev libmsgpack-dev libopenblas-dev libuv1-dev libyaml-dev
       libjansson-dev libxxhash-dev librandom123-dev zlib1g-dev libcsv-dev"
tests="libcmocka-dev libfiu-dev bats python3 python3-numpy python3-xxhash python3-faiss clang libclang-rt-14-dev llvm-14
       iproute2 procps valgrind"
bench="redis-server"

wanted=""
for purpose in "$@"; do
    case $purpose in
    build) wanted="$wanted $build" ;;
    tests) wanted="$wanted $tests" ;;
    bench) wanted="$wanted $bench" ;;
    *) echo "packages.sh: \"$purpose\" is not one of: build tests bench" >&2; exit 2 ;;
    esac
done

missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || { echo "packages.sh: missing packages:$missing (install them as root)" >&2; exit 1; }
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
