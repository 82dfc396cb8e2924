// The lattice of a transducer as a band: states 0..U, and paths that take one arc per step from state 0 to state U.
// A step is an anti-diagonal t + u of the regular lattice, a frame of the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "loops.h"

namespace wfst_entropy {

// The numbers are the ones that Python uses.
enum RnntType : int { kRegular = 0, kModified = 1, kConstrained = 2 };

// Log-weights at the nodes (t, u) of every utterance, in any memory order.
template <class T>
struct Plane {
  const T* scores;
  int64_t utterance_stride, frame_stride, label_stride;

  Plane utterance(int64_t n) const { return {scores + n * utterance_stride, 0, frame_stride, label_stride}; }
  T at(int64_t t, int64_t u) const { return scores[t * frame_stride + u * label_stride]; }
};

// The first of t < num_frames, u < num_labels whose score is NaN or above 2^26, into place[0..1]; false if none is.
template <class T>
bool find_bad(const Plane<T>& plane, int64_t num_frames, int64_t num_labels, int64_t* place) {
  for (int64_t t = 0; t < num_frames; ++t) {
    int refused = 0;
    for (int64_t u = 0; u < num_labels; ++u) refused |= !(plane.at(t, u) <= T(kScoreLimit));
    if (!refused) continue;
    int64_t u = 0;
    while (plane.at(t, u) <= T(kScoreLimit)) ++u;
    place[0] = t;
    place[1] = u;
    return true;
  }
  return false;
}

// Where the gradients of the scores go.
template <class T>
struct GridGradient {
  T* blank;  // contiguous (N, num_frames, blank_width)
  T* label;  // contiguous (N, num_frames, label_width)
  int64_t num_frames, blank_width, label_width;

  GridGradient utterance(int64_t n) const {
    return {blank + n * num_frames * blank_width, label + n * num_frames * label_width, num_frames, blank_width,
            label_width};
  }
  void clear() const {
    std::fill(blank, blank + num_frames * blank_width, T(0));
    std::fill(label, label + num_frames * label_width, T(0));
  }
};

class Band {
 public:
  Band(RnntType type, int64_t num_frames, int64_t num_labels)
      : type_(type), num_frames_(num_frames), num_labels_(num_labels) {}

  RnntType type() const { return type_; }
  int64_t num_frames() const { return num_frames_; }
  int64_t num_labels() const { return num_labels_; }
  int64_t width() const { return padded(num_labels_ + 2); }
  // Without frames only the empty path exists; one symbol a frame leaves no room for more labels than frames.
  bool has_paths() const {
    if (num_frames_ == 0) return num_labels_ == 0;
    return type_ == kRegular || num_labels_ <= num_frames_;
  }
  int64_t num_steps() const { return type_ == kRegular && num_frames_ > 0 ? num_frames_ + num_labels_ : num_frames_; }
  int64_t frame(int64_t k, int64_t u) const { return type_ == kRegular ? k - u : k; }
  // The states before step k that lie on a path: first(k)..last(k).
  int64_t first(int64_t k) const {
    if (k == num_steps()) return num_labels_;
    const int64_t behind = type_ == kRegular ? k + 1 : k + num_labels_;
    return std::max<int64_t>(0, behind - num_frames_);
  }
  int64_t last(int64_t k) const { return std::min(k, num_labels_); }
  int64_t num_states(int64_t k) const { return last(k) - first(k) + 1; }
  // The states before all steps.
  int64_t num_nodes() const {
    int64_t nodes = 0;
    for (int64_t k = 0; has_paths() && k < num_steps(); ++k) nodes += num_states(k);
    return nodes;
  }

 private:
  RnntType type_;
  int64_t num_frames_, num_labels_;
};

// The scores of one step's arcs, and the weights made of them.
template <class T>
class BandStep {
 public:
  BandStep(const Band& band, Plane<T> blank, Plane<T> label)
      : band_(band), blank_(blank), label_(label), width_(band.width()), x_(2 * width_ + 3 * kLanes), m_(x_.size()),
        ln_(x_.size()), e_(x_.size()) {}

  // Reads step k. Arcs that lead off every path, and those of no mass, become -inf.
  void read(int64_t k) {
    std::fill(x_.begin(), x_.end(), kNever);
    const bool regular = band_.type() == kRegular;
    const int64_t first = band_.first(k), last = band_.last(k);
    const int64_t next_first = band_.first(k + 1), next_last = band_.last(k + 1);
    const T* blank = blank_.scores + k * blank_.frame_stride;
    const T* label = label_.scores + k * label_.frame_stride;
    const int64_t blank_step = blank_.label_stride - (regular ? blank_.frame_stride : 0);
    const int64_t label_step = label_.label_stride - (regular ? label_.frame_stride : 0);
    T* stay = x_.data() + kLanes;
    T* move = stay + width_ + kLanes;
    for (int64_t u = std::max(first, next_first); u <= last; ++u) stay[u] = used(blank[u * blank_step]);
    const int64_t end = std::min(last + 1, next_last);
    for (int64_t u = first; u < end; ++u) move[u] = used(label[u * label_step]);
    if (band_.type() == kConstrained)
      for (int64_t u = first; u < end; ++u) move[u] = used(move[u] + used(blank[(u + 1) * blank_step]));
  }
  // Makes the arcs -inf that the same step of another model has not; returns whether there were any.
  bool keep_common(const BandStep& other) {
    bool any = false;
    for (size_t i = 0; i < x_.size(); ++i) {
      const bool lost = other.x_[i] == kNever && x_[i] != kNever;
      x_[i] = lost ? kNever : x_[i];
      any |= lost;
    }
    return any;
  }
  // Turns the scores into weights relative to the best arc of state u, or of the whole step (u < 0, or no arc of u is
  // used). Returns the log-weight that they are relative to. For the state that carries most of the mass, what is not
  // on the best path is added to a mass that began as exactly one.
  T split(int64_t u) {
    T shift = u < 0 ? kNever : std::max(stay_scores()[u], move_scores()[u]);
    const Range<T> range = loops<T>().range(size(), x_.data());
    if (!(shift >= T(-kScoreLimit))) shift = range.top;
    loops<T>().split_at(size(), x_.data(), shift, range.far, at(0));
    return shift;
  }
  const T* stay_scores() const { return x_.data() + kLanes; }
  const T* move_scores() const { return stay_scores() + width_ + kLanes; }
  Weights<T> stay() { return at(kLanes); }
  Weights<T> move() { return at(2 * kLanes + width_); }

 private:
  static constexpr T kNever = -std::numeric_limits<T>::infinity();

  static T used(T score) { return score >= T(-kScoreLimit) ? score : kNever; }
  int64_t size() const { return static_cast<int64_t>(x_.size()); }
  Weights<T> at(int64_t i) { return {m_.data() + i, e_.data() + i, ln_.data() + i}; }

  const Band band_;
  const Plane<T> blank_, label_;
  const int64_t width_;
  std::vector<T> x_, m_, ln_;  // stay and move, with kLanes of -inf before, between and after
  std::vector<Int<T>> e_;
};

// The cells of one step's states, with zero cells around them.
template <class T>
class BandCells {
 public:
  explicit BandCells(int64_t width)
      : width_(width), memory_(CellFrame<T>::size(width + 2 * kLanes, true), T(0)), frame_(inside(memory_.data())) {
    clear(-kLanes, width + kLanes);
  }
  BandCells(const BandCells&) = delete;
  BandCells& operator=(const BandCells&) = delete;

  const CellFrame<T>& frame() const { return frame_; }
  void clear(int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) frame_.set(i, cell_zero<T>(), true);
  }
  // Copies states first..last to `saved`, or back (all others are then zero cells).
  void save(int64_t first, int64_t last, bool entropy, T* saved) const {
    const int64_t n = last - first + 1;
    const CellFrame<T> to = CellFrame<T>::at(saved, n);
    std::copy_n(frame_.m + first, n, to.m);
    std::copy_n(frame_.e + first, n, to.e);
    if (entropy) std::copy_n(frame_.r + first, n, to.r);
  }
  void load(int64_t first, int64_t last, bool entropy, const T* saved) {
    const int64_t n = last - first + 1;
    const CellFrame<T> from = CellFrame<T>::at(const_cast<T*>(saved), n);
    clear(0, width_);
    std::copy_n(from.m, n, frame_.m + first);
    std::copy_n(from.e, n, frame_.e + first);
    if (entropy) std::copy_n(from.r, n, frame_.r + first);
  }
  // What to take off when the next step is computed; u as returned by BandLoops::heaviest.
  Reference<T> reference(int64_t u, bool entropy) const {
    if (u < 0) return {0, T(0)};
    return {frame_.e[u], entropy ? frame_.r[u] / frame_.m[u] : T(0)};
  }

 private:
  CellFrame<T> inside(T* memory) const {
    const CellFrame<T> all = CellFrame<T>::at(memory, width_ + 2 * kLanes);
    return {all.m + kLanes, all.e + kLanes, all.r + kLanes};
  }

  const int64_t width_;
  std::vector<T> memory_;
  CellFrame<T> frame_;
};

// Adds the gradients stay(u) and move(u) of step k's arcs to those of the scores; extra(u) is what labels get besides.
template <class T, class Stay, class Move, class Extra>
void add_gradients(const Band& band, int64_t k, const GridGradient<T>& grad, const Stay& stay, const Move& move,
                   const Extra& extra) {
  const int64_t last = band.last(k), last_label = std::min(last, band.num_labels() - 1);
  for (int64_t u = band.first(k); u <= last; ++u) grad.blank[band.frame(k, u) * grad.blank_width + u] += stay(u);
  for (int64_t u = band.first(k); u <= last_label; ++u) {
    const int64_t t = band.frame(k, u);
    const T value = move(u);
    grad.label[t * grad.label_width + u] = value + extra(u);
    if (band.type() == kConstrained) grad.blank[t * grad.blank_width + u + 1] += value;
  }
}

}  // namespace wfst_entropy
