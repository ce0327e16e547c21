# mangrove export and the Python package: tables of a snapshot for other programs.
load cluster

# A set with odd names, trained in one process and on two servers.
setup_file() {
    local work="$BATS_FILE_TMPDIR" domain
    mangrove synth "$work/plain" --preset transfer --users-a 600 --users-b 600 --items-a 400 --items-b 400 --seed 3
    for domain in A B; do
        "$PYTHON" tests/cluster/odd_names.py ratings "$work/plain/ratings_$domain.csv" "$work/ratings_$domain.csv"
    done
    mangrove prepare "$work/ratings_A.csv" "$work/ratings_B.csv" --out "$work/data" --chunk 300
    make_config "$work/config.yaml" "$work/data" "$work/one"
    mangrove train "$work/config.yaml" --local --set train.epochs=1
    mangrove train "$work/config.yaml" --set train.epochs=1 --set run.dir="$work/two" </dev/null 3>&-
}

setup() {
    DATA="$BATS_FILE_TMPDIR/data"
    ONE="$BATS_FILE_TMPDIR/one/snapshots/epoch-0001"
    TWO="$BATS_FILE_TMPDIR/two/snapshots/epoch-0001"
    OUT="$BATS_TEST_TMPDIR/out"
    export PYTHONPATH="$PWD/deploy/python" PYTHONDONTWRITEBYTECODE=1
}

check() { "$PYTHON" tests/cluster/export_check.py "$@"; }
has_module() { "$PYTHON" -c "import $1" 2>/dev/null; }
item_names() { "$PYTHON" tests/cluster/data_names.py "$DATA/items.bin" | tail -n +2; }
# only FILE…: the directory of OUT holds these alone
only() { [ "$(ls -A "$BATS_TEST_TMPDIR")" = "$*" ] || { ls -A "$BATS_TEST_TMPDIR"; false; }; }
# refuses CODE TEXT COMMAND…: the command ends with the code and one sentence that holds the text
refuses() {
    local code=$1 text=$2
    shift 2
    run "$@"
    [ "$status" -eq "$code" ] && [[ "$output" == *"$text"* ]] || { echo "code $status: $output"; false; }
}

@test "every format holds the rows of all servers in id order, with names of spaces, quotes and backslashes" {
    for format in npy safetensors vec tsv; do
        for snapshot in "$ONE" "$TWO"; do
            mangrove export "$snapshot" --to $format --out "$OUT" --data "$DATA"
            check export "$OUT" "$snapshot" "$DATA"
            [ "$(ls "$OUT" | sed 's/\..*//' | sort -u | tr '\n' ' ')" = "A B export shared " ]
        done
    done
}

@test "names of tabs, line feeds and bytes that are no UTF-8 survive every format" {
    has_module xxhash || skip "needs python3-xxhash"
    cp -r "$DATA" "$BATS_TEST_TMPDIR/patched"
    "$PYTHON" tests/cluster/odd_names.py patch "$BATS_TEST_TMPDIR/patched"
    for format in npy safetensors vec tsv; do
        mangrove export "$TWO" --to $format --out "$OUT" --data "$BATS_TEST_TMPDIR/patched"
        check export "$OUT" "$TWO" "$BATS_TEST_TMPDIR/patched"
        check module "$OUT" "$TWO" "$BATS_TEST_TMPDIR/patched"
    done
    check module "$TWO" "$TWO" "$BATS_TEST_TMPDIR/patched"
    printf '%s\n' '\x09TAB\x0aNL\x0d\xff\xfe' >"$BATS_TEST_TMPDIR/items"
    mangrove export "$TWO" --to tsv --out "$OUT" --data "$BATS_TEST_TMPDIR/patched" --items "$BATS_TEST_TMPDIR/items"
    [ "$(cut -f 1 "$OUT/shared.tsv")" = "$(cat "$BATS_TEST_TMPDIR/items")" ]
}

@test "the Python package opens a run, snapshots of one and two servers and every export, and gives the same rows" {
    check module "$BATS_FILE_TMPDIR/one" "$ONE" "$DATA"
    check module "$TWO" "$TWO" "$DATA"
    for format in npy safetensors vec tsv; do
        mangrove export "$TWO" --to $format --out "$OUT"
        check module "$OUT" "$TWO" "$DATA"
    done
}

@test "the Python package refuses an export or a manifest in which something is missing or does not fit" {
    for format in npy safetensors vec; do
        mangrove export "$TWO" --to $format --out "$BATS_TEST_TMPDIR/$format"
    done
    check damaged "$BATS_TEST_TMPDIR" "$TWO"
}

@test "the Python package notices files of two tables that changed places, values where it is asked to" {
    local prefix format
    for prefix in BA BB; do # of one domain each, names and numbers of equal length
        item_names | grep -E "^$prefix[0-9A-Z]{8}\$" | head -3
    done >"$BATS_TEST_TMPDIR/items"
    for format in npy safetensors vec; do
        mangrove export "$ONE" --to $format --out "$BATS_TEST_TMPDIR/$format" --items "$BATS_TEST_TMPDIR/items" \
            --table A --table B
    done
    check swapped "$BATS_TEST_TMPDIR"
}

@test "an incremental snapshot of two servers gives its own rows and its base's, to export and to Python" {
    local work="$BATS_TEST_TMPDIR" # many items, so that few steps touch few of them
    mangrove synth "$work/ratings" --preset transfer --users-a 1500 --users-b 1500 --items-a 20000 --items-b 20000 --seed 3
    mangrove prepare "$work/ratings/ratings_A.csv" "$work/ratings/ratings_B.csv" --out "$work/data" --chunk 300
    mangrove train "$BATS_FILE_TMPDIR/config.yaml" --set data.dir="$work/data" --set run.dir="$work/run" \
        --set train.batch=5 --set train.epochs=1 --set snapshot.every_steps=40 --set snapshot.full_every=100 \
        --set snapshot.keep=100 </dev/null 3>&-
    local incremental n_partial=0
    for incremental in $(grep -L '^ "base": null' "$work"/run/snapshots/*/manifest.json | xargs -n 1 dirname); do
        mangrove export "$incremental" --to npy --out "$OUT"
        check export "$OUT" "$incremental" "$work/data"
        check module "$incremental" "$incremental" "$work/data"
        n_partial=$((n_partial + $(check partial "$incremental")))
    done
    [ $n_partial -gt 0 ]
}

@test "--best takes the snapshot that evaluate reads for a domain, and only a run has one" {
    local run=${TWO%/snapshots/*}
    mangrove evaluate "$run" --data "$DATA" --json >"$BATS_TEST_TMPDIR/evaluated"
    for domain in A B; do
        epoch=$(sed "s/.*\"$domain\":{[^{]*\"epoch\":\([0-9]*\).*/\1/" "$BATS_TEST_TMPDIR/evaluated")
        run mangrove export "$run" --best $domain --to npy --out "$OUT"
        [ "$status" -eq 0 ] && [ "${lines[0]}" = "$run/snapshots/epoch-000$epoch -> $OUT" ] || { echo "$output"; false; }
    done
    run mangrove export "$TWO" --best A --to npy --out "$OUT"
    [ "$status" -eq 2 ] && [[ $output == *"$TWO is a snapshot"* ]] || { echo "$output"; false; }
    run mangrove export "$run" --best C --to npy --out "$OUT"
    [ "$status" -eq 2 ]
}

@test "1,000 rows by name, from the Python package and from NumPy alone, are those that inspect prints" {
    item_names >"$BATS_TEST_TMPDIR/names"
    mangrove export "$TWO" --to npy --out "$OUT"
    for table in A B shared; do # code 3: items without a row in the table are named
        mangrove inspect "$TWO" --table $table --rows "$BATS_TEST_TMPDIR/names" --data "$DATA" --json || [ $? -eq 3 ]
    done >"$BATS_TEST_TMPDIR/rows"
    check inspect "$TWO" "$DATA" "$OUT" <"$BATS_TEST_TMPDIR/rows"
}

@test "the module safetensors, which is not ours, reads an export" {
    has_module safetensors || skip "needs the Python module safetensors, which Debian 12 does not have"
    mangrove export "$TWO" --to safetensors --out "$OUT"
    check foreign "$OUT"
}

# recipe WORD: the README's Python that holds the word, on this test's export and an item of it
recipe() {
    awk -v word="$1" '/^```python/ { text = ""; next } /^```$/ { if (index(text, word)) print text } { text = text $0 "\n" }' \
        README.md | sed "s|exports/games_toys|$OUT|; s|runs/games_toys|$TWO|; s|B000FIS9PU|$ITEM|; s|B00005N5PF|$ITEM|"
}

@test "the README's recipe for faiss finds the nearest items by name" {
    has_module faiss || skip "needs python3-faiss"
    mangrove export "$TWO" --to npy --out "$OUT" --table A
    ITEM=$(sed -n 7p "$OUT/A.names.txt")
    recipe faiss | "$PYTHON" - >"$BATS_TEST_TMPDIR/found"
    "$PYTHON" tests/cluster/export_check.py nearest "$OUT" "$ITEM" "$BATS_TEST_TMPDIR/found"
}

@test "the README's lines of Python run as they stand" {
    ITEM=$(item_names | grep '^BA' | head -1)
    recipe 'tables["A"]' >"$BATS_TEST_TMPDIR/lines.py"
    grep -q "rows(\[\"$ITEM\", \"$ITEM\"\])" "$BATS_TEST_TMPDIR/lines.py"
    "$PYTHON" "$BATS_TEST_TMPDIR/lines.py"
}

@test "--table exports dense parameters under their tensors' names, without a data set" {
    mv "$DATA" "$DATA.away"
    run mangrove export "$TWO" --to npy --out "$OUT" --table dense_A
    mv "$DATA.away" "$DATA"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    check export "$OUT" "$TWO" "$DATA"
    head -1 "$OUT/dense_A.names.txt" | grep -qx 'pos\.A\[0\]'
}

@test "--items exports a subset in the file's order and says how many have no row" {
    item_names | grep '^BA' | head -3 >"$BATS_TEST_TMPDIR/items" # of domain A alone
    item_names | tail -20 | tac >>"$BATS_TEST_TMPDIR/items"
    printf '\r\n' >>"$BATS_TEST_TMPDIR/items"
    for format in npy safetensors vec tsv; do
        mangrove export "$TWO" --to $format --out "$OUT" --items "$BATS_TEST_TMPDIR/items" >"$BATS_TEST_TMPDIR/report"
        check export "$OUT" "$TWO" "$DATA" "$BATS_TEST_TMPDIR/items"
        grep -q "^  shared .* 23 rows of 8 values$" "$BATS_TEST_TMPDIR/report"
        grep -Eq "^  B .* rows of 8 values; [0-9]+ of the items asked for have no row" "$BATS_TEST_TMPDIR/report"
    done
}

@test "names are taken as they are printed: by --name, --history and lists" {
    local spelled ways=("$TWO" --data "$DATA")
    mangrove export "$TWO" --to npy --out "$OUT" --table A
    grep -F '\x' "$OUT/A.names.txt" >"$BATS_TEST_TMPDIR/spelled" # as \x5c, and what ends lines and fields
    grep -F ',' "$OUT/A.names.txt" | sed 's/,/\\x2c/g' >"$BATS_TEST_TMPDIR/commas"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/spelled")" -gt 0 ] && [ "$(wc -l <"$BATS_TEST_TMPDIR/commas")" -gt 0 ]
    while IFS= read -r spelled; do
        mangrove inspect "${ways[@]}" --table A --name "$spelled" >"$BATS_TEST_TMPDIR/row"
        mangrove recommend "${ways[@]}" --domain A --history "$spelled" >"$BATS_TEST_TMPDIR/list"
    done < <(cat "$BATS_TEST_TMPDIR/spelled" "$BATS_TEST_TMPDIR/commas")
    refuses 2 '--name holds \x00' mangrove inspect "${ways[@]}" --table A --name 'x\x00'
    refuses 2 '--user holds \x00' mangrove recommend "${ways[@]}" --domain A --user 'x\x00'
    refuses 2 '--history holds \x00' mangrove recommend "${ways[@]}" --domain A --history 'x\x00'
    printf 'x\0y\n' >"$BATS_TEST_TMPDIR/names"
    refuses 3 'names, line 1: it holds a byte 0' mangrove recommend "${ways[@]}" --domain A --users "$BATS_TEST_TMPDIR/names"
}

@test "a name that the data set does not have, or that comes twice, is refused with its line" {
    printf '%s\n' "$(item_names | head -1)" "" "no such item" >"$BATS_TEST_TMPDIR/items"
    refuses 3 'items, line 3: the data set has no item "no such item"' \
        mangrove export "$ONE" --to npy --out "$OUT" --items "$BATS_TEST_TMPDIR/items"
    printf '%s\n' "$(item_names | head -1)" "$(item_names | head -1)" >"$BATS_TEST_TMPDIR/items"
    refuses 3 'was in line 1 already' mangrove export "$ONE" --to npy --out "$OUT" --items "$BATS_TEST_TMPDIR/items"
    only items
}

@test "an export replaces an earlier one and an empty directory, and nothing else" {
    mkdir "$OUT"
    mangrove export "$ONE" --to npy --out "$OUT"
    mangrove export "$ONE" --to vec --out "$OUT/"
    [ ! -e "$OUT/A.npy" ] && [ -e "$OUT/A.vec" ]
    touch "$OUT/mine"
    refuses 2 "holds mine, which is not of an earlier export" mangrove export "$ONE" --to npy --out "$OUT"
    [ -e "$OUT/A.vec" ]
    refuses 2 "is there and is no directory" mangrove export "$ONE" --to npy --out "$OUT/A.vec"
    ln -s "$OUT" "$BATS_TEST_TMPDIR/link"
    refuses 2 "is there and is no directory" mangrove export "$ONE" --to npy --out "$BATS_TEST_TMPDIR/link"
    refuses 2 "which is not of an earlier export" mangrove export "$ONE" --to npy --out "$ONE"
    only "link"$'\n'"out"
}

@test "a write that fails and a damaged snapshot leave the earlier export as it was" {
    mangrove export "$ONE" --to vec --out "$OUT"
    sum=$(cat "$OUT"/* | sha256sum)
    refuses 1 "cannot write" bash -c "trap '' XFSZ; ulimit -f 8; \"\$0\" export '$ONE' --to tsv --out '$OUT'" "$MANGROVE"
    only out
    cp -r "$TWO" "$BATS_TEST_TMPDIR/damaged"
    printf x | dd of="$BATS_TEST_TMPDIR/damaged/server-1.shared.safetensors" bs=1 seek=40000 conv=notrunc status=none
    refuses 5 "server-1.shared.safetensors" mangrove export "$BATS_TEST_TMPDIR/damaged" --to npy --out "$OUT"
    only damaged$'\n'out
    [ "$(cat "$OUT"/* | sha256sum)" = "$sum" ]
}

@test "a wrong data set, table, format or snapshot is refused in a sentence" {
    make_data "$BATS_TEST_TMPDIR/other"
    refuses 3 "whose ids differ" mangrove export "$ONE" --to npy --out "$OUT" --data "$BATS_TEST_TMPDIR/other"
    refuses 3 "has no table C; its tables are A, B, shared, dense_A" mangrove export "$ONE" --to npy --out "$OUT" --table C
    refuses 2 "was said twice" mangrove export "$ONE" --to npy --out "$OUT" --table A --table A
    refuses 2 "no items" mangrove export "$ONE" --to npy --out "$OUT" --table dense_A --items /dev/null
    refuses 2 '--to is npy|safetensors|vec|tsv, not "csv"' mangrove export "$ONE" --to csv --out "$OUT"
    refuses 1 "neither a snapshot" mangrove export "$DATA/.." --to npy --out "$OUT"
    mv "$DATA" "$DATA.away"
    run mangrove export "$ONE" --to npy --out "$OUT"
    mv "$DATA.away" "$DATA"
    [ "$status" -eq 3 ] && [[ "$output" == *"--data DIR"* ]] || { echo "$output"; false; }
    [ ! -e "$OUT" ]
}
