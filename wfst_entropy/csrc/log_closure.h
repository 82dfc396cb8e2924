// The total weight of all paths between two states over some of the links, cycles included, in the log semiring.
#pragma once

#include <unordered_map>
#include <vector>

#include "trimmed_fsa.h"

namespace wfst_entropy {

class LogClosure {
 public:
  using Row = std::unordered_map<int32_t, double>;  // state -> log of the total weight of the paths to it

  // Both must outlive the closure.
  LogClosure(const TrimmedFsa& fsa, const Links& links, Progress& progress);

  // Of the paths that follow the links from `source`, the empty one included. Remembered until clear(), and not moved by later calls.
  // Throws CycleError, naming a cycle, where the sum over the ways round a component does not converge.
  const Row& row(int32_t source);
  void clear() {
    rows_.clear();
    rows_held_.clear();
  }

 private:
  struct Component {
    std::vector<int32_t> states;
    std::vector<double> within;  // totals of the paths inside it, row by row; empty until it is needed
  };

  void solve(Component& component);
  void send(const Component& component, Row& row) const;
  [[noreturn]] void throw_cycle(int32_t state) const;

  const TrimmedFsa& fsa_;
  const Links& links_;
  Progress& progress_;
  Held held_, rows_held_;
  std::vector<int32_t> component_of_;
  std::vector<Component> components_;
  std::unordered_map<int32_t, Row> rows_;
};

}  // namespace wfst_entropy
