// The loops over states, compiled once per instruction set and chosen when the module loads.
#pragma once

#include <cstdint>

#include "cell.h"
#include "ctc_kl_loops.h"
#include "dense_loops.h"
#include "rnnt_loops.h"
#include "softmax_loops.h"

namespace wfst_entropy {

// The cells of one CTC frame as a structure of arrays, each of length `width`: blank state i = 0..U stands before label
// state i = 0..U - 1. Each width is at least U + 2, so the last blank cell is always a zero cell; being stored just
// before the label arrays, it is also what a loop reads as label -1.
template <class T>
struct CtcFrame {
  T* blank_m;
  T* label_m;
  Int<T>* blank_e;
  Int<T>* label_e;
  T* blank_r;  // blank_r and label_r are not touched by loops without entropy
  T* label_r;

  // A frame over `memory` of frame_size(width) values; exponents share the buffer with the masses.
  static CtcFrame at(T* memory, int64_t width) {
    static_assert(sizeof(Int<T>) == sizeof(T), "masses and exponents share one buffer");
    return {memory,
            memory + width,
            reinterpret_cast<Int<T>*>(memory + 2 * width),
            reinterpret_cast<Int<T>*>(memory + 3 * width),
            memory + 4 * width,
            memory + 5 * width};
  }
  static int64_t width(int64_t num_labels) { return padded(num_labels + 2); }
  static int64_t frame_size(int64_t width, bool entropy) { return (entropy ? 6 : 4) * width; }
};

// Arrays of weights exp(x) = m * 2^e, ln = ln m.
template <class T>
struct Weights {
  T* m;
  Int<T>* e;
  T* ln;
};

// What is taken off the exponents (base) and moments (offset) of a frame when the next one is computed,
// so that both stay of the size of the differences between states.
template <class T>
struct Reference {
  Int<T> base;
  T offset;
};

// Sums over the states of one frame of the products p = forward mass * backward mass, and q = p * surprisal.
template <class T>
struct FrameSums {
  T blank_p, label_p, blank_q, label_q;
};

template <class T>
struct CtcLoops {
  // One frame forward. labels: the weights of the label states; skip[i]: all bits set if label i may follow label i - 1
  // directly, else 0.
  void (*forward)(int64_t width, CtcFrame<T> from, Weight<T> blank, Weights<T> labels, const Int<T>* skip,
                  Reference<T> reference, CtcFrame<T> to);
  // One frame backward; cells exclude their own frame's emission. `emitted` is scratch of width + kLanes, zero cells
  // beyond width; skip is as long.
  void (*backward)(int64_t width, CtcFrame<T> from, Weight<T> blank, Weights<T> labels, const Int<T>* skip,
                   Reference<T> reference, CtcFrame<T> emitted, CtcFrame<T> to);
  // The heaviest state's exponent, and its R / M.
  Reference<T> (*reference)(int64_t width, CtcFrame<T> frame);
  // p and q of the label states into label_p and label_q; scratch has 2 * width values.
  FrameSums<T> (*products)(int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, Int<T>* scratch, T* label_p,
                           T* label_q);
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
  CtcLoops<T> ctc;          // masses only
  CtcLoops<T> ctc_entropy;  // masses and moments
  CtcPairLoops<T> ctc_pair;         // two models' masses; its forward loop has moments
  CtcPairLoops<T> ctc_pair_moment;  // and their moments
  DenseLoops<T> dense;
  DenseLoops<T> dense_entropy;
  BandLoops<T> band;
  BandLoops<T> band_entropy;
};

template <class T>
const Loops<T>& loops();

// Which loops to use: "avx512", "avx2" or "portable". At first the widest that this machine has; false if it has not.
const char* instruction_set();
bool use_instruction_set(const char* name);

}  // namespace wfst_entropy
