# verify, inspect and diff: what they print is what NumPy reads in the files.
load cluster

setup_file() {
    DATA="$BATS_FILE_TMPDIR/data" RUN="$BATS_FILE_TMPDIR/run" OTHER="$BATS_FILE_TMPDIR/other"
    export DATA RUN OTHER FIRST="$RUN/snapshots/epoch-0001" LAST="$RUN/snapshots/epoch-0002"
    make_data "$DATA" >/dev/null
    make_config "$BATS_FILE_TMPDIR/config.yaml" "$DATA" "$RUN"
    mangrove train "$BATS_FILE_TMPDIR/config.yaml" --set train.patience=9 >/dev/null # 2 servers
    mangrove synth "$DATA-few" --preset transfer --users-a 300 --users-b 300 --items-a 250 --items-b 250 --seed 4
    mangrove prepare "$DATA-few"/ratings_{A,B}.csv --out "$OTHER-data" --chunk 300 >/dev/null
    mangrove train "$BATS_FILE_TMPDIR/config.yaml" --local --set data.dir="$OTHER-data" --set run.dir="$OTHER" \
        --set train.epochs=1 >/dev/null
}

setup() { COPY="$BATS_TEST_TMPDIR/copy"; }

# expect CODE PATTERN: of what was run last
expect() {
    # shellcheck disable=SC2053 # a pattern
    [[ $status -eq $1 && $output == $2 ]] || { echo "code $status, expected $1 and $2:"; echo "$output"; return 1; }
}

oracle() { "$PYTHON" tests/cluster/snapshot_oracle.py "$@"; }

# flip FILE OFFSET: one bit of it
flip() {
    "$PYTHON" -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); byte = f.read(1)[0]; f.seek(int(sys.argv[2])); f.write(bytes([byte ^ 4]))' "$1" "$2"
}

@test "verify says of each snapshot of a run that it is whole, and how fast it was read" {
    run mangrove verify "$RUN"
    expect 0 "$FIRST: ok, * files, * GB, * GB/s, evaluated
$LAST: ok, * files, * GB, * GB/s, evaluated"
    [ "$(mangrove verify "$RUN" --json | grep -c '"verdict":"ok".*"gb_per_s":.*"evaluated":true.*"faults":\[\]')" -eq 2 ]
}

@test "verify names each damaged file with its block, goes on, and ends with code 5" {
    cp -r "$RUN" "$COPY"
    flip "$COPY/snapshots/epoch-0001/server-1.A.safetensors" 5000
    flip "$COPY/snapshots/epoch-0001/server-0.shared.safetensors" 9000
    rm "$COPY/snapshots/epoch-0001/server-0.stats.safetensors"
    run mangrove verify "$COPY"
    expect 5 "*epoch-0001: corrupt, *epoch-0002: ok, *1 of 2 snapshots are corrupt*"
    expect 5 "*server-1.A.safetensors: block 0 of 1 does not have the hash of the manifest*"
    expect 5 "*server-0.shared.safetensors: block 0 of 1 *"
    expect 5 "*server-0.stats.safetensors: the manifest names it, but it is not there*"
    run mangrove verify "$COPY/snapshots/epoch-0002"
    expect 0 "*: ok, *"
}

@test "verify --json tells a fault whatever bytes are in its path" {
    local copy="$BATS_TEST_TMPDIR/"$'odd\xff'
    cp -r "$FIRST" "$copy"
    rm "$copy/server-0.A.safetensors"
    run mangrove verify "$copy" --json
    expect 5 '*odd\\\\xff"*"faults":\["*odd\\\\xff/server-0.A.safetensors: the manifest names it*'
}

@test "verify takes a lost manifest for corrupt, an unfinished snapshot of a run not, and other directories for neither" {
    cp -r "$RUN" "$COPY"
    rm "$COPY/snapshots/epoch-0002/manifest.json"
    mkdir "$COPY/snapshots/epoch-0001.damaged" "$COPY/empty"
    run mangrove verify "$COPY/snapshots/epoch-0002"
    expect 5 "*epoch-0002/manifest.json: is not there*"
    run mangrove verify "$COPY"
    expect 0 "*epoch-0001: ok*not finished (without a manifest): 1"
    run mangrove verify "$COPY/empty"
    expect 1 "*neither a snapshot*"
    run mangrove verify
    expect 2 "*which SNAPSHOT*"
}

@test "inspect lists a run's snapshots and shows the newest with all its tables" {
    run mangrove inspect "$RUN"
    expect 0 "$FIRST: full, epoch 1, step * of *A valid wauc *
$LAST: full, epoch 2, *"
    expect 0 "*full, at the end of epoch 2, *files*of 2 servers*A valid *table *rows by norm*"
    for snapshot in "$FIRST" "$LAST"; do mangrove inspect "$snapshot" --json | oracle tables "$snapshot"; done
}

# inspect_all ARGUMENT…: of every table the rows that are there
inspect_all() {
    for table in A B shared dense_A dense_shared stats; do
        mangrove inspect "$LAST" --table $table --json "$@" 2>/dev/null || [ $? -eq 3 ]
    done
}

@test "a thousand rows printed by inspect are the files' bit for bit, by id and by name" {
    local here="$BATS_TEST_TMPDIR"
    "$PYTHON" tests/cluster/data_names.py "$DATA/items.bin" >"$here/names"
    seq 1 1200 >"$here/ids"
    inspect_all --rows "$here/ids" >"$here/rows"
    [ "$(oracle rows "$LAST" <"$here/rows")" -ge 1000 ]
    for table in A B shared; do
        sed 1d "$here/names" | mangrove inspect "$LAST" --table $table --rows - --json --data "$DATA" >"$here/found" ||
            [ $? -eq 3 ]
        diff <(grep "\"table\":\"$table\"" "$here/rows") <(sed 's/"name":"[^"]*"/"name":null/' "$here/found")
        sed 's/.*"row":\([0-9]*\),"name":"\([^"]*\)".*/\1 \2/' "$here/found" >"$here/pairs"
        [ -z "$(grep -vxFf <(awk '{ print NR - 1, $0 }' "$here/names") "$here/pairs")" ]
    done
}

@test "a name that is a number is not taken for an id, nor an id for a name" {
    "$PYTHON" tests/cluster/data_names.py "$DATA/items.bin" | grep -qx 17 && skip "an item has this name"
    run mangrove inspect "$LAST" --table A --rows <(echo 17) --data "$DATA"
    expect 3 "*table A has no row 17"
    run mangrove inspect "$LAST" --table A --rows <(echo 17)
    expect 0 "table A, row 17*"
    run mangrove inspect "$LAST" --table A --row 17 --data "$DATA"
    expect 0 "table A, row 17, *"
}

@test "inspect finds a single row by id and by name, and tells what a dense row is" {
    name=$(mangrove inspect "$LAST" --table A --row 17 --data "$DATA" --json | sed 's/.*"name":"\([^"]*\)".*/\1/')
    run mangrove inspect "$LAST" --table A --name "$name"
    expect 0 "table A, row 17, $name
values  *
m.A     *
v.A     *"
    run mangrove inspect "$LAST" --table dense_A --row 0
    expect 0 "table dense_A, row 0, pos.A\[0]
values  *"
}

@test "inspect says what it cannot find, with code 3, and asks for what is missing, with code 2" {
    run mangrove inspect "$LAST" --table A --row 99999999
    expect 3 "*table A has no row 99999999"
    run mangrove inspect "$LAST" --table A --name nobody --data "$DATA"
    expect 3 "*table A has no row nobody"
    run mangrove inspect "$LAST" --table A --name $'no\nbody\xff' --data "$DATA"
    expect 3 '*table A has no row no\\x0abody\\xff'
    run mangrove inspect "$LAST" --table a
    expect 3 "*has no table a; its tables are A, B, shared, *"
    run mangrove inspect "$LAST" --table A --row 17 --data "$OTHER-data"
    expect 3 "*whose ids differ"
    run mangrove inspect "$LAST" --row 17
    expect 2 "*which table*"
    run mangrove inspect "$LAST" --table A --row 17 --name x
    expect 2 "*one of --row, --name and --rows*"
}

@test "inspect and diff show nothing of a damaged table and end with code 5" {
    cp -r "$LAST" "$COPY"
    flip "$COPY/server-0.A.safetensors" 40000
    for arguments in "inspect $COPY --table A --row 17" "inspect $COPY" "diff $FIRST $COPY"; do
        run mangrove $arguments
        expect 5 "*error*server-0.A.safetensors: block 0 of 1 does not have the hash of the manifest"
        [ "${#lines[@]}" -eq 1 ]
    done
}

@test "diff counts and measures what moved between two epochs, and nothing between a snapshot and itself" {
    mangrove diff "$FIRST" "$LAST" --json --top 7 | oracle diff "$FIRST" "$LAST"
    mangrove diff "$LAST" "$RUN" --json | oracle diff "$LAST" "$LAST"
    name=$(mangrove diff "$FIRST" "$LAST" --data "$DATA" --table A --top 1 --json | sed 's/.*"name":"\([^"]*\)".*/\1/')
    run mangrove diff "$FIRST" "$LAST" --data "$DATA" --top 2
    expect 0 "$FIRST -> $LAST*table *A *  $name*"
}

@test "diff counts rows that only one has, and warns where ids may mean other items" {
    other="$OTHER/snapshots/epoch-0001"
    run mangrove diff "$other" "$LAST"
    expect 0 "*neither of which kept the ids of the other*"
    mangrove diff "$other" "$LAST" --json 2>/dev/null | oracle diff "$other" "$LAST"
    mangrove diff "$LAST" "$other" --json 2>/dev/null | oracle diff "$LAST" "$other"
    run mangrove diff "$LAST"
    expect 2 "*which two snapshots*"
}
