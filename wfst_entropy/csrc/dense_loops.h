// The loops of any graph against dense frame scores, compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

#include "cell.h"

namespace wfst_entropy {

// The cells of one frame as a structure of arrays, `width` of each; r is not touched by loops without entropy.
template <class T>
struct CellFrame {
  T* m;
  Int<T>* e;
  T* r;

  static CellFrame at(T* memory, int64_t width) {
    static_assert(sizeof(Int<T>) == sizeof(T), "masses and exponents share one buffer");
    return {memory, reinterpret_cast<Int<T>*>(memory + width), memory + 2 * width};
  }
  static int64_t size(int64_t width, bool entropy) { return (entropy ? 3 : 2) * width; }
  Cell<T> get(int64_t i, bool entropy) const { return {m[i], e[i], entropy ? r[i] : T(0)}; }
  void set(int64_t i, const Cell<T>& cell, bool entropy) const {
    m[i] = cell.m;
    e[i] = cell.e;
    if (entropy) r[i] = cell.r;
  }
};

// A row merges a few cells into one; kLanes rows that stand side by side make a chunk. Chunk c has the slots
// begins[c] ... begins[c + 1]; slot k holds the k-th read of each of its rows, so reads are stored as [slot][lane] and
// row i of a frame is lane i % kLanes of chunk i / kLanes. Rows of the first num_weighted chunks read another frame,
// and each read has a weight; those of the others read what earlier chunks have written, and have none.
template <class T>
struct RowTable {
  int64_t num_chunks;
  int64_t num_weighted;
  const int64_t* begins;  // (num_chunks + 1,)
  const int32_t* index;   // positions in the frame read
  const T* m;             // weights, for the weighted chunks
  const Int<T>* e;
  const T* ln;
};

// At most so many reads per row; a state with more has several rows, merged by a further one.
constexpr int64_t kRowLimit = 32;

// The emissions of the weighted rows of one frame, and the reference that is taken off with them.
template <class T>
struct RowEmissions {
  const T* x;              // scores by symbol; those below -2^26 give no mass
  const int32_t* symbols;  // of each row
  T shift;
  bool far;  // whether scores lie so far apart that differences need double precision
  Int<T> base;
  T offset;
};

template <class T>
struct ProductSums {
  T mass, moment;
};

template <class T>
struct DenseLoops {
  // One frame forward: `to` from `from`.
  void (*forward)(const RowTable<T>& table, CellFrame<T> from, const RowEmissions<T>& emissions, CellFrame<T> to);
  // One frame backward: `to` from `emitted`.
  void (*backward)(const RowTable<T>& table, CellFrame<T> emitted, CellFrame<T> to);
  // The exponent of a heaviest cell, and its R / M.
  void (*reference)(int64_t width, CellFrame<T> frame, Int<T>* base, T* offset);
  // For n rows of the forward table: the backward cell of the state that each leads to (at[i] in `backward`), into
  // `reached`, and its product with the row's own cell. Returns the products' highest exponent.
  Int<T> (*row_products)(int64_t n, const int32_t* at, CellFrame<T> forward, CellFrame<T> backward,
                         CellFrame<T> reached, CellFrame<T> products);
  // emitted = reached, times the emission, less the reference.
  void (*emit)(int64_t n, CellFrame<T> reached, const RowEmissions<T>& emissions, CellFrame<T> emitted);
  // For every slot and lane of the backward table's weighted chunks: the product of the forward cell of the row's state
  // (at[i] in `forward`), the weight and the emitted cell.
  Int<T> (*arc_products)(const RowTable<T>& table, const int32_t* at, CellFrame<T> forward, CellFrame<T> emitted,
                         CellFrame<T> products);
  // Brings products to the exponent `top` and adds them up.
  ProductSums<T> (*scale)(int64_t n, Int<T> top, CellFrame<T> products);
  // by_m * m + by_r * r of scaled products, into m.
  void (*combine)(int64_t n, T by_m, T by_r, CellFrame<T> products);
};

}  // namespace wfst_entropy
