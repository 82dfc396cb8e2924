// Sums over all paths inside a component, by eliminating one state after the other (Gauss, in a semiring).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <queue>
#include <string>
#include <vector>

#include "progress.h"

namespace wfst_entropy {

// Numbers: what the posteriors of arcs add up to. Stars are of numbers below 1.
struct RealOps {
  static constexpr double zero() { return 0; }
  static double plus(double a, double b) { return a + b; }
  static double times(double a, double b) { return a * b; }
  static bool converges(double a) { return std::fabs(a) < 1; }
  static double star(double a) { return 1 / (1 - a); }
};

// Logarithms of masses.
struct LogOps {
  static constexpr double zero() { return -INFINITY; }
  static double plus(double a, double b) {
    if (a < b) std::swap(a, b);
    return b == -INFINITY ? a : a + std::log1p(std::exp(b - a));
  }
  static double times(double a, double b) { return a + b; }
  static bool converges(double a) { return a < 0; }
  static double star(double a) { return -(a > -0.6931 ? std::log(-std::expm1(a)) : std::log1p(-std::exp(a))); }
};

struct Link {
  int32_t from, to;  // within the component
  double weight;
};

// The matrix of a component, factored: states are eliminated in the order of how many ways lead through them, which
// keeps a graph of chains and hubs (a lexicon) sparse. Rows and columns below are numbered in that order.
template <class Ops>
class Elimination {
 public:
  Elimination(int32_t size, const std::vector<Link>& links, Progress& progress) : star_(size), progress_(progress) {
    choose_order(size, links);
    std::vector<int64_t> begin(size + 1, 0);
    for (const Link& link : links) ++begin[place_[link.from] + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<Entry> entries(links.size());
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (const Link& link : links) entries[next[place_[link.from]]++] = {place_[link.to], link.weight};
    std::vector<double> row(size, Ops::zero());
    std::vector<uint8_t> used(size, 0);
    before_.push_back(0);
    after_.push_back(0);
    for (int32_t i = 0; i < size && converged_; ++i)
      factor_row(i, entries.data() + begin[i], entries.data() + begin[i + 1], row, used);
  }

  bool converged() const { return converged_; }

  // d = b + d A, in place.
  void solve_row(std::vector<double>& b) const {
    permute(b);
    for (int32_t i = 0; i < size(); ++i) {
      const double c = Ops::times(b[i], star_[i]);
      for (int64_t e = after_[i]; e < after_[i + 1]; ++e) add(b[upper_[e].column], Ops::times(c, upper_[e].value));
    }
    for (int32_t i = size() - 1; i >= 0; --i) {
      b[i] = Ops::times(b[i], star_[i]);
      for (int64_t e = before_[i]; e < before_[i + 1]; ++e) add(b[lower_[e].column], Ops::times(b[i], lower_[e].value));
    }
    restore(b);
  }

  // d = b + A d, in place.
  void solve_column(std::vector<double>& b) const {
    permute(b);
    for (int32_t i = 0; i < size(); ++i) {
      for (int64_t e = before_[i]; e < before_[i + 1]; ++e) {
        const int32_t k = lower_[e].column;
        add(b[i], Ops::times(lower_[e].value, Ops::times(star_[k], b[k])));
      }
    }
    for (int32_t i = size() - 1; i >= 0; --i) {
      for (int64_t e = after_[i]; e < after_[i + 1]; ++e) add(b[i], Ops::times(upper_[e].value, b[upper_[e].column]));
      b[i] = Ops::times(star_[i], b[i]);
    }
    restore(b);
  }

 private:
  struct Entry {
    int32_t column;
    double value;
  };
  static constexpr int64_t kMaxEntries = int64_t{1} << 27;  // 2 GB

  int32_t size() const { return static_cast<int32_t>(star_.size()); }
  static void add(double& to, double what) { to = Ops::plus(to, what); }

  void choose_order(int32_t size, const std::vector<Link>& links) {
    std::vector<int64_t> in(size, 0), out(size, 0);
    for (const Link& link : links) {
      if (link.from == link.to) continue;
      ++out[link.from];
      ++in[link.to];
    }
    order_.resize(size);
    place_.resize(size);
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int32_t a, int32_t b) { return in[a] * out[a] < in[b] * out[b]; });
    for (int32_t i = 0; i < size; ++i) place_[order_[i]] = i;
  }

  // Row i of A once all states before i are eliminated; `row` and `used` are empty before and after.
  void factor_row(int32_t i, const Entry* first, const Entry* last, std::vector<double>& row,
                  std::vector<uint8_t>& used) {
    std::priority_queue<int32_t, std::vector<int32_t>, std::greater<int32_t>> before;  // columns to eliminate yet
    std::vector<int32_t> after;
    const auto put = [&](const Entry& entry, double value) {
      add(row[entry.column], value);
      if (used[entry.column]) return;
      used[entry.column] = 1;
      if (entry.column < i)
        before.push(entry.column);
      else if (entry.column > i)
        after.push_back(entry.column);
    };
    for (const Entry* e = first; e != last; ++e) put(*e, e->value);
    for (; !before.empty(); before.pop()) {
      const int32_t k = before.top();
      lower_.push_back({k, row[k]});
      const double factor = Ops::times(row[k], star_[k]);
      for (int64_t e = after_[k]; e < after_[k + 1]; ++e) {
        progress_.step();
        put(upper_[e], Ops::times(factor, upper_[e].value));
      }
      row[k] = Ops::zero();
      used[k] = 0;
    }
    converged_ = Ops::converges(row[i]);
    star_[i] = converged_ ? Ops::star(row[i]) : Ops::zero();
    row[i] = Ops::zero();
    used[i] = 0;
    for (int32_t j : after) {
      upper_.push_back({j, row[j]});
      row[j] = Ops::zero();
      used[j] = 0;
    }
    before_.push_back(static_cast<int64_t>(lower_.size()));
    after_.push_back(static_cast<int64_t>(upper_.size()));
    if (before_.back() + after_.back() > kMaxEntries)
      throw LimitError("shortest_distance: a strongly connected component of " + std::to_string(size()) +
                       " states needs more than " + std::to_string(kMaxEntries) +
                       " sums over detours; intersect the graph with frame scores first (intersect_dense)");
  }

  void permute(std::vector<double>& b) const {
    std::vector<double> moved(b.size());
    for (int32_t i = 0; i < size(); ++i) moved[i] = b[order_[i]];
    b.swap(moved);
  }

  void restore(std::vector<double>& b) const {
    std::vector<double> moved(b.size());
    for (int32_t i = 0; i < size(); ++i) moved[order_[i]] = b[i];
    b.swap(moved);
  }

  std::vector<int32_t> order_, place_;
  std::vector<double> star_;
  std::vector<Entry> lower_, upper_;
  std::vector<int64_t> before_, after_;
  bool converged_ = true;
  Progress& progress_;
};

}  // namespace wfst_entropy
