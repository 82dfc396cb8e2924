#!/usr/bin/env bash
# Looks into the graphs that build.sh made: figures, faults, paths, differences, pictures.
#
#   ./inspect.sh                     the toy, with the gallery
#   ./inspect.sh --material mini     larger graphs: figures, and pictures of parts
#   ./inspect.sh --stage 3 --stop-stage 3
#
# Stages: 0 figures and faults of each graph; 1 best paths, and those of one sentence; 2 which word is
# missing where a composition is empty, and where graphs differ; 3 the decoded lattice; 4 pictures (of
# the toy: the gallery, by gallery.sh).

set -eou pipefail

stage=0          # first stage to run
stop_stage=4     # last stage to run
material=toy     # toy, mini or librispeech
text=            # the sentence to look for in LG (default: as build.sh)
out_dir=         # where build.sh put the graphs (default: out/MATERIAL beside this script)
python=python3   # the interpreter that has wfst_entropy installed

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$HERE/../recipes/shared/parse_options.sh"
. "$HERE/../recipes/shared/stages.sh"
. "$HERE/shared.sh"

text="${text:-$(default_text)}"
out_dir="${out_dir:-$HERE/out/$material}"
lang_dir="$out_dir/lang"
need "$lang_dir/HLG*.pt" "make it with: $HERE/build.sh --material $material --out-dir $out_dir" || exit 1

# L and LG have epsilon where tokens.txt and HLG have blank.
symbols="$out_dir/symbols.txt"
sed 's/^<blk> 0$/<eps> 0/' "$lang_dir/tokens.txt" > "$symbols"

with_symbols() {
  # $1: a verb; $2: a graph, or some of a kind; $3...: further arguments. Adds their symbol tables.
  local verb="$1" inputs="$symbols" graph="$2"
  shift
  case "$(basename "$graph")" in
    G*) inputs="$lang_dir/words.txt" ;;
    HLG*) inputs="$lang_dir/tokens.txt" ;;
  esac
  wfst "$verb" --isymbols "$inputs" --osymbols "$lang_dir/words.txt" "$@"
}

figures_stage() {
  wfst info "$lang_dir"/{L,L_disambig,G,LG}.pt "$lang_dir"/HLG*.pt
  with_symbols check "$lang_dir"/{L,L_disambig,LG}.pt
  with_symbols check "$lang_dir/G.pt"
  with_symbols check "$lang_dir"/HLG*.pt
}

paths_stage() {
  with_symbols paths "$lang_dir/G.pt" -n 5 --unique
  with_symbols paths "$lang_dir/LG.pt" -n 5
  # All ways on which LG writes one sentence: with and without its back-off arcs.
  make_sentence "$text" "$lang_dir/words.txt" "$out_dir/sentence.fst"
  wfst compose "$lang_dir/LG.pt" "$out_dir/sentence.fst" "$out_dir/LG_sentence.pt"
  with_symbols paths "$out_dir/LG_sentence.pt" -n 5
}

differences_stage() {
  # A sentence with a word that has no pronunciation: explain says so, with status 1.
  local table="$out_dir/more_words.txt" other
  { cat "$lang_dir/words.txt"; echo "UNHEARD-OF $(wc -l < "$lang_dir/words.txt")"; } > "$table"
  make_sentence "$text UNHEARD-OF" "$table" "$out_dir/unheard_of.fst"
  finds wfst explain --isymbols "$symbols" --matched "$table" \
    "$lang_dir/L.pt" "$out_dir/unheard_of.fst"
  if [ "$material" != toy ]; then return; fi # diff determinises both graphs
  for other in modified compact; do
    [ ! -e "$(hlg $other)" ] || wfst diff --side output --isymbols "$lang_dir/words.txt" \
      "$lang_dir/HLG.pt" "$(hlg $other)"
  done
  # The language model and its unigrams give different weights to sentences.
  for order in 1 2; do
    wfst lm to-g --backoff epsilon --max-order $order "$(cat "$lang_dir/G.arpa")" \
      "$lang_dir/words.txt" "$out_dir/G_$order.pt"
  done
  finds wfst diff --side input --isymbols "$lang_dir/words.txt" "$out_dir/G_1.pt" "$out_dir/G_2.pt"
}

lattice_stage() {
  need "$out_dir/lattice.pt" "make it with build.sh --stage 4 --stop-stage 4" || return 1
  local lattice="$out_dir/lattice.pt"
  wfst lattice info "$lattice"
  wfst lattice best "$lattice" --lang-dir "$lang_dir" --ctm
  wfst lattice nbest "$lattice" --lang-dir "$lang_dir" -n 5
  wfst lattice entropy "$lattice" --lang-dir "$lang_dir" --by-word
}

pictures_stage() {
  need "$out_dir/lattice.pt" "make it with build.sh --stage 4 --stop-stage 4" || return 1
  if [ "$material" = toy ]; then
    "$HERE/gallery.sh" --toy-dir "$out_dir" --out-dir "$out_dir/gallery" --python "$python"
    return
  fi
  need "$out_dir/LG_sentence.pt" "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  with_symbols draw "$out_dir/LG_sentence.pt" "$out_dir/LG_sentence.svg" --title "$text"
  wfst lattice draw "$out_dir/lattice.pt" "$out_dir/lattice.svg" --lang-dir "$lang_dir" --beam 3
  wfst lattice draw "$out_dir/lattice.pt" "$out_dir/lattice.html" --lang-dir "$lang_dir" --beam 3
}

run_stage 0 "figures and faults" figures_stage
run_stage 1 "best paths" paths_stage
run_stage 2 "a missing word, and where two graphs differ" differences_stage
run_stage 3 "the decoded lattice" lattice_stage
run_stage 4 "pictures" pictures_stage
