#!/usr/bin/env bash
# Runs every benchmark of the losses, one after the other on one thread each, and keeps the tables.
#   benchmarks/run_all.sh [results] [--quick]
# The first argument is the directory for tables (.txt), numbers (.json) and plots (.svg); the rest goes to each script.
# PYTHON names the interpreter (python3 by default). The machine should be idle.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
results=$(mkdir -p "${1:-results}" && cd "${1:-results}" && pwd)
shift $(($# > 0))
export OMP_NUM_THREADS=1 PYTHONPATH=$root
cd "$root/benchmarks"

for name in ctc rnnt pruned_rnnt kl dense scaling; do
  [[ -f $name.py ]] || continue
  extra=()
  if [[ $name == scaling ]]; then extra=(--plots "$results"); fi
  begin=$SECONDS
  "${PYTHON:-python3}" $name.py --json "$results/$name.json" "${extra[@]}" "$@" | tee "$results/$name.txt"
  echo "$name.py: $((SECONDS - begin)) s"
done
