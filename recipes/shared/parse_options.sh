# Kaldi-style options for shell scripts; to be sourced, after the defaults:
#
#   stage=0            # first stage to run
#   token_type=char    # char or bpe
#   . ../shared/parse_options.sh
#
# Every variable in small letters that the script sets before it sources this file is an option:
# --token-type bpe (or --token-type=bpe) sets token_type. --help prints the script's opening comment
# and the options with their defaults. An unknown option is an error that lists the known ones.
#
# $AGAIN is the command as it was given, without --stage and --stop-stage, to be named in messages.

_list_options() {
  # Prints the help line of every option, read from the script itself.
  local line
  while IFS= read -r line; do
    case "$line" in *parse_options.sh*) break ;; esac
    if [[ "$line" =~ ^([a-z][a-z0-9_]*)=([^#]*)(#(.*))?$ ]]; then
      local name="${BASH_REMATCH[1]//_/-}" default="${BASH_REMATCH[2]}" help="${BASH_REMATCH[4]}"
      default="${default%"${default##*[! ]}"}"
      printf '  --%-14s %s\n' "$name" "${help# }${default:+ (default: $default)}"
    fi
  done < "$0"
}

_print_help() {
  local line first=true
  while IFS= read -r line; do
    if $first; then first=false; continue; fi # the interpreter's line
    case "$line" in '#'*) line="${line#\#}"; echo "${line# }" ;; *) break ;; esac
  done < "$0"
  printf '\nOptions:\n'
  _list_options
}

_option_error() {
  {
    echo "$0: $1"
    echo "Known options:"
    _list_options
  } >&2
  exit 1
}

_known_options=" $(_list_options | sed 's/^  --\([^ ]*\) .*/\1/' | tr '\n' ' ')"

AGAIN="$0"

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      _print_help
      exit 0
      ;;
    --*=*)
      _name="${1%%=*}"
      _value="${1#*=}"
      shift
      ;;
    --*)
      _name="$1"
      [ $# -ge 2 ] || _option_error "option $1 needs a value"
      _value="$2"
      shift 2
      ;;
    *)
      _option_error "unexpected argument '$1'; options have the form --name value"
      ;;
  esac
  _name="${_name#--}"
  _name="${_name//_/-}"
  case "$_known_options" in
    *" $_name "*) printf -v "${_name//-/_}" '%s' "$_value" ;;
    *) _option_error "unknown option --$_name" ;;
  esac
  case "$_name" in
    stage | stop-stage) ;;
    *) AGAIN+="$(printf ' --%s %q' "$_name" "$_value")" ;;
  esac
done
