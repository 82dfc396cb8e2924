#!/usr/bin/env bash
# A lexicon and a bigram of five words: compiled, composed, looked into, and one that goes wrong.
#
#   ./run.sh                          everything, into out/ beside this script
#   ./run.sh --stage 2 --stop-stage 2 the pictures only
#
# Stages: 0 compile, 1 compose and determinise, 2 figures, paths and pictures, 3 why a composition
# is empty.

set -eou pipefail

stage=0          # first stage to run
stop_stage=3     # last stage to run
out_dir=         # where the graphs and pictures go (default: out beside this script)
python=python3   # the interpreter that has wfst_entropy installed

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$HERE/../../recipes/shared/parse_options.sh"
. "$HERE/../../recipes/shared/stages.sh"

[ -n "$out_dir" ] || out_dir="$HERE/out"
mkdir -p "$out_dir"

wfst() { "$python" -m wfst_entropy "$@"; }
symbols=(--isymbols "$HERE/phones.txt" --osymbols "$HERE/words.txt")

compile() {
  wfst compile --transducer "${symbols[@]}" "$HERE/L.fst.txt" "$out_dir/L.fst"
  wfst compile --acceptor --isymbols "$HERE/words.txt" "$HERE/G.fst.txt" "$out_dir/G.fst"
  wfst compile --acceptor --isymbols "$HERE/words.txt" "$HERE/G_cow.fst.txt" "$out_dir/G_cow.fst"
}

compose() {
  need "$out_dir/L.fst" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  wfst arcsort "$out_dir/G.fst" "$out_dir/G_sorted.fst"
  wfst compose "$out_dir/L.fst" "$out_dir/G_sorted.fst" "$out_dir/LG_composed.fst"
  wfst rmepsilon "$out_dir/LG_composed.fst" "$out_dir/LG_epsilon_free.pt"
  wfst determinize "$out_dir/LG_epsilon_free.pt" "$out_dir/LG.pt"
}

look() {
  need "$out_dir/LG.pt" "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  wfst info "$out_dir/LG.pt"
  wfst check "${symbols[@]}" "$out_dir/LG.pt"
  wfst paths -n 5 "${symbols[@]}" "$out_dir/LG.pt"
  wfst draw "${symbols[@]}" --title "Lexicon" "$out_dir/L.fst" "$out_dir/L.svg"
  wfst draw --isymbols "$HERE/words.txt" --title "Bigram" "$out_dir/G.fst" "$out_dir/G.svg"
  wfst draw --isymbols "$HERE/words.txt" --title "Bigram" "$out_dir/G.fst" "$out_dir/G.html"
  wfst draw "${symbols[@]}" --title "LG" "$out_dir/LG.pt" "$out_dir/LG.html"
  wfst draw "${symbols[@]}" --title "LG near 'on'" --around on --radius 1 \
    "$out_dir/LG.pt" "$out_dir/LG_near_on.svg"
}

go_wrong() {
  need "$out_dir/G_cow.fst" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  # The lexicon has no cow: explain says so and ends with status 1, as it should here.
  wfst explain --matched "$HERE/words.txt" "$out_dir/L.fst" "$out_dir/G_cow.fst" && return 1
  wfst diff --isymbols "$HERE/words.txt" "$out_dir/G.fst" "$out_dir/G_cow.fst" && return 1
  return 0
}

run_stage 0 "compile the lexicon and the grammars" compile
run_stage 1 "compose and determinise" compose
run_stage 2 "figures, paths and pictures in $out_dir" look
run_stage 3 "a grammar with a word that the lexicon has not" go_wrong
