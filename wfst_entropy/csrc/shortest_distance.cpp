#include "shortest_distance.h"

#include "distance_sweep.h"

namespace wfst_entropy {
namespace {

class LogSweep : Sweep {
 public:
  using Sweep::Sweep;

  int64_t forward(const double* weights, double* out) {
    std::vector<double> d;
    if (!log_masses(weights, d)) return failed_;
    to_states(d, out);
    return -1;
  }

  void backward(const double* weights, const double* values, const double* grad, double* grad_weights) {
    const std::vector<double> d = by_position(values);
    std::vector<double> g = by_position(grad);
    const auto pass_on = [&](int32_t p, int64_t e, bool inside) {
      const double flow = share(e, p, weights, d) * g[p];
      grad_weights[order_.arc[e]] = flow;
      if (!inside) g[order_.from[e]] += flow;
    };
    descend([&](int32_t p) { if (d[p] > -INFINITY) for_outside(p, p, [&](int64_t e) { pass_on(p, e, false); }); },
            [&](const Block& block) {
              const bool closed = was_closed(block, d);
              if (closed) spread(shares(block, weights, d), block, g);
              for (int32_t p = block.begin; p < block.end; ++p) {
                if (d[p] == -INFINITY) continue;
                for_outside(p, block.begin, [&](int64_t e) { pass_on(p, e, false); });
                if (closed) for_inside(p, block.begin, [&](int64_t e) { pass_on(p, e, true); });
              }
            });
  }
};

// Means of what adds up along paths: mean(p) = sum over entering arcs of share * (mean(from) + term), where the term of
// an arc is its value, or -log(share).
class MeanSweep : Sweep {
 public:
  MeanSweep(const GraphOrder& order, bool connected, Progress& progress, const double* weights, const double* values)
      : Sweep(order, connected, progress), weights_(weights), values_(values) {}

  int64_t forward(double* out_d, double* out_mean) {
    if (!log_masses(weights_, d_)) return failed_;
    mean_.assign(order_.num_states(), 0.0);
    ascend([&](int32_t p) { mean_[p] = d_[p] == -INFINITY ? 0.0 : outside_mean(p, p); },
           [&](const Block& block) {
             close(block);
             return true;
           });
    to_states(d_, out_d);
    to_states(mean_, out_mean);
    return -1;
  }

  void backward(const double* d, const double* mean, const double* grad_d, const double* grad_mean,
                double* grad_weights, double* grad_values) {
    d_ = by_position(d);
    mean_ = by_position(mean);
    std::vector<double> g = by_position(grad_d), k = by_position(grad_mean);
    const auto pass_on = [&](int32_t p, int64_t e, bool inside) {
      const double part = share(e, p, weights_, d_);
      if (part == 0) return;
      const double to_mean = part * k[p];
      const double flow = part * g[p] + to_mean * excess(e, p);
      grad_weights[order_.arc[e]] = flow;
      if (grad_values != nullptr) grad_values[order_.arc[e]] = to_mean;
      if (inside) return;
      g[order_.from[e]] += flow;
      k[order_.from[e]] += to_mean;
    };
    descend([&](int32_t p) { if (d_[p] > -INFINITY) for_outside(p, p, [&](int64_t e) { pass_on(p, e, false); }); },
            [&](const Block& block) {
              const bool closed = was_closed(block, d_);
              if (closed) spread_both(block, g, k);
              for (int32_t p = block.begin; p < block.end; ++p) {
                if (d_[p] == -INFINITY) continue;
                for_outside(p, block.begin, [&](int64_t e) { pass_on(p, e, false); });
                if (closed) for_inside(p, block.begin, [&](int64_t e) { pass_on(p, e, true); });
              }
            });
  }

 private:
  double term(int64_t e, int32_t p) const {
    const int64_t arc = order_.arc[e];
    return values_ != nullptr ? values_[arc] : d_[p] - (d_[order_.from[e]] + weights_[arc]);
  }

  // By how much the mean of the paths that come by an arc exceeds that of all paths to p.
  double excess(int64_t e, int32_t p) const { return mean_[order_.from[e]] + term(e, p) - mean_[p]; }

  double outside_mean(int32_t p, int32_t before) const {
    // A path that begins here has the log-share 0 - d(p).
    double mean = order_.start[p] && values_ == nullptr ? std::exp(-d_[p]) * d_[p] : 0.0;
    for_outside(p, before, [&](int64_t e) {
      const double part = share(e, p, weights_, d_);
      if (part > 0) mean += part * (mean_[order_.from[e]] + term(e, p));
    });
    return mean;
  }

  void close(const Block& block) {
    const bool closed = was_closed(block, d_);
    std::vector<double> c(block.end - block.begin, 0.0);
    for (int32_t p = block.begin; p < block.end; ++p) {
      if (d_[p] == -INFINITY) continue;
      double& mean = c[p - block.begin] = outside_mean(p, block.begin);
      if (!closed) continue;
      for_inside(p, block.begin, [&](int64_t e) {
        const double part = share(e, p, weights_, d_);
        if (part > 0) mean += part * term(e, p);
      });
    }
    if (closed) shares(block, weights_, d_).solve_row(c);
    std::copy(c.begin(), c.end(), mean_.begin() + block.begin);
  }

  void spread_both(const Block& block, std::vector<double>& g, std::vector<double>& k) const {
    const Elimination<RealOps> inside = shares(block, weights_, d_);
    spread(inside, block, k);
    for (int32_t p = block.begin; p < block.end; ++p) {
      for_inside(p, block.begin, [&](int64_t e) {
        const double part = share(e, p, weights_, d_);
        if (part > 0) g[order_.from[e]] += part * k[p] * excess(e, p);
      });
    }
    spread(inside, block, g);
  }

  const double *weights_, *values_;
  std::vector<double> d_, mean_;
};

}  // namespace

int64_t log_forward(const GraphOrder& order, bool connected, const double* weights, double* d, Progress& progress) {
  return LogSweep(order, connected, progress).forward(weights, d);
}

void log_backward(const GraphOrder& order, bool connected, const double* weights, const double* d,
                  const double* grad_d, double* grad_weights, Progress& progress) {
  LogSweep(order, connected, progress).backward(weights, d, grad_d, grad_weights);
}

int64_t mean_forward(const GraphOrder& order, bool connected, const double* weights, const double* values, double* d,
                     double* mean, Progress& progress) {
  return MeanSweep(order, connected, progress, weights, values).forward(d, mean);
}

void mean_backward(const GraphOrder& order, bool connected, const double* weights, const double* values,
                   const double* d, const double* mean, const double* grad_d, const double* grad_mean,
                   double* grad_weights, double* grad_values, Progress& progress) {
  MeanSweep(order, connected, progress, weights, values)
      .backward(d, mean, grad_d, grad_mean, grad_weights, grad_values);
}

}  // namespace wfst_entropy
