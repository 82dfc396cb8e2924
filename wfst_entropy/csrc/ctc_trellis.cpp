#include "ctc_trellis.h"

#include <cstring>
#include <vector>

namespace wfst_entropy {

template <class T>
CtcTrellis<T>::CtcTrellis(Arena& arena, int64_t num_frames, const int64_t* labels, int64_t num_labels, int64_t blank,
                          bool entropy, bool gradient)
    : run_(entropy ? loops<T>().ctc_entropy : loops<T>().ctc),
      num_frames_(num_frames),
      num_labels_(num_labels),
      width_(Frame::width(num_labels)),
      frame_size_(Frame::frame_size(width_, entropy)),
      entropy_(entropy),
      gradient_(gradient),
      middle_(gradient ? num_frames / 2 : num_frames) {
  const int64_t long_frames = padded(num_frames);
  symbols_ = arena.take<int64_t>(width_);
  skip_ = arena.take<Int<T>>(width_ + kLanes);
  x_ = arena.take<T>(num_frames * width_);
  shift_ = arena.take<T>(long_frames);
  blank_x_ = arena.take<T>(long_frames);
  blank_m_ = arena.take<T>(long_frames);
  blank_ln_ = arena.take<T>(long_frames);
  blank_e_ = arena.take<Int<T>>(long_frames);
  far_ = arena.take<uint8_t>(num_frames);
  log_normaliser_ = arena.take<double>(num_frames);
  cells_ = arena.take<T>(gradient ? num_frames * frame_size_ : 0);
  forward_turns_ = arena.take<T>(2 * frame_size_);
  backward_turns_ = arena.take<T>(gradient ? 2 * frame_size_ : 0);
  forward_scratch_ = arena.take<T>(gradient ? 4 * width_ : 0);
  backward_scratch_ = arena.take<T>(gradient ? 4 * width_ : 0);
  if (symbols_ == nullptr) return;  // only the memory was counted
  for (int64_t i = 0; i < width_; ++i) symbols_[i] = i < num_labels ? labels[i] : blank;
  for (int64_t i = 0; i < width_ + kLanes; ++i)
    skip_[i] = Int<T>(i >= 1 && i < num_labels && labels[i] != labels[i - 1] ? -1 : 0);
  last_ = frame(forward_turns_ + frame_size_);  // the first turn is the other one's
  clear(last_);
  set_one(last_.blank_m, last_.blank_e, last_.blank_r, 0);
}

template <class T>
void CtcTrellis<T>::clear(const Frame& f) const {
  std::memset(f.blank_m, 0, static_cast<size_t>(frame_size_) * sizeof(T));
  for (int64_t i = 0; i < width_; ++i) f.blank_e[i] = f.label_e[i] = Int<T>(kNoMass);
}

template <class T>
void CtcTrellis<T>::set_one(T* m, Int<T>* e, T* r, int64_t i) const {
  m[i] = 1;
  e[i] = 0;
  if (entropy_) r[i] = 0;
}

template <class T>
template <class Row>
bool CtcTrellis<T>::read(int64_t t, const Row* row, const Row* ahead, T origin, double log_normaliser) {
  const CtcReading<T> scores =
      ctc_row_loops<Row>().gather(row, ahead, origin, symbols_, num_labels_, width_, x_ + t * width_);
  shift_[t] = scores.top;
  blank_x_[t] = scores.blank;
  far_[t] = scores.far;
  log_normaliser_[t] = log_normaliser;
  return scores.good;
}

template <class T>
void CtcTrellis<T>::weigh_blanks() {
  const int64_t long_frames = padded(num_frames_);
  std::fill(shift_ + num_frames_, shift_ + long_frames, T(0));
  std::fill(blank_x_ + num_frames_, blank_x_ + long_frames, T(0));
  for (int64_t t = 0; t < long_frames; t += kLanes) {
    const bool far = std::any_of(far_ + t, far_ + std::min(t + kLanes, num_frames_), [](uint8_t f) { return f != 0; });
    loops<T>().split_each(kLanes, blank_x_ + t, shift_ + t, far, {blank_m_ + t, blank_e_ + t, blank_ln_ + t});
  }
}

template <class T>
void CtcTrellis<T>::forward(bool second, T* posteriors, int64_t stride) {
  for (int64_t t = second ? middle_ : 0; t < (second ? num_frames_ : middle_); ++t) {
    // a far score may move all cells far down, so that they are brought back at once
    const bool refer = t % kReferenceInterval == 0 || far_[t - 1] != 0;
    const Reference<T> reference = refer ? run_.reference(width_, last_) : Reference<T>{0, T(0)};
    log_scale_ += shift_[t] - log_normaliser_[t];
    exponent_ += reference.base;
    offset_ += reference.offset;
    const Frame to = gradient_ && !second ? cell(t) : frame(forward_turns_ + t % 2 * frame_size_);
    run_.forward(width_, last_, emission(t), skip_, reference, to);
    last_ = to;
    if (second) write_posteriors(t, to, cell(t), forward_scratch_, posteriors, stride);
  }
}

template <class T>
void CtcTrellis<T>::backward(bool second, T* posteriors, int64_t stride) {
  for (int64_t t = (second ? middle_ : num_frames_) - 1; t >= (second ? 0 : middle_); --t) {
    const Frame to = second ? frame(backward_turns_ + t % 2 * frame_size_) : cell(t);
    if (t == num_frames_ - 1) {
      clear(to);
      set_one(to.blank_m, to.blank_e, to.blank_r, num_labels_);
      if (num_labels_ > 0) set_one(to.label_m, to.label_e, to.label_r, num_labels_ - 1);
    } else {
      const bool refer = t % kReferenceInterval == 0 || (t + 2 < num_frames_ && far_[t + 2] != 0);
      const Reference<T> reference = refer ? run_.reference(width_, now_) : Reference<T>{0, T(0)};
      run_.backward(width_, now_, emission(t + 1), skip_, reference, to);
    }
    now_ = to;
    if (second) write_posteriors(t, cell(t), to, backward_scratch_, posteriors, stride);
  }
}

template <class T>
void CtcTrellis<T>::write_posteriors(int64_t t, const Frame& forward, const Frame& backward, T* scratch, T* posteriors,
                                     int64_t stride) const {
  T* p = posteriors + t * stride;
  run_.posteriors(num_labels_, width_, forward, backward, scratch, p, p + num_labels_ + 1);
}

// Sums the two final states of the last frame.
template <class T>
CtcTotal CtcTrellis<T>::total() const {
  const int64_t U = num_labels_;
  // an empty transcript has no last label, and what stands before the label arrays is a zero cell
  const double m[2] = {last_.blank_m[U], last_.label_m[U - 1]};
  if (m[0] == 0 && m[1] == 0) return {};
  const double e[2] = {double(last_.blank_e[U]), double(last_.label_e[U - 1])};
  const double top = std::max(m[0] > 0 ? e[0] : -INFINITY, m[1] > 0 ? e[1] : -INFINITY);
  double mass = 0, moment = 0;
  for (int i = 0; i < 2; ++i) {
    if (m[i] == 0) continue;
    const double f = std::exp2(e[i] - top);
    mass += f * m[i];
    const double r = entropy_ ? (i == 0 ? last_.blank_r[U] : last_.label_r[U - 1]) : 0;
    moment += f * (r + m[i] * (top - e[i]) * kLn2);
  }
  CtcTotal result;
  result.count = kManyPaths;
  result.nll = -(log_scale_ + (static_cast<double>(exponent_) + top) * kLn2 + std::log(mass));
  if (!entropy_) return result;
  result.entropy = std::max(0.0, moment / mass + std::log(mass) + offset_);
  if (result.entropy < small_entropy(num_frames_)) {
    result.count = count_paths();
    if (result.count == kOnePath) result.entropy = 0;
  }
  return result;
}

// Paths of non-zero mass, counted up to two.
template <class T>
PathCount CtcTrellis<T>::count_paths() const {
  const int64_t U = num_labels_;
  std::vector<uint8_t> blank(U + 1, 0), label(U + 1, 0);  // label[i + 1] is label i
  blank[0] = 1;
  const auto has_mass = [](T score) { return score >= T(-kScoreLimit); };
  for (int64_t t = 0; t < num_frames_; ++t) {
    const T* x = x_ + t * width_;
    for (int64_t i = U; i >= 0; --i) {  // downwards: i reads the old counts of i and below
      const int into_blank = add_counts(blank[i], label[i]);
      if (i < U) {
        int into_label = add_counts(label[i + 1], blank[i]);
        if (skip_[i] != 0) into_label = add_counts(into_label, label[i]);
        label[i + 1] = static_cast<uint8_t>(has_mass(x[i]) ? into_label : 0);
      }
      blank[i] = static_cast<uint8_t>(has_mass(blank_x_[t]) ? into_blank : 0);
    }
  }
  return static_cast<PathCount>(add_counts(blank[U], label[U]));
}

template class CtcTrellis<float>;
template class CtcTrellis<double>;
template bool CtcTrellis<float>::read(int64_t, const float*, const float*, float, double);
template bool CtcTrellis<float>::read(int64_t, const Float16*, const Float16*, float, double);
template bool CtcTrellis<float>::read(int64_t, const BFloat16*, const BFloat16*, float, double);
template bool CtcTrellis<double>::read(int64_t, const double*, const double*, double, double);

}  // namespace wfst_entropy
