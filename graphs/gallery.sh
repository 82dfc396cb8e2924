#!/usr/bin/env bash
# Draws the gallery: topologies, and the graphs of the toy that build.sh made, on one page with the
# commands that make them.
#
#   ./gallery.sh                                 into out/gallery
#   ./gallery.sh --out-dir ../docs/gallery       the page that is shown in docs
#
# The same graphs give the same files, to the last byte.

set -eou pipefail

toy_dir=         # where build.sh put the toy (default: out/toy beside this script)
out_dir=         # where the page goes (default: out/gallery beside this script)
python=python3   # the interpreter that has wfst_entropy installed

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$HERE/../recipes/shared/parse_options.sh"
. "$HERE/../recipes/shared/stages.sh"
. "$HERE/shared.sh"

toy_dir="${toy_dir:-$HERE/out/toy}"
need "$toy_dir/lang/HLG_modified.pt" "make it with: $HERE/build.sh --out-dir $toy_dir" || exit 1
toy_dir="$(cd "$toy_dir" && pwd)"
mkdir -p "${out_dir:=$HERE/out/gallery}"
out_dir="$(cd "$out_dir" && pwd)"
page="$out_dir/README.md"

show() {
  # $1: heading, $2: what there is to see.
  printf '\n### %s\n\n%s\n\n```sh\n' "$1" "$2" >> "$part"
}

step() {
  # $@: a verb and its arguments, run in the folder of the toy and written on the page.
  local argument line=wfst-entropy
  for argument in "$@"; do
    case "$argument" in *[!A-Za-z0-9_./=-]*) argument="${argument@Q}" ;; esac
    line+=" $argument"
  done
  log "$line"
  echo "$line" >> "$part"
  (cd "$toy_dir" && "$python" -m wfst_entropy "$@")
}

picture() {
  # $1: a picture that the last step has drawn, $2: what it shows. It goes beside the page.
  mv "$toy_dir/$1" "$out_dir/$1"
  printf '```\n\n![%s](%s)\n' "$2" "$1" >> "$part"
}

draw() {
  # $1: graph, $2: picture, $3: title, $4: symbols of labels, $5: of outputs; $6...: more options.
  local graph="$1" file="$2" title="$3" inputs="$4" outputs="$5"
  shift 5
  step draw --title "$title" --isymbols "$inputs" ${outputs:+--osymbols "$outputs"} "$@" "$graph" "$file"
  picture "$file" "$title"
}

blank=lang/tokens.txt # where 0 is blank
epsilon=symbols.txt   # where 0 is epsilon
words=lang/words.txt

topologies() {
  printf '\n## Topologies\n' >> "$part"
  show "CTC, standard" "State 0 follows a blank, the others their token, which is put out when they \
are entered. Between two equal tokens there must be a blank."
  step graph ctc ctc.pt --lang-dir lang
  draw ctc.pt ctc.svg "CTC, standard" "$blank" "$epsilon"
  show "CTC, modified" "A token may be put out again without a blank. Four arcs for each token, where the \
standard topology has one for each pair of tokens."
  step graph ctc ctc_modified.pt --lang-dir lang --topology modified
  draw ctc_modified.pt ctc_modified.svg "CTC, modified" "$blank" "$epsilon"
  show "RNN-T, regular" "All alignments of 's iy' with four frames. A blank goes on to the next \
frame, a token does not."
  step graph rnnt "s iy" rnnt.pt --tokens "$blank" --frames 4
  draw rnnt.pt rnnt.svg "RNN-T, regular" "$blank" ""
  show "RNN-T, modified" "A token goes on to the next frame as well: each frame has one symbol."
  step graph rnnt "s iy" rnnt_modified.pt --tokens "$blank" --frames 4 --rnnt-type modified
  draw rnnt_modified.pt rnnt_modified.svg "RNN-T, modified" "$blank" ""
  show "RNN-T, constrained" "A token must be followed by a blank: at most one token in a frame."
  step graph rnnt "s iy" rnnt_constrained.pt --tokens "$blank" --frames 4 --rnnt-type constrained
  draw rnnt_constrained.pt rnnt_constrained.svg "RNN-T, constrained" "$blank" ""
  show "RNN-T, pruned" "The regular lattice, of which each frame keeps two label positions."
  step graph rnnt "s iy" rnnt_pruned.pt --tokens "$blank" --frames 4 --prune-range 2
  draw rnnt_pruned.pt rnnt_pruned.svg "RNN-T, pruned" "$blank" ""
}

decoding_graphs() {
  printf '\n## From lexicon and language model to a lattice\n' >> "$part"
  show "L" "The lexicon, from phones to words. *sea* and *see* sound alike; *seat* begins like them."
  draw lang/L.pt L.svg "L" "$epsilon" "$words"
  show "L_disambig" "#1 and #2 tell the two apart. The loop #0 lets back-off arcs of G through."
  draw lang/L_disambig.pt L_disambig.svg "L_disambig" "$epsilon" "$words"
  show "G" "The language model, a bigram of eight sentences. From the state of each word, #0 backs \
off to the words in general. The darker and wider an arc, the larger its posterior."
  draw lang/G.pt G.svg "G" "$words" "$words"
  show "LG" "L composed with G, determinised and minimised; disambiguation symbols are epsilons \
then, and most of those are gone."
  draw lang/LG.pt LG.svg "LG" "$epsilon" "$words"
  show "HLG, standard" "LG behind the standard CTC topology: what a frame emits stands on the arcs. \
#0 marks arcs that take no frame."
  draw lang/HLG.pt HLG.svg "HLG, standard" "$blank" "$words"
  show "HLG, modified" "LG behind the modified topology."
  draw lang/HLG_modified.pt HLG_modified.svg "HLG, modified" "$blank" "$words"
  show "A lattice" "What the search finds for 'see sea', planted in noise: all paths that are at \
most 4 nats worse than the best."
  step frame-scores "see sea" planted.npy --lang-dir lang --frames-per-token 1 --strength 3
  step decode planted.npy --lang-dir lang --graph lang/HLG.pt --lattice-out see_sea.pt
  step lattice draw see_sea.pt lattice.svg --lang-dir lang --beam 4
  picture lattice.svg "A lattice"
}

others() {
  printf '\n## Others\n' >> "$part"
  show "Phrases to boost" "*sea seat* is worth 2 nats for each of its words, *sea* 1. The arc back \
takes away what a phrase that breaks off had in advance."
  step graph context phrases.txt context.pt --words "$words"
  draw context.pt context.svg "Phrases to boost" "$words" ""
  show "Edit distance" "All ways to edit 's iy': a pair of these graphs, intersected, has the edit \
distance of two sequences as the score of its best path."
  step graph levenshtein "s iy" levenshtein.pt --tokens "$epsilon"
  draw levenshtein.pt levenshtein.svg "Edit distance" "$epsilon" "$epsilon"
}

sed 's/^<blk> 0$/<eps> 0/' "$toy_dir/$blank" > "$toy_dir/$epsilon"
cp "$HERE/toy/phrases.txt" "$toy_dir/phrases.txt"
rm -f "$page".part?
# Two at a time: what takes the time is the start of each command.
(part="$page.part2"; topologies) &
topologies=$!
part="$page.part3"
decoding_graphs
others
wait "$topologies"
cat > "$page.part1" <<'END'
# Gallery

Every picture is drawn by the commands above it, in the folder `graphs/out/toy` that
`graphs/build.sh` makes; `symbols.txt` is `lang/tokens.txt` with epsilon in the place of blank.
`graphs/gallery.sh` makes the whole page.
END
cat "$page".part? > "$page"
rm "$page".part?
log "done: $(ls "$out_dir"/*.svg | wc -l) pictures on $page"
