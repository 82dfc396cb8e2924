#include "ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "ctc_trellis.h"
#include "huge_pages.h"
#include "parallel.h"

namespace wfst_entropy {
namespace {

// Frames that a thread reads, or whose gradients it writes, at a time.
constexpr int64_t kBlock = 64;

// Logits beyond this are taken relative to the row's largest one: the limits on scores hold after the softmax.
constexpr double kLargeLogit = 1 << 20;

template <class Row>
const Row* row_at(const CtcBatch<Row>& batch, int64_t n, int64_t t) {
  return batch.scores + n * batch.utterance_stride + t * batch.frame_stride;
}

template <class Row>
int64_t posteriors_per_frame(const CtcBatch<Row>& batch, int64_t n) {
  return (batch.target_lengths[n] + 1) * (batch.entropy ? 2 : 1) + (batch.softmax ? 2 : 0);
}

template <class Row>
CtcTrellis<Computed<Row>> trellis_of(const CtcBatch<Row>& batch, int64_t n, bool gradient, Arena& arena) {
  return {arena,       batch.input_lengths[n], batch.targets + batch.target_offsets[n], batch.target_lengths[n],
          batch.blank, batch.entropy,          gradient};
}

// Reads frames begin ... end of utterance n; false if a score may not be used.
template <class Row>
bool read_frames(const CtcBatch<Row>& batch, int64_t n, int64_t begin, int64_t end, CtcTrellis<Computed<Row>>& trellis,
                 Computed<Row>* posteriors) {
  using T = Computed<Row>;
  const int64_t stride = posteriors_per_frame(batch, n);
  for (int64_t t = begin; t < end; ++t) {
    const Row* row = row_at(batch, n, t);
    double log_normaliser = 0;
    T origin = 0;
    if (batch.softmax) {
      const Normaliser<T> z = softmax_loops<Row>().normaliser(batch.num_symbols, row);
      if (std::isnan(z.sum)) return false;
      if (z.sum > 0) {
        if (std::abs(z.max) > kLargeLogit) origin = z.max;
        log_normaliser = z.max - origin + std::log1p(z.rest);
      }
      if (posteriors != nullptr) {
        T* saved = posteriors + (t + 1) * stride - 2;
        saved[0] = z.max;
        saved[1] = static_cast<T>(z.sum > 0 ? 1 / z.sum : 0);
      }
    }
    const Row* ahead = row_at(batch, n, std::min(t + 2, trellis.num_frames() - 1));
    if (!trellis.read(t, row, ahead, origin, log_normaliser)) return false;
  }
  return true;
}

// Finds the first score of an utterance that may not be used.
template <class Row>
void report_bad(const CtcBatch<Row>& batch, int64_t n, const CtcTrellis<Computed<Row>>& trellis, int64_t* bad_frame,
                int64_t* bad_symbol) {
  std::vector<Computed<Row>> scores(batch.num_symbols);
  const double limit = batch.softmax ? std::numeric_limits<double>::max() : kScoreLimit;
  const int64_t num_read = batch.softmax ? batch.num_symbols : trellis.num_labels() + 1;
  for (int64_t t = 0; t < trellis.num_frames(); ++t) {
    softmax_loops<Row>().read(batch.num_symbols, row_at(batch, n, t), scores.data());
    for (int64_t i = 0; i < num_read; ++i) {
      const int64_t symbol = batch.softmax ? i : trellis.symbols()[i];
      if (scores[symbol] <= limit) continue;
      *bad_frame = t;
      *bad_symbol = symbol;
      return;
    }
  }
}

// The blocks of frames of all utterances: utterance and first frame.
std::vector<std::pair<int64_t, int64_t>> blocks_of(int64_t first, int64_t last, const int64_t* num_frames) {
  std::vector<std::pair<int64_t, int64_t>> blocks;
  for (int64_t n = first; n < last; ++n)
    for (int64_t t = 0; t < num_frames[n]; t += kBlock) blocks.emplace_back(n, t);
  return blocks;
}

// Utterances first ... last, side by side, each on up to two threads.
template <class Row>
void run_forward(const CtcBatch<Row>& batch, int64_t first, int64_t last, int num_threads,
                 const int64_t* posterior_offsets, Computed<Row>* posteriors, double* nll, double* entropy,
                 uint8_t* path_count, int64_t* bad_frame, int64_t* bad_symbol) {
  const bool gradient = posteriors != nullptr;
  Arena count;
  for (int64_t n = first; n < last; ++n) trellis_of(batch, n, gradient, count);
  const Scratch scratch(count.used());
  Arena arena(scratch.begin());
  std::vector<CtcTrellis<Computed<Row>>> trellises;
  for (int64_t n = first; n < last; ++n) trellises.push_back(trellis_of(batch, n, gradient, arena));
  const auto saved = [&](int64_t n) { return gradient ? posteriors + posterior_offsets[n] : nullptr; };

  const auto blocks = blocks_of(first, last, batch.input_lengths);
  std::vector<uint8_t> good(blocks.size());
  parallel_for(static_cast<int64_t>(blocks.size()), num_threads, [&](int64_t i) {
    const auto [n, t] = blocks[i];
    const int64_t end = std::min(t + kBlock, batch.input_lengths[n]);
    good[i] = read_frames(batch, n, t, end, trellises[n - first], saved(n));
  });
  std::fill(bad_frame + first, bad_frame + last, -1);
  std::fill(bad_symbol + first, bad_symbol + last, -1);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const int64_t n = blocks[i].first;
    if (!good[i] && bad_frame[n] < 0) report_bad(batch, n, trellises[n - first], &bad_frame[n], &bad_symbol[n]);
  }

  for (int64_t n = first; n < last; ++n)
    if (bad_frame[n] < 0) trellises[n - first].weigh_blanks();
  for (int second = 0; second < 2; ++second) {
    parallel_for(2 * (last - first), num_threads, [&](int64_t i) {
      const int64_t n = first + i / 2;
      if (bad_frame[n] >= 0) return;
      CtcTrellis<Computed<Row>>& trellis = trellises[i / 2];
      if (i % 2 == 0)
        trellis.forward(second != 0, saved(n), posteriors_per_frame(batch, n));
      else if (gradient)
        trellis.backward(second != 0, saved(n), posteriors_per_frame(batch, n));
    });
  }
  for (int64_t n = first; n < last; ++n) {
    if (bad_frame[n] >= 0) continue;
    const CtcTotal total = trellises[n - first].total();
    nll[n] = total.nll;
    entropy[n] = total.entropy;
    path_count[n] = total.count;
  }
}

// Writes the gradient of one frame. `values` has room for a number per label and blank.
template <class Row>
void write_row(const CtcBatch<Row>& batch, int64_t n, int64_t t, const Computed<Row>* saved, Computed<Row> by_nll,
               Computed<Row> by_entropy, Computed<Row>* values, Computed<Row>* row) {
  using T = Computed<Row>;
  const int64_t U = batch.target_lengths[n];
  const T *p = saved, *q = saved + U + 1;
  const int64_t* symbols = batch.targets + batch.target_offsets[n];
  if (batch.softmax && by_nll != 0) {
    const T* z = saved + posteriors_per_frame(batch, n) - 2;
    softmax_loops<Row>().softmax(batch.num_symbols, row_at(batch, n, t), z[0], by_nll * z[1], row);
  } else {
    std::fill(row, row + batch.num_symbols, T(0));
  }
  if (batch.entropy)
    for (int64_t i = 0; i <= U; ++i) values[i] = by_entropy * q[i] - by_nll * p[i];
  else
    for (int64_t i = 0; i <= U; ++i) values[i] = -by_nll * p[i];
  for (int64_t i = 0; i < U; ++i) row[symbols[i]] += values[i];
  row[batch.blank] += values[U];
}

// The gradient of frames begin ... end of utterance n.
template <class Row>
void write_rows(const CtcBatch<Row>& batch, int64_t n, int64_t begin, int64_t end, const Computed<Row>* saved,
                double grad_nll, double grad_entropy, Row* grad) {
  using T = Computed<Row>;
  const int64_t C = batch.num_symbols, stride = posteriors_per_frame(batch, n);
  std::vector<T> values(batch.target_lengths[n] + 1);
  [[maybe_unused]] std::vector<T> computed;
  if constexpr (!std::is_same_v<Row, T>) computed.resize(C);
  for (int64_t t = begin; t < end; ++t) {
    T* row;
    if constexpr (std::is_same_v<Row, T>)
      row = grad + t * C;
    else
      row = computed.data();
    write_row(batch, n, t, saved + t * stride, static_cast<T>(grad_nll), static_cast<T>(grad_entropy), values.data(),
              row);
    if constexpr (!std::is_same_v<Row, T>) softmax_loops<Row>().write(C, row, grad + t * C);
  }
}

}  // namespace

template <class Row>
int64_t ctc_workspace(const CtcBatch<Row>& batch, int64_t* posterior_offsets) {
  int64_t total = 0;
  for (int64_t n = 0; n < batch.num_utterances; ++n) {
    posterior_offsets[n] = total;
    total += batch.input_lengths[n] * posteriors_per_frame(batch, n);
  }
  return total;
}

template <class Row>
void ctc_forward(const CtcBatch<Row>& batch, const int64_t* posterior_offsets, Computed<Row>* posteriors, double* nll,
                 double* entropy, uint8_t* path_count, int64_t* bad_frame, int64_t* bad_symbol) {
  const int64_t N = batch.num_utterances;
  const auto run = [&](int64_t first, int64_t last, int num_threads) {
    run_forward(batch, first, last, num_threads, posterior_offsets, posteriors, nll, entropy, path_count, bad_frame,
                bad_symbol);
  };
  if (N < batch.num_threads)
    run(0, N, batch.num_threads);
  else
    parallel_for(N, batch.num_threads, [&](int64_t n) { run(n, n + 1, 1); });
}

template <class Row>
void ctc_backward(const CtcBatch<Row>& batch, const int64_t* posterior_offsets, const Computed<Row>* posteriors,
                  const uint8_t* path_count, const double* grad_nll, const double* grad_entropy, Row* grad) {
  const int64_t N = batch.num_utterances, T = batch.num_frames, C = batch.num_symbols;
  advise_huge_pages(grad, static_cast<size_t>(N * T * C) * sizeof(Row));
  const int64_t blocks = (T + kBlock - 1) / kBlock;
  parallel_for(N * blocks, batch.num_threads, [&](int64_t i) {
    const int64_t n = i / blocks, begin = i % blocks * kBlock, end = std::min(begin + kBlock, T);
    const int64_t used = path_count[n] == kNoPath ? begin : std::clamp(batch.input_lengths[n], begin, end);
    Row* rows = grad + n * T * C;
    write_rows(batch, n, begin, used, posteriors + posterior_offsets[n], grad_nll[n],
               path_count[n] == kManyPaths ? grad_entropy[n] : 0.0, rows);
    std::fill(rows + used * C, rows + end * C, Row{});
  });
}

#define WFST_INSTANTIATE(Row)                                                                                          \
  template int64_t ctc_workspace(const CtcBatch<Row>&, int64_t*);                                                      \
  template void ctc_forward(const CtcBatch<Row>&, const int64_t*, Computed<Row>*, double*, double*, uint8_t*, int64_t*, \
                            int64_t*);                                                                                 \
  template void ctc_backward(const CtcBatch<Row>&, const int64_t*, const Computed<Row>*, const uint8_t*, const double*, \
                             const double*, Row*)
WFST_INSTANTIATE(float);
WFST_INSTANTIATE(double);
WFST_INSTANTIATE(Float16);
WFST_INSTANTIATE(BFloat16);
#undef WFST_INSTANTIATE

}  // namespace wfst_entropy
