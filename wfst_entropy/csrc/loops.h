// The vectorised loops over states, compiled once per instruction set and chosen when the module loads.
#pragma once

#include <cstdint>

#include "cell.h"

namespace wfst_entropy {

// Every array that a loop runs over has a length that is a multiple of this; the padding is zero cells.
constexpr int64_t kLanes = 16;

inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// The cells of one CTC frame as a structure of arrays, each of length `padded(U + 1)`:
// blank state j stands before label j + 1 (j = 0..U); label state j = 1..U emits label j; label 0 is a zero cell.
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
struct Loops {
  // x[i] = row[symbols[i]] for i < n, padding up to padded(n) masked; false if a NaN, +inf or value above 2^26 was read.
  bool (*gather)(const T* row, const int32_t* symbols, int64_t n, T* x);
  // weights[i] = exp(x[i] - shift), shift = max x, for i < padded(n); values below -2^26 give no mass. Returns shift.
  T (*split)(const T* x, int64_t n, Weights<T> weights);
  // `emit[0]` is the blank, `emit[j]` label j; skip[j] tells whether label j may follow label j - 1 directly.
  void (*ctc_forward)(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip, Reference<T> reference, CtcFrame<T> to);
  void (*ctc_forward_entropy)(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip, Reference<T> reference, CtcFrame<T> to);
  // Backward cells exclude their own frame's emission. `emitted` is scratch: the cells of `from` times their emission,
  // one lane group longer than the frame; skip likewise.
  void (*ctc_backward)(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip, Reference<T> reference, CtcFrame<T> emitted, CtcFrame<T> to);
  void (*ctc_backward_entropy)(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip, Reference<T> reference, CtcFrame<T> emitted, CtcFrame<T> to);
  // The heaviest state's exponent, and its R / M.
  Reference<T> (*ctc_reference)(int64_t width, CtcFrame<T> frame);
  Reference<T> (*ctc_reference_entropy)(int64_t width, CtcFrame<T> frame);
  // p and q of the label states into label_p and label_q; scratch has 2 * width values.
  FrameSums<T> (*ctc_products)(int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, Int<T>* scratch, T* label_p, T* label_q);
  FrameSums<T> (*ctc_products_entropy)(int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, Int<T>* scratch, T* label_p, T* label_q);
};

template <class T>
const Loops<T>& loops();

// "avx512", "avx2" or "portable".
const char* instruction_set();

}  // namespace wfst_entropy
