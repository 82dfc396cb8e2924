#!/usr/bin/env bash
# Builds the package with the extension under AddressSanitizer and UndefinedBehaviorSanitizer into a directory, and
# prints the environment that a Python needs to run it.
#   tests/fuzz/build_sanitized.sh [build/sanitized]
#   env $(tests/fuzz/build_sanitized.sh) python tests/fuzz/run.py --minutes 10
# PYTHON names the interpreter (python3 by default), CXX the compiler, JOBS how many to run at once (one per core).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=$(mkdir -p "${1:-$root/build/sanitized}" && cd "${1:-$root/build/sanitized}" && pwd)
python=${PYTHON:-python3}

cmake -S "$root" -B "$target/cmake" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWFST_ENTROPY_SANITIZE=ON \
  -DPython_EXECUTABLE="$(command -v "$python")" -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >&2
cmake --build "$target/cmake" --parallel "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" >&2
rm -rf "$target/package"
mkdir -p "$target/package/wfst_entropy"
(cd "$root/wfst_entropy" && find . -name '*.py' -o -name 'py.typed') |
  tar -C "$root/wfst_entropy" -cf - -T - | tar -C "$target/package/wfst_entropy" -xf -
cmake --install "$target/cmake" --prefix "$target/package" >&2

compiler=${CXX:-g++}
echo "LD_PRELOAD=$("$compiler" -print-file-name=libasan.so):$("$compiler" -print-file-name=libubsan.so)"
echo "PYTHONPATH=$target/package"
# Python frees little at its end, and torch allocates what ASan thinks is too much
echo "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1"
echo "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
