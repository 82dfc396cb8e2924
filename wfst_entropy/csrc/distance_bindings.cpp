// Distances for wfst_entropy/_native/distance.py, which checks what arrives here as addresses.
#include "distance_bindings.h"

#include "shortest_distance.h"

namespace nb = nanobind;

namespace wfst_entropy {
namespace {

const double* in(uintptr_t address) { return reinterpret_cast<const double*>(address); }
double* out(uintptr_t address) { return reinterpret_cast<double*>(address); }

std::vector<int64_t> numbers(uintptr_t address, int64_t count) {
  const auto* first = reinterpret_cast<const int64_t*>(address);
  return {first, first + count};
}

Progress progress() { return {"shortest_distance", 0, 0}; }

GraphOrder make_order(int64_t num_states, int64_t num_arcs, uintptr_t source, uintptr_t destination, uintptr_t starts,
                      int64_t num_starts, uintptr_t ends, int64_t num_ends) {
  nb::gil_scoped_release released;
  Progress steps = progress();
  return {num_states,
          num_arcs,
          reinterpret_cast<const int64_t*>(source),
          reinterpret_cast<const int64_t*>(destination),
          numbers(starts, num_starts),
          numbers(ends, num_ends),
          steps};
}

}  // namespace

void bind_shortest_distance(nb::module_& m) {
  nb::class_<GraphOrder>(m, "GraphOrder")
      .def_static("make", &make_order)
      .def_prop_ro("num_blocks", [](const GraphOrder& order) { return order.blocks.size(); });
  m.def("log_forward", [](const GraphOrder& order, bool connected, uintptr_t weights, uintptr_t d) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    return log_forward(order, connected, in(weights), out(d), steps);
  });
  m.def("log_backward", [](const GraphOrder& order, bool connected, uintptr_t weights, uintptr_t d, uintptr_t grad_d,
                           uintptr_t grad_weights) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    log_backward(order, connected, in(weights), in(d), in(grad_d), out(grad_weights), steps);
  });
  m.def("mean_forward", [](const GraphOrder& order, bool connected, uintptr_t weights, uintptr_t values, uintptr_t d,
                           uintptr_t mean) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    return mean_forward(order, connected, in(weights), in(values), out(d), out(mean), steps);
  });
  m.def("mean_backward", [](const GraphOrder& order, bool connected, uintptr_t weights, uintptr_t values, uintptr_t d,
                            uintptr_t mean, uintptr_t grad_d, uintptr_t grad_mean, uintptr_t grad_weights,
                            uintptr_t grad_values) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    mean_backward(order, connected, in(weights), in(values), in(d), in(mean), in(grad_d), in(grad_mean),
                  out(grad_weights), out(grad_values), steps);
  });
  m.def("kl_forward", [](const GraphOrder& order, bool connected, uintptr_t student, uintptr_t teacher, uintptr_t s,
                         uintptr_t t, uintptr_t k) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    return kl_forward(order, connected, in(student), in(teacher), out(s), out(t), out(k), steps);
  });
  m.def("kl_backward", [](const GraphOrder& order, bool connected, uintptr_t student, uintptr_t teacher, uintptr_t s,
                          uintptr_t t, uintptr_t k, uintptr_t grad_s, uintptr_t grad_t, uintptr_t grad_k,
                          uintptr_t grad_student, uintptr_t grad_teacher) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    kl_backward(order, connected, in(student), in(teacher), in(s), in(t), in(k), in(grad_s), in(grad_t), in(grad_k),
                out(grad_student), out(grad_teacher), steps);
  });
  m.def("best_forward", [](const GraphOrder& order, bool connected, uintptr_t weights, double tolerance, uintptr_t d,
                           uintptr_t best_arc) {
    nb::gil_scoped_release released;
    Progress steps = progress();
    return best_forward(order, connected, in(weights), tolerance, out(d), reinterpret_cast<int64_t*>(best_arc), steps);
  });
  m.def("best_backward", [](const GraphOrder& order, uintptr_t best_arc, uintptr_t grad_d, uintptr_t grad_weights) {
    nb::gil_scoped_release released;
    best_backward(order, reinterpret_cast<const int64_t*>(best_arc), in(grad_d), out(grad_weights));
  });
}

}  // namespace wfst_entropy
