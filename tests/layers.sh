#!/usr/bin/env bash
# Folders are layers: an include may only point upwards (common <- proto <- server, worker <- deploy), server and worker
# never see each other, and a third-party header is included where it is wrapped and nowhere else.
set -eu
cd "$(dirname "$0")/.."
status=0

# forbid LAYER PATTERN: no file of the layer includes a header matching the pattern.
forbid() {
    local hits
    hits=$(grep -rnE "#include \"($2)/" "$1" --include='*.c' --include='*.h' || true)
    if [ -n "$hits" ]; then
        printf '%s must not include %s:\n%s\n' "$1" "$2" "$hits"
        status=1
    fi
}
forbid common 'proto|server|worker|deploy|tests'
forbid proto 'server|worker|deploy|tests'
forbid server 'worker|deploy|tests'
forbid worker 'server|deploy|tests'
forbid deploy 'tests'
forbid server/store 'proto|server/(scheduler|session|snapshot)'
forbid server/snapshot 'server/(scheduler|session)'
forbid server/session 'server/scheduler'
forbid server/scheduler 'server/(session|snapshot|store)'
forbid worker/data 'proto|worker/(ops|model)'
forbid worker/ops 'proto|worker/(data|model)'
forbid worker/model 'proto'

# only HEADER FILES: the header is included by these files alone.
only() {
    local hits
    hits=$(grep -rlE "#include <$1>" common proto server worker deploy | grep -vxE "$2" || true)
    if [ -n "$hits" ]; then
        printf '<%s> may be included by %s only, but is by:\n%s\n' "$1" "$2" "$hits"
        status=1
    fi
}
only 'zmq\.h' 'proto/(link|buffer|network)\.c|deploy/bench/bench_link_raw\.c'
only 'uv\.h' 'proto/(link|loop|network)\.[ch]'
only 'msgpack\.h' 'proto/message(_codec)?\.c'
only 'cblas\.h' 'worker/ops/gemm\.c|deploy/bench/bench_gemm\.c' # the yardstick
only 'yaml\.h' 'common/yaml\.c|common/options_yaml\.c'
only 'zlib\.h' 'worker/data/input\.c|deploy/tools/export_format\.c'
only 'csv\.h' 'worker/data/[a-z_]+\.c'
only 'Random123/philox\.h' 'common/rng\.c'

# file names are unique, so that a name is an address
twice=$(find common proto server worker deploy -name '*.[ch]' -printf '%f\n' | sort | uniq -d)
if [ -n "$twice" ]; then
    printf 'file names that occur twice:\n%s\n' "$twice"
    status=1
fi
exit $status
