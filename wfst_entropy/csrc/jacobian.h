// How the scores of new arcs change with those of old ones: a sparse matrix, row by row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace wfst_entropy {

struct Coefficient {
  int64_t arc;  // number of the old arc
  double value;
};
using SparseRow = std::vector<Coefficient>;

// row += factor * other; sort_and_add() must follow before the row is used.
inline void append(SparseRow& row, double factor, const SparseRow& other) {
  for (const Coefficient& c : other) row.push_back({c.arc, factor * c.value});
}

// Makes the arcs of a row ascending and unique, and drops those whose coefficients cancel.
inline void sort_and_add(SparseRow& row) {
  constexpr double kNothing = 1e-12;
  std::sort(row.begin(), row.end(), [](const Coefficient& a, const Coefficient& b) { return a.arc < b.arc; });
  size_t kept = 0;
  for (size_t i = 0, end; i < row.size(); i = end) {
    Coefficient sum = row[i];
    for (end = i + 1; end < row.size() && row[end].arc == sum.arc; ++end) sum.value += row[end].value;
    if (std::abs(sum.value) > kNothing) row[kept++] = sum;
  }
  row.resize(kept);
}

// Empty, and free of cost, unless it is wanted.
class Jacobian {
 public:
  explicit Jacobian(bool wanted) : wanted_(wanted) {}

  void add_row(const SparseRow& row) {
    if (!wanted_) return;
    for (const Coefficient& c : row) push(c.arc, c.value);
    splits.push_back(static_cast<int64_t>(columns.size()));
  }

  void append_to_row(int64_t arc, double value) {
    if (!wanted_) return;
    push(arc, value);
    splits.back() = static_cast<int64_t>(columns.size());
  }

  std::vector<int64_t> splits{0}, columns;
  std::vector<double> values;

 private:
  void push(int64_t arc, double value) {
    columns.push_back(arc);
    values.push_back(value);
  }

  bool wanted_;
};

}  // namespace wfst_entropy
