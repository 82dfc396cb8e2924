// How many arcs each state of an OpenFst vector FST has: in the file every state says where the next one begins.
#include <cstring>

#include "address.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// `words`: address of `num_words` numbers of four bytes: for each state its final cost (`wide` words), the number of
// its arcs (two), and the arcs (three words and a cost each). With num_states below 0, states until the end.
// Returns None for data of another form; Python says what is wrong with them.
nb::object openfst_state_sizes(uintptr_t words, int64_t num_words, int64_t num_states, int64_t wide) {
  std::vector<int64_t> sizes;
  {
    nb::gil_scoped_release released;
    const auto* data = pointer<const int32_t>(words);
    const auto wanted = [&] { return num_states < 0 || static_cast<int64_t>(sizes.size()) < num_states; };
    for (int64_t at = 0; wanted() && (num_states >= 0 || at < num_words);) {
      at += wide + 2;
      int64_t size = -1;
      if (at <= num_words) std::memcpy(&size, data + at - 2, sizeof(size));
      if (size < 0 || size > (num_words - at) / (wide + 3)) {
        nb::gil_scoped_acquire acquired;
        return nb::none();
      }
      sizes.push_back(size);
      at += (wide + 3) * size;
    }
  }
  return to_array(std::move(sizes));
}

}  // namespace

void bind_openfst_states(nb::module_& m) { m.def("openfst_state_sizes", &openfst_state_sizes); }

}  // namespace wfst_entropy
