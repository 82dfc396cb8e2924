// What the kernels of graphs against dense frame scores read of these scores.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "intersect_dense.h"
#include "loops.h"

namespace wfst_entropy {

// The scores that one sequence's frames have for the symbols of its graph, a frame at a time.
template <class T>
class Emissions {
 public:
  Emissions(const DenseVec<T>& dense, int64_t s, const DenseGraph<T>& graph)
      : scores_(dense.scores + dense.utterances[s] * dense.utterance_stride +
                dense.start_frames[s] * dense.frame_stride),
        frame_stride_(dense.frame_stride),
        graph_(graph),
        x_(padded(count() + 1), T(-2 * kScoreLimit)) {}

  const T* row(int64_t t) const { return scores_ + t * frame_stride_; }
  // Reads frame t; false if a score may not be used.
  bool read(int64_t t) {
    const bool good = loops<T>().gather(row(t), graph_.symbols.data(), count(), x_.data());
    range_ = loops<T>().range(static_cast<int64_t>(x_.size()), x_.data());
    return good;
  }
  // The first symbol of frame t whose score may not be used; there must be one.
  int32_t bad_symbol(int64_t t) const {
    const T* scores = row(t);
    return *std::find_if(graph_.symbols.begin(), graph_.symbols.end(),
                         [scores](int32_t symbol) { return !(scores[symbol] <= T(kScoreLimit)); });
  }
  // Takes out what has no mass in another model of the frame that was read; whether there was any.
  bool take_out_missing(const Emissions& other) {
    bool any = false;
    for (int64_t i = 0; i < count(); ++i) {
      const bool lost = other.x_[i] < T(-kScoreLimit) && x_[i] >= T(-kScoreLimit);
      x_[i] = lost ? T(-2 * kScoreLimit) : x_[i];
      any |= lost;
    }
    return any;
  }
  T shift() const { return range_.top; }
  RowEmissions<T> rows(Int<T> base, T offset) const {
    return {x_.data(), graph_.symbol_of_row.data(), range_.top, range_.far, base, offset};
  }

 private:
  int64_t count() const { return static_cast<int64_t>(graph_.symbols.size()); }

  const T* scores_;
  const int64_t frame_stride_;
  const DenseGraph<T>& graph_;
  std::vector<T> x_;
  Range<T> range_{};
};

template <class T>
const DenseGraph<T>& graph_of(const std::vector<DenseGraph<T>>& graphs, int64_t s) {
  return graphs[graphs.size() == 1 ? 0 : s];
}

// The sequences of each utterance; frames of one utterance may overlap, so that one thread handles all of them.
template <class T>
std::vector<std::vector<int64_t>> by_utterance(const DenseVec<T>& dense) {
  std::vector<std::vector<int64_t>> result(dense.num_utterances);
  for (int64_t s = 0; s < dense.num_sequences; ++s) result[dense.utterances[s]].push_back(s);
  return result;
}

}  // namespace wfst_entropy
