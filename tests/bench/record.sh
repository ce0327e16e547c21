#!/usr/bin/env bash
# Runs the benchmarks beside their yardsticks and appends what they find to results.csv.
#   tests/bench/record.sh MANGROVE REFERENCE RATINGS_A RATINGS_B [BENCHMARK...]
# REFERENCE is the folder of the PyTorch reference (train_torch.py), RATINGS_* are real ratings for the step. Without names
# all are run, which takes about 20 minutes and wants a quiet machine. Files are written below TMPDIR, and deleted.
set -eu
MANGROVE=$(realpath "$1")
REFERENCE=$(realpath "$2")
A=$(realpath "$3")
B=$(realpath "$4")
shift 4
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-/usr/bin/python3}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
cd "$HERE/../.."
"$MANGROVE" prepare "$A" "$B" --out "$WORK/data" >/dev/null

bench() { "$MANGROVE" bench "$@" --csv tests/bench/results.csv; }
oracle() { echo "OPENBLAS_NUM_THREADS=1 $PYTHON '$HERE/oracle_speed.py' '$REFERENCE' $*"; }

run_step() {
    local batch
    for batch in 20 200; do
        bench step configs/amazon.yaml --data "$WORK/data" --batch $batch --set 'model.mlp=[20, 10]' \
            --yardstick "$(oracle --batch $batch --data "'$A'" "'$B'")"
    done
    bench step configs/micro_video.yaml --batch 20 --history 250 \
        --yardstick "$(oracle --batch 20 --dim 40 --seq-len 250 --mlp 100,64 --history 250)"
}
run_gemm() { bench gemm; }
run_link() { bench link; }
run_rtt() { bench rtt; }
run_table() { bench table; }
run_grow() { bench grow; }
run_prepare() { bench prepare --dir "$WORK" --yardstick "$PYTHON '$HERE/oracle_prepare.py' '$REFERENCE'"; }
run_train() { bench train configs/amazon.yaml --dir "$WORK"; }
run_scale() {
    bench scale configs/amazon.yaml --batch 200 --dir "$WORK" \
        --yardstick "$PYTHON '$HERE/ddp_oracle.py' '$REFERENCE/man_torch.py' --processes 2 --batch 200"
}
run_wire() { bench wire configs/amazon.yaml --data "$WORK/data"; }
run_snapshot() { bench snapshot --gib 4 --dir "$WORK"; }

for name in "${@:-step gemm link rtt table grow prepare train scale wire snapshot}"; do
    for one in $name; do "run_$one"; done
done
