// The divergence of two models over the paths to each state.
#include "distance_sweep.h"
#include "shortest_distance.h"

namespace wfst_entropy {
namespace {

// k(p) = sum over entering arcs of shareT * (k(from) + log shareT - log shareS); +inf where the teacher has mass and
// the student none.
class KlSweep : Sweep {
 public:
  KlSweep(const GraphOrder& order, bool connected, Progress& progress, const double* student, const double* teacher)
      : Sweep(order, connected, progress), student_(student), teacher_(teacher) {}

  int64_t forward(double* out_s, double* out_t, double* out_k) {
    if (!log_masses(student_, s_) || !log_masses(teacher_, t_)) return failed_;
    k_.assign(order_.num_states(), 0.0);
    ascend([&](int32_t p) { k_[p] = t_[p] == -INFINITY ? 0.0 : outside_mean(p, p); },
           [&](const Block& block) {
             close(block);
             return true;
           });
    to_states(s_, out_s);
    to_states(t_, out_t);
    to_states(k_, out_k);
    return -1;
  }

  void backward(const double* s, const double* t, const double* k, const double* grad_s, const double* grad_t,
                const double* grad_k, double* grad_student, double* grad_teacher) {
    s_ = by_position(s);
    t_ = by_position(t);
    k_ = by_position(k);
    gs_ = by_position(grad_s);
    gt_ = by_position(grad_t);
    gk_ = by_position(grad_k);
    const auto pass_on = [&](int32_t p, int64_t e, bool inside) {
      const double ps = share(e, p, student_, s_), pt = share(e, p, teacher_, t_);
      const int32_t from = order_.from[e];
      const double to_k = pt * gk_[p];
      const double flow_s = ps * gs_[p] + gk_[p] * (ps - pt);
      const double flow_t = pt * gt_[p] + (to_k == 0 ? 0.0 : to_k * excess(e, p));
      grad_student[order_.arc[e]] = flow_s;
      grad_teacher[order_.arc[e]] = flow_t;
      if (inside) return;
      gs_[from] += flow_s;
      gt_[from] += flow_t;
      gk_[from] += to_k;
    };
    descend(
        [&](int32_t p) {
          drop_constant(p);
          for_outside(p, p, [&](int64_t e) { pass_on(p, e, false); });
        },
        [&](const Block& block) {
          for (int32_t p = block.begin; p < block.end; ++p) drop_constant(p);
          spread_all(block);
          const bool closed = was_closed(block, s_) || was_closed(block, t_);
          for (int32_t p = block.begin; p < block.end; ++p) {
            for_outside(p, block.begin, [&](int64_t e) { pass_on(p, e, false); });
            if (closed) for_inside(p, block.begin, [&](int64_t e) { pass_on(p, e, true); });
          }
        });
  }

 private:
  double log_ratio(int64_t e, int32_t p) const {
    const int64_t arc = order_.arc[e];
    const int32_t from = order_.from[e];
    const double log_s = s_[from] + student_[arc] - s_[p];
    return s_[p] == -INFINITY || log_s == -INFINITY ? INFINITY : t_[from] + teacher_[arc] - t_[p] - log_s;
  }

  double excess(int64_t e, int32_t p) const { return k_[order_.from[e]] + log_ratio(e, p) - k_[p]; }

  // Neither an infinite divergence nor that of no paths has a gradient.
  void drop_constant(int32_t p) {
    if (!(k_[p] < INFINITY) || t_[p] == -INFINITY) gk_[p] = 0;
  }

  double outside_mean(int32_t p, int32_t before) const {
    double mean = order_.start[p] ? std::exp(-t_[p]) * (s_[p] - t_[p]) : 0.0;
    for_outside(p, before, [&](int64_t e) {
      const double part = share(e, p, teacher_, t_);
      if (part > 0) mean += part * (k_[order_.from[e]] + log_ratio(e, p));
    });
    return mean;
  }

  void close(const Block& block) {
    const bool closed = was_closed(block, t_);
    const int32_t size = block.end - block.begin;
    std::vector<double> c(size, 0.0);
    std::vector<int32_t> infinite;
    for (int32_t p = block.begin; p < block.end; ++p) {
      if (t_[p] == -INFINITY) continue;
      double& mean = c[p - block.begin] = outside_mean(p, block.begin);
      if (closed) {
        for_inside(p, block.begin, [&](int64_t e) {
          const double part = share(e, p, teacher_, t_);
          if (part > 0) mean += part * log_ratio(e, p);
        });
      }
      if (mean == INFINITY) infinite.push_back(p - block.begin);
    }
    if (closed) {
      std::vector<uint8_t> lost(size, 0);
      spread_infinity(block, infinite, lost);
      for (int32_t i = 0; i < size; ++i)
        if (lost[i]) c[i] = 0;
      shares(block, teacher_, t_).solve_row(c);
      for (int32_t i = 0; i < size; ++i)
        if (lost[i]) c[i] = INFINITY;
    }
    std::copy(c.begin(), c.end(), k_.begin() + block.begin);
  }

  // Marks what the teacher reaches from the states whose divergence is infinite.
  void spread_infinity(const Block& block, std::vector<int32_t> infinite, std::vector<uint8_t>& lost) const {
    if (infinite.empty()) return;
    std::vector<std::vector<int32_t>> next(lost.size());
    for (const Link& link : links(block, [&](int64_t e, int32_t p) { return share(e, p, teacher_, t_); }, 0.0))
      next[link.from].push_back(link.to);
    for (int32_t i : infinite) lost[i] = 1;
    while (!infinite.empty()) {
      const int32_t i = infinite.back();
      infinite.pop_back();
      for (int32_t j : next[i]) {
        if (lost[j]) continue;
        lost[j] = 1;
        infinite.push_back(j);
      }
    }
  }

  void spread_all(const Block& block) {
    if (was_closed(block, t_)) {
      const Elimination<RealOps> inside = shares(block, teacher_, t_);
      spread(inside, block, gk_);
      for (int32_t p = block.begin; p < block.end; ++p) {
        for_inside(p, block.begin, [&](int64_t e) {
          const double part = share(e, p, teacher_, t_) * gk_[p];
          if (part != 0) gt_[order_.from[e]] += part * excess(e, p);
        });
      }
      spread(inside, block, gt_);
    }
    if (was_closed(block, s_)) {
      for (int32_t p = block.begin; p < block.end; ++p) {
        for_inside(p, block.begin, [&](int64_t e) {
          gs_[order_.from[e]] += gk_[p] * (share(e, p, student_, s_) - share(e, p, teacher_, t_));
        });
      }
      spread(shares(block, student_, s_), block, gs_);
    }
  }

  const double *student_, *teacher_;
  std::vector<double> s_, t_, k_, gs_, gt_, gk_;
};

}  // namespace

int64_t kl_forward(const GraphOrder& order, bool connected, const double* student, const double* teacher, double* s,
                   double* t, double* k, Progress& progress) {
  return KlSweep(order, connected, progress, student, teacher).forward(s, t, k);
}

void kl_backward(const GraphOrder& order, bool connected, const double* student, const double* teacher, const double* s,
                 const double* t, const double* k, const double* grad_s, const double* grad_t, const double* grad_k,
                 double* grad_student, double* grad_teacher, Progress& progress) {
  KlSweep(order, connected, progress, student, teacher)
      .backward(s, t, k, grad_s, grad_t, grad_k, grad_student, grad_teacher);
}

}  // namespace wfst_entropy
