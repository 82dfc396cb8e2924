#include "rnnt_logits.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "address.h"
#include "cell.h"
#include "huge_pages.h"
#include "loops.h"
#include "parallel.h"

namespace nb = nanobind;

namespace wfst_entropy {
namespace {

// One element of a row.
template <class Row>
Computed<Row> element(const Row* row, int64_t c) {
  if constexpr (std::is_same_v<Row, Computed<Row>>) {
    return row[c];
  } else {
    Computed<Row> value;
    softmax_loops<Row>().read(1, row + c, &value);
    return value;
  }
}

// One frame of one utterance.
template <class Row>
struct Frame {
  using T = Computed<Row>;

  Frame(const LogitBatch<Row>& batch, int64_t i)
      : n(i / batch.num_frames),
        t(i % batch.num_frames),
        first_node(i * batch.width),
        first_label(i * batch.label_width),
        rows(batch.logits + n * batch.utterance_stride + t * batch.frame_stride) {
    if (t >= batch.logit_lengths[n]) return;
    const int64_t length = batch.target_lengths[n];
    const int64_t begin = batch.begins ? std::min(batch.begins[i], length + 1) : 0;
    num_nodes = std::min(length + 1 - begin, batch.width);
    num_labels = std::min(length - begin, num_nodes);
    labels = batch.targets + batch.target_offsets[n] + std::min(begin, length);
  }

  int64_t n, t;
  int64_t first_node, first_label;  // positions in planes of blanks and of labels
  const Row* rows;
  int64_t num_nodes = 0, num_labels = 0;  // of the utterance, from the frame's first node on; -1 labels: past the last
  const int64_t* labels = nullptr;
};

// The scores of node u; false if there are none.
template <class Row>
bool read_node(const LogitBatch<Row>& batch, const Frame<Row>& frame, int64_t u,
               const NodeScores<Computed<Row>>& scores) {
  using T = Computed<Row>;
  const Row* row = frame.rows + u * batch.label_stride;
  const int64_t i = frame.first_node + u;
  const bool has_label = u < frame.num_labels;
  T blank = element(row, batch.blank), label = has_label ? element(row, frame.labels[u]) : T(0);
  if (batch.normalise) {
    const Normaliser<T> normaliser = softmax_loops<Row>().normaliser(batch.num_symbols, row);
    if (!(normaliser.sum > 0)) return false;
    const T log_sum = T(std::log1p(normaliser.rest));
    // the largest is taken off first: what remains of the best symbol's score keeps all its digits
    blank = (blank - normaliser.max) - log_sum;
    label = (label - normaliser.max) - log_sum;
    scores.max[i] = normaliser.max;
    scores.scale[i] = T(1 / normaliser.sum);
  } else if (!(blank <= T(kScoreLimit)) || !(label <= T(kScoreLimit))) {
    return false;
  }
  scores.blank[i] = blank;
  if (has_label) scores.label[frame.first_label + u] = label;
  return true;
}

// The gradient of one row. `work` has num_symbols values.
template <class Row>
void write_row(const LogitBatch<Row>& batch, const Frame<Row>& frame, int64_t u,
               const NodeScores<const Computed<Row>>& grads, Computed<Row>* work, Row* out) {
  using T = Computed<Row>;
  const int64_t i = frame.first_node + u;
  const bool has_label = u < frame.num_labels;
  const T blank = grads.blank[i], label = has_label ? grads.label[frame.first_label + u] : T(0);
  const T sum = blank + label;
  if (batch.normalise && sum != 0)
    softmax_loops<Row>().softmax(batch.num_symbols, frame.rows + u * batch.label_stride, grads.max[i],
                                 -sum * grads.scale[i], work);
  else
    std::fill(work, work + batch.num_symbols, T(0));
  work[batch.blank] += blank;
  if (has_label) work[frame.labels[u]] += label;
  softmax_loops<Row>().write(batch.num_symbols, work, out);
}

}  // namespace

template <class Row>
void rnnt_logits_forward(const LogitBatch<Row>& batch, const NodeScores<Computed<Row>>& scores, int64_t* bad_node) {
  using T = Computed<Row>;
  parallel_for(batch.num_utterances * batch.num_frames, batch.num_threads, [&](int64_t i) {
    const Frame<Row> frame(batch, i);
    bad_node[i] = -1;
    for (int64_t u = 0; u < frame.num_nodes && bad_node[i] < 0; ++u)
      if (!read_node(batch, frame, u, scores)) bad_node[i] = u;
    T* const blank = scores.blank + frame.first_node;
    std::fill(blank + frame.num_nodes, blank + batch.width, T(0));
    T* const label = scores.label + frame.first_label;
    std::fill(label + std::max<int64_t>(frame.num_labels, 0), label + batch.label_width, T(0));
  });
}

template <class Row>
void rnnt_logits_backward(const LogitBatch<Row>& batch, const NodeScores<const Computed<Row>>& grads, Row* grad) {
  const int64_t num_tasks = batch.num_utterances * batch.num_frames;
  // what the forward call read last is read first: some of it is still in the cache
  parallel_for(num_tasks, batch.num_threads, [&](int64_t task) {
    const Frame<Row> frame(batch, num_tasks - 1 - task);
    std::vector<Computed<Row>> work(batch.num_symbols);
    const int64_t used = frame.num_nodes;
    Row* out = grad + frame.first_node * batch.num_symbols;
    for (int64_t u = 0; u < used; ++u) write_row(batch, frame, u, grads, work.data(), out + u * batch.num_symbols);
    std::fill(out + used * batch.num_symbols, out + batch.width * batch.num_symbols, Row{});
  });
}

namespace {

template <class Row>
void bind(nb::module_& m, const char* batch_name, const char* forward_name, const char* backward_name) {
  using T = Computed<Row>;
  nb::class_<LogitBatch<Row>>(m, batch_name)
      .def_static("make", [](int64_t num_utterances, int64_t num_frames, int64_t width, int64_t num_symbols,
                             uintptr_t logits, int64_t utterance_stride, int64_t frame_stride, int64_t label_stride,
                             uintptr_t targets, uintptr_t target_offsets, uintptr_t logit_lengths,
                             uintptr_t target_lengths, int64_t label_width, uintptr_t begins, int64_t blank,
                             bool normalise, int num_threads) {
        return LogitBatch<Row>{num_utterances,
                               num_frames,
                               width,
                               num_symbols,
                               label_width,
                               pointer<const Row>(logits),
                               utterance_stride,
                               frame_stride,
                               label_stride,
                               pointer<const int64_t>(targets),
                               pointer<const int64_t>(target_offsets),
                               pointer<const int64_t>(logit_lengths),
                               pointer<const int64_t>(target_lengths),
                               pointer<const int64_t>(begins),
                               blank,
                               normalise,
                               num_threads};
      });
  m.def(forward_name, [](const LogitBatch<Row>& batch, uintptr_t blank, uintptr_t label, uintptr_t max,
                         uintptr_t scale, uintptr_t bad_node) {
    nb::gil_scoped_release released;
    rnnt_logits_forward<Row>(batch, {pointer<T>(blank), pointer<T>(label), pointer<T>(max), pointer<T>(scale)},
                             pointer<int64_t>(bad_node));
  });
  m.def(backward_name, [](const LogitBatch<Row>& batch, uintptr_t blank, uintptr_t label, uintptr_t max,
                          uintptr_t scale, uintptr_t grad, bool fresh) {
    nb::gil_scoped_release released;
    const int64_t size = batch.num_utterances * batch.num_frames * batch.width * batch.num_symbols;
    if (fresh) advise_huge_pages(pointer<void>(grad), sizeof(Row) * size);
    rnnt_logits_backward<Row>(
        batch, {pointer<const T>(blank), pointer<const T>(label), pointer<const T>(max), pointer<const T>(scale)},
        pointer<Row>(grad));
  });
}

}  // namespace

void bind_rnnt_logits(nb::module_& m) {
  bind<float>(m, "RnntLogitsFloat32", "rnnt_logits_forward_float32", "rnnt_logits_backward_float32");
  bind<double>(m, "RnntLogitsFloat64", "rnnt_logits_forward_float64", "rnnt_logits_backward_float64");
  bind<Float16>(m, "RnntLogitsFloat16", "rnnt_logits_forward_float16", "rnnt_logits_backward_float16");
  bind<BFloat16>(m, "RnntLogitsBFloat16", "rnnt_logits_forward_bfloat16", "rnnt_logits_backward_bfloat16");
}

}  // namespace wfst_entropy
