// The loops of the divergence of two models' CTC alignments, compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

#include "cell.h"

namespace wfst_entropy {

// The cells (pair_cell.inl) of one frame, laid out as CtcFrame: each array has length `width`, blank state i stands
// before label state i, and what stands before a label array is a zero cell.
template <class T>
struct CtcPairFrame {
  T* blank_p;
  T* label_p;
  Int<T>* blank_pe;
  Int<T>* label_pe;
  T* blank_q;
  T* label_q;
  Int<T>* blank_qe;
  Int<T>* label_qe;
  T* blank_r;
  T* label_r;

  // Over mass_size(width) and moment_size(width) values; no moments, nullptr, for loops without.
  static CtcPairFrame at(T* masses, T* moments, int64_t width) {
    const auto ints = [masses, width](int64_t k) { return reinterpret_cast<Int<T>*>(masses + k * width); };
    return {masses,  masses + width,     ints(2), ints(3), masses + 4 * width, masses + 5 * width,
            ints(6), ints(7), moments, moments == nullptr ? nullptr : moments + width};
  }
  static int64_t mass_size(int64_t width) { return 8 * width; }
  static int64_t moment_size(int64_t width) { return 2 * width; }
};

// The weights of the emissions of one frame: of the blank, and arrays for the labels.
template <class T>
struct CtcPairEmissions {
  Weight<T> blank_p, blank_q;
  const T* p;
  const Int<T>* pe;
  const T* p_ln;
  const T* q;
  const Int<T>* qe;
  const T* q_ln;
};

// What is taken off the exponents of both models and off the divergence when the next frame is computed.
template <class T>
struct PairReference {
  Int<T> p, q;
  T offset;
};

// Sums over the states of one frame of the products of forward and backward cells.
template <class T>
struct CtcPairSums {
  T blank_p, blank_q, blank_r, label_p, label_q, label_r;
};

template <class T>
struct CtcPairLoops {
  // As those of CtcLoops.
  void (*forward)(int64_t width, CtcPairFrame<T> from, const CtcPairEmissions<T>& emissions, const Int<T>* skip,
                  PairReference<T> reference, CtcPairFrame<T> to);
  void (*backward)(int64_t width, CtcPairFrame<T> from, const CtcPairEmissions<T>& emissions, const Int<T>* skip,
                   PairReference<T> reference, CtcPairFrame<T> emitted, CtcPairFrame<T> to);
  PairReference<T> (*reference)(int64_t width, CtcPairFrame<T> frame);
  // The products of the label states, into arrays of `width`; scratch has 4 * width values.
  CtcPairSums<T> (*products)(int64_t width, CtcPairFrame<T> forward, CtcPairFrame<T> backward, Int<T>* scratch,
                             T* label_p, T* label_q, T* label_r);
};

}  // namespace wfst_entropy
