#!/usr/bin/env bats
# mangrove config: shows what is in force and what it will cost; refuses what is wrong, with the documented exit codes.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    MANGROVE=$(realpath "$MANGROVE")
    # no variable of the caller may change what is shown
    for name in $(compgen -e MANGROVE_); do
        unset "$name"
    done
}

@test "every configuration that is shipped is accepted, with a plan" {
    for file in configs/*.yaml; do
        echo "$file"
        "$MANGROVE" config "$file" >"$BATS_TEST_TMPDIR/out" 2>/dev/null
        grep -q '^# plan' "$BATS_TEST_TMPDIR/out"
        grep -q '^# dense_shared' "$BATS_TEST_TMPDIR/out"
    done
}

@test "what is shown is itself a configuration that shows the same" {
    for file in configs/*.yaml; do
        "$MANGROVE" config "$file" >"$BATS_TEST_TMPDIR/first.yaml" 2>/dev/null
        "$MANGROVE" config "$BATS_TEST_TMPDIR/first.yaml" >"$BATS_TEST_TMPDIR/second.yaml" 2>/dev/null
        cmp "$BATS_TEST_TMPDIR/first.yaml" "$BATS_TEST_TMPDIR/second.yaml"
    done
}

@test "the shipped sizes are those of the published experiments" {
    "$MANGROVE" config --json configs/amazon.yaml >"$BATS_TEST_TMPDIR/amazon.json" 2>/dev/null
    "$MANGROVE" config --json configs/micro_video.yaml >"$BATS_TEST_TMPDIR/micro_video.json" 2>/dev/null
    cd "$BATS_TEST_TMPDIR"
    python3 - <<'PYTHON'
import json
def sizes(file):
    c = json.load(open(file))["config"]
    return c["model"]["dim"], c["model"]["seq_len"], c["model"]["mlp"], c["train"]["batch"]
assert sizes("amazon.json") == (20, 20, [20, 10], 20), sizes("amazon.json")
assert sizes("micro_video.json") == (40, 250, [100, 64], 200), sizes("micro_video.json")
PYTHON
}

@test "--reference prints the file that is shipped" {
    "$MANGROVE" config --reference | cmp - configs/reference.yaml
}

@test "--set beats the environment, which beats the file" {
    printf 'train: {seed: 2, batch: 2, epochs: 2}\n' >"$BATS_TEST_TMPDIR/c.yaml"
    MANGROVE_TRAIN_SEED=3 MANGROVE_TRAIN_BATCH=3 "$MANGROVE" config "$BATS_TEST_TMPDIR/c.yaml" --set train.seed=4 \
        >"$BATS_TEST_TMPDIR/out" 2>/dev/null
    grep -qx '  seed: 4' "$BATS_TEST_TMPDIR/out"
    grep -qx '  batch: 3' "$BATS_TEST_TMPDIR/out"
    grep -qx '  epochs: 2' "$BATS_TEST_TMPDIR/out"
}

@test "a prepared data set fills the plan with figures" {
    "$MANGROVE" synth "$BATS_TEST_TMPDIR/ratings" --users-a 2000 --users-b 2000 --items-a 500 --items-b 500
    "$MANGROVE" prepare "$BATS_TEST_TMPDIR/ratings/ratings_A.csv" "$BATS_TEST_TMPDIR/ratings/ratings_B.csv" \
        --out "$BATS_TEST_TMPDIR/data"
    "$MANGROVE" config --json configs/quickstart.yaml --set "data.dir=$BATS_TEST_TMPDIR/data" \
        --set train.consistency=sync --set train.ranks=2 >"$BATS_TEST_TMPDIR/plan.json"
    cd "$BATS_TEST_TMPDIR"
    python3 - <<'PYTHON'
import json
plan = json.load(open("plan.json"))["plan"]
rows = {t["name"]: t["rows"] for t in plan["tables"]}
assert max(rows["A"], rows["B"]) <= rows["shared"] <= rows["A"] + rows["B"], rows
for d in plan["domains"].values():
    assert d["steps"] >= d["instances"] / 200 and d["batches"] == 2 * d["steps"], d
    assert d["is_measured"] and 0 < d["pull_bytes"] < d["push_bytes"], d
PYTHON
}

# refused CODE ARGUMENT…: ends with the code, nothing on stdout, one sentence on stderr.
refused() {
    local code=$1 status=0
    shift
    "$MANGROVE" config "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
    echo "config $*: $status"
    cat "$BATS_TEST_TMPDIR/err"
    [ "$status" -eq "$code" ]
    [ ! -s "$BATS_TEST_TMPDIR/out" ]
    [ -s "$BATS_TEST_TMPDIR/err" ]
}

@test "a wrong command line ends with 2" {
    refused 2 --no-such-option
    refused 2 configs/amazon.yaml configs/quickstart.yaml
    refused 2 --set train.seed
    refused 2 --reference --json
}

@test "a wrong configuration ends with 3 and names file and line" {
    printf 'train:\n  sead: 1\n' >"$BATS_TEST_TMPDIR/c.yaml"
    refused 3 "$BATS_TEST_TMPDIR/c.yaml"
    grep -q 'c.yaml:2: unknown key "train.sead": did you mean train.seed?' "$BATS_TEST_TMPDIR/err"
    refused 3 "$BATS_TEST_TMPDIR/none.yaml"
    refused 3 --set train.batch=0
    refused 3 --set model.name=mam
    MANGROVE_TRAIN_SEED=x refused 3 configs/amazon.yaml
    MANGROVE_TRAIN_SEDE=1 refused 3 configs/amazon.yaml
}

@test "a data set that is damaged ends with 3" {
    mkdir "$BATS_TEST_TMPDIR/data"
    echo '{' >"$BATS_TEST_TMPDIR/data/manifest.json"
    refused 3 configs/amazon.yaml --set "data.dir=$BATS_TEST_TMPDIR/data"
}

@test "--help begins with an example and lists every key" {
    "$MANGROVE" config --help >"$BATS_TEST_TMPDIR/help"
    head -n 1 "$BATS_TEST_TMPDIR/help" | grep -q '^Example: mangrove config '
    listed=$(grep -cE '^  [a-z]+\.[a-z0-9_]+: ' "$BATS_TEST_TMPDIR/help")
    [ "$listed" -eq "$(grep -cE '^  [a-z]' configs/reference.yaml)" ]
}
