// Tensors arrive from Python as addresses, which wfst_entropy/_native/ has checked.
#pragma once

#include <cstdint>

namespace wfst_entropy {

template <class P>
P* pointer(uintptr_t address) {
  return reinterpret_cast<P*>(address);
}

}  // namespace wfst_entropy
