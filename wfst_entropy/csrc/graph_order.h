// The order in which distances spread over graphs: states by strongly connected component, components topologically.
#pragma once

#include <cstdint>
#include <vector>

#include "progress.h"

namespace wfst_entropy {

// All FSAs of a vector as one graph, for one direction. Owns its arrays: nothing that happens to the tensors it was
// made of can lead a sweep astray. States are known by their position in the order.
class GraphOrder {
 public:
  // A component with an arc inside: positions begin ... end - 1.
  struct Block {
    int32_t begin, end;
    bool useful;  // on a path from a start to an end
  };

  // Arcs go from source[a] to destination[a]; paths begin at `starts` and finish at `ends`. Throws InputError if a
  // state number is out of range.
  GraphOrder(int64_t num_states, int64_t num_arcs, const int64_t* source, const int64_t* destination,
             std::vector<int64_t> starts, std::vector<int64_t> ends, Progress& progress);

  int32_t num_states() const { return static_cast<int32_t>(state.size()); }
  int64_t num_arcs() const { return static_cast<int64_t>(arc.size()); }

  std::vector<int32_t> state;     // of each position
  std::vector<uint8_t> start;     // whether a path may begin there
  std::vector<int64_t> entering;  // num_states + 1: where the entering arcs of each position begin
  std::vector<int32_t> from;      // position of the source of each entering arc
  std::vector<int64_t> arc;       // its number, ascending for each position
  std::vector<Block> blocks;      // ascending

 private:
  std::vector<int32_t> find_components(const int64_t* source, const int64_t* destination, Progress& progress);
  void order_arcs(const int64_t* source, const int64_t* destination, const std::vector<int32_t>& position);
  void find_blocks(const std::vector<int32_t>& component, const std::vector<uint8_t>& end);
};

}  // namespace wfst_entropy
