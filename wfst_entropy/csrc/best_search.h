// The best paths from one state to all it reaches, in the tropical semiring; cycles are fine if none has a gain.
#pragma once

#include <vector>

#include "trimmed_fsa.h"

namespace wfst_entropy {

class BestSearch {
 public:
  // The links may be a part of the FSA's arcs, in either direction. Both must outlive the search.
  BestSearch(const TrimmedFsa& fsa, const Links& links, Progress& progress);

  // Finds the best paths from `source`; what an earlier call found is forgotten. Takes the time of the links reached.
  // Throws CycleError, naming the states of a cycle with a positive score.
  void run(int32_t source);

  // The states reached, `source` first, then in an order that links between components follow.
  const std::vector<int32_t>& reached() const { return reached_; }
  double distance(int32_t state) const { return distance_[state]; }  // of a state that was reached
  int64_t via(int32_t state) const { return via_[state]; }           // the last arc of the best path; -1 at the source

  // The arcs of the best path to `state`, in the order of the links.
  std::vector<int64_t> path(int32_t state) const;

 private:
  void collect(int32_t source);
  void relax_cyclic(const int32_t* begin, const int32_t* end);
  void throw_if_cycle(const int32_t* begin, const int32_t* end) const;
  [[noreturn]] void throw_cycle(int32_t state) const;
  int32_t before(int32_t state) const;  // the state before `state` on the best path

  const TrimmedFsa& fsa_;
  const Links& links_;
  Progress& progress_;
  std::vector<int32_t> component_;
  std::vector<int32_t> reached_;
  std::vector<double> distance_;
  std::vector<int64_t> via_;
  std::vector<int64_t> seen_;  // the number of the run that reached the state
  int64_t num_runs_ = 0;
};

}  // namespace wfst_entropy
