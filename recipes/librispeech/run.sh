#!/usr/bin/env bash
# From a corpus to a trained, decoded and scored recogniser.
#
#   ./run.sh                                          the corpus that the project makes itself
#   ./run.sh --corpus librispeech --full-libri true   LibriSpeech, downloaded
#   ./run.sh --corpus librispeech --corpus-dir DIR    a folder in LibriSpeech's layout
#   ./run.sh --cuts my_cuts.jsonl.gz                  a lhotse cut set of your own
#   ./run.sh --stage 10 --stop-stage 10 --entropy-loss-scale 0.1 --exp-dir exp/more-entropy
#   ./run.sh --use-transducer 1 --prune-range 5       a streaming transducer with a CTC head
#   ./run.sh --use-transducer 1 --use-ctc 0 --causal 0 --encoder conformer
#   ./run.sh --causal 1 --encoder conformer --chunk-size 16,32,-1 --left-context-frames 64,128,-1
#   ./run.sh --use-transducer 1 --exp-dir exp/student \
#     --train-options "--teacher-exp-dir exp/teacher --seq-distill-loss-scale 0.01"
#
# Stages: 0 corpus, 1 manifests, 3 filter bank features, 5 tokens and lang directory (all by
# prepare.sh), 8 language models and decoding graphs (by prepare_lm.sh), 10 training, 11 decoding with
# every method, and as streams where the model can, 12 report. A stage whose output exists is skipped
# (the report is written anew), an interrupted training goes on where it was. Where an option's
# default is empty, the corpus and the kind of model decide.

set -eou pipefail

stage=0                # first stage to run
stop_stage=12          # last stage to run
corpus=mini            # mini or librispeech
corpus_dir=            # a folder in LibriSpeech's layout, instead of DATA_DIR/download
cuts=                  # a lhotse cut set of your own
cuts_train=            # a lhotse cut set of your own, for training
cuts_dev=              # the same, for validation
cuts_test=             # the same, for test
data_dir=              # where the data go (default: data/CORPUS beside this script)
exp_dir=               # where the run goes (default: exp/CORPUS-ENCODER beside this script)
token_type=char        # char or bpe
vocab_size=200         # number of word pieces (with --token-type bpe)
extractor=lhotse       # lhotse, kaldi-native-fbank, kaldifeat or torchaudio
perturb_speed=         # add the training utterances at 0.9 and 1.1 times their speed
mini_hours=3           # hours of training speech in the corpus that the project makes
full_libri=false       # all 960 hours of LibriSpeech; false: train-clean-100
encoder=               # tdnn, lstm or conformer
causal=                # 1 or 0: the streaming form of the encoder (default: 1 for transducers)
chunk_size=            # causal conformer: frames of a chunk in training, one or several (16,32,-1)
left_context_frames=   # causal conformer: frames before its chunk that a frame sees, one or several
use_ctc=1              # 1 or 0: a CTC head
use_transducer=0       # 1 or 0: a transducer head
prune_range=           # labels in a frame's window of the pruned transducer loss; 0: no pruning
simple_loss_scale=     # weight of the loss that finds these windows
ctc_loss_scale=        # weight of the CTC loss beside the transducer's
entropy_loss_scale=    # loss = NLL - scale * entropy of the alignments; negative penalises entropy
entropy_kind=conditional # conditional, raw, per-frame or per-label
num_epochs=            # epochs to train
max_duration=          # seconds of speech in a batch
base_lr=               # highest learning rate
world_size=1           # training processes
avg=                   # epochs to average for decoding
train_options=         # further options of train.py, in one string
lm_text=               # further text for the language models, one sentence a line
lm_arpa=               # a published n-gram for the decoding graph, instead of an estimated one
rescoring_arpa=        # the same for rescoring
lexicon=               # with --lm-arpa: a file with a word at the beginning of each line
decoding_method=       # how to decode, one or several (README.md)
stream_chunk_size=     # frames of a chunk when a causal model decodes (default: first of chunk_size)
stream_left_context_frames= # the same for the frames before it
max_wer=               # fail when a WER is higher, in per cent: one bound, or 50,METHOD=60 with others
num_jobs=2             # processes at a time in the preparation
seed=42                # of the corpus, the order of the data and the training
python=python3         # the interpreter that has wfst_entropy installed

# Relative paths are those of the folder the script was called from.
RECIPE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$RECIPE/../shared/parse_options.sh"
. "$RECIPE/../shared/stages.sh"

# Threads that wait give their core away. Spinning is a little faster on an idle machine, but far
# slower on one that does something else as well.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

set_default() {
  # $1: an option, $2: its value where none was given.
  [ -n "${!1}" ] || printf -v "$1" '%s' "$2"
}

set_bool() {
  # $1: an option that is a yes or no. 1 and 0 become true and false.
  case "${!1}" in
    1 | true | yes) printf -v "$1" true ;;
    0 | false | no) printf -v "$1" false ;;
    *) log "--${1//_/-} must be 1 or 0 (or true or false), got '${!1}'" >&2; exit 1 ;;
  esac
}

set_bool use_ctc
set_bool use_transducer
# A transducer is there to recognise speech while it is spoken.
set_default causal "$use_transducer"
set_bool causal
set_default perturb_speed true
set_default entropy_loss_scale 0.02
if [ "$corpus" = mini ]; then
  # The LSTM gets furthest in a few minutes on two cores (RESULTS.md).
  set_default encoder lstm
  set_default num_epochs 3
  set_default max_duration 80
  set_default base_lr 0.003
  set_default avg 1
  set_default lm_text "$RECIPE/mini_corpus/clauses.txt"
  size=(--model-size mini --warm-up 100 --average-period 10 --spec-aug-time-warp-factor 0
    --spec-aug-num-frame-masks 2 --spec-aug-frames-mask-size 25 --rnnt-warm-step 150)
else
  set_default encoder conformer
  set_default num_epochs 30
  set_default max_duration 600
  set_default base_lr 0.001
  set_default avg 9
  size=(--encoder-dim 256 --num-layers 12 --warm-up 5000)
fi
# Searches take one symbol of a frame, so that a model which may put several characters into one
# loses them.
if $use_transducer && [ "$token_type" = char ]; then size+=(--rnnt-type modified); fi
# The matrices of an LSTM's time step are small: a second thread makes it slower, not faster.
[ "$encoder" != lstm ] || export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if $use_transducer; then
  set_default decoding_method \
    "greedy_search modified_beam_search fast_beam_search_LG"
else
  set_default decoding_method "ctc-greedy-search 1best whole-lattice-rescoring"
fi
# Either spelling of a method's name, and commas between several, will do.
method_names() {
  # $*: decoding methods. Prints the names of their folders.
  local method names=()
  for method in ${*//,/ }; do
    method="${method//_/-}"
    case "$method" in
      greedy-search | modified-beam-search* | fast-beam-search*) method="${method//-/_}" ;;
    esac
    names+=("$method")
  done
  echo "${names[*]}"
}
decoding_method="$(method_names "$decoding_method")"
set_default data_dir "$RECIPE/data/$corpus"
kind=
if $use_transducer; then
  kind=-transducer
  $causal && kind="-causal$kind"
  $use_ctc || kind+=-only
fi
set_default exp_dir "$RECIPE/exp/$corpus-$encoder$kind"
# How a causal model decodes, and what the names of result files then have.
chunk=()
suffix=
if $causal && [ -n "$stream_chunk_size" ]; then
  chunk+=(--chunk-size "$stream_chunk_size")
  suffix+="-chunk-$stream_chunk_size"
fi
if $causal && [ -n "$stream_left_context_frames" ]; then
  chunk+=(--left-context-frames "$stream_left_context_frames")
  suffix+="-left-context-$stream_left_context_frames"
fi
suffix="epoch-$num_epochs-avg-$avg$suffix-use-averaged-model"
lang_dir="$data_dir/lang_$token_type"
[ "$token_type" = char ] || lang_dir="${lang_dir}_$vocab_size"

prepare() {
  local options=() name
  for name in corpus corpus_dir cuts cuts_train cuts_dev cuts_test data_dir token_type vocab_size \
    extractor perturb_speed mini_hours full_libri num_jobs seed python; do
    [ -z "${!name}" ] || options+=("--${name//_/-}" "${!name}")
  done
  "$RECIPE/prepare.sh" --stage "$stage" --stop-stage "$stop_stage" "${options[@]}"
}

train_stage() {
  need "$data_dir/fbank/librispeech_cuts_*.jsonl.gz" \
    "make it with: $AGAIN --stage 3 --stop-stage 3" || return 1
  need "$lang_dir/tokens.txt" \
    "make it with: $AGAIN --stage 5 --stop-stage 5" || return 1
  local options=() name
  for name in chunk_size left_context_frames prune_range simple_loss_scale ctc_loss_scale; do
    [ -z "${!name}" ] || options+=("--${name//_/-}" "${!name}")
  done
  # shellcheck disable=SC2086  # several options in one string
  "$python" "$RECIPE/train.py" --exp-dir "$exp_dir" --manifest-dir "$data_dir/fbank" \
    --lang-dir "$lang_dir" --full-libri "$full_libri" --encoder "$encoder" --causal "$causal" \
    --use-ctc "$use_ctc" --use-transducer "$use_transducer" "${size[@]}" \
    --num-epochs "$num_epochs" --max-duration "$max_duration" --base-lr "$base_lr" \
    --entropy-loss-scale "$entropy_loss_scale" --entropy-kind "$entropy_kind" \
    --world-size "$world_size" --seed "$seed" "${options[@]}" $train_options
}

graph_of() {
  # $1: a decoding method. Prints the file of the lang directory that it searches, if any.
  case "$1" in
    ctc-prefix-beam-search | modified_beam_search_lm_shallow_fusion | modified_beam_search_LODR)
      echo "$lang_dir/5gram.pt"
      ;;
    fast_beam_search*LG) echo "$lang_dir/LG.pt" ;;
    1best | nbest* | whole-lattice-rescoring) echo "$lang_dir/HLG.pt" ;;
  esac
}

language_model_stage() {
  local options=() name method stages=
  for method in $decoding_method; do
    stages+=" $(graph_of "$method")"
  done
  if [ -z "${stages// /}" ]; then
    log "none of $decoding_method needs one, skipping"
    return 0
  fi
  for name in data_dir token_type vocab_size lm_text lm_arpa rescoring_arpa lexicon python; do
    [ -z "${!name}" ] || options+=("--${name//_/-}" "${!name}")
  done
  "$RECIPE/prepare_lm.sh" --stop-stage 1 "${options[@]}" || return 1
  [[ "$stages" != */HLG.pt* ]] ||
    "$RECIPE/prepare_lm.sh" --stage 2 --stop-stage 2 "${options[@]}" || return 1
  [[ "$stages" != */LG.pt* ]] ||
    "$RECIPE/prepare_lm.sh" --stage 3 --stop-stage 3 "${options[@]}" || return 1
  [[ "$stages" != */5gram.pt* ]] ||
    "$RECIPE/prepare_lm.sh" --stage 4 "${options[@]}"
}

decode_stage() {
  need "$exp_dir/epoch-$num_epochs.pt" \
    "make it with: $AGAIN --stage 10 --stop-stage 10" || return 1
  local method
  for method in $decoding_method; do
    decode_by "$method" || return 1
    if $causal; then stream_by "$method" || return 1; fi
  done
}

decode_by() {
  # $1: a decoding method. Scales are tuned on dev where it has some.
  local method="$1" options=() graph
  graph="$(graph_of "$method")"
  # decode.py writes it when all test sets are done
  local result="$exp_dir/$method/config-$suffix.yaml"
  case "$method" in
    *nbest[-_]oracle) ;;
    ctc-prefix-beam-search) options=(--tokens-ngram 5 --tune true) ;;
    *) [ -z "$graph" ] || options=(--tune true) ;;
  esac
  [ -z "$graph" ] || need "$graph" "make it with: $AGAIN --stage 8 --stop-stage 8" || return 1
  if [ "$result" -nt "$exp_dir/epoch-$num_epochs.pt" ] && [ ! "$graph" -nt "$result" ]; then
    log "decoded already, skipping: $result is newer than the model${graph:+ and its graph}"
    return 0
  fi
  "$python" "$RECIPE/decode.py" --exp-dir "$exp_dir" --epoch "$num_epochs" --avg "$avg" \
    --use-averaged-model true --decoding-method "$method" "${chunk[@]}" "${options[@]}"
}

stream_by() {
  # $1: a decoding method. The test sets as streams, if it can read streams, with the same scales.
  local method="$1" options=() result
  case "$method" in
    nbest* | *rescoring | *oracle) return 0 ;;
    ctc-prefix-beam-search) options=(--tokens-ngram 5) ;;
  esac
  # streaming_decode.py writes it when all test sets are done, with the model's chunk where none is given
  for result in "$exp_dir/streaming/$method/config-epoch-$num_epochs-avg-$avg-chunk-"*.yaml; do
    if [ "$result" -nt "$exp_dir/$method/config-$suffix.yaml" ]; then
      log "streamed already, skipping: $result is newer than the decoding of whole utterances"
      return 0
    fi
  done
  "$python" "$RECIPE/streaming_decode.py" --exp-dir "$exp_dir" --epoch "$num_epochs" --avg "$avg" \
    --use-averaged-model true --decoding-method "$method" "${chunk[@]}" "${options[@]}"
}

report_stage() {
  local method="${decoding_method%% *}"
  need "$exp_dir/$method/summary-*.json" \
    "make it with: $AGAIN --stage 11 --stop-stage 11" || return 1
  "$python" "$RECIPE/report.py" --exp-dir "$exp_dir" --epoch "$num_epochs" --avg "$avg" \
    --decoding-method "$method" "${chunk[@]}" ${max_wer:+--max-wer ${max_wer//,/ }}
}

need_package "$python"
if [ "$stage" -le 5 ]; then prepare; fi
run_stage 8 "language models and decoding graphs" language_model_stage
run_stage 10 "training ($encoder, $num_epochs epochs) in $exp_dir" train_stage
run_stage 11 "decoding ($decoding_method)" decode_stage
run_stage 12 "report" report_stage
log "done: data in $data_dir, run in $exp_dir"
