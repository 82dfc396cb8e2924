# Stages of a recipe; to be sourced. The script sets `stage` and `stop_stage`.

log() {
  # $*: a message, printed with the time, the script and the line in it that led here.
  local outermost=$((${#BASH_LINENO[@]} - 2))
  echo "$(date '+%Y-%m-%d %H:%M:%S') (${0##*/}:${BASH_LINENO[$outermost]}) $*"
}

wants_stage() {
  # $1: number of a stage. Whether it lies between --stage and --stop-stage.
  [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]
}

run_stage() {
  # $1: number; $2: title; $3...: command. Runs it when it is wanted, and logs the time it took.
  local number="$1" title="$2" start=$SECONDS status=0
  shift 2
  wants_stage "$number" || return 0
  log "stage $number: $title"
  "$@" || status=$?
  if [ "$status" -ne 0 ]; then
    log "stage $number failed (exit code $status) after $((SECONDS - start)) s" >&2
    exit "$status"
  fi
  log "stage $number done in $((SECONDS - start)) s"
}

need() {
  # $1: a file or pattern that must exist; $2: what to do when it does not. In a stage's function,
  # write `need ... || return 1`: bash ignores errexit there.
  compgen -G "$1" > /dev/null && return 0
  log "needs $1, which does not exist; $2" >&2
  return 1
}

need_package() {
  # $1: a Python interpreter that must have the package, wherever it is called from.
  "$1" -c 'import importlib.util as u, sys
sys.path = [path for path in sys.path if path]
sys.exit(any(u.find_spec(name) is None
for name in ("wfst_entropy", "lhotse", "rich")))' && return 0
  log "$1 ($(command -v "$1" || echo "not found")) has not all of wfst_entropy, lhotse and rich;" \
    "install them with pip install '.[demo]', activate that environment, or give --python" >&2
  return 1
}
