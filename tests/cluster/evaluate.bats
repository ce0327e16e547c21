# What evaluate tells beyond the metrics of training: groups, protocol paper, published files.
load cluster

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data" RUN="$BATS_FILE_TMPDIR/run" FILES="$BATS_FILE_TMPDIR/published"
    mangrove synth "$DATA-ratings" --preset transfer --users-a 600 --users-b 600 --items-a 400 --items-b 400 --seed 3 >/dev/null
    mangrove prepare "$DATA-ratings/ratings_A.csv" "$DATA-ratings/ratings_B.csv" --out "$DATA" --chunk 100000 >/dev/null
    make_config "$BATS_FILE_TMPDIR/run.yaml" "$DATA" "$RUN"
    mangrove train "$BATS_FILE_TMPDIR/run.yaml" --local >/dev/null
    "$PYTHON" tests/cluster/published_files.py "$DATA" "$FILES"
}

# evaluated NAME OPTION…: the JSON line of the run's best snapshots, to NAME.json
evaluated() {
    local name=$1
    shift
    mangrove evaluate "$RUN" --data "$DATA" --json "$@" >"$BATS_TEST_TMPDIR/$name.json"
}

# check_json: Python on stdin, in which x("name") is what `evaluated name` gave
check_json() {
    { printf 'import json, math\ndef x(name): return json.load(open(f"%s/{name}.json"))\n' "$BATS_TEST_TMPDIR"; cat; } | "$PYTHON" -
}

# fails_with CODE PATTERN ARGUMENT…
fails_with() {
    local code=$1 pattern=$2
    shift 2
    run mangrove evaluate "$@"
    [ "$status" -eq "$code" ] && [[ $output == *"$pattern"* ]] || { echo "$status: $output"; false; }
}

@test "the groups by history length add up to the whole" {
    evaluated all
    check_json <<'PYTHON'
for domain in "AB":
    whole = x("all")[domain]
    groups = whole["groups"]
    assert list(groups) == ["<=10", "11-20", "21-30", "31-50", ">50"]
    assert sum(g["n"] for g in groups.values()) == whole["n"]
    assert sum(g["n"] > 0 for g in groups.values()) >= 3
    for name in "mrr", "ndcg@10", "hr@1", "hr@5", "logloss":  # means over positives
        mean = sum(g["n"] * g[name] for g in groups.values() if g["n"]) / whole["n"]
        assert abs(mean - whole[name]) < 1e-12, (domain, name)
PYTHON
}

@test "groups are shown on request, for several runs side by side" {
    run mangrove evaluate "$RUN" "$RUN/snapshots/epoch-0001" --data "$DATA" --groups
    [ "$status" -eq 0 ]
    [ "$(grep -c '^ history .* positives$' <<<"$output")" -eq 10 ]
    local shown
    shown=$(grep -c '^ history .*: [1-9]' <<<"$output")
    [ "$(grep -c '^  man ' <<<"$output")" -eq $((2 * (2 + shown))) ]
    run mangrove evaluate "$RUN" --data "$DATA"
    [[ $output != *history* ]]
}

@test "a model that has diverged is refused, not ranked first" {
    "$PYTHON" -c 'import xxhash' || skip "needs python3-xxhash"
    local copy="$BATS_TEST_TMPDIR/copy"
    cp -r "$RUN/snapshots/epoch-0001" "$copy"
    "$PYTHON" tests/cluster/without_numbers.py "$copy" B
    fails_with 1 "scores of domain B are not finite: the training of $copy has diverged" "$copy" --data "$DATA"
}

@test "a run stands for each domain's best epoch, whatever lies beside its snapshots" {
    local copy="$BATS_TEST_TMPDIR/run"
    cp -r "$RUN" "$copy"
    mv "$copy/snapshots/epoch-0002" "$copy/snapshots/epoch-0002.damaged"
    mangrove evaluate "$copy" --data "$DATA" >"$BATS_TEST_TMPDIR/found"
    mangrove evaluate "$copy/snapshots/epoch-0001" --data "$DATA" | sed 's,/snapshots/epoch-0001,,' |
        diff "$BATS_TEST_TMPDIR/found" -
}

@test "protocol paper is drawn from its seed and stands beside its probe" {
    evaluated one --protocol paper --draws 20
    evaluated again --protocol paper --draws 20
    evaluated other --protocol paper --draws 20 --seed 2
    evaluated warm --protocol warm
    cmp "$BATS_TEST_TMPDIR/one.json" "$BATS_TEST_TMPDIR/again.json"
    check_json <<'PYTHON'
paper, other, warm = x("one"), x("other"), x("warm")
assert paper["protocol"] == "paper" and paper["draws"] == 20 and paper["seed"] == 1
for domain in "AB":
    p = paper[domain]
    assert p["n"] >= warm[domain]["n"] and p["auc"] != warm[domain]["auc"] and p["auc"] != other[domain]["auc"]
    assert set(p["probes"]) == {"unknown first", "unknown last", "all equal"}
    assert p["probes"]["all equal"]["mrr"] == {"mean": 1, "sd": 0}
    assert abs(p["probes"]["all equal"]["fair_mrr"]["mean"] - 0.29289682) < 1e-8  # H(10) / 10
    assert abs(p["fair_mrr"] - p["mrr"]) < 0.05 and p["probes"]["unknown first"]["auc"]["sd"] > 0
    assert set(p["groups"]["<=10"]["probes"]) == set(p["probes"])
PYTHON
    run mangrove evaluate "$RUN" --data "$DATA" --protocol paper --draws 2
    [ "$(grep -cE '^  (unknown first|unknown last|all equal) ' <<<"$output")" -eq 6 ]
}

@test "published files made of a data set score as the data set does, to the last digit" {
    evaluated own --protocol warm
    evaluated published --published "$FILES" --protocol all --draws 2
    evaluated warm --published "$FILES" --protocol warm --draws 2
    check_json <<'PYTHON'
own = x("own")
for name in "published", "warm":
    published = x(name)
    for domain in "AB":
        a, b = own[domain], published[domain]
        assert a["n"] == b["n"] > 100
        for metric in "auc", "mrr", "ndcg@10", "hr@5", "logloss":
            assert a[metric] == b[metric], (name, domain, metric, a[metric], b[metric])
        assert abs(a["wauc"] - b["wauc"]) < 1e-12  # users are numbered, so added, in another order
        assert [g["n"] for g in a["groups"].values()] == [g["n"] for g in b["groups"].values()]
PYTHON
}

@test "published files without a snapshot give their probes, and need no data" {
    run mangrove evaluate --published "$FILES" --groups --draws 5
    [ "$status" -eq 0 ]
    [ "$(grep -c '^domain ' <<<"$output")" -eq 2 ]
    [ "$(grep -c '^ history ' <<<"$output")" -eq 10 ]
    rm -rf "$BATS_TEST_TMPDIR/one" && mkdir "$BATS_TEST_TMPDIR/one"
    cp "$FILES"/*_vocab* "$FILES/test_B.tsv.gz" "$BATS_TEST_TMPDIR/one"
    mangrove evaluate --published "$BATS_TEST_TMPDIR/one" --json --draws 5 >"$BATS_TEST_TMPDIR/one.json"
    check_json <<'PYTHON'
one = x("one")
assert one["A"] is None and one["B"]["n"] > 100 and "epoch" not in one["B"] and "model" not in one
assert one["protocol"] == "paper"
PYTHON
}

@test "the published probe table comes out of the published files" {
    local shared=${MANGROVE_SHARED:-}
    [ -d "$shared/data/man_published" ] || skip "\$MANGROVE_SHARED/data/man_published is not there"
    mangrove evaluate --published "$shared/data/man_published" --json >"$BATS_TEST_TMPDIR/paper.json"
    mangrove evaluate --published "$shared/data/man_published" --protocol warm --json >"$BATS_TEST_TMPDIR/warm.json"
    check_json <<'PYTHON'
# mean and standard deviation over 40 draws: AUC, MRR, NDCG@10, WAUC, MRR with fair ties
TABLE = {
    ("A", "unknown first"): [(.6647, .011), (.5604, .007), (.6605, .006), (.6645, .011), (.4839, .007)],
    ("A", "unknown last"): [(.3318, .011), (.2218, .010), (.3940, .008), (.3316, .011), (.2218, .010)],
    ("B", "unknown first"): [(.6613, .003), (.7064, .002), (.7719, .001), (.6615, .004), (.4182, .002)],
    ("B", "unknown last"): [(.3376, .003), (.2103, .005), (.3853, .004), (.3377, .004), (.2104, .005)],
}
paper, warm = x("paper"), x("warm")
assert paper["draws"] == 40 and paper["A"]["n"] == 294 and paper["B"]["n"] == 1021
for (domain, rule), row in TABLE.items():
    probe = paper[domain]["probes"][rule]
    for name, (mean, sd) in zip(["auc", "mrr", "ndcg@10", "wauc", "fair_mrr"], row):
        got = probe[name]
        assert abs(got["mean"] - mean) <= 2 * sd, (domain, rule, name, got, mean)
        # 40 draws tell a deviation to 11 %, the table's last digit is worth up to half of it: within a factor of two
        assert sd / 2 <= got["sd"] <= 2 * sd, (domain, rule, name, got, sd)
for domain in "AB":
    assert paper[domain]["probes"]["all equal"]["mrr"]["mean"] == 1
    assert round(warm[domain]["probes"]["all equal"]["mrr"]["mean"], 4) == .2929
assert [g["n"] for g in paper["B"]["groups"].values()] == [393, 330, 110, 100, 88]
PYTHON
}

@test "what can be told from manifests and published files is told before a row is read" {
    local run="$BATS_TEST_TMPDIR/all" bad="$BATS_TEST_TMPDIR/bad" file
    mangrove train "$BATS_FILE_TMPDIR/run.yaml" --local --set run.dir="$run" --set eval.protocol=all >/dev/null
    for file in "$run"/snapshots/*/*.A.safetensors; do
        printf '\xff\xff' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
    done
    fails_with 5 "safetensors: block" "$run" --data "$DATA"
    fails_with 2 "were evaluated differently" "$run" "$RUN" --data "$DATA"
    mkdir "$bad"
    gzip -dc "$FILES/test_A.tsv.gz" >"$bad/test_A.tsv"
    gzip -dc "$FILES/test_B.tsv.gz" | sed '13s/\t[^\t]*$//' >"$bad/test_B.tsv"
    fails_with 3 "test_B.tsv:13: 7 tab-separated fields" "$run" --data "$DATA" --published "$bad"
}

@test "evaluate names what is wrong with published files, and which options do not go together" {
    local bad="$BATS_TEST_TMPDIR/bad"
    mkdir "$bad"
    fails_with 3 "holds neither test_A.tsv nor test_B.tsv" --published "$bad"
    gzip -dc "$FILES/test_A.tsv.gz" | head -n 27 >"$bad/test_A.tsv"
    fails_with 3 "test_A.tsv:27: the file ends here, but the positive of line 21 has 6 of its 9 negatives" --published "$bad"
    gzip -dc "$FILES/test_A.tsv.gz" | sed '13s/\t[^\t]*$//' >"$bad/test_A.tsv"
    fails_with 3 "test_A.tsv:13: 7 tab-separated fields were found, 8 are expected" --published "$bad"
    fails_with 3 "test_A.tsv:13: 7 tab-separated" "$RUN" --data "$DATA" --published "$bad"
    gzip -dc "$FILES/test_A.tsv.gz" >"$bad/test_A.tsv"
    fails_with 3 "item_vocab.tsv.gz exists" --published "$bad"
    head -c 3000 "$FILES/test_A.tsv.gz" >"$bad/test_A.tsv.gz"
    fails_with 3 "is truncated: its gzip stream has no end" --published "$bad"
    fails_with 2 "which SNAPSHOT?" --protocol paper
    fails_with 2 "--data is a snapshot's" --published "$FILES" --data "$DATA"
    fails_with 2 "which data?" "$RUN" --published "$FILES"
    fails_with 2 "--draws needs --protocol paper or --published" "$RUN" --data "$DATA" --draws 3
    fails_with 2 "--draws is a number from 2" --published "$FILES" --draws 1
    fails_with 2 "the protocol is warm, all or paper" --published "$FILES" --protocol cold
}
