# A run that was interrupted goes on where it was, on whatever cluster; and a new run starts with an old one's rows.
load cluster

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data" CONFIG="$BATS_FILE_TMPDIR/config.yaml" WHOLE="$BATS_FILE_TMPDIR/whole"
    make_data "$DATA" >/dev/null
    make_config "$CONFIG" "$DATA" "$WHOLE"
    sed -i 's/batch: 25/batch: 6/' "$CONFIG" # long epochs: a snapshot is due when servers report, ten times a second
    mangrove train "$CONFIG" --local --set snapshot.every_steps=60 --set snapshot.keep=100 >"$BATS_FILE_TMPDIR/whole.txt"
}

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    RUN="$BATS_TEST_TMPDIR/run"
}

teardown() { kill_spawned; }

some_snapshot() { compgen -G "$RUN/snapshots/$1/manifest.json"; }

# interrupt NAME EPOCH ARGUMENT…: mangrove train, told to stop in the middle of this epoch; ends with code 75
interrupt() {
    local name=$1 epoch=$2
    shift 2
    spawn "$name" sh -c '"$@" & echo $! >"$0"; wait $!; echo "exit code $?"' "$BATS_TEST_TMPDIR/$name.child" \
        "$MANGROVE" train "$@" --set snapshot.every_steps=20
    poll 60 some_snapshot "epoch-000$epoch-step-*"
    kill -TERM "$(cat "$BATS_TEST_TMPDIR/$name.child")"
    poll 60 is_gone "$name"
    grep -qx "exit code 75" "$BATS_TEST_TMPDIR/$name.log" || { cat "$BATS_TEST_TMPDIR/$name.log"; return 1; }
    ! some_snapshot "epoch-000$epoch"
}

is_whole() {
    cmp "$WHOLE/metrics.jsonl" "$RUN/metrics.jsonl" && [ "$(rows_of "$WHOLE" 2)" = "$(rows_of "$RUN" 2)" ]
}

@test "sync interrupted in the middle of an epoch and resumed ends in the bits of a run without a pause" {
    interrupt first 1 "$CONFIG" --set run.dir="$RUN"
    mangrove train --resume "$RUN" >/dev/null
    is_whole
}

@test "sync ends in the same bits over 2, 3, 1 servers and 2, 1, 4 workers" {
    interrupt first 1 "$CONFIG" --set run.dir="$RUN"
    interrupt second 2 --resume "$RUN" --set cluster.servers=3 --set cluster.workers=1
    mangrove train --resume "$RUN" --set cluster.servers=1 --set cluster.workers=4 >/dev/null
    is_whole
}

@test "sync goes on in one process without a wire, and from a snapshot in another run.dir" {
    mangrove train --resume "$WHOLE/snapshots/epoch-0001" --local --set run.dir="$RUN" >/dev/null
    is_whole
    local middle
    middle=$(compgen -G "$WHOLE/snapshots/epoch-000?-step-*" | head -n 1)
    mangrove train --resume "$middle" --local --set run.dir="$RUN-2" >/dev/null
    cmp "$WHOLE/metrics.jsonl" "$RUN-2/metrics.jsonl"
    [ "$(rows_of "$WHOLE" 2)" = "$(rows_of "$RUN-2" 2)" ]
}

@test "an epoch that was not evaluated before the end is evaluated when the run is resumed" {
    cp -r "$WHOLE" "$RUN"
    rm "$RUN/snapshots/epoch-0002/evaluation.json"
    mangrove train --resume "$RUN" --local >/dev/null
    is_whole
    cmp "$WHOLE/snapshots/epoch-0002/evaluation.json" "$RUN/snapshots/epoch-0002/evaluation.json"
}

@test "async goes on to full bitmaps, with every step applied once" {
    interrupt first 1 "$CONFIG" --set run.dir="$RUN" --set train.consistency=async --set train.ranks=1
    mangrove train --resume "$RUN" --set cluster.servers=1 --set cluster.workers=3 >/dev/null
    "$PYTHON" - "$RUN" <<'PYTHON'
import json, pathlib, sys
run = pathlib.Path(sys.argv[1])
lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
assert [line["epoch"] for line in lines] == [1, 2]
manifest = json.load(open(run / "snapshots/epoch-0002/manifest.json"))
assert manifest["parent"]["kind"] == "resume" and "step" in manifest["parent"]["dir"]
for d, name in enumerate("AB"):
    assert manifest["t"][d] == 2 * lines[0][name]["steps"]
    bits = bytes.fromhex(manifest["bitmaps"][d])
    assert sum(bin(byte).count("1") for byte in bits) == manifest["steps"][d]
PYTHON
}

@test "a run that is complete says so when it is resumed, shows its result, and goes on with more epochs" {
    cp -r "$WHOLE" "$RUN"
    run mangrove train --resume "$RUN" --local
    [ "$status" -eq 0 ] && [[ $output == *"nothing is left to train"* ]]
    [ "$(grep " man  " <<<"$output")" = "$(grep " man  " "$BATS_FILE_TMPDIR/whole.txt")" ]
    mangrove train --resume "$RUN" --local --set train.epochs=3 >/dev/null
    [ "$(wc -l <"$RUN/metrics.jsonl")" -eq 3 ]
    cmp "$WHOLE/metrics.jsonl" <(head -n 2 "$RUN/metrics.jsonl")
}

@test "a new run starts with the rows of an old one and tells what is taken over" {
    run mangrove train "$CONFIG" --local --init "$WHOLE" --set run.dir="$RUN" --set train.epochs=1
    [ "$status" -eq 0 ]
    [[ $output == *"starting from the rows of $WHOLE/snapshots/epoch-0002, the optimizer's state is reset"* ]]
    grep -q "table A: [1-9][0-9]* trained rows are taken over; of its [0-9]* ids 0 are new" <<<"$output"
    mangrove train "$CONFIG" --init "$WHOLE/snapshots/epoch-0002" --set train.init_moments=keep \
        --set run.dir="$RUN-2" --set train.epochs=1 >/dev/null
    "$PYTHON" - "$RUN" "$RUN-2" "$WHOLE" <<'PYTHON'
import json, sys
read = lambda run, epoch: json.load(open(f"{run}/snapshots/epoch-{epoch:04d}/manifest.json"))
reset, kept, old = read(sys.argv[1], 1), read(sys.argv[2], 1), read(sys.argv[3], 2)
for manifest in reset, kept:
    assert manifest["parent"] == {"kind": "init", "dir": f"{sys.argv[3]}/snapshots/epoch-0002", "hash": old["hash"]}
for d in range(2):
    assert reset["t"][d] == reset["steps"][d] and kept["t"][d] == old["t"][d] + kept["steps"][d]
PYTHON
}

@test "a new run on data whose ids were not kept is refused" {
    mangrove synth "$BATS_TEST_TMPDIR/o" --users-a 600 --users-b 600 --items-a 400 --items-b 400 --seed 9 >/dev/null
    mangrove prepare "$BATS_TEST_TMPDIR"/o/ratings_[AB].csv --out "$BATS_TEST_TMPDIR/another" >/dev/null
    for how in --local "--set cluster.workers=1"; do
        run mangrove train "$CONFIG" $how --init "$WHOLE" --set run.dir="$RUN" --set data.dir="$BATS_TEST_TMPDIR/another"
        [ "$status" -eq 3 ] && [[ $output == *"was not prepared with --base from that of"* ]]
    done
}

@test "what a resumed run must keep is refused by name" {
    for set in train.batch=30 train.seed=2 train.ranks=1 model.dim=16 optimizer.lr=0.1 eval.batch=50; do
        run mangrove train --resume "$WHOLE" --set $set
        [ "$status" -eq 3 ] && [[ $output == *"${set%=*}: found "*"a run that is resumed cannot change it"* ]]
    done
    run mangrove train --resume "$WHOLE" --set train.consistency=async --set train.ranks=1
    [ "$status" -eq 3 ] && [[ $output == *"train.consistency: found async, expected sync"* ]]
    run mangrove train --resume "$WHOLE" "$CONFIG"
    [ "$status" -eq 2 ]
    run mangrove train --resume "$BATS_TEST_TMPDIR"
    [ "$status" -eq 1 ] && [[ $output == *"neither a snapshot"* ]]
}

@test "an older snapshot is not resumed over newer ones, but beside them" {
    run mangrove train --resume "$WHOLE/snapshots/epoch-0001" --local
    [ "$status" -eq 3 ] && [[ $output == *"holds newer snapshots"*"the newest is epoch-0002"*"another run.dir"* ]]
    run mangrove train "$CONFIG" --local
    [ "$status" -eq 3 ] && [[ $output == *"holds an earlier run"* ]]
}

@test "damage is found before anything starts, and the newest snapshot that is whole is resumed" {
    cp -r "$WHOLE" "$RUN"
    printf x | dd of="$RUN/snapshots/epoch-0002/server-0.A.safetensors" bs=1 seek=9000 conv=notrunc status=none
    run mangrove train --resume "$RUN/snapshots/epoch-0002" --local
    [ "$status" -eq 5 ] && [[ $output == *"server-0.A.safetensors: block 0 of"* ]]
    run mangrove train --resume "$RUN" --local
    [ "$status" -eq 0 ] && [[ $output == *"passed over $RUN/snapshots/epoch-0002: "* ]]
    test -e "$RUN/snapshots/epoch-0002.damaged/manifest.json"
    is_whole
}
