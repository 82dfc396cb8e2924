// Softmax of one row of scores, and rows in half precision, compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

namespace wfst_entropy {

// IEEE half precision and bfloat16, as stored. Both are computed in float.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class Row>
struct RowTraits {
  using Computed = Row;
};
template <>
struct RowTraits<Float16> {
  using Computed = float;
};
template <>
struct RowTraits<BFloat16> {
  using Computed = float;
};

// What a row of scores of this type is computed in.
template <class Row>
using Computed = typename RowTraits<Row>::Computed;

// sum = sum_i exp(row[i] - max), max the largest element: log sum_i exp(row[i]) = max + log(sum).
//   a NaN or +inf in the row   sum is NaN
//   all elements -inf          max = -inf, sum = 0
//   else                       1 <= sum <= n
// rest = sum - 1 before rounding: of a nearly certain softmax, -log p = log1p(rest) of the best symbol keeps its digits.
template <class T>
struct Normaliser {
  T max;
  double sum, rest;
};

// Rows have unit stride, any length n >= 0 and any alignment; results depend on the elements alone.
template <class Row>
struct SoftmaxLoops {
  Normaliser<Computed<Row>> (*normaliser)(int64_t n, const Row* row);
  // out[i] = scale * exp(row[i] - max): the softmax times s with scale = s / sum. Exactly 0 for an element of -inf.
  // In place (out == row) where the types agree.
  void (*softmax)(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Computed<Row>* out);
  // The same, rounded to the type of the row, in place or not.
  void (*softmax_as_row)(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Row* out);
  // Conversions, rounding to nearest even.
  void (*read)(int64_t n, const Row* row, Computed<Row>* out);
  void (*write)(int64_t n, const Computed<Row>* values, Row* row);
};

// The loops of the instruction set in use; Row is float, double, Float16 or BFloat16.
template <class Row>
const SoftmaxLoops<Row>& softmax_loops();

}  // namespace wfst_entropy
