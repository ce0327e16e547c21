# mangrove recommend: the best items for users of the data set and for histories.
load cluster
bats_require_minimum_version 1.5.0

setup_file() {
    export DATA="$BATS_FILE_TMPDIR/data" RUN="$BATS_FILE_TMPDIR/run"
    make_data "$DATA" >/dev/null
    make_config "$BATS_FILE_TMPDIR/config.yaml" "$DATA" "$RUN"
    mangrove train "$BATS_FILE_TMPDIR/config.yaml" --local >/dev/null 2>&1
    # the two users of both domains with the most events in A
    cut -d, -f1 "$DATA-ratings/ratings_A.csv" | grep -xFf <(cut -d, -f1 "$DATA-ratings/ratings_B.csv" | sort -u) |
        sort | uniq -c | sort -rn | awk 'NR <= 2 { print $2 }' >"$BATS_FILE_TMPDIR/users"
    export USER_1=$(sed -n 1p "$BATS_FILE_TMPDIR/users") USER_2=$(sed -n 2p "$BATS_FILE_TMPDIR/users")
}

recommend() { mangrove recommend "$RUN" --data "$DATA" "$@"; }

# history_of USER DOMAIN: its items, oldest first
history_of() {
    grep "^$1," "$DATA-ratings/ratings_$2.csv" | sort -s -t, -k4,4n | cut -d, -f2 | paste -sd,
}

# refused CODE SENTENCE ARGUMENT…: the exit code and a part of what is said
refused() {
    local code=$1 sentence=$2
    shift 2
    run recommend "$@"
    [ "$status" -eq "$code" ] && [[ $output == *"$sentence"* ]] || {
        echo "code $status: $output"
        false
    }
}

@test "a user gets ten items in falling order, its seen ones only where they are not excluded" {
    recommend --domain A --user "$USER_1" >"$BATS_TEST_TMPDIR/ten"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/ten")" -eq 10 ]
    cut -f3 "$BATS_TEST_TMPDIR/ten" | sort -rgc
    [ "$(cut -f1 "$BATS_TEST_TMPDIR/ten" | paste -sd,)" = 1,2,3,4,5,6,7,8,9,10 ]
    recommend --domain A --user "$USER_1" --k 200 | cut -f2 >"$BATS_TEST_TMPDIR/all"
    recommend --domain A --user "$USER_1" --k 200 --exclude-seen | cut -f2 >"$BATS_TEST_TMPDIR/unseen"
    { history_of "$USER_1" A; history_of "$USER_1" B; } | tr , '\n' | sort >"$BATS_TEST_TMPDIR/seen"
    grep -qxFf "$BATS_TEST_TMPDIR/seen" "$BATS_TEST_TMPDIR/all"
    run ! grep -xFf "$BATS_TEST_TMPDIR/seen" "$BATS_TEST_TMPDIR/unseen"
    grep -vxFf "$BATS_TEST_TMPDIR/seen" "$BATS_TEST_TMPDIR/all" >"$BATS_TEST_TMPDIR/expected"
    head -n "$(wc -l <"$BATS_TEST_TMPDIR/expected")" "$BATS_TEST_TMPDIR/unseen" | diff - "$BATS_TEST_TMPDIR/expected"
}

@test "the user's history, written out, gets the same" {
    for domain in A B; do
        diff <(recommend --domain $domain --user "$USER_1") \
            <(recommend --domain $domain --history "$(history_of "$USER_1" $domain)")
    done
}

@test "a file of users gets each one's own answer, and unknown names are reported with their lines" {
    printf '%s\r\n\nnobody\n%s\nsomebody else' "$USER_1" "$USER_2" >"$BATS_TEST_TMPDIR/names"
    run --separate-stderr recommend --domain A --users "$BATS_TEST_TMPDIR/names"
    [ "$status" -eq 3 ]
    for user in "$USER_1" "$USER_2"; do recommend --domain A --user "$user" | sed "s/^/$user\t/"; done |
        diff - <(echo "$output")
    [[ $stderr == *'names, line 3: the data set in '*' has no user "nobody"'* ]] || { echo "$stderr"; false; }
    [[ $stderr == *'names, line 5: '*' has no user "somebody else"'* ]]
    [[ $stderr == *'2 users over '*' items in '*' users/s'* ]]
    [[ $stderr == *'2 of 4 users of '*'names were left out' ]]
}

@test "--json gives a line a user that holds every digit of what is printed" {
    printf '%s\n%s\n' "$USER_1" "$USER_2" >"$BATS_TEST_TMPDIR/names"
    recommend --domain B --users "$BATS_TEST_TMPDIR/names" --json >"$BATS_TEST_TMPDIR/json" 2>/dev/null
    recommend --domain B --users "$BATS_TEST_TMPDIR/names" 2>/dev/null >"$BATS_TEST_TMPDIR/plain"
    recommend --domain B --history "$(history_of "$USER_1" B)" --json >"$BATS_TEST_TMPDIR/history"
    "$PYTHON" - "$BATS_TEST_TMPDIR" <<'PY'
import json, sys
import numpy as np
lines = [json.loads(line) for line in open(sys.argv[1] + "/json")]
plain = [line.split("\t") for line in open(sys.argv[1] + "/plain")]
assert [line["user"] for line in lines] == [plain[0][0], plain[10][0]], lines
for line in lines:
    assert line["domain"] == "B" and set(line) == {"user", "domain", "items"}
    mine = [p for p in plain if p[0] == line["user"]]
    assert [p[2] for p in mine] == [i["item"] for i in line["items"]]
    assert [np.float32(p[3]) for p in mine] == [np.float32(i["score"]) for i in line["items"]]
history = json.load(open(sys.argv[1] + "/history"))
assert history["user"] is None and history["items"] == lines[0]["items"]
PY
}

@test "a snapshot's directory stands for itself, a run's for the domain's best epoch" {
    best=$("$PYTHON" -c 'import glob, json, sys
print(json.load(open(sorted(glob.glob(sys.argv[1] + "/snapshots/*/evaluation.json"))[-1]))["A"]["best_epoch"])' "$RUN")
    diff <(recommend --domain A --user "$USER_1") \
        <(mangrove recommend "$RUN/snapshots/epoch-000$best" --data "$DATA" --domain A --user "$USER_1")
}

@test "what cannot be answered is refused with one sentence and its code" {
    refused 2 "which domain?" --user "$USER_1"
    refused 2 "for whom?" --domain A
    refused 2 "for whom?" --domain A --user "$USER_1" --history x
    refused 2 "the domain is A or B" --domain C --user "$USER_1"
    refused 2 "--k is a number" --domain A --user "$USER_1" --k 0
    refused 2 "--k 100000 is more than the" --domain A --user "$USER_1" --k 100000
    refused 2 "empty name" --domain A --history ""
    refused 3 "did you mean \"$USER_1\"?" --domain A --user "${USER_1}x"
    refused 3 'has no item "no such thing"' --domain A --history "no such thing"
    of_b=$(cut -d, -f2 "$DATA-ratings/ratings_B.csv" | grep -vxFf <(cut -d, -f2 "$DATA-ratings/ratings_A.csv") | head -1)
    refused 3 "item \"$of_b\" has no event in domain A" --domain A --history "$of_b"
    refused 3 'has no user "\x1b[2Jno\x0aone\xff"' --domain A --user $'\e[2Jno\none\xff'
    refused 3 'has no item "\x1b[2J"' --domain A --history $'\e[2J'
    printf '\e[2Jno\xff\n' >"$BATS_TEST_TMPDIR/odd"
    refused 3 'has no user "\x1b[2Jno\xff"' --domain A --users "$BATS_TEST_TMPDIR/odd"
    refused 3 "has no user \"$(printf 'ü%.0s' {1..62})...\"" --domain A --user "$(printf 'ü%.0s' {1..300})"
    refused 1 "no-such-file" --domain A --users no-such-file
    : >"$BATS_TEST_TMPDIR/empty"
    refused 3 "holds no user's name" --domain A --users "$BATS_TEST_TMPDIR/empty"
}

@test "a snapshot of other data is refused, and a damaged one before a row is used" {
    mangrove prepare "$DATA-ratings/ratings_B.csv" "$DATA-ratings/ratings_A.csv" --out "$BATS_TEST_TMPDIR/other" \
        --chunk 300 >/dev/null
    run mangrove recommend "$RUN" --data "$BATS_TEST_TMPDIR/other" --domain A --user "$USER_1"
    [ "$status" -eq 3 ] && [[ $output == *"has fingerprint"* ]] || { echo "$output"; false; }
    cp -r "$RUN/snapshots/epoch-0001" "$BATS_TEST_TMPDIR/damaged"
    file=$(ls "$BATS_TEST_TMPDIR"/damaged/*.A.safetensors | head -1)
    printf '\xff\xff' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
    run mangrove recommend "$BATS_TEST_TMPDIR/damaged" --data "$DATA" --domain A --user "$USER_1"
    [ "$status" -eq 5 ] && [[ $output == *"$(basename "$file")"* ]] || { echo "$output"; false; }
}
