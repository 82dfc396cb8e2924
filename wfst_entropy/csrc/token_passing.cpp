#include "token_passing.h"

#include <string>

namespace wfst_entropy {

void SearchControl::hold(int64_t states, int64_t arcs) {
  const int64_t num_states = num_states_ += states, num_arcs = num_arcs_ += arcs;
  if (num_states <= progress_.max_states() && num_arcs <= progress_.max_arcs()) return;
  const bool too_many_states = num_states > progress_.max_states();
  throw LimitError(progress_.operation() + ": the lattices outgrow " +
                   (too_many_states ? "max_states=" + std::to_string(progress_.max_states())
                                    : "max_arcs=" + std::to_string(progress_.max_arcs())) +
                   ", with " + std::to_string(num_states) + " states and " + std::to_string(num_arcs) +
                   " arcs so far; " + advice_ + ", pass fewer sequences at a time, or raise the limit.");
}

}  // namespace wfst_entropy
