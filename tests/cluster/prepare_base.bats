# prepare --base: daily retraining on ratings that grow.
load cluster

setup() {
    WORK="$BATS_TEST_TMPDIR"
}

# names DIR FILE: the names of DIR/FILE.bin, in the order of their ids
names() { "$PYTHON" tests/cluster/data_names.py "$1/$2.bin"; }

# hold_back FILE SHARE OUT: the rows of FILE (user,item,rating,time; plain or gzip) but the newest of that share
hold_back() {
    zcat -f "$1" >"$WORK/all"
    local n=$(awk -v n="$(wc -l <"$WORK/all")" -v share="$2" 'BEGIN { print int(n * (1 - share)) }')
    local cut=$(cut -d, -f4 "$WORK/all" | sort -n | sed -n "${n}p")
    awk -F, -v cut="$cut" '$4 < cut' "$WORK/all" >"$3"
}

# ids_are_kept OLD NEW: the names of OLD are the first of NEW's, and NEW has more
ids_are_kept() {
    local file
    for file in items users; do
        names "$1" $file >"$WORK/old"
        names "$2" $file >"$WORK/new"
        [ "$(wc -l <"$WORK/old")" -gt 1 ]
        [ "$(wc -l <"$WORK/new")" -gt "$(wc -l <"$WORK/old")" ]
        head -n "$(wc -l <"$WORK/old")" "$WORK/new" | cmp - "$WORK/old"
        [ -z "$(sort "$WORK/new" | uniq -d)" ]
    done
}

# chain A B: data sets w0, w1 and w2 of the ratings without the newest fifth, without the newest tenth, and of all
chain() {
    local i share=(.2 .1) base=()
    for i in 0 1; do
        hold_back "$1" ${share[$i]} "$WORK/a$i.csv"
        hold_back "$2" ${share[$i]} "$WORK/b$i.csv"
        mangrove prepare "$WORK/a$i.csv" "$WORK/b$i.csv" --out "$WORK/w$i" "${base[@]}" >"$WORK/table$i"
        base=(--base "$WORK/w$i")
    done
    mangrove prepare "$1" "$2" --out "$WORK/w2" "${base[@]}" >"$WORK/table2"
    ids_are_kept "$WORK/w0" "$WORK/w1"
    ids_are_kept "$WORK/w1" "$WORK/w2"
}

# make_ratings: few enough events an item that some items and users are new in the newest tenth
make_ratings() {
    mangrove synth "$WORK/ratings" --preset amazon --users-a 400 --items-a 2000 --users-b 400 --items-b 2000 >/dev/null
}

fingerprint_of() { sed -n 's/^ "fingerprint": \("[0-9a-f]*"\),$/\1/p' "$1/manifest.json"; }

# counts_add_up I: kept + without events = the base's ids, and with the new ones all ids
counts_add_up() {
    local i=$1 column=0 file kept silent new
    for file in users items; do
        column=$((column + 1))
        kept=$(awk -v c=$column '/^kept/ { print $(c + 1) }' "$WORK/table$i")
        silent=$(awk -v c=$column '/^without events now/ { print $(c + 3) }' "$WORK/table$i")
        new=$(awk -v c=$column '/^new behind them/ { print $(c + 3) }' "$WORK/table$i")
        [ $((kept + silent + 1)) -eq "$(names "$WORK/w$((i - 1))" $file | wc -l)" ]
        [ $((kept + silent + new + 1)) -eq "$(names "$WORK/w$i" $file | wc -l)" ]
    done
}

@test "every id outlives the arrival of the newest tenth, twice" {
    make_ratings
    chain "$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv"
    counts_add_up 1
    counts_add_up 2
    grep -qxF " \"lineage\": []," "$WORK/w0/manifest.json"
    grep -qxF " \"lineage\": [$(fingerprint_of "$WORK/w0"), $(fingerprint_of "$WORK/w1")]," "$WORK/w2/manifest.json"
}

@test "every id of real ratings outlives the arrival of the newest tenth, twice" {
    local dir="$MANGROVE_SHARED/data/amazon_games_toys"
    [ -n "$MANGROVE_SHARED" ] && [ -d "$dir" ] || skip "no ratings in \$MANGROVE_SHARED/data/amazon_games_toys"
    chain "$dir/ratings_Video_Games.csv.gz" "$dir/ratings_Toys_and_Games.csv.gz"
    counts_add_up 1
    counts_add_up 2
}

@test "a model trains and is evaluated where ids have no events" {
    make_ratings
    mangrove prepare "$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv" --out "$WORK/w0" >/dev/null
    for x in A B; do # a fifth of the users leave, and their items with them
        awk -F, '{ split($1, n, /[^0-9]+/); if (n[length(n)] % 5) print }' "$WORK/ratings/ratings_$x.csv" >"$WORK/$x.csv"
    done
    mangrove prepare "$WORK/A.csv" "$WORK/B.csv" --out "$WORK/w1" --base "$WORK/w0" --chunk 300 >"$WORK/table1"
    awk '/^without events now/ { exit !($4 > 0 && $5 > 0) }' "$WORK/table1"
    make_config "$WORK/config.yaml" "$WORK/w1" "$WORK/run"
    mangrove train "$WORK/config.yaml" --local >"$WORK/train.txt" 2>&1 || { cat "$WORK/train.txt"; false; }
    mangrove evaluate "$WORK/run" --data "$WORK/w1" >"$WORK/evaluate.txt" 2>&1 || { cat "$WORK/evaluate.txt"; false; }
}

@test "yesterday's rows serve today's data: to evaluate, to recommend, to start from" {
    make_ratings
    hold_back "$WORK/ratings/ratings_A.csv" .1 "$WORK/A.csv"
    hold_back "$WORK/ratings/ratings_B.csv" .1 "$WORK/B.csv"
    mangrove prepare "$WORK/A.csv" "$WORK/B.csv" --out "$WORK/w0" >/dev/null
    mangrove prepare "$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv" --out "$WORK/w1" \
        --base "$WORK/w0" >/dev/null
    make_config "$WORK/config.yaml" "$WORK/w0" "$WORK/run"
    mangrove train "$WORK/config.yaml" --local >/dev/null
    mangrove evaluate "$WORK/run" --data "$WORK/w1" >"$WORK/newer.txt"
    grep -q "^$WORK/run was trained on the data set [0-9a-f]*, and is measured on [0-9a-f]*, which" "$WORK/newer.txt"
    mangrove evaluate "$WORK/run" --data "$WORK/w0" | grep -c "was trained on" | grep -qx 0
    mangrove evaluate "$WORK/run" --data "$WORK/w1" --json >"$WORK/newer"
    mangrove recommend "$WORK/run" --data "$WORK/w1" --domain B --user "$(names "$WORK/w1" users | tail -n 1)" >/dev/null
    mangrove train "$WORK/config.yaml" --init "$WORK/run" --set data.dir="$WORK/w1" --set run.dir="$WORK/today" \
        --set train.seed=2 --set train.epochs=1 >/dev/null 2>"$WORK/err"
    grep -q "table A: [1-9][0-9]* trained rows are taken over; of its [0-9]* ids [1-9][0-9]* are new" "$WORK/err"
    # the seed of initial values is the snapshot's: evaluate ends in the digits of the run's own evaluation
    mangrove evaluate "$WORK/today" --data "$WORK/w1" --split valid --json >"$WORK/evaluated"
    "$PYTHON" - "$WORK" <<'PYTHON'
import json, sys
line = json.loads(open(f"{sys.argv[1]}/today/metrics.jsonl").readline())
again = json.load(open(f"{sys.argv[1]}/evaluated"))
newer = json.load(open(f"{sys.argv[1]}/newer"))
assert newer["trained_on"] != newer["data"] == again["data"] == again["trained_on"], (newer, again)
assert [again[d]["wauc"] for d in "AB"] == [line[d]["valid"]["wauc"] for d in "AB"], (again, line)
PYTHON
}

@test "a base that is none exits 3, one that would be replaced 2" {
    make_ratings
    local files=("$WORK/ratings/ratings_A.csv" "$WORK/ratings/ratings_B.csv")
    run mangrove prepare "${files[@]}" --out "$WORK/w0" --base "$WORK/ratings"
    [ "$status" -eq 3 ]
    [[ "$output" == *"$WORK/ratings is no prepared data set (mangrove prepare makes one)"* ]]
    mangrove prepare "${files[@]}" --out "$WORK/w0" >/dev/null
    run mangrove prepare "${files[@]}" --out "$WORK/w0" --base "$WORK/w0" --force
    [ "$status" -eq 2 ]
    [[ "$output" == *"a data set cannot replace its base"* ]]
    run mangrove prepare "${files[1]}" "${files[0]}" --out "$WORK/w1" --base "$WORK/w0"
    [ "$status" -eq 3 ] || { echo "$output"; false; }
    [[ "$output" == *"give the complete ratings of the same two domains in the same order" ]]
}
