#pragma once

#include <nanobind/nanobind.h>

namespace wfst_entropy {

void bind_transducer_search(nanobind::module_& m);

}  // namespace wfst_entropy
