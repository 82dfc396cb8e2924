// Epsilons that are joined with the arc before or behind them, where that makes the graph no larger.
#include "surgery.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

// A run of consecutive arcs that reads and writes at most one symbol each, and can stand as one arc.
struct Run {
  int32_t label = 0, output = 0;
  bool alone = true;          // no other arc enters a state inside the run
  std::vector<int64_t> arcs;  // of the trimmed FSA
};

class Joiner {
 public:
  Joiner(const TrimmedFsa& fsa, const int32_t* outputs, Progress& progress)
      : fsa_(fsa), outputs_(outputs), progress_(progress), entering_(fsa.num_states(), 0) {
    for (const TrimmedArc& arc : fsa.arcs) ++entering_[arc.dst];
    ++entering_[0];  // a path begins there: it never goes away
  }

  // Calls emit(label, arcs, to) for every run that leaves a state, `arcs` being a vector.
  template <class Emit>
  void leave(int32_t state, Emit emit) {
    for (int64_t a = fsa_.splits[state]; a < fsa_.splits[state + 1]; ++a) {
      progress_.step();
      first_.arcs.clear();
      first_ = with({0, 0, true, std::move(first_.arcs)}, a);
      if (stops(first_)) {
        emit(first_.label, first_.arcs, end_of(first_));
      } else {
        pending_.push_back(first_);
        follow(emit);
      }
    }
  }

 private:
  int32_t end_of(const Run& run) const { return fsa_.arcs[run.arcs.back()].dst; }

  // Whether the arc behind a run must stay an arc of its own.
  bool stops(const Run& run) const {
    const int32_t to = end_of(run);
    const int64_t begin = fsa_.splits[to], end = fsa_.splits[to + 1];
    // One arc only goes on from here, or no other run comes here: then there are not more arcs without this state.
    const bool is_free = end - begin == 1 || (run.alone && entering_[to] == 1);
    return begin == end || !is_free || !joins_all(run, begin, end);
  }

  template <class Emit>
  void follow(Emit& emit) {
    while (!pending_.empty()) {
      progress_.step();
      Run run = std::move(pending_.back());
      pending_.pop_back();
      const int32_t to = end_of(run);
      if (stops(run)) {
        emit(run.label, run.arcs, to);
        continue;
      }
      run.alone &= entering_[to] == 1;
      const int64_t begin = fsa_.splits[to];
      for (int64_t a = fsa_.splits[to + 1] - 1; a > begin; --a) pending_.push_back(with(run, a));
      pending_.push_back(with(std::move(run), begin));  // a long chain is not copied again and again
    }
  }

  int32_t output(int64_t a) const {
    return outputs_ == nullptr ? 0 : std::max(outputs_[fsa_.arcs[a].number], 0);
  }

  bool joins_all(const Run& run, int64_t begin, int64_t end) const {
    for (int64_t a = begin; a < end; ++a) {
      const int32_t label = fsa_.arcs[a].label;
      if ((run.label != 0 && label != 0) || (run.output != 0 && (output(a) != 0 || label == kFinalLabel))) return false;
    }
    return true;
  }

  Run with(Run run, int64_t a) const {
    if (fsa_.arcs[a].label != 0) run.label = fsa_.arcs[a].label;
    if (output(a) != 0) run.output = output(a);
    run.arcs.push_back(a);
    return run;
  }

  const TrimmedFsa& fsa_;
  const int32_t* outputs_;
  Progress& progress_;
  std::vector<int64_t> entering_;
  Run first_;
  std::vector<Run> pending_;
};

struct Output {
  FsaVecBuilder builder;
  std::vector<int64_t> map_splits{0}, map_arcs;  // the arcs of which each new one consists
};

// Writes the states that runs from the start lead to, in the order in which they are met.
void join(const TrimmedFsa& fsa, const int32_t* outputs, Output& out, Progress& progress) {
  if (fsa.empty()) return out.builder.end_empty_fsa();
  Joiner joiner(fsa, outputs, progress);
  std::vector<int32_t> number(fsa.num_states(), -1), order{0};
  number[0] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    out.builder.begin_state();
    joiner.leave(order[i], [&](int32_t label, const std::vector<int64_t>& arcs, int32_t to) {
      const bool ends = to == fsa.final_state();
      if (!ends && number[to] < 0) {
        number[to] = static_cast<int32_t>(order.size());
        order.push_back(to);
      }
      out.builder.add_arc(ends ? FsaVecBuilder::kToFinal : number[to], label);
      progress.hold(static_cast<int64_t>(arcs.size() * sizeof(int64_t)));
      for (int64_t a : arcs) out.map_arcs.push_back(fsa.arcs[a].number);
      out.map_splits.push_back(static_cast<int64_t>(out.map_arcs.size()));
    });
  }
  out.builder.end_fsa();
}

nb::tuple remove_epsilon_local(const FsaVecView& fsas, Progress& progress) {
  Output out{FsaVecBuilder(progress, /*num_maps=*/0), {0}, {}};
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) join(trim(fsas, i, progress), fsas.aux_labels, out, progress);
  }
  return result(std::move(out.builder), std::move(out.map_splits), std::move(out.map_arcs));
}

}  // namespace

void bind_remove_epsilon_local(nb::module_& m) { m.def("remove_epsilon_local", &remove_epsilon_local); }

}  // namespace wfst_entropy
