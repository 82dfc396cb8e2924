#include "ctc.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "huge_pages.h"
#include "loops.h"
#include "parallel.h"
#include "path_count.h"

namespace wfst_entropy {
namespace {

// The labels of one utterance and the buffers that its sweeps work in.
template <class T>
class Trellis {
 public:
  Trellis(const CtcBatch<T>& batch, int64_t n)
      : num_frames_(batch.input_lengths[n]),
        num_labels_(batch.target_lengths[n]),
        width_(CtcFrame<T>::width(num_labels_)),
        scores_(batch.log_probs + n * batch.utterance_stride),
        frame_stride_(batch.frame_stride),
        symbols_(num_labels_ + 1),
        skip_(width_ + kLanes, 0),
        x_(width_ + kLanes, T(-2 * kScoreLimit)),
        emit_m_(x_.size()),
        emit_ln_(x_.size()),
        emit_e_(x_.size()) {
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
  const T* row(int64_t t) const { return scores_ + t * frame_stride_; }

  // Reads frame t; false if a score may not be used.
  bool read(int64_t t) {
    const T* scores = row(t);
    x_[width_] = scores[symbols_[num_labels_]];
    const bool good = loops<T>().gather(scores, symbols_.data(), num_labels_, x_.data());
    return good && x_[width_] <= T(kScoreLimit);
  }
  // Splits what was read into weights relative to the frame's best score, which is returned.
  T split() { return loops<T>().split(width_ + kLanes, x_.data(), labels()); }
  Weights<T> labels() { return {emit_m_.data(), emit_e_.data(), emit_ln_.data()}; }
  Weight<T> blank() const { return {emit_m_[width_], emit_e_[width_], emit_ln_[width_]}; }

 private:
  const int64_t num_frames_, num_labels_, width_;
  const T* scores_;
  const int64_t frame_stride_;
  std::vector<int32_t> symbols_;
  std::vector<Int<T>> skip_;
  std::vector<T> x_, emit_m_, emit_ln_;  // labels, masked padding up to width, then the blank
  std::vector<Int<T>> emit_e_;
};

template <class T>
void set_cell(T* m, Int<T>* e, T* r, int64_t j, const Cell<T>& cell) {
  m[j] = cell.m;
  e[j] = cell.e;
  if (r != nullptr) r[j] = cell.r;
}

template <class T>
void clear(const CtcFrame<T>& frame, int64_t width, bool entropy) {
  for (int64_t j = 0; j < width; ++j) {
    set_cell(frame.blank_m, frame.blank_e, entropy ? frame.blank_r : nullptr, j, cell_zero<T>());
    set_cell(frame.label_m, frame.label_e, entropy ? frame.label_r : nullptr, j, cell_zero<T>());
  }
}

// Paths of non-zero mass, counted up to two.
template <class T>
PathCount count_paths(const Trellis<T>& trellis) {
  const int64_t U = trellis.num_labels();
  const std::vector<int32_t>& symbols = trellis.symbols();
  std::vector<uint8_t> blank(U + 1, 0), label(U + 1, 0);  // label[i + 1] is label i
  blank[0] = 1;
  const auto has_mass = [](T score) { return score >= T(-kScoreLimit); };
  for (int64_t t = 0; t < trellis.num_frames(); ++t) {
    const T* row = trellis.row(t);
    const bool blank_has_mass = has_mass(row[symbols[U]]);
    for (int64_t i = U; i >= 0; --i) {  // downwards: i reads the old counts of i and below
      const int into_blank = add_counts(blank[i], label[i]);
      if (i < U) {
        int into_label = add_counts(label[i + 1], blank[i]);
        if (trellis.skip()[i] != 0) into_label = add_counts(into_label, label[i]);
        label[i + 1] = has_mass(row[symbols[i]]) ? into_label : 0;
      }
      blank[i] = blank_has_mass ? into_blank : 0;
    }
  }
  return static_cast<PathCount>(add_counts(blank[U], label[U]));
}

struct Total {
  double nll = INFINITY;
  double entropy = 0;
  PathCount count = kNoPath;
};

// Sums the two final states of the last frame.
template <class T>
Total total(const CtcFrame<T>& last, int64_t U, double log_scale, double offset, bool entropy) {
  // an empty transcript has no last label, and what stands before the label arrays is a zero cell
  const double m[2] = {last.blank_m[U], last.label_m[U - 1]};
  if (m[0] == 0 && m[1] == 0) return {};
  const double e[2] = {double(last.blank_e[U]), double(last.label_e[U - 1])};
  const double top = std::max(m[0] > 0 ? e[0] : -INFINITY, m[1] > 0 ? e[1] : -INFINITY);
  double mass = 0, moment = 0;
  for (int i = 0; i < 2; ++i) {
    if (m[i] == 0) continue;
    const double f = std::exp2(e[i] - top);
    mass += f * m[i];
    const double r = entropy ? (i == 0 ? last.blank_r[U] : last.label_r[U - 1]) : 0;
    moment += f * (r + m[i] * (top - e[i]) * kLn2);
  }
  Total result;
  result.count = kManyPaths;
  result.nll = -(log_scale + top * kLn2 + std::log(mass));
  if (entropy) result.entropy = std::max(0.0, moment / mass + std::log(mass) + offset);
  return result;
}

// Names the first score of frame t that may not be used.
template <class T>
void report_bad(const Trellis<T>& trellis, int64_t t, int64_t* bad_frame, int64_t* bad_symbol) {
  const T* row = trellis.row(t);
  for (const int32_t symbol : trellis.symbols()) {
    if (!(row[symbol] <= T(kScoreLimit))) {
      *bad_frame = t;
      *bad_symbol = symbol;
      return;
    }
  }
}

// One utterance; `cells` holds every frame (saved) or two frames that take turns.
template <class T, bool kEntropy>
Total forward_utterance(Trellis<T>& trellis, T* cells, bool saved, int64_t* bad_frame, int64_t* bad_symbol) {
  const CtcLoops<T>& run = kEntropy ? loops<T>().ctc_entropy : loops<T>().ctc;
  const int64_t width = trellis.width();
  const int64_t frame_size = CtcFrame<T>::frame_size(width, kEntropy);
  std::vector<T> start(frame_size);
  CtcFrame<T> last = CtcFrame<T>::at(start.data(), width);
  clear(last, width, kEntropy);
  set_cell(last.blank_m, last.blank_e, kEntropy ? last.blank_r : nullptr, 0, cell_one<T>());
  Reference<T> reference{0, T(0)};
  double log_scale = 0, offset = 0;
  for (int64_t t = 0; t < trellis.num_frames(); ++t) {
    if (!trellis.read(t)) {
      report_bad(trellis, t, bad_frame, bad_symbol);
      return {};
    }
    log_scale += trellis.split() + reference.base * kLn2;
    offset += reference.offset;
    const CtcFrame<T> next = CtcFrame<T>::at(cells + (saved ? t : t % 2) * frame_size, width);
    run.forward(width, last, trellis.blank(), trellis.labels(), trellis.skip(), reference, next);
    reference = run.reference(width, next);
    last = next;
  }
  Total result = total<T>(last, trellis.num_labels(), log_scale, offset, kEntropy);
  if (kEntropy && result.count == kManyPaths && result.entropy < small_entropy(trellis.num_frames())) {
    result.count = count_paths(trellis);
    if (result.count == kOnePath) result.entropy = 0;
  }
  return result;
}

// Posteriors of one frame into its row of the gradient. They are made to sum to one over the frame, and the
// surprisals are centred on the frame's own mean: every path passes exactly one state of the frame.
template <class T>
void write_gradient(const Trellis<T>& trellis, const FrameSums<T>& sums, double grad_nll, double grad_entropy,
                    const T* p, const T* q, T* row) {
  const double mass = double(sums.blank_p) + double(sums.label_p);
  if (!(mass > 0)) return;
  const double mean = (double(sums.blank_q) + double(sums.label_q)) / mass;
  const T by_q = T(grad_entropy / mass);
  const T by_p = T(-(grad_nll + grad_entropy * mean) / mass);
  const int32_t* symbols = trellis.symbols().data();
  const int64_t U = trellis.num_labels();
  for (int64_t i = 0; i < U; ++i) row[symbols[i]] += by_q * q[i] + by_p * p[i];
  row[symbols[U]] += by_q * sums.blank_q + by_p * sums.blank_p;
}

template <class T, bool kEntropy>
void backward_utterance(Trellis<T>& trellis, const T* cells, double grad_nll, double grad_entropy, int64_t num_symbols,
                        T* grad) {
  const CtcLoops<T>& run = kEntropy ? loops<T>().ctc_entropy : loops<T>().ctc;
  const int64_t width = trellis.width(), U = trellis.num_labels();
  const int64_t frame_size = CtcFrame<T>::frame_size(width, kEntropy);
  const int64_t long_width = width + kLanes;  // zero cells after the last state
  std::vector<T> memory(2 * frame_size + CtcFrame<T>::frame_size(long_width, kEntropy)), p(width), q(width, T(0));
  std::vector<Int<T>> scratch(2 * width);
  CtcFrame<T> now = CtcFrame<T>::at(memory.data(), width);
  CtcFrame<T> other = CtcFrame<T>::at(memory.data() + frame_size, width);
  const CtcFrame<T> emitted = CtcFrame<T>::at(memory.data() + 2 * frame_size, long_width);
  clear(now, width, kEntropy);
  clear(emitted, long_width, kEntropy);
  set_cell(now.blank_m, now.blank_e, kEntropy ? now.blank_r : nullptr, U, cell_one<T>());
  if (U > 0) set_cell(now.label_m, now.label_e, kEntropy ? now.label_r : nullptr, U - 1, cell_one<T>());
  for (int64_t t = trellis.num_frames() - 1; t >= 0; --t) {
    T* row = grad + t * num_symbols;
    std::fill(row, row + num_symbols, T(0));
    const CtcFrame<T> forward = CtcFrame<T>::at(const_cast<T*>(cells) + t * frame_size, width);
    const FrameSums<T> sums = run.products(width, forward, now, scratch.data(), p.data(), q.data());
    write_gradient(trellis, sums, grad_nll, grad_entropy, p.data(), q.data(), row);
    if (t == 0) break;
    trellis.read(t);
    trellis.split();
    const Reference<T> reference = run.reference(width, now);
    run.backward(width, now, trellis.blank(), trellis.labels(), trellis.skip(), reference, emitted, other);
    std::swap(now, other);
  }
}

}  // namespace

int64_t ctc_workspace(int64_t num_utterances, const int64_t* input_lengths, const int64_t* target_lengths, bool entropy,
                      int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t n = 0; n < num_utterances; ++n) {
    cell_offsets[n] = total;
    total += input_lengths[n] * CtcFrame<float>::frame_size(CtcFrame<float>::width(target_lengths[n]), entropy);
  }
  return total;
}

template <class T>
void ctc_forward(const CtcBatch<T>& batch, T* cells, double* nll, double* entropy, uint8_t* path_count,
                 int64_t* bad_frame, int64_t* bad_symbol) {
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    bad_frame[n] = bad_symbol[n] = -1;
    Trellis<T> trellis(batch, n);
    std::vector<T> pair;
    if (cells == nullptr) pair.resize(2 * CtcFrame<T>::frame_size(trellis.width(), entropy != nullptr));
    T* memory = cells == nullptr ? pair.data() : cells + batch.cell_offsets[n];
    const auto sweep = entropy != nullptr ? forward_utterance<T, true> : forward_utterance<T, false>;
    const Total result = sweep(trellis, memory, cells != nullptr, &bad_frame[n], &bad_symbol[n]);
    nll[n] = result.nll;
    if (entropy != nullptr) entropy[n] = result.entropy;
    path_count[n] = result.count;
  });
}

template <class T>
void ctc_backward(const CtcBatch<T>& batch, const T* cells, const uint8_t* path_count, const double* grad_nll,
                  const double* grad_entropy, int64_t max_frames, int64_t num_symbols, T* grad) {
  advise_huge_pages(grad, batch.num_utterances * max_frames * num_symbols * sizeof(T));
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    T* rows = grad + n * max_frames * num_symbols;
    const int64_t used = path_count[n] == kNoPath ? 0 : batch.input_lengths[n];
    std::fill(rows + used * num_symbols, rows + max_frames * num_symbols, T(0));
    if (used == 0) return;
    Trellis<T> trellis(batch, n);
    const double by_entropy = grad_entropy != nullptr && path_count[n] == kManyPaths ? grad_entropy[n] : 0.0;
    const auto sweep = grad_entropy != nullptr ? backward_utterance<T, true> : backward_utterance<T, false>;
    sweep(trellis, cells + batch.cell_offsets[n], grad_nll[n], by_entropy, num_symbols, rows);
  });
}

template void ctc_forward(const CtcBatch<float>&, float*, double*, double*, uint8_t*, int64_t*, int64_t*);
template void ctc_forward(const CtcBatch<double>&, double*, double*, double*, uint8_t*, int64_t*, int64_t*);
template void ctc_backward(const CtcBatch<float>&, const float*, const uint8_t*, const double*, const double*, int64_t, int64_t, float*);
template void ctc_backward(const CtcBatch<double>&, const double*, const uint8_t*, const double*, const double*, int64_t, int64_t, double*);

}  // namespace wfst_entropy
