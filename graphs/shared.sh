# What build.sh, inspect.sh and gallery.sh share; to be sourced after parse_options.sh and stages.sh.

case "$python" in */*) python="$(cd "$(dirname "$python")" && pwd)/$(basename "$python")" ;; esac

wfst() {
  # $@: a verb of wfst-entropy and its arguments; shown, then run.
  log "wfst-entropy $*"
  "$python" -m wfst_entropy "$@"
}

newer() {
  # $1: a file; $2...: what it was made from. Whether it exists and none of them is newer.
  local made="$1" input
  shift
  [ -e "$made" ] || return 1
  for input in "$@"; do
    if [ "$input" -nt "$made" ]; then return 1; fi
  done
  log "skipping: $made is newer than what it is made from"
}

finds() {
  # $@: a command that has to end with status 1, having found what it looks for.
  local status=0
  "$@" || status=$?
  [ "$status" -eq 1 ] || { log "expected status 1, got $status: $*" >&2; return 1; }
}

hlg() {
  # $1: a topology. The file of its HLG.
  case "$1" in
    standard) echo "$lang_dir/HLG.pt" ;;
    *) echo "$lang_dir/HLG_$1.pt" ;;
  esac
}

make_sentence() {
  # $1: words, $2: table, $3: file. Makes the graph of one sentence.
  local state=0 word
  for word in $1; do
    echo "$state $((state + 1)) $word"
    state=$((state + 1))
  done > "${3%.fst}.fst.txt"
  echo "$state" >> "${3%.fst}.fst.txt"
  wfst compile --acceptor --isymbols "$2" "${3%.fst}.fst.txt" "$3"
}

default_text() {
  # A sentence of the material.
  case "$material" in
    toy) echo "see sea seat" ;;
    mini) echo "AND THE LORD WAS WITH HIM" ;;
    librispeech) echo "HE TELLS US" ;;
  esac
}
