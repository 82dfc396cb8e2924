// A loop over utterances on several threads.
#pragma once

#include <cstdint>
#include <exception>

namespace wfst_entropy {

// Calls body(0) ... body(n - 1), each once, in any order. An exception (such as one for lack of memory) may not leave
// an OpenMP region, so the first one is kept and thrown after it.
template <class Body>
void parallel_for(int64_t n, [[maybe_unused]] int num_threads, const Body& body) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) num_threads(num_threads)
  for (int64_t i = 0; i < n; ++i) {
    try {
      body(i);
    } catch (...) {
#pragma omp critical(wfst_entropy_failure)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace wfst_entropy
