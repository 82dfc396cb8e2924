#include "ctc_kl.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "address.h"
#include "huge_pages.h"
#include "loops.h"
#include "parallel.h"

namespace wfst_entropy {
namespace {

template <class T>
const CtcPairLoops<T>& pair_loops(bool moments) {
  return moments ? loops<T>().ctc_pair_moment : loops<T>().ctc_pair;
}

// The scores that one model has for the symbols of an utterance, a frame at a time: the labels, masked padding up to
// the width, then the blank.
template <class T>
class ModelFrame {
 public:
  ModelFrame(const CtcScores<T>& scores, int64_t n, int64_t width)
      : scores_(scores.scores + n * scores.utterance_stride),
        frame_stride_(scores.frame_stride),
        width_(width),
        x_(size(width), T(-2 * kScoreLimit)),
        m_(x_.size()),
        ln_(x_.size()),
        e_(x_.size()) {}

  static int64_t size(int64_t width) { return width + kLanes; }
  const T* row(int64_t t) const { return scores_ + t * frame_stride_; }
  // Reads frame t, and asks for frame `soon`; false if a score may not be used.
  bool read(int64_t t, int64_t soon, const std::vector<int32_t>& symbols) {
    prefetch(row(soon), symbols);
    const T* scores = row(t);
    const int64_t num_labels = static_cast<int64_t>(symbols.size()) - 1;
    x_[width_] = scores[symbols[num_labels]];
    const bool good = loops<T>().gather(scores, symbols.data(), num_labels, x_.data());
    return good && x_[width_] <= T(kScoreLimit);
  }
  // Copies what was read, size(width) values, to where read_again finds it: that costs less than the rows of a large
  // vocabulary, of which an utterance uses a few symbols.
  void save(T* memory) const { std::copy(x_.begin(), x_.end(), memory); }
  void read_again(const T* memory) { std::copy(memory, memory + x_.size(), x_.begin()); }
  // Splits what was read into weights relative to the frame's best score, which is returned.
  T split() { return loops<T>().split(width_ + kLanes, x_.data(), {m_.data(), e_.data(), ln_.data()}); }
  Weight<T> blank() const { return {m_[width_], e_[width_], ln_[width_]}; }
  T* m() { return m_.data(); }
  const Int<T>* e() const { return e_.data(); }
  const T* ln() const { return ln_.data(); }

 private:
  static void prefetch([[maybe_unused]] const T* row, [[maybe_unused]] const std::vector<int32_t>& symbols) {
#if defined(__GNUC__)
    for (const int32_t symbol : symbols) __builtin_prefetch(row + symbol);
#endif
  }

  const T* scores_;
  const int64_t frame_stride_, width_;
  std::vector<T> x_, m_, ln_;
  std::vector<Int<T>> e_;
};

// The labels of one utterance and both models' scores for them.
template <class T>
class PairTrellis {
 public:
  PairTrellis(const CtcKlBatch<T>& batch, int64_t n)
      : num_frames_(batch.input_lengths[n]),
        num_labels_(batch.target_lengths[n]),
        width_(CtcFrame<T>::width(num_labels_)),
        symbols_(num_labels_ + 1),
        skip_(width_ + kLanes, 0),
        p_(batch.p, n, width_),
        q_(batch.q, n, width_) {
    const int64_t* labels = batch.targets + batch.target_offsets[n];
    for (int64_t i = 0; i < num_labels_; ++i) {
      symbols_[i] = static_cast<int32_t>(labels[i]);
      skip_[i] = i >= 1 && symbols_[i] != symbols_[i - 1] ? Int<T>(-1) : Int<T>(0);
    }
    symbols_[num_labels_] = static_cast<int32_t>(batch.blank);
  }

  int64_t num_frames() const { return num_frames_; }
  int64_t num_labels() const { return num_labels_; }
  int64_t width() const { return width_; }
  const Int<T>* skip() const { return skip_.data(); }
  const std::vector<int32_t>& symbols() const { return symbols_; }  // the labels, then blank
  const ModelFrame<T>& p() const { return p_; }
  const ModelFrame<T>& q() const { return q_; }

  // Whether weights that q has not are taken out of p, as a finite divergence needs: no complete path has any then.
  void set_common(bool common) { common_ = common; }
  // Whether there were any.
  bool only_in_p() const { return only_in_p_; }

  bool read_p(int64_t t) { return p_.read(t, soon(t), symbols_); }
  bool read_q(int64_t t) { return q_.read(t, soon(t), symbols_); }
  static int64_t emissions_size(int64_t width) { return 2 * ModelFrame<T>::size(width); }
  void save(T* memory) const {
    p_.save(memory);
    q_.save(memory + ModelFrame<T>::size(width_));
  }
  void read_again(const T* memory) {
    p_.read_again(memory);
    q_.read_again(memory + ModelFrame<T>::size(width_));
  }
  // Splits what was read; returns the shifts of p and of q.
  std::pair<double, double> split() {
    const std::pair<double, double> shifts{p_.split(), q_.split()};
    if (common_) only_in_p_ |= take_out();
    return shifts;
  }
  CtcPairEmissions<T> emissions() {
    return {p_.blank(), q_.blank(), p_.m(), p_.e(), p_.ln(), q_.m(), q_.e(), q_.ln()};
  }

 private:
  // Far enough ahead for memory to answer, near enough to stay in the first cache.
  int64_t soon(int64_t t) const { return std::min(t + 4, num_frames_ - 1); }

  bool take_out() {
    T* p = p_.m();
    const T* q = q_.m();
    bool any = false;
    for (int64_t i = 0; i < width_ + kLanes; ++i) {
      const bool lost = (q[i] == T(0)) & (p[i] != T(0));
      p[i] = lost ? T(0) : p[i];
      any |= lost;
    }
    return any;
  }

  const int64_t num_frames_, num_labels_, width_;
  std::vector<int32_t> symbols_;
  std::vector<Int<T>> skip_;
  ModelFrame<T> p_, q_;
  bool common_ = true, only_in_p_ = false;
};

template <class T>
PairPaths count_paths(const PairTrellis<T>& trellis) {
  const int64_t U = trellis.num_labels();
  const std::vector<int32_t>& symbols = trellis.symbols();
  std::vector<PairPaths> blank(U + 1), label(U + 1);  // label[i + 1] is label i
  blank[0] = {1, 0, 1};
  for (int64_t t = 0; t < trellis.num_frames(); ++t) {
    const T *p = trellis.p().row(t), *q = trellis.q().row(t);
    const auto after = [&](const PairPaths& paths, int32_t symbol) {
      return extended(paths, p[symbol] >= T(-kScoreLimit), q[symbol] >= T(-kScoreLimit));
    };
    for (int64_t i = U; i >= 0; --i) {  // downwards: i reads the old counts of i and below
      const PairPaths into_blank = blank[i] + label[i];
      if (i < U) {
        PairPaths into_label = label[i + 1] + blank[i];
        if (trellis.skip()[i] != 0) into_label = into_label + label[i];
        label[i + 1] = after(into_label, symbols[i]);
      }
      blank[i] = after(into_blank, symbols[U]);
    }
  }
  return blank[U] + label[U];
}

template <class T>
void clear(const CtcPairFrame<T>& f, int64_t width) {
  std::fill(f.blank_p, f.blank_p + 2 * width, T(0));
  std::fill(f.blank_q, f.blank_q + 2 * width, T(0));
  std::fill(f.blank_pe, f.blank_pe + 2 * width, Int<T>(kNoMass));
  std::fill(f.blank_qe, f.blank_qe + 2 * width, Int<T>(kNoMass));
  if (f.blank_r != nullptr) std::fill(f.blank_r, f.blank_r + 2 * width, T(0));
}

template <class T>
void set_one(T* p, Int<T>* pe, T* q, Int<T>* qe, int64_t i) {
  p[i] = q[i] = T(1);
  pe[i] = qe[i] = 0;
}

// The two final states of the last frame.
template <class T>
std::vector<PairEnd> ends(const CtcPairFrame<T>& last, int64_t U) {
  // an empty transcript has no last label, and what stands before the label arrays is a zero cell
  return {{last.blank_p[U], double(last.blank_pe[U]), last.blank_q[U], double(last.blank_qe[U]), last.blank_r[U]},
          {last.label_p[U - 1], double(last.label_pe[U - 1]), last.label_q[U - 1], double(last.label_qe[U - 1]),
           last.label_r[U - 1]}};
}

// Names the first score of frame t that may not be used.
template <class T>
void report_bad(const PairTrellis<T>& trellis, bool in_q, int64_t t, int64_t* bad_frame, int64_t* bad_symbol,
                uint8_t* bad_model) {
  const T* row = (in_q ? trellis.q() : trellis.p()).row(t);
  for (const int32_t symbol : trellis.symbols()) {
    if (row[symbol] <= T(kScoreLimit)) continue;
    *bad_frame = t;
    *bad_symbol = symbol;
    *bad_model = in_q;
    return;
  }
}

// The memory of the frames of one utterance: all of them, with what was read in them, or two that take turns.
template <class T>
class Frames {
 public:
  // cells: where the frames are saved, or nullptr; their moments are saved only if `moments`.
  Frames(T* cells, bool moments, int64_t width)
      : cells_(cells), moments_saved_(cells != nullptr && moments), width_(width) {
    if (cells_ == nullptr) masses_.resize(2 * CtcPairFrame<T>::mass_size(width));
    if (!moments_saved_) moments_.resize(2 * CtcPairFrame<T>::moment_size(width));
  }

  CtcPairFrame<T> at(int64_t t) {
    T* masses = cells_ == nullptr ? masses_.data() + (t % 2) * CtcPairFrame<T>::mass_size(width_)
                                  : cells_ + t * size(width_, moments_saved_);
    T* moments = moments_saved_ ? masses + CtcPairFrame<T>::mass_size(width_)
                                : moments_.data() + (t % 2) * CtcPairFrame<T>::moment_size(width_);
    return CtcPairFrame<T>::at(masses, moments, width_);
  }
  // Asks for a saved frame, which memory would be late to deliver: it expects ascending frames.
  void prefetch([[maybe_unused]] int64_t t) const {
#if defined(__GNUC__)
    constexpr int64_t kCacheLine = 64 / sizeof(T);
    const T* frame = cells_ + t * size(width_, moments_saved_);
    for (int64_t i = 0; i < size(width_, moments_saved_); i += kCacheLine) __builtin_prefetch(frame + i);
#endif
  }
  // Of what was read in frame t, if frames are saved, else nullptr.
  T* emissions(int64_t t) {
    if (cells_ == nullptr) return nullptr;
    return cells_ + (t + 1) * size(width_, moments_saved_) - PairTrellis<T>::emissions_size(width_);
  }
  static int64_t size(int64_t width, bool moments) {
    return CtcPairFrame<T>::mass_size(width) + (moments ? CtcPairFrame<T>::moment_size(width) : 0) +
           PairTrellis<T>::emissions_size(width);
  }

 private:
  T* const cells_;
  const bool moments_saved_;
  const int64_t width_;
  std::vector<T> masses_, moments_;
};

// A frame that owns its memory, all zero cells.
template <class T>
class OwnFrame {
 public:
  OwnFrame(int64_t width, bool moments)
      : masses_(CtcPairFrame<T>::mass_size(width)), moments_(moments ? CtcPairFrame<T>::moment_size(width) : 0) {
    frame = CtcPairFrame<T>::at(masses_.data(), moments ? moments_.data() : nullptr, width);
    clear(frame, width);
  }
  CtcPairFrame<T> frame;

 private:
  std::vector<T> masses_, moments_;
};

template <class T>
KlTotal sweep_forward(PairTrellis<T>& trellis, Frames<T>& frames, int64_t* bad_frame, int64_t* bad_symbol,
                      uint8_t* bad_model) {
  const CtcPairLoops<T>& run = pair_loops<T>(true);
  const int64_t width = trellis.width();
  OwnFrame<T> start(width, true);
  CtcPairFrame<T> last = start.frame;
  set_one(last.blank_p, last.blank_pe, last.blank_q, last.blank_qe, 0);
  PairReference<T> reference{0, 0, T(0)};
  double scale_p = 0, scale_q = 0, offset = 0;
  for (int64_t t = 0; t < trellis.num_frames(); ++t) {
    const bool good_p = trellis.read_p(t);
    if (!trellis.read_q(t) || !good_p) {
      report_bad(trellis, good_p, t, bad_frame, bad_symbol, bad_model);
      return {};
    }
    if (T* memory = frames.emissions(t)) trellis.save(memory);
    const auto [shift_p, shift_q] = trellis.split();
    scale_p += shift_p + reference.p * kLn2;
    scale_q += shift_q + reference.q * kLn2;
    offset += reference.offset;
    const CtcPairFrame<T> next = frames.at(t);
    run.forward(width, last, trellis.emissions(), trellis.skip(), reference, next);
    reference = run.reference(width, next);
    last = next;
  }
  KlTotal result = pair_total(ends(last, trellis.num_labels()));
  result.log_p += scale_p;
  result.log_q += scale_q;
  if (result.status == kKlFinite) result.kl += offset;
  return result;
}

template <class T>
KlTotal forward_utterance(PairTrellis<T>& trellis, Frames<T>& frames, int64_t* bad_frame, int64_t* bad_symbol,
                          uint8_t* bad_model) {
  const auto sweep = [&](bool common) {
    trellis.set_common(common);
    return sweep_forward(trellis, frames, bad_frame, bad_symbol, bad_model);
  };
  const auto only_in_p = [&] { return *bad_frame < 0 && trellis.only_in_p(); };
  return settled(trellis.num_frames(), sweep, only_in_p, [&] { return count_paths(trellis); });
}

// One row of a gradient: by[k] times the labels' array[k], and times blank[k].
template <class T, int n>
void write_row(const std::vector<int32_t>& symbols, const T* const (&arrays)[n], const T (&blank)[n], const T (&by)[n],
               T* row) {
  const int64_t U = static_cast<int64_t>(symbols.size()) - 1;
  for (int64_t i = 0; i < U; ++i) {
    T sum = 0;
    for (int k = 0; k < n; ++k) sum += by[k] * arrays[k][i];
    row[symbols[i]] += sum;
  }
  for (int k = 0; k < n; ++k) row[symbols[U]] += by[k] * blank[k];
}

// What the backward sweep of an utterance is asked for; nullptr: not wanted.
template <class T>
struct Wanted {
  double by_kl, by_p, by_q;
  T *grad_p, *grad_q;
};

// Posteriors of one frame into its rows of the gradients. Both models' are made to sum to one over the frame, and the
// log-ratios are centred on the frame's own mean: every path passes exactly one state of the frame.
template <class T>
void write_gradients(const std::vector<int32_t>& symbols, const CtcPairSums<T>& sums, const Wanted<T>& wanted,
                     const T* p, const T* q, const T* r, T* row_p, T* row_q) {
  const double mass_p = double(sums.blank_p) + double(sums.label_p);
  const double mass_q = double(sums.blank_q) + double(sums.label_q);
  const double per_p = mass_p > 0 ? 1 / mass_p : 0, per_q = mass_q > 0 ? 1 / mass_q : 0;
  if (row_q != nullptr)
    write_row<T, 2>(symbols, {q, p}, {sums.blank_q, sums.blank_p},
                    {T((wanted.by_kl + wanted.by_q) * per_q), T(-wanted.by_kl * per_p)}, row_q);
  if (row_p == nullptr) return;
  const double mean = (double(sums.blank_r) + double(sums.label_r)) * per_p;
  write_row<T, 2>(symbols, {p, r}, {sums.blank_p, sums.blank_r},
                  {T((wanted.by_p - wanted.by_kl * mean) * per_p), T(wanted.by_kl * per_p)}, row_p);
}

template <class T>
void backward_utterance(PairTrellis<T>& trellis, bool moments, const T* cells, int64_t num_symbols,
                        const Wanted<T>& wanted) {
  const CtcPairLoops<T>& run = pair_loops<T>(moments);
  const int64_t width = trellis.width(), U = trellis.num_labels();
  OwnFrame<T> one(width, moments), two(width, moments);
  OwnFrame<T> emitted(width + kLanes, moments);  // zero cells after the last state
  CtcPairFrame<T> now = one.frame, other = two.frame;
  set_one(now.blank_p, now.blank_pe, now.blank_q, now.blank_qe, U);
  if (U > 0) set_one(now.label_p, now.label_pe, now.label_q, now.label_qe, U - 1);
  std::vector<T> p(width), q(width), r(width);
  std::vector<Int<T>> scratch(4 * width);
  Frames<T> frames(const_cast<T*>(cells), moments, width);  // only read
  for (int64_t t = trellis.num_frames() - 1; t >= 0; --t) {
    frames.prefetch(std::max<int64_t>(t - 2, 0));
    const auto row_of = [t, num_symbols](T* grad) -> T* {
      if (grad == nullptr) return nullptr;
      T* row = grad + t * num_symbols;
      std::fill(row, row + num_symbols, T(0));
      return row;
    };
    const CtcPairSums<T> sums = run.products(width, frames.at(t), now, scratch.data(), p.data(), q.data(), r.data());
    write_gradients(trellis.symbols(), sums, wanted, p.data(), q.data(), r.data(), row_of(wanted.grad_p),
                    row_of(wanted.grad_q));
    if (t == 0) break;
    trellis.read_again(frames.emissions(t));
    trellis.split();
    const PairReference<T> reference = run.reference(width, now);
    run.backward(width, now, trellis.emissions(), trellis.skip(), reference, emitted.frame, other);
    std::swap(now, other);
  }
}

}  // namespace

int64_t ctc_kl_workspace(int64_t num_utterances, const int64_t* input_lengths, const int64_t* target_lengths,
                         bool moments, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t n = 0; n < num_utterances; ++n) {
    cell_offsets[n] = total;
    total += input_lengths[n] * Frames<float>::size(CtcFrame<float>::width(target_lengths[n]), moments);
  }
  return total;
}

template <class T>
void ctc_kl_forward(const CtcKlBatch<T>& batch, bool moments, T* cells, double* log_p, double* log_q, double* kl,
                    uint8_t* status, int64_t* bad_frame, int64_t* bad_symbol, uint8_t* bad_model) {
  if (cells != nullptr && batch.num_utterances > 0) {
    const int64_t last = batch.num_utterances - 1, width = CtcFrame<T>::width(batch.target_lengths[last]);
    const int64_t size = batch.cell_offsets[last] + batch.input_lengths[last] * Frames<T>::size(width, moments);
    advise_huge_pages(cells, size * sizeof(T));
  }
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    bad_frame[n] = bad_symbol[n] = -1;
    PairTrellis<T> trellis(batch, n);
    Frames<T> frames(cells == nullptr ? nullptr : cells + batch.cell_offsets[n], moments, trellis.width());
    const KlTotal result = forward_utterance(trellis, frames, &bad_frame[n], &bad_symbol[n], &bad_model[n]);
    log_p[n] = result.log_p;
    log_q[n] = result.log_q;
    kl[n] = result.kl;
    status[n] = result.status;
  });
}

template <class T>
void ctc_kl_backward(const CtcKlBatch<T>& batch, bool moments, const T* cells, const uint8_t* status,
                     const double* by_kl, const double* by_p, const double* by_q, int64_t max_frames,
                     int64_t num_symbols, T* grad_p, T* grad_q) {
  const int64_t size = max_frames * num_symbols;
  for (T* grad : {grad_p, grad_q})
    if (grad != nullptr) advise_huge_pages(grad, batch.num_utterances * size * sizeof(T));
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    Wanted<T> wanted{status[n] == kKlFinite ? by_kl[n] : 0.0, by_p[n], by_q[n], nullptr, nullptr};
    if (grad_p != nullptr) wanted.grad_p = grad_p + n * size;
    if (grad_q != nullptr) wanted.grad_q = grad_q + n * size;
    for (T* grad : {wanted.grad_p, wanted.grad_q})
      if (grad != nullptr) std::fill(grad + batch.input_lengths[n] * num_symbols, grad + size, T(0));
    PairTrellis<T> trellis(batch, n);
    trellis.set_common(status[n] != kKlInfinite);
    backward_utterance(trellis, moments, cells + batch.cell_offsets[n], num_symbols, wanted);
  });
}

namespace {

template <class T>
CtcKlBatch<T> make_batch(int64_t num_utterances, uintptr_t p, int64_t p_utterance_stride, int64_t p_frame_stride,
                         uintptr_t q, int64_t q_utterance_stride, int64_t q_frame_stride, uintptr_t targets,
                         uintptr_t target_offsets, uintptr_t input_lengths, uintptr_t target_lengths, int64_t blank,
                         uintptr_t cell_offsets, int num_threads) {
  return {num_utterances,
          {pointer<const T>(p), p_utterance_stride, p_frame_stride},
          {pointer<const T>(q), q_utterance_stride, q_frame_stride},
          pointer<const int64_t>(targets),
          pointer<const int64_t>(target_offsets),
          pointer<const int64_t>(input_lengths),
          pointer<const int64_t>(target_lengths),
          blank,
          pointer<const int64_t>(cell_offsets),
          num_threads};
}

template <class T>
void bind(nanobind::module_& m, const char* batch_name, const char* forward_name, const char* backward_name) {
  nanobind::class_<CtcKlBatch<T>>(m, batch_name).def_static("make", &make_batch<T>);
  m.def(forward_name, [](const CtcKlBatch<T>& batch, bool moments, uintptr_t cells, uintptr_t log_p, uintptr_t log_q,
                         uintptr_t kl, uintptr_t status, uintptr_t bad_frame, uintptr_t bad_symbol,
                         uintptr_t bad_model) {
    nanobind::gil_scoped_release released;
    ctc_kl_forward<T>(batch, moments, pointer<T>(cells), pointer<double>(log_p), pointer<double>(log_q),
                      pointer<double>(kl), pointer<uint8_t>(status), pointer<int64_t>(bad_frame),
                      pointer<int64_t>(bad_symbol), pointer<uint8_t>(bad_model));
  });
  m.def(backward_name, [](const CtcKlBatch<T>& batch, bool moments, uintptr_t cells, uintptr_t status, uintptr_t by_kl,
                          uintptr_t by_p, uintptr_t by_q, int64_t max_frames, int64_t num_symbols, uintptr_t grad_p,
                          uintptr_t grad_q) {
    nanobind::gil_scoped_release released;
    ctc_kl_backward<T>(batch, moments, pointer<const T>(cells), pointer<const uint8_t>(status),
                       pointer<const double>(by_kl), pointer<const double>(by_p), pointer<const double>(by_q),
                       max_frames, num_symbols, pointer<T>(grad_p), pointer<T>(grad_q));
  });
}

}  // namespace

void bind_ctc_kl(nanobind::module_& m) {
  m.def("ctc_kl_workspace", [](int64_t num_utterances, uintptr_t input_lengths, uintptr_t target_lengths, bool moments,
                               uintptr_t cell_offsets) {
    return ctc_kl_workspace(num_utterances, pointer<const int64_t>(input_lengths),
                            pointer<const int64_t>(target_lengths), moments, pointer<int64_t>(cell_offsets));
  });
  bind<float>(m, "CtcKlBatchFloat32", "ctc_kl_forward_float32", "ctc_kl_backward_float32");
  bind<double>(m, "CtcKlBatchFloat64", "ctc_kl_forward_float64", "ctc_kl_backward_float64");
}

}  // namespace wfst_entropy
