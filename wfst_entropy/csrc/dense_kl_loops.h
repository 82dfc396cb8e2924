// The loops of the divergence of two models' alignments of any graph, compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

#include "dense_loops.h"

namespace wfst_entropy {

// The cells (pair_cell.inl) of one frame as a structure of arrays, `width` of each.
template <class T>
struct PairFrame {
  T* p;
  Int<T>* pe;
  T* q;
  Int<T>* qe;
  T* r;

  // Over mass_size(width) and `width` values; no moments, nullptr, for loops without.
  static PairFrame at(T* masses, T* moments, int64_t width) {
    return {masses, reinterpret_cast<Int<T>*>(masses + width), masses + 2 * width,
            reinterpret_cast<Int<T>*>(masses + 3 * width), moments};
  }
  static int64_t mass_size(int64_t width) { return 4 * width; }
};

// The emissions of both models in one frame, and what is taken off the divergence. Scores that p has and q has not must
// have been taken out of p.
template <class T>
struct PairEmissions {
  RowEmissions<T> p, q;
  T offset;
};

// The highest exponents of both models.
template <class T>
struct PairTop {
  Int<T> p, q;
};

template <class T>
struct PairProductSums {
  T p, q, r;
};

// As those of DenseLoops. The weight of an arc is the same in both models.
template <class T>
struct DensePairLoops {
  void (*forward)(const RowTable<T>& table, PairFrame<T> from, const PairEmissions<T>& emissions, PairFrame<T> to);
  void (*backward)(const RowTable<T>& table, PairFrame<T> emitted, PairFrame<T> to);
  PairTop<T> (*reference)(int64_t width, PairFrame<T> frame, T* offset);
  PairTop<T> (*row_products)(int64_t n, const int32_t* at, PairFrame<T> forward, PairFrame<T> backward,
                             PairFrame<T> reached, PairFrame<T> products);
  void (*emit)(int64_t n, PairFrame<T> reached, const PairEmissions<T>& emissions, PairFrame<T> emitted);
  PairTop<T> (*arc_products)(const RowTable<T>& table, const int32_t* at, PairFrame<T> forward, PairFrame<T> emitted,
                             PairFrame<T> products);
  PairProductSums<T> (*scale)(int64_t n, PairTop<T> top, PairFrame<T> products);
  // out = by.p * p + by.q * q + by.r * r of scaled products.
  void (*combine)(int64_t n, PairProductSums<T> by, PairFrame<T> products, T* out);
};

}  // namespace wfst_entropy
