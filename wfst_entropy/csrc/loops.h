// The loops over states, compiled once per instruction set and chosen when the module loads.
#pragma once

#include <cstdint>

#include "cell.h"
#include "ctc_kl_loops.h"
#include "ctc_loops.h"
#include "dense_kl_loops.h"
#include "dense_loops.h"
#include "rnnt_kl_loops.h"
#include "rnnt_loops.h"
#include "softmax_loops.h"

namespace wfst_entropy {

// Arrays of weights exp(x) = m * 2^e, ln = ln m.
template <class T>
struct Weights {
  T* m;
  Int<T>* e;
  T* ln;
};

// The best of the scores that are used (0 if none is), and whether others lie so far below it that their differences
// need double precision.
template <class T>
struct Range {
  T top;
  bool far;
};

template <class T>
struct Loops {
  // x[i] = row[symbols[i]] for i < n; false if a NaN, +inf or value above 2^26 was read.
  bool (*gather)(const T* row, const int32_t* symbols, int64_t n, T* x);
  // Of x[i] for i < n, a multiple of kLanes.
  Range<T> (*range)(int64_t n, const T* x);
  // weights[i] = exp(x[i] - shift), shift = max x, for i < n, a multiple of kLanes; values below -2^26 give no mass.
  // Returns shift.
  T (*split)(int64_t n, const T* x, Weights<T> weights);
  // The same for any shift between the best and the worst score that is used; far: see Range.
  void (*split_at)(int64_t n, const T* x, T shift, bool far, Weights<T> weights);
  // The same with a shift for each score.
  void (*split_each)(int64_t n, const T* x, const T* shifts, bool far, Weights<T> weights);
  CtcLoops<T> ctc;          // masses only
  CtcLoops<T> ctc_entropy;  // masses and moments
  CtcPairLoops<T> ctc_pair;         // two models' masses; its forward loop has moments
  CtcPairLoops<T> ctc_pair_moment;  // and their moments
  DenseLoops<T> dense;
  DenseLoops<T> dense_entropy;
  DensePairLoops<T> dense_pair;         // as ctc_pair
  DensePairLoops<T> dense_pair_moment;
  BandLoops<T> band;
  BandLoops<T> band_entropy;
  BandPairLoops<T> band_pair;         // two models' masses; its forward loop has moments
  BandPairLoops<T> band_pair_moment;  // and their moments
};

template <class T>
const Loops<T>& loops();

// Which loops to use: "avx512", "avx2" or "portable". At first the widest that this machine has; false if it has not.
const char* instruction_set();
bool use_instruction_set(const char* name);

}  // namespace wfst_entropy
