// The CTC kernels for Python; wfst_entropy/_native/ctc.py, the only caller, checks what arrives.
#include "ctc_bindings.h"

#include <string>

#include "address.h"
#include "ctc.h"

namespace nb = nanobind;

namespace wfst_entropy {
namespace {

template <class Row>
CtcBatch<Row> ctc_batch(int64_t num_utterances, int64_t num_frames, int64_t num_symbols, uintptr_t scores,
                        int64_t utterance_stride, int64_t frame_stride, uintptr_t targets, uintptr_t target_offsets,
                        uintptr_t input_lengths, uintptr_t target_lengths, int64_t blank, bool entropy, bool softmax,
                        int num_threads) {
  return {num_utterances,
          num_frames,
          num_symbols,
          pointer<const Row>(scores),
          utterance_stride,
          frame_stride,
          pointer<const int64_t>(targets),
          pointer<const int64_t>(target_offsets),
          pointer<const int64_t>(input_lengths),
          pointer<const int64_t>(target_lengths),
          blank,
          entropy,
          softmax,
          num_threads};
}

template <class Row>
void bind(nb::module_& m, const std::string& type) {
  using T = Computed<Row>;
  nb::class_<CtcBatch<Row>>(m, ("CtcBatch_" + type).c_str()).def_static("make", &ctc_batch<Row>);
  m.def(("ctc_workspace_" + type).c_str(), [](const CtcBatch<Row>& batch, uintptr_t posterior_offsets) {
    return ctc_workspace(batch, pointer<int64_t>(posterior_offsets));
  });
  m.def(("ctc_forward_" + type).c_str(),
        [](const CtcBatch<Row>& batch, uintptr_t posterior_offsets, uintptr_t posteriors, uintptr_t nll,
           uintptr_t entropy, uintptr_t path_count, uintptr_t bad_frame, uintptr_t bad_symbol) {
          nb::gil_scoped_release released;
          ctc_forward(batch, pointer<const int64_t>(posterior_offsets), pointer<T>(posteriors), pointer<double>(nll),
                      pointer<double>(entropy), pointer<uint8_t>(path_count), pointer<int64_t>(bad_frame),
                      pointer<int64_t>(bad_symbol));
        });
  m.def(("ctc_backward_" + type).c_str(),
        [](const CtcBatch<Row>& batch, uintptr_t posterior_offsets, uintptr_t posteriors, uintptr_t path_count,
           uintptr_t grad_nll, uintptr_t grad_entropy, uintptr_t grad) {
          nb::gil_scoped_release released;
          ctc_backward(batch, pointer<const int64_t>(posterior_offsets), pointer<const T>(posteriors),
                       pointer<const uint8_t>(path_count), pointer<const double>(grad_nll),
                       pointer<const double>(grad_entropy), pointer<Row>(grad));
        });
}

}  // namespace

void bind_ctc(nb::module_& m) {
  bind<float>(m, "float32");
  bind<double>(m, "float64");
  bind<Float16>(m, "float16");
  bind<BFloat16>(m, "bfloat16");
}

}  // namespace wfst_entropy
