// What sweeps over a graph in its order have in common, and the log-masses that most of them rest on.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "elimination.h"
#include "graph_order.h"

namespace wfst_entropy {

using Block = GraphOrder::Block;

// What all sweeps need to know of a graph: its order, and its states' values by position.
class Sweep {
 public:
  Sweep(const GraphOrder& order, bool connected, Progress& progress)
      : order_(order), connected_(connected), progress_(progress) {}

  std::vector<double> by_position(const double* by_state) const {
    std::vector<double> values(order_.state.size());
    for (size_t p = 0; p < values.size(); ++p) values[p] = by_state[order_.state[p]];
    return values;
  }

  void to_states(const std::vector<double>& by_position, double* by_state) const {
    for (size_t p = 0; p < by_position.size(); ++p) by_state[order_.state[p]] = by_position[p];
  }

 protected:
  // Calls single(p) and block(b) in the order of the graph, until one returns false.
  template <class Single, class Closed>
  bool ascend(const Single& single, const Closed& closed) const {
    auto block = order_.blocks.begin();
    for (int32_t p = 0; p < order_.num_states();) {
      progress_.step();
      if (block != order_.blocks.end() && block->begin == p) {
        if (!closed(*block)) return false;
        p = block++->end;
      } else {
        single(p++);
      }
    }
    return true;
  }

  template <class Single, class Closed>
  void descend(const Single& single, const Closed& closed) const {
    auto block = order_.blocks.rbegin();
    for (int32_t p = order_.num_states() - 1; p >= 0;) {
      progress_.step();
      if (block != order_.blocks.rend() && block->end == p + 1) {
        closed(*block);
        p = block++->begin - 1;
      } else {
        single(p--);
      }
    }
  }

  bool closes(const Block& block) const { return block.useful || !connected_; }

  // Calls body(arc entry) for the arcs that enter position p from below `before`, or from `before` on.
  template <class Body>
  void for_outside(int32_t p, int32_t before, const Body& body) const {
    for (int64_t e = order_.entering[p]; e < order_.entering[p + 1]; ++e)
      if (order_.from[e] < before) body(e);
  }
  template <class Body>
  void for_inside(int32_t p, int32_t begin, const Body& body) const {
    for (int64_t e = order_.entering[p]; e < order_.entering[p + 1]; ++e)
      if (order_.from[e] >= begin) body(e);
  }

  // The share of an arc in the mass that is at its destination.
  double share(int64_t e, int32_t p, const double* weights, const std::vector<double>& d) const {
    const double x = d[order_.from[e]] + weights[order_.arc[e]];
    return x == -INFINITY ? 0.0 : std::exp(x - d[p]);
  }

  // log-sum-exp of what enters p from positions below `before`, its start included.
  double merge(int32_t p, int32_t before, const double* weights, const std::vector<double>& d) const {
    double top = order_.start[p] ? 0.0 : -INFINITY;
    int64_t leads = 0;
    for_outside(p, before, [&](int64_t e) { top = std::max(top, d[order_.from[e]] + weights[order_.arc[e]]); });
    if (top == -INFINITY) return top;
    // The largest term's 1 stays out of the sum, which keeps the digits of nearly certain merges.
    double rest = 0;
    const auto add = [&](double x) {
      if (x == top)
        ++leads;
      else
        rest += std::exp(x - top);
    };
    if (order_.start[p]) add(0.0);
    for_outside(p, before, [&](int64_t e) { add(d[order_.from[e]] + weights[order_.arc[e]]); });
    return top + std::log1p(rest + static_cast<double>(leads - 1));
  }

  // Log-masses of all positions; false, with the block in `failed`, if one diverges.
  bool log_masses(const double* weights, std::vector<double>& d) {
    d.assign(order_.num_states(), -INFINITY);
    return ascend([&](int32_t p) { d[p] = merge(p, p, weights, d); },
                  [&](const Block& block) { return close_log(block, weights, d); });
  }

  bool close_log(const Block& block, const double* weights, std::vector<double>& d) {
    std::vector<double> b(block.end - block.begin);
    bool reached = false;
    for (int32_t p = block.begin; p < block.end; ++p) {
      b[p - block.begin] = merge(p, block.begin, weights, d);
      reached |= b[p - block.begin] > -INFINITY;
    }
    if (reached && closes(block)) {
      const Elimination<LogOps> inside(block.end - block.begin, links(block, [&](int64_t e, int32_t) {
                                         return weights[order_.arc[e]];
                                       }, -INFINITY), progress_);
      if (!inside.converged()) {
        failed_ = order_.state[block.begin];
        return false;
      }
      inside.solve_row(b);
    }
    std::copy(b.begin(), b.end(), d.begin() + block.begin);
    return true;
  }

  // The arcs inside a block, without those whose weight is `none`.
  template <class Weight>
  std::vector<Link> links(const Block& block, const Weight& weight, double none) const {
    std::vector<Link> found;
    for (int32_t p = block.begin; p < block.end; ++p) {
      for_inside(p, block.begin, [&](int64_t e) {
        const double w = weight(e, p);
        if (w != none) found.push_back({order_.from[e] - block.begin, p - block.begin, w});
      });
    }
    return found;
  }

  // The shares of the arcs inside a block, eliminated. Their sums converge if the masses did, but for rounding.
  Elimination<RealOps> shares(const Block& block, const double* weights, const std::vector<double>& d) const {
    Elimination<RealOps> inside(
        block.end - block.begin, links(block, [&](int64_t e, int32_t p) { return share(e, p, weights, d); }, 0.0),
        progress_);
    if (!inside.converged())
      throw InputError(
          "scores: a cycle through state " + std::to_string(order_.state[block.begin]) +
          " (counted over all FSAs) is so near to divergence, or has scores so large, that float64 cannot tell how "
          "often it is passed; lower the score of the cycle");
    return inside;
  }

  // Whether the values of a block were closed, so that what is inside it counts.
  bool was_closed(const Block& block, const std::vector<double>& d) const {
    return closes(block) &&
           std::any_of(d.begin() + block.begin, d.begin() + block.end, [](double x) { return x > -INFINITY; });
  }

  const GraphOrder& order_;
  const bool connected_;
  Progress& progress_;
  int64_t failed_ = -1;
};

// A gradient at each position of a block, as it is while arcs inside pass it on: g = g + P g.
inline void spread(const Elimination<RealOps>& inside, const Block& block, std::vector<double>& gradient) {
  std::vector<double> part(gradient.begin() + block.begin, gradient.begin() + block.end);
  inside.solve_column(part);
  std::copy(part.begin(), part.end(), gradient.begin() + block.begin);
}

}  // namespace wfst_entropy
