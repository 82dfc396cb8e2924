#include "progress.h"

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace wfst_entropy {

void Progress::throw_limit() const {
  const bool states = num_states_ > max_states_;
  const int64_t limit = states ? max_states_ : max_arcs_;
  throw LimitError(operation_ + ": the result outgrows " + (states ? "max_states=" : "max_arcs=") +
                   std::to_string(limit) + ", with " + std::to_string(num_states_) + " states and " +
                   std::to_string(num_arcs_) + " arcs so far; raise the limit if it is meant to be so large.");
}

void Progress::throw_held() const {
  throw LimitError(operation_ + ": its tables outgrow the " + std::to_string(max_held_ >> 20) +
                   " MB that max_states=" + std::to_string(max_states_) + " allows them, with " +
                   std::to_string(num_states_) + " states and " + std::to_string(num_arcs_) +
                   " arcs so far; raise max_states if they are meant to be so large.");
}

void Progress::check_interrupt() const {
  nb::gil_scoped_acquire held;
  if (PyErr_CheckSignals() == 0) return;
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
    PyErr_Clear();
    PyErr_Format(PyExc_KeyboardInterrupt, "%s: interrupted, with %lld states and %lld arcs so far", operation_.c_str(),
                 static_cast<long long>(num_states_), static_cast<long long>(num_arcs_));
  }
  throw nb::python_error();
}

}  // namespace wfst_entropy
