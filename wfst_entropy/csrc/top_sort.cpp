// Numbers the states so that every arc goes to a larger number.
#include <algorithm>
#include <string>

#include "reachability.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

constexpr size_t kStatesShown = 10;

// A message that names a cycle. Each state still waiting for an arc has an arc from another such state (or itself).
std::string describe_cycle(const FsaView& fsa, int64_t number, const std::vector<int64_t>& waiting,
                           const std::vector<uint8_t>& seen) {
  std::vector<int32_t> predecessor(fsa.num_states, -1);
  int32_t state = -1;
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) {
    const Arc& arc = fsa.arcs[a];
    if (!seen[arc.src] || waiting[arc.src] == 0 || waiting[arc.dst] == 0) continue;
    predecessor[arc.dst] = arc.src;
    state = arc.dst;
  }
  std::vector<uint8_t> visited(fsa.num_states, 0);
  for (; !visited[state]; state = predecessor[state]) visited[state] = 1;
  std::vector<int32_t> cycle{state};
  for (int32_t s = predecessor[state]; s != state; s = predecessor[s]) cycle.push_back(s);
  std::reverse(cycle.begin(), cycle.end());
  std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
  cycle.push_back(cycle.front());

  std::string text;
  for (size_t i = 0; i < std::min(cycle.size(), kStatesShown); ++i) {
    text += (i ? " -> " : "") + std::to_string(cycle[i]);
  }
  if (cycle.size() > kStatesShown) text += " -> ...";
  return "top_sort: FSA " + std::to_string(number) + " has the cycle of states " + text +
         "; needed is an acyclic graph. Look at these states, or remove epsilon cycles first";
}

// Kahn's algorithm by levels; within a level states keep their order, and the final state comes last.
std::vector<int32_t> topological_order(const FsaView& fsa, int64_t number, Progress& progress) {
  std::vector<int64_t> waiting(fsa.num_states, 0);  // arcs into each state from states not yet in order
  const std::vector<uint8_t> seen = accessible(fsa, progress, [&](const Arc& arc) { ++waiting[arc.dst]; });
  std::vector<int32_t> order;
  if (waiting[0] == 0) order.push_back(0);
  for (size_t begin = 0; begin < order.size();) {
    const size_t end = order.size();
    for (size_t i = begin; i < end; ++i) {
      for (int64_t a = fsa.splits[order[i]]; a < fsa.splits[order[i] + 1]; ++a) {
        progress.step();
        const int32_t dst = fsa.arcs[a].dst;
        if (--waiting[dst] == 0 && dst != fsa.final_state()) order.push_back(dst);
      }
    }
    std::sort(order.begin() + end, order.end());
    begin = end;
  }
  const auto stuck = [&](int64_t arcs) { return arcs != 0; };
  if (std::any_of(waiting.begin(), waiting.end(), stuck)) {
    throw CycleError(describe_cycle(fsa, number, waiting, seen));
  }
  order.push_back(fsa.final_state());
  return order;
}

void sort_one(const FsaView& fsa, int64_t fsa_number, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  const std::vector<int32_t> order = topological_order(fsa, fsa_number, progress);
  std::vector<int32_t> number(fsa.num_states, -1);
  for (size_t i = 0; i < order.size(); ++i) number[order[i]] = static_cast<int32_t>(i);
  for (const int32_t state : order) {
    builder.begin_state();
    for (int64_t a = fsa.splits[state]; a < fsa.splits[state + 1]; ++a) {
      builder.add_arc(number[fsa.arcs[a].dst], fsa.arcs[a].label, a);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

nb::tuple top_sort(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  builder.reserve(fsas.num_states(), fsas.num_arcs());
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) sort_one(fsas[i], i, builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_top_sort(nb::module_& m) { m.def("top_sort", &top_sort); }

}  // namespace wfst_entropy
