// The loops over the states of one CTC frame, compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

#include "cell.h"
#include "softmax_loops.h"

namespace wfst_entropy {

// The cells of one CTC frame as a structure of arrays, each of length `width`: blank state i = 0..U stands before label
// state i = 0..U - 1. Each width is at least U + 2, so the last blank cell is always a zero cell; being stored just
// before the label arrays, it is also what is read as label -1.
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

// What the states of one frame emit. Weights are relative to exp(shift).
template <class T>
struct CtcEmission {
  const T* x;  // (width,) scores of the labels; below -2^26, which is no mass, from label U on
  T shift;
  bool far;  // whether scores lie so far below `shift` that their differences need double precision
  Weight<T> blank;
};

// What is taken off the exponents (base) and moments (offset) of a frame when the next one is computed,
// so that both stay of the size of the differences between states.
template <class T>
struct Reference {
  Int<T> base;
  T offset;
};

template <class T>
struct CtcLoops {
  // One frame forward. skip[i]: all bits set if label i may follow label i - 1 directly, else 0.
  void (*forward)(int64_t width, CtcFrame<T> from, CtcEmission<T> emission, const Int<T>* skip, Reference<T> reference,
                  CtcFrame<T> to);
  // One frame backward, over the emission of the later frame; cells exclude their own frame's emission. skip has
  // width + 1 values.
  void (*backward)(int64_t width, CtcFrame<T> from, CtcEmission<T> emission, const Int<T>* skip,
                   Reference<T> reference, CtcFrame<T> to);
  // The heaviest state's exponent, and its R / M.
  Reference<T> (*reference)(int64_t width, CtcFrame<T> frame);
  // The posteriors gamma of the U label states and of all blank states together, into p[0..U]; they sum to one. With
  // entropy, gamma * (surprisal - mean surprisal) into q[0..U], which sum to zero. scratch has 4 * width values.
  void (*posteriors)(int64_t num_labels, int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, T* scratch, T* p,
                     T* q);
};

// What was read of one frame: the largest of the scores that carry mass (0 if none does), whether others lie far below
// it, and whether all scores may be used: none is NaN, +inf or above 2^26.
template <class T>
struct CtcReading {
  T top;
  T blank;
  bool far;
  bool good;
};

template <class Row>
struct CtcRowLoops {
  // x[i] = row[symbols[i]] - origin for the labels i < U and a masked score from there to `width`. `symbols`, of length
  // `width`, has the blank from U on. `ahead` is a row that is going to be read soon.
  CtcReading<Computed<Row>> (*gather)(const Row* row, const Row* ahead, Computed<Row> origin, const int64_t* symbols,
                                     int64_t num_labels, int64_t width, Computed<Row>* x);
};

template <class Row>
const CtcRowLoops<Row>& ctc_row_loops();

}  // namespace wfst_entropy
