#include "loops.h"

#include <atomic>
#include <cstring>
#include <type_traits>

// Wider instruction sets than the build's are compiled beside it and chosen at run time, so one wheel serves every
// machine of its architecture. Other compilers than GCC get the portable loops only.
#if defined(__GNUC__) && !defined(__clang__)
#define WFST_PORTABLE_BYTES 16
#if defined(__x86_64__)
#define WFST_MULTIVERSION 1
#endif
#else
#define WFST_PORTABLE_BYTES 0
#endif

namespace wfst_entropy {
namespace {

namespace portable {
#define WFST_TARGET
#define WFST_VECTOR_BYTES WFST_PORTABLE_BYTES
#include "loops.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES
}  // namespace portable

#ifdef WFST_MULTIVERSION
namespace avx2 {
#define WFST_TARGET __attribute__((target("avx2,fma")))
#define WFST_VECTOR_BYTES 32
#include "loops.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES
}  // namespace avx2

namespace avx512 {
#define WFST_TARGET \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#define WFST_VECTOR_BYTES 64
#include "loops.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES
}  // namespace avx512

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

enum InstructionSet { kPortable, kAvx2, kAvx512, kNumSets };
constexpr const char* kNames[kNumSets] = {"portable", "avx2", "avx512"};

bool supported(int set) {
#ifdef WFST_MULTIVERSION
  if (set == kAvx512) return has_avx512();
  if (set == kAvx2) return has_avx2();
#endif
  return set == kPortable;
}

int widest() {
  int set = kNumSets - 1;
  while (!supported(set)) --set;
  return set;
}

std::atomic<int>& current() {
  static std::atomic<int> set{widest()};
  return set;
}

}  // namespace

template <class T>
const Loops<T>& loops() {
#ifdef WFST_MULTIVERSION
  static const Loops<T> tables[kNumSets] = {portable::table<T>(), avx2::table<T>(),
                                          avx512::table<T>()};
#else
  static const Loops<T> tables[1] = {portable::table<T>()};
#endif
  return tables[current().load(std::memory_order_relaxed)];
}

template <class Row>
const SoftmaxLoops<Row>& softmax_loops() {
#ifdef WFST_MULTIVERSION
  static const SoftmaxLoops<Row> tables[kNumSets] = {portable::softmax_table<Row>(), avx2::softmax_table<Row>(),
                                          avx512::softmax_table<Row>()};
#else
  static const SoftmaxLoops<Row> tables[1] = {portable::softmax_table<Row>()};
#endif
  return tables[current().load(std::memory_order_relaxed)];
}

template <class Row>
const CtcRowLoops<Row>& ctc_row_loops() {
#ifdef WFST_MULTIVERSION
  static const CtcRowLoops<Row> tables[kNumSets] = {portable::ctc_row_table<Row>(), avx2::ctc_row_table<Row>(),
                                                    avx512::ctc_row_table<Row>()};
#else
  static const CtcRowLoops<Row> tables[1] = {portable::ctc_row_table<Row>()};
#endif
  return tables[current().load(std::memory_order_relaxed)];
}

template const Loops<float>& loops<float>();
template const Loops<double>& loops<double>();
template const SoftmaxLoops<float>& softmax_loops<float>();
template const SoftmaxLoops<double>& softmax_loops<double>();
template const SoftmaxLoops<Float16>& softmax_loops<Float16>();
template const SoftmaxLoops<BFloat16>& softmax_loops<BFloat16>();
template const CtcRowLoops<float>& ctc_row_loops<float>();
template const CtcRowLoops<double>& ctc_row_loops<double>();
template const CtcRowLoops<Float16>& ctc_row_loops<Float16>();
template const CtcRowLoops<BFloat16>& ctc_row_loops<BFloat16>();

const char* instruction_set() { return kNames[current()]; }

bool use_instruction_set(const char* name) {
  for (int set = 0; set < kNumSets; ++set) {
    if (std::strcmp(name, kNames[set]) != 0 || !supported(set)) continue;
    current() = set;
    return true;
  }
  return false;
}

}  // namespace wfst_entropy
