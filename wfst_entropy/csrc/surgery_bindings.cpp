// The types that operations on graphs share with Python, and the list of all operations.
#include "surgery_bindings.h"

#include <nanobind/stl/string.h>

#include "surgery.h"

namespace wfst_entropy {

void bind_surgery(nb::module_& m) {
  nb::exception<LimitError>(m, "LimitError", PyExc_RuntimeError);
  nb::exception<CycleError>(m, "CycleError", PyExc_ValueError);
  nb::exception<InputError>(m, "InputError", PyExc_ValueError);
  nb::class_<FsaVecView>(m, "FsaVecView")
      .def_static("make", [](int64_t num_fsas, uintptr_t fsa_splits, uintptr_t state_splits, uintptr_t arcs,
                             uintptr_t scores, uintptr_t aux_labels) {
        return FsaVecView{num_fsas,
                          reinterpret_cast<const int64_t*>(fsa_splits),
                          reinterpret_cast<const int64_t*>(state_splits),
                          reinterpret_cast<const Arc*>(arcs),
                          reinterpret_cast<const double*>(scores),
                          reinterpret_cast<const int32_t*>(aux_labels)};
      });
  nb::class_<Progress>(m, "Progress").def(nb::init<std::string, int64_t, int64_t>());
  bind_arc_sort(m);
  bind_closure(m);
  bind_concat(m);
  bind_confusion_network(m);
  bind_connect(m);
  bind_ctc_compose(m);
  bind_difference(m);
  bind_edit_counts(m);
  bind_intersect(m);
  bind_intersect_dense_lattice(m);
  bind_epsilon_self_loops(m);
  bind_expand_arcs(m);
  bind_phi_compose(m);
  bind_lattice_oracle(m);
  bind_replace(m);
  bind_reverse(m);
  bind_top_sort(m);
  bind_union(m);
  bind_determinize(m);
  bind_shortest_path(m);
  bind_n_shortest_paths(m);
  bind_prune(m);
  bind_minimize(m);
  bind_openfst_states(m);
  bind_disambiguate(m);
  bind_remove_epsilon(m);
  bind_remove_epsilon_local(m);
}

}  // namespace wfst_entropy
