// One utterance on the CTC trellis: what it reads of the scores, and the sweeps over its frames.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "loops.h"
#include "path_count.h"
#include "scratch.h"

namespace wfst_entropy {

struct CtcTotal {
  double nll = INFINITY;
  double entropy = 0;
  PathCount count = kNoPath;
};

// The sweeps meet in the middle: the forward one saves its cells of the first half of the frames, the backward one
// those of the second, and each then goes on through the other half, where it meets the other's cells. So they may run
// on two threads, and no more than one cell per state and frame is kept.
template <class T>
class CtcTrellis {
 public:
  // labels: num_labels symbols. Without gradient there is a forward sweep only, and no cells are kept.
  CtcTrellis(Arena& arena, int64_t num_frames, const int64_t* labels, int64_t num_labels, int64_t blank, bool entropy,
             bool gradient);

  int64_t num_frames() const { return num_frames_; }
  int64_t num_labels() const { return num_labels_; }
  // The labels, then blank.
  const int64_t* symbols() const { return symbols_; }

  // Reads frame t; false if a score may not be used. The scores of the frame are row[symbol] - origin, and their
  // weights are divided by exp(log_normaliser).
  template <class Row>
  bool read(int64_t t, const Row* row, const Row* ahead, T origin, double log_normaliser);
  // After all frames were read.
  void weigh_blanks();
  // Frames before and from the middle on; each second part needs both first ones. `posteriors` has `stride` values per
  // frame; p, and q with entropy, of labels and blank are written there.
  void forward(bool second, T* posteriors, int64_t stride);
  void backward(bool second, T* posteriors, int64_t stride);
  // After the forward sweep.
  CtcTotal total() const;

 private:
  using Frame = CtcFrame<T>;
  static constexpr int64_t kReferenceInterval = 8;

  Frame frame(T* memory) const { return Frame::at(memory, width_); }
  Frame cell(int64_t t) const { return frame(cells_ + t * frame_size_); }
  CtcEmission<T> emission(int64_t t) const {
    return {x_ + t * width_, shift_[t], far_[t] != 0, {blank_m_[t], blank_e_[t], blank_ln_[t]}};
  }
  void clear(const Frame& f) const;
  void set_one(T* m, Int<T>* e, T* r, int64_t i) const;
  void write_posteriors(int64_t t, const Frame& forward, const Frame& backward, T* scratch, T* posteriors,
                        int64_t stride) const;
  PathCount count_paths() const;

  const CtcLoops<T>& run_;
  const int64_t num_frames_, num_labels_, width_, frame_size_;
  const bool entropy_, gradient_;
  const int64_t middle_;  // the forward sweep saves the cells of frames before it
  int64_t* symbols_;      // (width,) padded with blank
  Int<T>* skip_;          // (width + 1,)
  // of each frame
  T* x_;  // (T, width)
  T *shift_, *blank_x_, *blank_m_, *blank_ln_;
  Int<T>* blank_e_;
  uint8_t* far_;
  double* log_normaliser_;
  T* cells_;
  // of each direction: two frames that take turns, and scratch of posteriors
  T *forward_turns_, *backward_turns_, *forward_scratch_, *backward_scratch_;
  Frame last_, now_;  // where the sweeps stand
  double log_scale_ = 0, offset_ = 0;
  int64_t exponent_ = 0;
};

}  // namespace wfst_entropy
