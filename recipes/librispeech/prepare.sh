#!/usr/bin/env bash
# Prepares the data of the LibriSpeech recipe: corpus, manifests, features, units.
#
#   ./prepare.sh                                      the embedded corpus of synthetic speech
#   ./prepare.sh --corpus librispeech                 download the real corpus (with --full-libri true 60 GB)
#   ./prepare.sh --corpus librispeech --corpus-dir D  a folder in LibriSpeech's layout
#   ./prepare.sh --cuts my_cuts.jsonl.gz              a lhotse cut set; dev and test are drawn from it
#   ./prepare.sh --cuts-train A --cuts-dev B --cuts-test C
#
# Stages: 0 corpus, 1 manifests, 3 filter bank features, 5 tokens and lang directory.
# A stage whose output exists is skipped. Utterances that cannot be used are left out and listed in
# excluded_*.tsv beside the output.

set -eou pipefail

stage=0             # first stage to run
stop_stage=5        # last stage to run
corpus=mini         # mini or librispeech
corpus_dir=         # a folder in LibriSpeech's layout, instead of DATA_DIR/download
cuts=               # a lhotse cut set of your own
cuts_train=         # a lhotse cut set of your own, for training
cuts_dev=           # the same, for validation
cuts_test=          # the same, for test
data_dir=data       # where everything goes
token_type=char     # char or bpe
vocab_size=200      # number of word pieces (with --token-type bpe)
extractor=lhotse    # lhotse, kaldi-native-fbank, kaldifeat or torchaudio
perturb_speed=true  # add the training utterances at 0.9 and 1.1 times their speed
mini_hours=3        # hours of training speech in the embedded corpus
full_libri=false    # all 960 hours of LibriSpeech; false: train-clean-100
num_jobs=2          # processes at a time
seed=0              # of the embedded corpus and of the order of the training cuts
python=python3      # the interpreter that has wfst_entropy installed

# Relative paths are those of the folder the script was called from.
RECIPE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$RECIPE/../shared/parse_options.sh"
. "$RECIPE/../shared/stages.sh"

corpus_stage() {
  if [ -n "$cuts$cuts_train" ]; then
    log "cut sets are given, there is no corpus to make"
  elif [ -n "$corpus_dir" ]; then
    need "$corpus_dir" "--corpus-dir must name an existing folder" || return 1
    log "$corpus_dir is taken as it is"
  elif [ "$corpus" = mini ]; then
    "$python" "$RECIPE/local/make_mini_corpus.py" --output-dir "$data_dir/download" \
      --hours "$mini_hours" --seed "$seed" --num-jobs "$num_jobs"
  else
    "$python" "$RECIPE/local/download_librispeech.py" --output-dir "$data_dir/download" \
      --full-libri "$full_libri"
  fi
}

manifest_stage() {
  local source=()
  if [ -n "$cuts" ]; then
    need "$cuts" "--cuts must name a file" || return 1
    source=(--cuts "$cuts")
  elif [ -n "$cuts_train" ]; then
    local subset file
    for subset in train dev test; do
      file="cuts_$subset"
      need "${!file:-"--cuts-$subset"}" "it must name a file beside --cuts-train" || return 1
      source+=("--cuts-$subset" "${!file}")
    done
  elif [ -n "$corpus_dir" ]; then
    need "$corpus_dir" "--corpus-dir must name an existing folder" || return 1
    source=(--corpus-dir "$corpus_dir")
  else
    need "$data_dir/download/LibriSpeech" "make it with: $AGAIN --stage 0 --stop-stage 0" || return 1
    source=(--corpus-dir "$data_dir/download")
  fi
  "$python" "$RECIPE/local/prepare_manifests.py" "${source[@]}" --full-libri "$full_libri" \
    --output-dir "$data_dir/manifests"
}

fbank_stage() {
  need "$data_dir/manifests/librispeech_*.jsonl.gz" \
    "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  "$python" "$RECIPE/local/compute_fbank.py" --manifest-dir "$data_dir/manifests" \
    --output-dir "$data_dir/fbank" --extractor "$extractor" --perturb-speed "$perturb_speed" \
    --num-jobs "$num_jobs" --seed "$seed"
}

lang_stage() {
  need "$data_dir/manifests/librispeech_*_train*.jsonl.gz" \
    "make it with: $AGAIN --stage 1 --stop-stage 1" || return 1
  "$python" "$RECIPE/local/prepare_lang.py" --manifest-dir "$data_dir/manifests" \
    --data-dir "$data_dir" --token-type "$token_type" --vocab-size "$vocab_size"
}

case "$corpus" in
  mini | librispeech) ;;
  *) log "--corpus must be mini or librispeech, got '$corpus'" >&2; exit 1 ;;
esac
case "$token_type" in
  char | bpe) ;;
  *) log "--token-type must be char or bpe, got '$token_type'" >&2; exit 1 ;;
esac

need_package "$python"
mkdir -p "$data_dir"
run_stage 0 "corpus" corpus_stage
run_stage 1 "manifests" manifest_stage
run_stage 3 "filter bank features (speed perturbation: $perturb_speed)" fbank_stage
run_stage 5 "tokens ($token_type) and lang directory" lang_stage
