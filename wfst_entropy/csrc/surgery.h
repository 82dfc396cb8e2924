// What every file with an operation on graphs needs to show itself to Python. Its arguments arrive as an FsaVecView
// and a Progress; what it returns is handed over by `result`, whose arrays Python owns.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <utility>
#include <vector>

#include "graph.h"

namespace wfst_entropy {

namespace nb = nanobind;

// Moves a vector into a numpy array, without a copy.
template <class T>
nb::object to_array(std::vector<T>&& values) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  const size_t size = owned->size();
  T* data = owned->data();
  nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  owned.release();
  return nb::cast(nb::ndarray<nb::numpy, T>(data, {size}, owner));
}

// Arcs become rows of three numbers in a flat array.
inline nb::object to_array(std::vector<Arc>&& arcs) {
  auto owned = std::make_unique<std::vector<Arc>>(std::move(arcs));
  const size_t size = 3 * owned->size();
  auto* data = reinterpret_cast<int32_t*>(owned->data());
  nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<Arc>*>(p); });
  owned.release();
  return nb::cast(nb::ndarray<nb::numpy, int32_t>(data, {size}, owner));
}

// The tuple that `_native.surgery.run` unpacks: fsa_splits, state_splits, arcs, then each arc map of the builder, then
// `extras` (further vectors). Call it with the GIL held.
template <class... Extras>
nb::tuple result(FsaVecBuilder&& builder, std::vector<Extras>&&... extras) {
  builder.state_splits.push_back(builder.num_arcs());
  nb::list parts;
  parts.append(to_array(std::move(builder.fsa_splits)));
  parts.append(to_array(std::move(builder.state_splits)));
  parts.append(to_array(std::move(builder.arcs)));
  for (auto& map : builder.maps) parts.append(to_array(std::move(map)));
  (parts.append(to_array(std::move(extras))), ...);
  return nb::tuple(parts);
}

// One function per operation, each in the operation's own file; surgery_bindings.cpp calls them all.
void bind_arc_sort(nb::module_& m);
void bind_closure(nb::module_& m);
void bind_concat(nb::module_& m);
void bind_confusion_network(nb::module_& m);
void bind_connect(nb::module_& m);
void bind_ctc_compose(nb::module_& m);
void bind_difference(nb::module_& m);
void bind_edit_counts(nb::module_& m);
void bind_intersect(nb::module_& m);
void bind_intersect_dense_lattice(nb::module_& m);
void bind_epsilon_self_loops(nb::module_& m);
void bind_expand_arcs(nb::module_& m);
void bind_phi_compose(nb::module_& m);
void bind_lattice_oracle(nb::module_& m);
void bind_replace(nb::module_& m);
void bind_reverse(nb::module_& m);
void bind_top_sort(nb::module_& m);
void bind_union(nb::module_& m);
void bind_determinize(nb::module_& m);
void bind_shortest_path(nb::module_& m);
void bind_n_shortest_paths(nb::module_& m);
void bind_prune(nb::module_& m);
void bind_minimize(nb::module_& m);
void bind_openfst_states(nb::module_& m);
void bind_disambiguate(nb::module_& m);
void bind_remove_epsilon(nb::module_& m);
void bind_remove_epsilon_local(nb::module_& m);

}  // namespace wfst_entropy
