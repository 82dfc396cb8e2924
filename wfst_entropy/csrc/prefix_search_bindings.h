// See prefix_search_bindings.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace wfst_entropy {

void bind_prefix_search(nanobind::module_& m);

}  // namespace wfst_entropy
