// The Python module. Tensors arrive as addresses and sizes, checked by wfst_entropy/_native/, the only caller.
#include <nanobind/nanobind.h>

#include "address.h"
#include "ctc_bindings.h"
#include "ctc_kl.h"
#include "distance_bindings.h"
#include "intersect_dense.h"
#include "intersect_dense_kl.h"
#include "loops.h"
#include "modified_beam_bindings.h"
#include "prefix_search_bindings.h"
#include "rnnt_grid.h"
#include "rnnt_kl.h"
#include "rnnt_logits.h"
#include "search_bindings.h"
#include "surgery_bindings.h"
#include "transducer_search_bindings.h"

namespace nb = nanobind;
using namespace wfst_entropy;

namespace {

// Graphs regrouped for the kernels; they own all that they need.
template <class T>
struct DenseGraphs {
  std::vector<DenseGraph<T>> graphs;
};

template <class T>
DenseVec<T> dense_vec(int64_t num_sequences, uintptr_t scores, int64_t num_utterances, int64_t num_frames,
                      int64_t num_symbols, int64_t utterance_stride, int64_t frame_stride, uintptr_t utterances,
                      uintptr_t start_frames, uintptr_t lengths, int num_threads) {
  return {num_sequences,
          pointer<const T>(scores),
          num_utterances,
          num_frames,
          num_symbols,
          utterance_stride,
          frame_stride,
          pointer<const int64_t>(utterances),
          pointer<const int64_t>(start_frames),
          pointer<const int64_t>(lengths),
          num_threads};
}

template <class T>
void bind_intersect_dense(nb::module_& m, const char* graphs_name, const char* dense_name, const char* forward_name,
                          const char* backward_name) {
  nb::class_<DenseGraphs<T>>(m, graphs_name)
      .def_static("make",
                  [](int64_t num_graphs, uintptr_t arcs, uintptr_t scores, uintptr_t state_splits,
                     uintptr_t arc_splits, int num_threads) {
                    nb::gil_scoped_release released;
                    const GraphVec<T> graphs{num_graphs, pointer<const int32_t>(arcs), pointer<const T>(scores),
                                             pointer<const int64_t>(state_splits), pointer<const int64_t>(arc_splits)};
                    return DenseGraphs<T>{dense_graphs(graphs, num_threads)};
                  })
      .def("workspace", [](const DenseGraphs<T>& self, int64_t num_sequences, uintptr_t lengths, bool entropy,
                           uintptr_t cell_offsets) {
        return intersect_dense_workspace(self.graphs, num_sequences, pointer<const int64_t>(lengths), entropy,
                                         pointer<int64_t>(cell_offsets));
      });
  nb::class_<DenseVec<T>>(m, dense_name).def_static("make", &dense_vec<T>);
  m.def(forward_name,
        [](const DenseGraphs<T>& graphs, const DenseVec<T>& dense, uintptr_t cells, uintptr_t cell_offsets,
           uintptr_t nll, uintptr_t entropy, uintptr_t path_count, uintptr_t bad_frame, uintptr_t bad_symbol) {
          nb::gil_scoped_release released;
          intersect_dense_forward<T>(graphs.graphs, dense, pointer<T>(cells), pointer<const int64_t>(cell_offsets),
                                     pointer<double>(nll), pointer<double>(entropy), pointer<uint8_t>(path_count),
                                     pointer<int64_t>(bad_frame), pointer<int64_t>(bad_symbol));
        });
  m.def(backward_name,
        [](const DenseGraphs<T>& graphs, const DenseVec<T>& dense, uintptr_t cells, uintptr_t cell_offsets,
           uintptr_t path_count, uintptr_t grad_nll, uintptr_t grad_entropy, uintptr_t grad_dense,
           uintptr_t grad_graph) {
          nb::gil_scoped_release released;
          intersect_dense_backward<T>(graphs.graphs, dense, pointer<const T>(cells),
                                      pointer<const int64_t>(cell_offsets), pointer<const uint8_t>(path_count),
                                      pointer<const double>(grad_nll), pointer<const double>(grad_entropy),
                                      pointer<T>(grad_dense), pointer<T>(grad_graph));
        });
}

template <class T>
void bind_intersect_dense_kl(nb::module_& m, const char* workspace_name, const char* forward_name,
                             const char* backward_name) {
  m.def(workspace_name, [](const DenseGraphs<T>& graphs, int64_t num_sequences, uintptr_t lengths, bool moments,
                           uintptr_t cell_offsets) {
    return intersect_dense_kl_workspace(graphs.graphs, num_sequences, pointer<const int64_t>(lengths), moments,
                                        pointer<int64_t>(cell_offsets));
  });
  m.def(forward_name, [](const DenseGraphs<T>& graphs, const DenseVec<T>& p, const DenseVec<T>& q, bool moments,
                         uintptr_t cells, uintptr_t cell_offsets, uintptr_t log_p, uintptr_t log_q, uintptr_t kl,
                         uintptr_t status, uintptr_t bad_frame, uintptr_t bad_symbol, uintptr_t bad_model) {
    nb::gil_scoped_release released;
    intersect_dense_kl_forward<T>(graphs.graphs, {p, q}, moments, pointer<T>(cells),
                                  pointer<const int64_t>(cell_offsets), pointer<double>(log_p), pointer<double>(log_q),
                                  pointer<double>(kl), pointer<uint8_t>(status), pointer<int64_t>(bad_frame),
                                  pointer<int64_t>(bad_symbol), pointer<uint8_t>(bad_model));
  });
  m.def(backward_name, [](const DenseGraphs<T>& graphs, const DenseVec<T>& p, const DenseVec<T>& q, bool moments,
                          uintptr_t cells, uintptr_t cell_offsets, uintptr_t status, uintptr_t by_kl, uintptr_t by_p,
                          uintptr_t by_q, uintptr_t grad_p, uintptr_t grad_q, uintptr_t grad_graph, bool graph_in_p,
                          bool graph_in_q) {
    nb::gil_scoped_release released;
    intersect_dense_kl_backward<T>(
        graphs.graphs, {p, q}, moments, pointer<const T>(cells), pointer<const int64_t>(cell_offsets),
        pointer<const uint8_t>(status),
        {pointer<const double>(by_kl), pointer<const double>(by_p), pointer<const double>(by_q), pointer<T>(grad_p),
         pointer<T>(grad_q), pointer<T>(grad_graph), graph_in_p, graph_in_q});
  });
}

}  // namespace

NB_MODULE(_wfst_entropy, m) {
  nb::set_leak_warnings(false);  // a loss that is alive when Python ends keeps its graphs, which is no fault
  m.doc() = "C++ kernels of wfst_entropy; see wfst_entropy/_native/";
  m.def("instruction_set", &instruction_set);
  m.def("use_instruction_set", &use_instruction_set);
  bind_ctc(m);
  bind_ctc_kl(m);
  bind_intersect_dense<float>(m, "DenseGraphsFloat32", "DenseVecFloat32", "intersect_dense_forward_float32",
                              "intersect_dense_backward_float32");
  bind_intersect_dense<double>(m, "DenseGraphsFloat64", "DenseVecFloat64", "intersect_dense_forward_float64",
                               "intersect_dense_backward_float64");
  bind_rnnt_grid(m);
  bind_rnnt_kl(m);
  bind_rnnt_logits(m);
  bind_intersect_dense_kl<float>(m, "intersect_dense_kl_workspace_float32", "intersect_dense_kl_forward_float32",
                                 "intersect_dense_kl_backward_float32");
  bind_intersect_dense_kl<double>(m, "intersect_dense_kl_workspace_float64", "intersect_dense_kl_forward_float64",
                                  "intersect_dense_kl_backward_float64");
  bind_surgery(m);
  bind_shortest_distance(m);
  bind_modified_beam(m);
  bind_prefix_search(m);
  bind_search(m);
  bind_transducer_search(m);
}
