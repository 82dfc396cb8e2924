// The Python module. Tensors arrive as addresses and sizes, checked by wfst_entropy/_native.py, the only caller.
#include <nanobind/nanobind.h>

#include "ctc.h"
#include "loops.h"

namespace nb = nanobind;
using namespace wfst_entropy;

namespace {

template <class P>
P* pointer(uintptr_t address) {
  return reinterpret_cast<P*>(address);
}

template <class T>
CtcBatch<T> ctc_batch(int64_t num_utterances, uintptr_t log_probs, int64_t utterance_stride, int64_t frame_stride,
                      uintptr_t targets, uintptr_t target_offsets, uintptr_t input_lengths, uintptr_t target_lengths,
                      int64_t blank, uintptr_t cell_offsets, int num_threads) {
  return {num_utterances,
          pointer<const T>(log_probs),
          utterance_stride,
          frame_stride,
          pointer<const int64_t>(targets),
          pointer<const int64_t>(target_offsets),
          pointer<const int64_t>(input_lengths),
          pointer<const int64_t>(target_lengths),
          blank,
          pointer<const int64_t>(cell_offsets),
          num_threads};
}

template <class T>
void bind_ctc(nb::module_& m, const char* batch_name, const char* forward_name, const char* backward_name) {
  nb::class_<CtcBatch<T>>(m, batch_name).def_static("make", &ctc_batch<T>);
  m.def(forward_name,
        [](const CtcBatch<T>& batch, uintptr_t cells, uintptr_t nll, uintptr_t entropy, uintptr_t path_count,
           uintptr_t bad_frame, uintptr_t bad_symbol) {
          nb::gil_scoped_release released;
          ctc_forward<T>(batch, pointer<T>(cells), pointer<double>(nll), pointer<double>(entropy),
                         pointer<uint8_t>(path_count), pointer<int64_t>(bad_frame), pointer<int64_t>(bad_symbol));
        });
  m.def(backward_name,
        [](const CtcBatch<T>& batch, uintptr_t cells, uintptr_t path_count, uintptr_t grad_nll, uintptr_t grad_entropy,
           int64_t max_frames, int64_t num_symbols, uintptr_t grad) {
          nb::gil_scoped_release released;
          ctc_backward<T>(batch, pointer<const T>(cells), pointer<const uint8_t>(path_count),
                          pointer<const double>(grad_nll), pointer<const double>(grad_entropy), max_frames,
                          num_symbols, pointer<T>(grad));
        });
}

}  // namespace

NB_MODULE(_wfst_entropy, m) {
  m.doc() = "C++ kernels of wfst_entropy; see wfst_entropy/_native.py";
  m.def("instruction_set", &instruction_set);
  m.def("ctc_workspace", [](int64_t num_utterances, uintptr_t input_lengths, uintptr_t target_lengths, bool entropy,
                            uintptr_t cell_offsets) {
    return ctc_workspace(num_utterances, pointer<const int64_t>(input_lengths), pointer<const int64_t>(target_lengths),
                         entropy, pointer<int64_t>(cell_offsets));
  });
  bind_ctc<float>(m, "CtcBatchFloat32", "ctc_forward_float32", "ctc_backward_float32");
  bind_ctc<double>(m, "CtcBatchFloat64", "ctc_forward_float64", "ctc_backward_float64");
}
