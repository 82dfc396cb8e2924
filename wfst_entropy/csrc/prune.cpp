// Keeps the arcs on paths that are nearly as good as the best one, and no more than so many of the best states.
#include <queue>

#include "best_search.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

constexpr int64_t kNoLimit = -1;

// The states that a search from the start meets first if it always goes on with the best path; the final one does not
// count.
std::vector<uint8_t> best_states(const TrimmedFsa& fsa, const std::vector<double>& through, int64_t limit,
                                 Progress& progress) {
  std::vector<uint8_t> keep(fsa.num_states(), limit == kNoLimit);
  if (limit == kNoLimit) return keep;
  std::priority_queue<std::pair<double, int32_t>> queue;
  std::vector<uint8_t> seen(fsa.num_states(), 0);
  queue.push({through[0], 0});
  seen[0] = 1;
  for (int64_t count = 0; !queue.empty() && count < limit; ++count) {
    const int32_t state = -queue.top().second;  // negated: of equally good states, the smallest number comes first
    queue.pop();
    keep[state] = 1;
    for (int64_t a = fsa.splits[state]; a < fsa.splits[state + 1]; ++a) {
      progress.step();
      const int32_t dst = fsa.arcs[a].dst;
      if (seen[dst] || dst == fsa.final_state()) continue;
      seen[dst] = 1;
      queue.push({through[dst], -dst});
    }
  }
  keep[fsa.final_state()] = 1;
  return keep;
}

void prune_one(const TrimmedFsa& fsa, double threshold, int64_t limit, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  const auto all = [](const TrimmedArc&) { return true; };
  const Links links = make_links(fsa, Direction::kForward, all), back = make_links(fsa, Direction::kBackward, all);
  BestSearch from_start(fsa, links, progress), to_final(fsa, back, progress);
  from_start.run(0);
  to_final.run(fsa.final_state());
  const double best = from_start.distance(fsa.final_state());
  // The best path itself must not fall to rounding.
  constexpr double kTolerance = 1e-7;
  const double lowest = best - threshold - kTolerance * (1 + std::abs(best));
  std::vector<double> through(fsa.num_states());
  for (int32_t s = 0; s < fsa.num_states(); ++s) through[s] = from_start.distance(s) + to_final.distance(s);
  std::vector<uint8_t> keep = best_states(fsa, through, limit, progress);
  if (!keep[0]) return builder.end_empty_fsa();  // a limit of no states
  std::vector<int32_t> number(fsa.num_states(), -1);
  for (int32_t s = 0, n = 0; s < fsa.num_states(); ++s) {
    if (keep[s] &= through[s] >= lowest) number[s] = n++;
  }
  for (int32_t s = 0; s < fsa.num_states(); ++s) {
    if (!keep[s]) continue;
    builder.begin_state();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const TrimmedArc& arc = fsa.arcs[a];
      if (!keep[arc.dst] || from_start.distance(s) + arc.score + to_final.distance(arc.dst) < lowest) continue;
      builder.add_arc(number[arc.dst], arc.label, arc.number);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

nb::tuple prune(const FsaVecView& fsas, Progress& progress, double threshold, int64_t state_limit) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      prune_one(trim(fsas, i, progress), threshold, state_limit, builder, progress);
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_prune(nb::module_& m) { m.def("prune", &prune); }

}  // namespace wfst_entropy
