#!/usr/bin/env bash
# From a lexicon and a language model to graphs to decode with: L, G, LG, HLG, and a lattice.
#
#   ./build.sh                     a toy of three words, small enough to draw
#   ./build.sh --material mini     the 6,000 clauses of recipes/librispeech, spelled in letters
#   ./build.sh --material librispeech --lexicon librispeech-lexicon.txt \
#     --arpa 3-gram.pruned.1e-7.arpa.gz
#                                  LibriSpeech's published files, or others of their kind
#
# Stages: 0 lexicon: checked, L and L_disambig; 1 language model and G; 2 LG; 3 HLG of each
# topology; 4 frame scores, made up, and the lattice that is decoded from them. A step whose result
# is newer than its inputs is skipped.

set -eou pipefail

stage=0          # first stage to run
stop_stage=4     # last stage to run
material=toy     # toy, mini or librispeech
lexicon=         # with librispeech: lines of a word and its phones
arpa=            # with librispeech: a language model in ARPA format, .gz too
order=           # of the language model that is estimated (default: toy 2, mini 3)
topologies="standard modified" # of which to make HLG, so many as fit; compact is the third
text=            # the sentence that is planted in the frame scores (default: one of the material)
seed=42          # of the noise in the frame scores
out_dir=         # where everything goes (default: out/MATERIAL beside this script)
python=python3   # the interpreter that has wfst_entropy installed

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$HERE/../recipes/shared/parse_options.sh"
. "$HERE/../recipes/shared/stages.sh"
. "$HERE/shared.sh"

case "$material" in
  toy) order="${order:-2}" ;;
  mini) order="${order:-3}" ;;
  librispeech)
    need "${lexicon:---lexicon}" "give LibriSpeech's librispeech-lexicon.txt as --lexicon FILE" || exit 1
    need "${arpa:---arpa}" "give LibriSpeech's 3-gram.pruned.1e-7.arpa.gz as --arpa FILE" || exit 1
    ;;
  *) log "--material must be toy, mini or librispeech, got '$material'" >&2; exit 1 ;;
esac
text="${text:-$(default_text)}"
out_dir="${out_dir:-$HERE/out/$material}"
lang_dir="$out_dir/lang"
mkdir -p "$lang_dir"

lang_stage() {
  case "$material" in
    toy) wfst lang prepare "$lang_dir" --lexicon "$HERE/toy/lexicon.txt" ;;
    mini)
      local clauses="$HERE/../recipes/librispeech/mini_corpus/clauses.txt"
      newer "$out_dir/text.txt" "$clauses" || grep -v '^#' "$clauses" > "$out_dir/text.txt"
      newer "$out_dir/vocabulary.txt" "$out_dir/text.txt" \
        || tr ' ' '\n' < "$out_dir/text.txt" | LC_ALL=C sort -u > "$out_dir/vocabulary.txt"
      wfst lang prepare "$lang_dir" --token-type char --words "$out_dir/vocabulary.txt"
      ;;
    librispeech) wfst lang prepare "$lang_dir" --lexicon "$lexicon" ;;
  esac
  wfst lang check "$lang_dir"
}

grammar_stage() {
  need "$lang_dir/L_disambig.pt" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  case "$material" in
    toy) train_lm "$HERE/toy/text.txt" --discount-fallback fixed ;;
    mini) train_lm "$out_dir/text.txt" ;;
  esac
  # Which language model G is of: another one may be older than G.
  [ "$(cat "$lang_dir/G.arpa" 2> /dev/null)" = "$arpa" ] || echo "$arpa" > "$lang_dir/G.arpa"
  newer "$lang_dir/G.pt" "$lang_dir/G.arpa" "$arpa" "$lang_dir/words.txt" \
    || wfst lm to-g "$arpa" "$lang_dir/words.txt" "$lang_dir/G.pt"
}

train_lm() {
  # $1: text; $2...: further options. Sets arpa.
  local sentences="$1"
  shift
  arpa="$out_dir/${order}_gram.arpa"
  newer "$arpa" "$sentences" || wfst lm train "$sentences" --lm "$arpa" --order "$order" "$@"
}

lg_stage() {
  need "$lang_dir/G.pt" "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  wfst graph lg "$lang_dir"
}

hlg_stage() {
  need "$lang_dir/LG.pt" "make it with: $AGAIN --stage 2 --stop-stage 2" || return 1
  local topology vocab_size
  vocab_size="$(grep -vc '^#' "$lang_dir/tokens.txt")"
  for topology in $topologies; do
    newer "$(hlg "$topology")" "$lang_dir/LG.pt" \
      || wfst graph hlg "$lang_dir/LG.pt" "$(hlg "$topology")" --topology "$topology" \
        --vocab-size "$vocab_size"
  done
}

decode_stage() {
  need "$lang_dir/LG.pt" "make it with: $AGAIN --stage 2 --stop-stage 2" || return 1
  wfst frame-scores "$text" "$out_dir/planted.npy" --lang-dir "$lang_dir" --seed "$seed"
  # LG needs no HLG to be searched: the topology is implied.
  wfst decode "$out_dir/planted.npy" --lang-dir "$lang_dir" --graph "$lang_dir/LG.pt" \
    --topology standard --lattice-out "$out_dir/lattice.pt"
  local topology
  for topology in $topologies; do
    wfst decode "$out_dir/planted.npy" --lang-dir "$lang_dir" --graph "$(hlg "$topology")"
  done
}

run_stage 0 "lexicon, L and L_disambig in $lang_dir" lang_stage
run_stage 1 "language model and G" grammar_stage
run_stage 2 "LG" lg_stage
run_stage 3 "HLG ($topologies)" hlg_stage
run_stage 4 "a lattice of '$text', planted in frame scores" decode_stage
log "done: look at it with inspect.sh --material $material --out-dir $out_dir"
