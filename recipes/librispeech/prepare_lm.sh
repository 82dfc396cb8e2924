#!/usr/bin/env bash
# Prepares the language models and decoding graphs of the LibriSpeech recipe, after prepare.sh.
#
#   ./prepare_lm.sh --data-dir data/mini --lm-text mini_corpus/clauses.txt
#   ./prepare_lm.sh --data-dir data/librispeech --token-type bpe --vocab-size 500 \
#     --lexicon librispeech-lexicon.txt --lm-arpa 3-gram.pruned.1e-7.arpa.gz --rescoring-arpa 4-gram.arpa.gz
#
# Without --lm-arpa the models are estimated from the training transcripts and --lm-text. All
# sentences of dev and test are left out of that text, and a text that has one is refused.
#
# Stages: 0 text, lexicon and L, 1 G, 2 LG and HLG, 3 LG alone (for searches that imply the topology),
# 4 token n-grams. What is newer than what it is made from is not made again. The lang directory of
# prepare.sh gets the words of the language model, and the graphs; its tokens stay as they are.

set -eou pipefail

stage=0             # first stage to run
stop_stage=4        # last stage to run
data_dir=data       # where prepare.sh has put everything
token_type=char     # char or bpe
vocab_size=200      # number of word pieces (with --token-type bpe)
lm_text=            # further text for the language models, one sentence a line
lm_order=3          # order of the word n-gram in the graph
rescoring_order=4   # order of the word n-gram that rescores
tokens_ngram=5      # order of the token n-gram
lodr_order=2        # order of the token n-gram of the training transcripts, to be subtracted (LODR)
lm_arpa=            # a published word n-gram for the graph, instead of an estimated one
rescoring_arpa=     # the same for rescoring
lexicon=            # with --lm-arpa: a file with a word at the beginning of each line (default: its words)
topology=standard   # CTC topology of HLG: standard or modified
python=python3      # the interpreter that has wfst_entropy installed

# Relative paths are those of the folder the script was called from.
RECIPE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$RECIPE/../shared/parse_options.sh"
. "$RECIPE/../shared/stages.sh"

lang_dir="$data_dir/lang_$token_type"
[ "$token_type" = char ] || lang_dir="${lang_dir}_$vocab_size"
lm_dir="$data_dir/lm"

wfst_entropy() {
  # $*: a verb of the command line with its arguments.
  "$python" -m wfst_entropy "$@"
}

is_newer() {
  # $1: a file; $2...: what it is made from. Whether it is there and nothing of that is newer.
  local made="$1" source
  [ -e "$made" ] || return 1
  for source in "${@:2}"; do
    [ ! "$source" -nt "$made" ] || return 1
  done
  log "$made is newer than what it is made from, skipping"
}

note() {
  # $1: a file; $2...: options. Writes them there unless they stand there: then the file keeps its age.
  local file="$1"
  [ -e "$file" ] && [ "$(cat "$file")" = "${*:2}" ] || echo "${*:2}" > "$file"
}

text_stage() {
  need "$lang_dir/tokens.txt" "make it with: $RECIPE/prepare.sh --stage 5 --stop-stage 5" || return 1
  mkdir -p "$lm_dir"
  local words="$lm_dir/lm_words.txt"
  if [ -z "$lm_arpa" ]; then
    [ -z "$lm_text" ] || need "$lm_text" "--lm-text must name a file" || return 1
    "$python" "$RECIPE/local/prepare_lm_text.py" --manifest-dir "$data_dir/manifests" \
      ${lm_text:+--further "$lm_text"} --lm-dir "$lm_dir" || return 1
  elif [ -n "$lexicon" ]; then
    need "$lexicon" "--lexicon must name a file" || return 1
    words="$lexicon"
  else
    need "$lm_arpa" "--lm-arpa must name a file" || return 1
    is_newer "$words" "$lm_arpa" || words_of_arpa "$lm_arpa" "$words" || return 1
  fi
  wfst_entropy lang prepare "$lang_dir" --words "$words"
}

words_of_arpa() {
  # $1: an ARPA file, .gz too; $2: where its words go, one a line.
  gzip -cdf "$1" | awk '
    /^\\/ { inside = ($0 ~ /^\\1-grams:/); next }
    inside && NF && $2 !~ /^</ { print $2 }' > "$2.unfinished" || return 1
  mv "$2.unfinished" "$2"
}

arpa_of() {
  # $1: an order; $2: a published model, or nothing; $3: the text of an estimated one. Sets $arpa.
  arpa="$2"
  if [ -n "$arpa" ]; then
    need "$arpa" "--lm-arpa and --rescoring-arpa must name files"
    return
  fi
  arpa="$lm_dir/${1}gram.arpa"
  need "$3" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  is_newer "$arpa" "$3" || wfst_entropy lm train "$3" --order "$1" --lm "$arpa" --discount-fallback absolute
}

grammar_stage() {
  need "$lang_dir/L_disambig.pt" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  local arpa order model
  for order in "$lm_order" "$rescoring_order"; do
    model="$lm_arpa"
    [ "$order" = "$lm_order" ] || model="$rescoring_arpa"
    if [ -n "$lm_arpa" ] && [ -z "$model" ]; then
      log "no --rescoring-arpa, so there is no language model that rescores"
      continue
    fi
    arpa_of "$order" "$model" "$lm_dir/lm_text.txt" || return 1
    note "$lang_dir/G_$order.options" "$arpa"
    is_newer "$lang_dir/G_${order}_gram.pt" "$arpa" "$lang_dir/words.txt" "$lang_dir/G_$order.options" ||
      wfst_entropy lm to-g "$arpa" "$lang_dir/words.txt" "$lang_dir/G_${order}_gram.pt" || return 1
  done
}

graph_stage() {
  # $1: lg or hlg (which makes LG first); $2...: further options. What is newer is not made again.
  local grammar="$lang_dir/G_${lm_order}_gram.pt"
  need "$grammar" "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  wfst_entropy graph "$1" "$lang_dir" --grammar "$grammar" "${@:2}"
}

token_ngram() {
  # $1: a text in words; $2: where it goes in tokens; $3: an order; $4: the model, without .arpa and .pt
  is_newer "$2" "$1" "$lang_dir/lexicon.txt" ||
    "$python" "$RECIPE/local/write_lm_tokens.py" --lang-dir "$lang_dir" --text "$1" --output "$2" || return 1
  is_newer "$4.arpa" "$2" || wfst_entropy lm train "$2" --order "$3" --lm "$4.arpa" \
    --discount-fallback absolute || return 1
  is_newer "$4.pt" "$4.arpa" || wfst_entropy lm to-g "$4.arpa" "$lang_dir/tokens.txt" "$4.pt"
}

token_ngram_stage() {
  token_ngram "$lang_dir/transcript_words.txt" "$lang_dir/transcript_tokens.txt" "$lodr_order" \
    "$lang_dir/lodr_${lodr_order}gram" || return 1
  if [ -n "$lm_arpa" ]; then
    log "with --lm-arpa there is no text, so no other token n-gram"
    return 0
  fi
  need "$lm_dir/lm_text.txt" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
  token_ngram "$lm_dir/lm_text.txt" "$lang_dir/lm_tokens.txt" "$tokens_ngram" "$lang_dir/${tokens_ngram}gram"
}

case "$token_type" in
  char | bpe) ;;
  *) log "--token-type must be char or bpe, got '$token_type'" >&2; exit 1 ;;
esac
if [ -n "$rescoring_arpa" ] && [ -z "$lm_arpa" ]; then
  log "--rescoring-arpa needs --lm-arpa, the model of the graph" >&2
  exit 1
fi
if [ "$lm_order" = "$rescoring_order" ]; then
  log "--lm-order and --rescoring-order must differ, both are $lm_order" >&2
  exit 1
fi

need_package "$python"
run_stage 0 "text of the language model, lexicon and L" text_stage
run_stage 1 "G of ${lm_order}- and ${rescoring_order}-grams" grammar_stage
run_stage 2 "LG and HLG ($topology topology)" graph_stage hlg --topology "$topology"
run_stage 3 "LG" graph_stage lg
run_stage 4 "token n-grams of order $tokens_ngram, and $lodr_order for LODR" token_ngram_stage
