// Epsilon removal: each state gets the arcs of the states that it reaches over epsilons.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "best_search.h"
#include "jacobian.h"
#include "log_closure.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

bool is_epsilon(const TrimmedArc& arc) { return arc.label == 0; }

struct Output {
  FsaVecBuilder builder;
  std::vector<int64_t> map_splits{0}, map_arcs;  // the arcs of which each new one consists
  std::vector<double> scores;
  Jacobian jacobian;
};

// The states that remain: a path stops there between labels.
std::vector<int32_t> renumber(const TrimmedFsa& fsa) {
  std::vector<int32_t> number(fsa.num_states(), 0);
  number[0] = 1;
  for (const TrimmedArc& arc : fsa.arcs) {
    if (!is_epsilon(arc)) number[arc.dst] = 1;
  }
  for (int32_t s = 0, n = 0; s < fsa.num_states(); ++s) number[s] = number[s] ? n++ : -1;
  return number;
}

// Adds the arcs that `middle` has with a label, on behalf of a state that reaches it over `epsilons`.
void add_arcs(const TrimmedFsa& fsa, const std::vector<int32_t>& number, int32_t middle, double weight,
              const std::vector<int64_t>& epsilons, const SparseRow& derivatives, Output& out, Progress& progress) {
  for (int64_t a = fsa.splits[middle]; a < fsa.splits[middle + 1]; ++a) {
    const TrimmedArc& arc = fsa.arcs[a];
    if (is_epsilon(arc)) continue;
    out.builder.add_arc(number[arc.dst], arc.label);
    progress.hold(static_cast<int64_t>(epsilons.size() + 1) * sizeof(int64_t) +
                  static_cast<int64_t>(derivatives.size()) * sizeof(Coefficient));
    for (int64_t e : epsilons) out.map_arcs.push_back(fsa.arcs[e].number);
    out.map_arcs.push_back(arc.number);
    out.map_splits.push_back(static_cast<int64_t>(out.map_arcs.size()));
    out.scores.push_back(weight + arc.score);
    out.jacobian.add_row(derivatives);
    out.jacobian.append_to_row(arc.number, 1);
  }
}

// d(log weight of all epsilon paths from source to `middle`)/d(score) of each epsilon arc: the expected number of times
// that those paths take it.
SparseRow expected_epsilons(const TrimmedFsa& fsa, const Links& epsilons, LogClosure& closure, int32_t source,
                            int32_t middle) {
  const LogClosure::Row& from_source = closure.row(source);
  const double total = from_source.at(middle);
  SparseRow row;
  for (const auto& [state, weight] : from_source) {
    for (int64_t i = epsilons.splits[state]; i < epsilons.splits[state + 1]; ++i) {
      const LogClosure::Row& rest = closure.row(epsilons.to[i]);
      const auto found = rest.find(middle);
      if (found == rest.end()) continue;
      const TrimmedArc& arc = fsa.arcs[epsilons.arc[i]];
      row.push_back({arc.number, std::exp(weight + arc.score + found->second - total)});
    }
  }
  return row;
}

void remove_one(const TrimmedFsa& fsa, bool log, bool derivatives, Output& out, Progress& progress) {
  if (fsa.empty()) return out.builder.end_empty_fsa();
  const Links epsilons = make_links(fsa, Direction::kForward, is_epsilon);
  BestSearch search(fsa, epsilons, progress);
  LogClosure closure(fsa, epsilons, progress);
  const std::vector<int32_t> number = renumber(fsa);
  std::vector<uint8_t> labelled(fsa.num_states(), 0);
  for (const TrimmedArc& arc : fsa.arcs) labelled[arc.src] |= !is_epsilon(arc);
  for (int32_t s = 0; s < fsa.num_states(); ++s) {
    if (number[s] < 0) continue;
    out.builder.begin_state();
    if (log) closure.row(s);  // where the sum does not converge, that is the message
    search.run(s);
    for (int32_t middle : search.reached()) {
      if (!labelled[middle]) continue;  // nothing to add: paths over many epsilons are not worked out in vain
      const double weight = log ? closure.row(s).at(middle) : search.distance(middle);
      const std::vector<int64_t> path = search.path(middle);
      SparseRow row;
      if (derivatives && log) row = expected_epsilons(fsa, epsilons, closure, s, middle);
      add_arcs(fsa, number, middle, weight, path, row, out, progress);
    }
    if (!derivatives) closure.clear();  // only derivatives look at the rows of other states again
  }
  out.builder.end_fsa(/*add_final=*/false);
}

nb::tuple remove_epsilon(const FsaVecView& fsas, Progress& progress, bool log, bool derivatives) {
  Output out{FsaVecBuilder(progress, /*num_maps=*/0), {0}, {}, {}, Jacobian(derivatives && log)};
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) remove_one(trim(fsas, i, progress), log, derivatives, out, progress);
  }
  return result(std::move(out.builder), std::move(out.map_splits), std::move(out.map_arcs), std::move(out.scores),
                std::move(out.jacobian.splits), std::move(out.jacobian.columns), std::move(out.jacobian.values));
}

}  // namespace

void bind_remove_epsilon(nb::module_& m) { m.def("remove_epsilon", &remove_epsilon); }

}  // namespace wfst_entropy
