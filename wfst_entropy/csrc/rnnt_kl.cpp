#include "rnnt_kl.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "address.h"
#include "pair_total.h"
#include "parallel.h"

namespace nb = nanobind;

namespace wfst_entropy {
namespace {

// The scores of one step's arcs in both models.
template <class T>
class PairStep {
 public:
  PairStep(const Band& band, const GridPairBatch<T>& batch, int64_t n)
      : band_(band),
        p_(band, batch.p.blank.utterance(n), batch.p.label.utterance(n)),
        q_(band, batch.q.blank.utterance(n), batch.q.label.utterance(n)) {}

  // Whether arcs that q has not are taken out of p, as a finite divergence needs: no complete path has any then.
  void set_common(bool common) { common_ = common; }
  // Whether there were any.
  bool only_in_p() const { return only_in_p_; }

  void read(int64_t k) {
    p_.read(k);
    q_.read(k);
  }
  // Turns the scores into weights; see BandStep. Returns what those of p and of q are relative to.
  std::pair<double, double> split(int64_t heaviest_p, int64_t heaviest_q) {
    if (common_) only_in_p_ |= p_.keep_common(q_);
    const double p = p_.split(heaviest_p);
    return {p, q_.split(heaviest_q)};
  }
  BandPairWeights<T> stay() { return {p_.stay(), q_.stay()}; }
  BandPairWeights<T> move() { return {p_.move(), q_.move()}; }

  // Paths of non-zero mass.
  PairPaths count_paths() {
    std::vector<PairPaths> count(band_.num_labels() + 1);
    count[0] = {1, 0, 1};
    const auto has_mass = [](T score) { return score >= T(-kScoreLimit); };
    for (int64_t k = 0; k < band_.num_steps(); ++k) {
      read(k);
      for (int64_t u = band_.num_labels(); u >= 0; --u) {  // downwards: u reads the old counts of u and below
        PairPaths sum = extended(count[u], has_mass(p_.stay_scores()[u]), has_mass(q_.stay_scores()[u]));
        if (u > 0)
          sum = sum + extended(count[u - 1], has_mass(p_.move_scores()[u - 1]), has_mass(q_.move_scores()[u - 1]));
        count[u] = sum;
      }
    }
    return count[band_.num_labels()];
  }

 private:
  const Band band_;
  BandStep<T> p_, q_;
  bool common_ = true, only_in_p_ = false;
};

// The cells of one step's states in both models.
template <class T>
class PairCells {
 public:
  explicit PairCells(int64_t width) : p_(width), q_(width) {}

  BandPair<T> frame() const { return {p_.frame(), q_.frame()}; }
  void set_one(int64_t u) {
    p_.frame().set(u, cell_one<T>(), true);
    q_.frame().set(u, cell_one<T>(), true);
  }
  static int64_t size(int64_t num_states, bool moments) {
    return CellFrame<T>::size(num_states, moments) + CellFrame<T>::size(num_states, false);
  }
  void save(int64_t first, int64_t last, bool moments, T* saved) const {
    p_.save(first, last, moments, saved);
    q_.save(first, last, false, saved + CellFrame<T>::size(last - first + 1, moments));
  }
  void load(int64_t first, int64_t last, bool moments, const T* saved) {
    p_.load(first, last, moments, saved);
    q_.load(first, last, false, saved + CellFrame<T>::size(last - first + 1, moments));
  }
  PairReference<T> reference(int64_t heaviest_p, int64_t heaviest_q, bool moments) const {
    const Reference<T> p = p_.reference(heaviest_p, moments);
    return {p.base, q_.reference(heaviest_q, false).base, p.offset};
  }
  int64_t heaviest_p(int64_t width) const { return loops<T>().band.heaviest(width, p_.frame()); }
  int64_t heaviest_q(int64_t width) const { return loops<T>().band.heaviest(width, q_.frame()); }

 private:
  BandCells<T> p_, q_;
};

template <class T>
KlTotal sweep_forward(const Band& band, PairStep<T>& step, bool moments, T* cells) {
  const int64_t width = band.width();
  PairCells<T> one(width), other(width);
  PairCells<T>*now = &one, *next = &other;
  now->set_one(0);
  int64_t heaviest_p = 0, heaviest_q = 0;
  double scale_p = 0, scale_q = 0, offset = 0;
  for (int64_t k = 0; k < band.num_steps(); ++k) {
    if (cells != nullptr) {
      now->save(band.first(k), band.last(k), moments, cells);
      cells += PairCells<T>::size(band.num_states(k), moments);
    }
    const PairReference<T> reference = now->reference(heaviest_p, heaviest_q, true);
    step.read(k);
    const auto [shift_p, shift_q] = step.split(heaviest_p, heaviest_q);
    scale_p += shift_p + reference.p * kLn2;
    scale_q += shift_q + reference.q * kLn2;
    offset += reference.offset;
    loops<T>().band_pair_moment.forward(width, now->frame(), step.stay(), step.move(), reference, next->frame());
    heaviest_p = next->heaviest_p(width);
    heaviest_q = next->heaviest_q(width);
    std::swap(now, next);
  }
  const BandPair<T> last = now->frame();
  const Cell<T> p = last.p.get(band.num_labels(), true), q = last.q.get(band.num_labels(), false);
  KlTotal result = pair_total({{p.m, double(p.e), q.m, double(q.e), p.r}});
  result.log_p += scale_p;
  result.log_q += scale_q;
  if (result.status == kKlFinite) result.kl += offset;
  return result;
}

template <class T>
KlTotal forward_utterance(const Band& band, PairStep<T>& step, bool moments, T* cells) {
  const auto sweep = [&](bool common) {
    step.set_common(common);
    return sweep_forward(band, step, moments, cells);
  };
  return settled(band.num_steps(), sweep, [&] { return step.only_in_p(); }, [&] { return step.count_paths(); });
}

// What the backward sweep of an utterance is asked for; gradients whose blank is nullptr are not.
template <class T>
struct Wanted {
  double by_kl, by_p, by_q;
  GridGradient<T> grad_p, grad_q;
};

// The gradient by_first * first + by_second * second of every arc of step k.
template <class T>
void write_gradient(const Band& band, int64_t k, double by_first, double by_second, const T* first_stays,
                    const T* second_stays, const T* first_moves, const T* second_moves, const GridGradient<T>& grad) {
  const T a = T(by_first), b = T(by_second);
  add_gradients(
      band, k, grad, [=](int64_t u) { return a * first_stays[u] + b * second_stays[u]; },
      [=](int64_t u) { return a * first_moves[u] + b * second_moves[u]; }, [](int64_t) { return T(0); });
}

// Both models' posteriors are made to sum to one over the arcs of a step, and the log-ratios are centred on the step's
// own mean: every path takes exactly one of them.
template <class T>
void write_gradients(const Band& band, int64_t k, const BandPairSums<T>& stay_sums, const BandPairSums<T>& move_sums,
                     const BandPair<T>& stays, const BandPair<T>& moves, const Wanted<T>& wanted) {
  const double mass_p = double(stay_sums.p) + double(move_sums.p);
  const double mass_q = double(stay_sums.q) + double(move_sums.q);
  const double per_p = mass_p > 0 ? 1 / mass_p : 0, per_q = mass_q > 0 ? 1 / mass_q : 0;
  if (wanted.grad_q.blank != nullptr)
    write_gradient(band, k, (wanted.by_kl + wanted.by_q) * per_q, -wanted.by_kl * per_p, stays.q.m, stays.p.m,
                   moves.q.m, moves.p.m, wanted.grad_q);
  if (wanted.grad_p.blank == nullptr) return;
  const double mean = (double(stay_sums.r) + double(move_sums.r)) * per_p;
  write_gradient(band, k, (wanted.by_p - wanted.by_kl * mean) * per_p, wanted.by_kl * per_p, stays.p.m, stays.p.r,
                 moves.p.m, moves.p.r, wanted.grad_p);
}

// `cells` ends where those of the utterance end.
template <class T>
void backward_utterance(const Band& band, PairStep<T>& step, bool moments, const T* cells, const Wanted<T>& wanted) {
  const BandPairLoops<T>& run = moments ? loops<T>().band_pair_moment : loops<T>().band_pair;
  const int64_t width = band.width();
  PairCells<T> one(width), other(width), forward(width), stays(width), moves(width);
  PairCells<T>*now = &one, *next = &other;
  now->set_one(band.num_labels());
  for (int64_t k = band.num_steps() - 1; k >= 0; --k) {
    cells -= PairCells<T>::size(band.num_states(k), moments);
    forward.load(band.first(k), band.last(k), moments, cells);
    step.read(k);
    step.split(-1, -1);
    const PairReference<T> reference = now->reference(now->heaviest_p(width), now->heaviest_q(width), moments);
    const BandPairTops<T> tops = run.backward(width, now->frame(), step.stay(), step.move(), reference,
                                              forward.frame(), stays.frame(), moves.frame(), next->frame());
    const BandPairSums<T> stay_sums = run.scale(width, tops, stays.frame());
    const BandPairSums<T> move_sums = run.scale(width, tops, moves.frame());
    write_gradients(band, k, stay_sums, move_sums, stays.frame(), moves.frame(), wanted);
    std::swap(now, next);
  }
}

template <class T>
Band band_of(const GridPairBatch<T>& batch, int64_t n) {
  return {batch.type, batch.logit_lengths[n], batch.target_lengths[n]};
}

// The first score of either model that may not be used, into bad[0..3].
template <class T>
bool any_bad(const GridPairBatch<T>& batch, const Band& band, int64_t n, int64_t* bad) {
  std::fill(bad, bad + 4, -1);
  for (int model = 0; model < 2; ++model) {
    const GridModel<T>& planes = model == 0 ? batch.p : batch.q;
    bad[0] = model;
    bad[1] = 0;
    if (find_bad(planes.blank.utterance(n), band.num_frames(), band.num_labels() + 1, bad + 2)) return true;
    bad[1] = 1;
    if (find_bad(planes.label.utterance(n), band.num_frames(), band.num_labels(), bad + 2)) return true;
  }
  bad[0] = bad[1] = -1;
  return false;
}

}  // namespace

int64_t rnnt_kl_workspace(int64_t num_utterances, const int64_t* logit_lengths, const int64_t* target_lengths,
                          RnntType type, bool moments, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t n = 0; n < num_utterances; ++n) {
    cell_offsets[n] = total;
    total += PairCells<float>::size(Band(type, logit_lengths[n], target_lengths[n]).num_nodes(), moments);
  }
  return total;
}

template <class T>
void rnnt_kl_forward(const GridPairBatch<T>& batch, bool moments, T* cells, const GridPairTotals& totals) {
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    const Band band = band_of(batch, n);
    KlTotal result;
    if (!any_bad(batch, band, n, totals.bad + 4 * n) && band.has_paths()) {
      PairStep<T> step(band, batch, n);
      result = forward_utterance(band, step, moments, cells == nullptr ? nullptr : cells + batch.cell_offsets[n]);
    }
    totals.log_p[n] = result.log_p;
    totals.log_q[n] = result.log_q;
    totals.kl[n] = result.kl;
    totals.status[n] = result.status;
  });
}

template <class T>
void rnnt_kl_backward(const GridPairBatch<T>& batch, bool moments, const T* cells, const uint8_t* status,
                      const double* by_kl, const double* by_p, const double* by_q, const GridGradient<T>& grad_p,
                      const GridGradient<T>& grad_q) {
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    Wanted<T> wanted{status[n] == kKlFinite ? by_kl[n] : 0.0, by_p[n], by_q[n], grad_p, grad_q};
    for (GridGradient<T>* grad : {&wanted.grad_p, &wanted.grad_q}) {
      if (grad->blank == nullptr) continue;
      *grad = grad->utterance(n);
      grad->clear();
    }
    const Band band = band_of(batch, n);
    if (!band.has_paths()) return;
    PairStep<T> step(band, batch, n);
    step.set_common(status[n] != kKlInfinite);
    const T* end = cells + batch.cell_offsets[n] + PairCells<T>::size(band.num_nodes(), moments);
    backward_utterance(band, step, moments, end, wanted);
  });
}

namespace {

template <class T>
void bind(nb::module_& m, const char* plane_name, const char* batch_name, const char* gradient_name,
          const char* forward_name, const char* backward_name) {
  nb::class_<Plane<T>>(m, plane_name)
      .def_static("make", [](uintptr_t scores, int64_t utterance, int64_t frame, int64_t label) {
        return Plane<T>{pointer<const T>(scores), utterance, frame, label};
      });
  nb::class_<GridGradient<T>>(m, gradient_name)
      .def_static("make", [](uintptr_t blank, uintptr_t label, int64_t num_frames, int64_t blank_width,
                             int64_t label_width) {
        return GridGradient<T>{pointer<T>(blank), pointer<T>(label), num_frames, blank_width, label_width};
      });
  nb::class_<GridPairBatch<T>>(m, batch_name)
      .def_static("make", [](int64_t num_utterances, const Plane<T>& p_blank, const Plane<T>& p_label,
                             const Plane<T>& q_blank, const Plane<T>& q_label, uintptr_t logit_lengths,
                             uintptr_t target_lengths, int type, uintptr_t cell_offsets, int num_threads) {
        return GridPairBatch<T>{num_utterances,
                                {p_blank, p_label},
                                {q_blank, q_label},
                                pointer<const int64_t>(logit_lengths),
                                pointer<const int64_t>(target_lengths),
                                static_cast<RnntType>(type),
                                pointer<const int64_t>(cell_offsets),
                                num_threads};
      });
  m.def(forward_name, [](const GridPairBatch<T>& batch, bool moments, uintptr_t cells, uintptr_t log_p,
                         uintptr_t log_q, uintptr_t kl, uintptr_t status, uintptr_t bad) {
    nb::gil_scoped_release released;
    rnnt_kl_forward<T>(batch, moments, pointer<T>(cells),
                       {pointer<double>(log_p), pointer<double>(log_q), pointer<double>(kl), pointer<uint8_t>(status),
                        pointer<int64_t>(bad)});
  });
  m.def(backward_name, [](const GridPairBatch<T>& batch, bool moments, uintptr_t cells, uintptr_t status,
                          uintptr_t by_kl, uintptr_t by_p, uintptr_t by_q, const GridGradient<T>& grad_p,
                          const GridGradient<T>& grad_q) {
    nb::gil_scoped_release released;
    rnnt_kl_backward<T>(batch, moments, pointer<const T>(cells), pointer<const uint8_t>(status),
                        pointer<const double>(by_kl), pointer<const double>(by_p), pointer<const double>(by_q), grad_p,
                        grad_q);
  });
}

}  // namespace

void bind_rnnt_kl(nb::module_& m) {
  m.def("rnnt_kl_workspace", [](int64_t num_utterances, uintptr_t logit_lengths, uintptr_t target_lengths, int type,
                                bool moments, uintptr_t cell_offsets) {
    return rnnt_kl_workspace(num_utterances, pointer<const int64_t>(logit_lengths),
                             pointer<const int64_t>(target_lengths), static_cast<RnntType>(type), moments,
                             pointer<int64_t>(cell_offsets));
  });
  bind<float>(m, "RnntPlaneFloat32", "RnntGridPairFloat32", "RnntGridGradientFloat32", "rnnt_kl_forward_float32",
              "rnnt_kl_backward_float32");
  bind<double>(m, "RnntPlaneFloat64", "RnntGridPairFloat64", "RnntGridGradientFloat64", "rnnt_kl_forward_float64",
               "rnnt_kl_backward_float64");
}

}  // namespace wfst_entropy
