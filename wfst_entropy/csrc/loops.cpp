#include "loops.h"

// Wider instruction sets than the build's are compiled beside it and chosen at run time, so one wheel serves every
// machine of its architecture. Compilers without this mechanism get the portable loops only.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define WFST_MULTIVERSION 1
#endif

namespace wfst_entropy {
namespace {

namespace portable {
#define WFST_TARGET
#include "loops.inl"
#undef WFST_TARGET
}  // namespace portable

#ifdef WFST_MULTIVERSION
namespace avx2 {
#define WFST_TARGET __attribute__((target("avx2,fma")))
#include "loops.inl"
#undef WFST_TARGET
}  // namespace avx2

namespace avx512 {
#define WFST_TARGET \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#include "loops.inl"
#undef WFST_TARGET
}  // namespace avx512

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

template <class T>
Loops<T> choose() {
#ifdef WFST_MULTIVERSION
  if (has_avx512()) return avx512::table<T>();
  if (has_avx2()) return avx2::table<T>();
#endif
  return portable::table<T>();
}

}  // namespace

template <class T>
const Loops<T>& loops() {
  static const Loops<T> chosen = choose<T>();
  return chosen;
}

template const Loops<float>& loops<float>();
template const Loops<double>& loops<double>();

const char* instruction_set() {
#ifdef WFST_MULTIVERSION
  if (has_avx512()) return "avx512";
  if (has_avx2()) return "avx2";
#endif
  return "portable";
}

}  // namespace wfst_entropy
