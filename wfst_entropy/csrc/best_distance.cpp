// The best path to each state: a maximum per state, and in cycles labels that are corrected until none improves.
#include <deque>

#include "distance_sweep.h"
#include "shortest_distance.h"

namespace wfst_entropy {
namespace {

constexpr int64_t kNone = -1;

class BestSweep : Sweep {
 public:
  BestSweep(const GraphOrder& order, bool connected, Progress& progress, const double* weights, double tolerance)
      : Sweep(order, connected, progress), weights_(weights), tolerance_(tolerance) {}

  int64_t forward(double* out, int64_t* best_arc) {
    d_.assign(order_.num_states(), -INFINITY);
    parent_.assign(order_.num_states(), kNone);
    if (!ascend([&](int32_t p) { enter(p, p); }, [&](const Block& block) { return close(block); })) return failed_;
    to_states(d_, out);
    for (int32_t p = 0; p < order_.num_states(); ++p)
      best_arc[order_.state[p]] = parent_[p] == kNone ? kNone : order_.arc[parent_[p]];
    return -1;
  }

 private:
  double through(int64_t e) const { return d_[order_.from[e]] + weights_[order_.arc[e]]; }

  // The first of the best arcs into p from below `before`; a path that begins at p comes first of all.
  void enter(int32_t p, int32_t before) {
    if (order_.start[p]) d_[p] = 0;
    for_outside(p, before, [&](int64_t e) {
      if (through(e) <= d_[p]) return;
      d_[p] = through(e);
      parent_[p] = e;
    });
  }

  bool close(const Block& block) {
    std::deque<int32_t> queue;
    for (int32_t p = block.begin; p < block.end; ++p) {
      enter(p, block.begin);
      if (d_[p] > -INFINITY) queue.push_back(p);
    }
    if (queue.empty() || !closes(block)) return true;
    if (correct(block, queue)) return true;
    failed_ = order_.state[block.begin];
    return false;
  }

  struct Step {
    int32_t to;
    int64_t entry;
  };

  // Bellman and Ford's algorithm with a queue. The best arcs always form a tree: an arc that would close a circle is
  // left out if it gains next to nothing, and if it gains more, the circle is found and has a positive weight.
  bool correct(const Block& block, std::deque<int32_t>& queue) {
    const int32_t size = block.end - block.begin;
    std::vector<std::vector<Step>> leaving(size);
    for (int32_t p = block.begin; p < block.end; ++p)
      for_inside(p, block.begin, [&](int64_t e) {
        if (weights_[order_.arc[e]] > -INFINITY) leaving[order_.from[e] - block.begin].push_back({p, e});
      });
    std::vector<uint8_t> queued(size, 0);
    for (int32_t p : queue) queued[p - block.begin] = 1;
    int64_t improvements = 0;
    while (!queue.empty()) {
      const int32_t p = queue.front();
      queue.pop_front();
      queued[p - block.begin] = 0;
      for (const Step& step : leaving[p - block.begin]) {
        progress_.step();
        const double gain = through(step.entry) - d_[step.to];
        if (!(gain > 0) || (gain <= tolerance_ && leads_to(block, step.to, p))) continue;
        d_[step.to] = through(step.entry);
        parent_[step.to] = step.entry;
        if (++improvements % size == 0 && has_circle(block)) return false;
        if (!queued[step.to - block.begin]) {
          queued[step.to - block.begin] = 1;
          queue.push_back(step.to);
        }
      }
    }
    return true;
  }

  bool inside(const Block& block, int64_t entry) const { return entry != kNone && order_.from[entry] >= block.begin; }

  // Whether the best path to `state` passes through `ancestor`.
  bool leads_to(const Block& block, int32_t ancestor, int32_t state) const {
    for (int32_t left = block.end - block.begin; left > 0; --left) {
      if (state == ancestor) return true;
      if (!inside(block, parent_[state])) return false;
      state = order_.from[parent_[state]];
    }
    return true;  // in a circle already
  }

  bool has_circle(const Block& block) const {
    std::vector<int32_t> mark(block.end - block.begin, -1);
    for (int32_t p = block.begin; p < block.end; ++p) {
      int32_t q = p;
      while (mark[q - block.begin] < 0) {
        mark[q - block.begin] = p;
        if (!inside(block, parent_[q])) break;
        q = order_.from[parent_[q]];
        if (mark[q - block.begin] == p) return true;
      }
    }
    return false;
  }

  const double* weights_;
  const double tolerance_;
  std::vector<double> d_;
  std::vector<int64_t> parent_;  // the entering arc of each position
};

}  // namespace

int64_t best_forward(const GraphOrder& order, bool connected, const double* weights, double tolerance, double* d,
                     int64_t* best_arc, Progress& progress) {
  return BestSweep(order, connected, progress, weights, tolerance).forward(d, best_arc);
}

// Every path takes one arc into each of its states, so gradients flow down a tree, leaves first.
void best_backward(const GraphOrder& order, const int64_t* best_arc, const double* grad_d, double* grad_weights) {
  const int32_t n = order.num_states();
  std::vector<double> g(n);
  std::vector<int32_t> parent(n, -1), children(n, 0), ready;
  for (int32_t p = 0; p < n; ++p) {
    g[p] = grad_d[order.state[p]];
    const int64_t best = best_arc[order.state[p]];
    if (best == kNone) continue;
    const auto first = order.arc.begin() + order.entering[p], last = order.arc.begin() + order.entering[p + 1];
    const auto entry = std::lower_bound(first, last, best);
    if (entry == last || *entry != best) continue;
    parent[p] = order.from[entry - order.arc.begin()];
    ++children[parent[p]];
  }
  for (int32_t p = 0; p < n; ++p)
    if (children[p] == 0) ready.push_back(p);
  while (!ready.empty()) {
    const int32_t p = ready.back();
    ready.pop_back();
    if (parent[p] < 0) continue;
    grad_weights[best_arc[order.state[p]]] = g[p];
    g[parent[p]] += g[p];
    if (--children[parent[p]] == 0) ready.push_back(parent[p]);
  }
}

}  // namespace wfst_entropy
