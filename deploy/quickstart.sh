#!/usr/bin/env bash
# From a Debian 12 machine that has nothing to a trained model: installs the packages, builds, makes a synthetic
# two-domain data set, trains MAN with a scheduler, two servers and two workers, and puts it beside the single-domain
# backbone. About three minutes on two cores after the downloads.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "Packages and build"
deploy/packages.sh build
cmake -S . -B build -G Ninja >build.log 2>&1 || { cat build.log; exit 1; }
cmake --build build --target mangrove >build.log 2>&1 || { cat build.log; exit 1; }
rm -f build.log
mangrove=build/mangrove
$mangrove --version

say "A synthetic data set: two domains that share items and the interests behind them"
if [ ! -e data/quickstart/manifest.json ]; then
    $mangrove synth data/quickstart-ratings --preset transfer
    $mangrove prepare data/quickstart-ratings/ratings_A.csv data/quickstart-ratings/ratings_B.csv --split days --days 200 \
        --out data/quickstart
fi

rm -rf runs/quickstart runs/quickstart-backbone # of an earlier quick start

say "MAN: one scheduler, two servers, two workers"
$mangrove train configs/quickstart.yaml

say "The same run without crossing domains: backbone_only"
$mangrove train configs/quickstart.yaml --set model.backbone_only=true --set run.dir=runs/quickstart-backbone

say "MAN beside the backbone, read from the snapshots: test split, each domain at its best validation epoch"
$mangrove evaluate runs/quickstart runs/quickstart-backbone --data data/quickstart

say "What to type next"
cat <<'NEXT'
  build/mangrove prepare A.csv.gz B.csv.gz --out data/mine              your own ratings (user,item,rating,time)
  build/mangrove train configs/amazon.yaml --set data.dir=data/mine --set run.dir=runs/mine
  build/mangrove evaluate runs/mine --data data/mine --protocol all
  build/mangrove config configs/amazon.yaml                             every key, and what a run will need
NEXT
