// See modified_beam_bindings.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace wfst_entropy {

void bind_modified_beam(nanobind::module_& m);

}  // namespace wfst_entropy
