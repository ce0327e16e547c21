# `sync` is a pure function of the configuration, whatever the cluster: four ranks end in the same metrics and rows with
# any number of servers and workers, twice.
load cluster

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data" CONFIG="$BATS_FILE_TMPDIR/config.yaml"
    make_data "$DATA" >/dev/null
    make_config "$CONFIG" "$DATA" "$BATS_FILE_TMPDIR/unused"
}

setup() { cd "$BATS_TEST_DIRNAME/../.."; }

# run_with SERVERS WORKERS NAME [--set …]: trains into a run directory of its own
run_with() {
    local servers=$1 workers=$2 name=$3
    shift 3
    mangrove train "$CONFIG" --set train.ranks=4 --set train.batch=15 --set cluster.servers="$servers" \
        --set cluster.workers="$workers" --set run.dir="$BATS_FILE_TMPDIR/$name" "$@" >/dev/null
}

# same_as_first NAME: metrics and rows of both epochs
same_as_first() {
    cmp "$BATS_FILE_TMPDIR/first/metrics.jsonl" "$BATS_FILE_TMPDIR/$1/metrics.jsonl" &&
        [ "$(rows_of "$BATS_FILE_TMPDIR/first" 2)" = "$(rows_of "$BATS_FILE_TMPDIR/$1" 2)" ]
}

@test "four ranks give the same bits in two runs" {
    run_with 2 2 first
    run_with 2 2 again
    same_as_first again
}

@test "one, two and three servers give the same bits" {
    run_with 1 2 servers-1 && same_as_first servers-1
    run_with 3 2 servers-3 && same_as_first servers-3
}

@test "one and four workers give the same bits" {
    run_with 2 1 workers-1 && same_as_first workers-1
    run_with 3 4 workers-4 && same_as_first workers-4
}

@test "one process without a wire gives the same bits" {
    run_with 1 1 local --local && same_as_first local
}

@test "with bf16 on the wire every cluster and none give the same bits, and others than fp32" {
    run_with 2 2 first-bf16 --set train.wire=bf16
    run_with 1 3 again-bf16 --set train.wire=bf16
    run_with 1 1 local-bf16 --set train.wire=bf16 --local
    for name in again-bf16 local-bf16; do
        cmp "$BATS_FILE_TMPDIR/first-bf16/metrics.jsonl" "$BATS_FILE_TMPDIR/$name/metrics.jsonl"
        [ "$(rows_of "$BATS_FILE_TMPDIR/first-bf16" 2)" = "$(rows_of "$BATS_FILE_TMPDIR/$name" 2)" ]
    done
    [ "$(rows_of "$BATS_FILE_TMPDIR/first-bf16" 2)" != "$(rows_of "$BATS_FILE_TMPDIR/first" 2)" ]
}

@test "async with one worker and nothing prefetched ends in the bits of sync with one rank" {
    for wire in fp32 bf16; do
        local sync="$BATS_FILE_TMPDIR/sync-$wire" async="$BATS_FILE_TMPDIR/async-$wire"
        mangrove train "$CONFIG" --set train.ranks=1 --set train.wire=$wire --set cluster.workers=2 \
            --set run.dir="$sync" >/dev/null
        mangrove train "$CONFIG" --set train.ranks=1 --set train.wire=$wire --set train.consistency=async \
            --set train.prefetch=0 --set cluster.workers=1 --set run.dir="$async" >/dev/null
        cmp "$sync/metrics.jsonl" "$async/metrics.jsonl"
        [ "$(rows_of "$sync" 2)" = "$(rows_of "$async" 2)" ]
    done
}

@test "async with dense rows every third batch: one worker over two servers ends in the bits of one process" {
    local options=(--set train.ranks=1 --set train.consistency=async --set train.prefetch=0 --set train.wire=bf16
        --set dense.fetch=2 --set dense.push=3)
    mangrove train "$CONFIG" "${options[@]}" --set cluster.workers=1 --set run.dir="$BATS_FILE_TMPDIR/groups" >/dev/null
    mangrove train "$CONFIG" "${options[@]}" --local --set run.dir="$BATS_FILE_TMPDIR/groups-local" >/dev/null
    cmp "$BATS_FILE_TMPDIR/groups/metrics.jsonl" "$BATS_FILE_TMPDIR/groups-local/metrics.jsonl"
    [ "$(rows_of "$BATS_FILE_TMPDIR/groups" 2)" = "$(rows_of "$BATS_FILE_TMPDIR/groups-local" 2)" ]
}
