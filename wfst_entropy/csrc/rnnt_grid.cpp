#include "rnnt_grid.h"

#include <cmath>

#include "address.h"
#include "parallel.h"
#include "path_count.h"

namespace nb = nanobind;

namespace wfst_entropy {
namespace {

struct Total {
  double nll = INFINITY;
  double entropy = 0;
  PathCount count = kNoPath;
};

// Paths of non-zero mass, counted up to two.
template <class T>
PathCount count_paths(const Band& band, BandStep<T>& step) {
  const T lowest = T(-kScoreLimit);
  std::vector<uint8_t> count(band.num_labels() + 2, 0);  // count[u + 1] is state u
  count[1] = 1;
  for (int64_t k = 0; k < band.num_steps(); ++k) {
    step.read(k);
    for (int64_t u = band.num_labels(); u >= 0; --u) {  // downwards: u reads the old counts of u and below
      const int stayed = step.stay_scores()[u] >= lowest ? count[u + 1] : 0;
      const int moved = u > 0 && step.move_scores()[u - 1] >= lowest ? count[u] : 0;
      count[u + 1] = static_cast<uint8_t>(add_counts(stayed, moved));
    }
  }
  return static_cast<PathCount>(count[band.num_labels() + 1]);
}

// One utterance; `cells` is nullptr if they are not to be saved.
template <class T, bool kEntropy>
Total forward_utterance(const Band& band, BandStep<T>& step, T* cells) {
  const BandLoops<T>& run = kEntropy ? loops<T>().band_entropy : loops<T>().band;
  const int64_t width = band.width();
  BandCells<T> one(width), other(width);
  BandCells<T>*now = &one, *next = &other;
  now->frame().set(0, cell_one<T>(), true);
  int64_t heaviest = 0;
  double log_scale = 0, offset = 0;
  for (int64_t k = 0; k < band.num_steps(); ++k) {
    if (cells != nullptr) {
      now->save(band.first(k), band.last(k), kEntropy, cells);
      cells += CellFrame<T>::size(band.num_states(k), kEntropy);
    }
    const Reference<T> reference = now->reference(heaviest, kEntropy);
    step.read(k);
    log_scale += step.split(heaviest) + reference.base * kLn2;
    offset += reference.offset;
    run.forward(width, now->frame(), step.stay(), step.move(), reference, next->frame());
    heaviest = run.heaviest(width, next->frame());
    std::swap(now, next);
  }
  const Cell<T> end = now->frame().get(band.num_labels(), kEntropy);
  if (end.m == 0) return {};
  Total result;
  result.count = kManyPaths;
  result.nll = -(log_scale + end.e * kLn2 + std::log(double(end.m)));
  if (kEntropy) {
    result.entropy = std::max(0.0, double(end.r) / end.m + std::log(double(end.m)) + offset);
    if (result.entropy < small_entropy(band.num_steps())) result.count = count_paths(band, step);
    if (result.count == kOnePath) result.entropy = 0;
  }
  return result;
}

// What an arc's products p and q = p * surprisal are multiplied with to give its gradient.
struct Factors {
  double p, label_p, q;  // label_p: what FastEmit adds for labels
};

// Posteriors are made to sum to one over the arcs of a step, and surprisals are centred on the step's own mean: every
// path takes exactly one of them.
template <class T>
Factors factors(const ProductSums<T>& stays, const ProductSums<T>& moves, double grad_nll, double grad_entropy,
                double fastemit) {
  const double mass = double(stays.mass) + double(moves.mass);
  if (!(mass > 0)) return {0, 0, 0};
  const double mean = (double(stays.moment) + double(moves.moment)) / mass;
  return {-(grad_nll + grad_entropy * mean) / mass, -grad_nll * fastemit / mass, grad_entropy / mass};
}

template <class T, bool kEntropy>
void write_gradient(const Band& band, int64_t k, const Factors& by, const CellFrame<T>& stays,
                    const CellFrame<T>& moves, const GridGradient<T>& grad) {
  const T by_p = T(by.p), by_label_p = T(by.label_p), by_q = T(by.q);
  const auto of = [by_p, by_q](const CellFrame<T>& arcs, int64_t u) {
    return by_p * arcs.m[u] + (kEntropy ? by_q * arcs.r[u] : T(0));
  };
  add_gradients(
      band, k, grad, [&](int64_t u) { return of(stays, u); }, [&](int64_t u) { return of(moves, u); },
      [&](int64_t u) { return by_label_p * moves.m[u]; });
}

// `cells` ends where those of the utterance end.
template <class T, bool kEntropy>
void backward_utterance(const Band& band, BandStep<T>& step, const T* cells, double grad_nll, double grad_entropy,
                        double fastemit, const GridGradient<T>& grad) {
  const BandLoops<T>& run = kEntropy ? loops<T>().band_entropy : loops<T>().band;
  const int64_t width = band.width();
  BandCells<T> one(width), other(width), forward(width), stays(width), moves(width);
  BandCells<T>*now = &one, *next = &other;
  now->frame().set(band.num_labels(), cell_one<T>(), true);
  int64_t heaviest = band.num_labels();
  for (int64_t k = band.num_steps() - 1; k >= 0; --k) {
    cells -= CellFrame<T>::size(band.num_states(k), kEntropy);
    forward.load(band.first(k), band.last(k), kEntropy, cells);
    step.read(k);
    step.split(-1);
    const Int<T> top = run.backward(width, now->frame(), step.stay(), step.move(),
                                    now->reference(heaviest, kEntropy), forward.frame(), stays.frame(), moves.frame(),
                                    next->frame());
    const ProductSums<T> stay_sums = run.scale(width, top, stays.frame());
    const ProductSums<T> move_sums = run.scale(width, top, moves.frame());
    const Factors by = factors(stay_sums, move_sums, grad_nll, grad_entropy, fastemit);
    write_gradient<T, kEntropy>(band, k, by, stays.frame(), moves.frame(), grad);
    heaviest = run.heaviest(width, next->frame());
    std::swap(now, next);
  }
}

template <class T>
Band band_of(const GridBatch<T>& batch, int64_t n) {
  return {batch.type, batch.logit_lengths[n], batch.target_lengths[n]};
}

}  // namespace

int64_t rnnt_grid_workspace(int64_t num_utterances, const int64_t* logit_lengths, const int64_t* target_lengths,
                            RnntType type, bool entropy, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t n = 0; n < num_utterances; ++n) {
    cell_offsets[n] = total;
    total += CellFrame<float>::size(Band(type, logit_lengths[n], target_lengths[n]).num_nodes(), entropy);
  }
  return total;
}

template <class T>
void rnnt_grid_forward(const GridBatch<T>& batch, T* cells, double* nll, double* entropy, uint8_t* path_count,
                       int64_t* bad) {
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    const Band band = band_of(batch, n);
    const Plane<T> blank = batch.blank.utterance(n), label = batch.label.utterance(n);
    int64_t* found = bad + 3 * n;
    std::fill(found, found + 3, -1);
    Total result;
    if (find_bad(blank, band.num_frames(), band.num_labels() + 1, found + 1)) {
      found[0] = 0;
    } else if (find_bad(label, band.num_frames(), band.num_labels(), found + 1)) {
      found[0] = 1;
    } else if (band.has_paths()) {
      BandStep<T> step(band, blank, label);
      const auto sweep = entropy != nullptr ? forward_utterance<T, true> : forward_utterance<T, false>;
      result = sweep(band, step, cells == nullptr ? nullptr : cells + batch.cell_offsets[n]);
    }
    nll[n] = result.nll;
    if (entropy != nullptr) entropy[n] = result.entropy;
    path_count[n] = result.count;
  });
}

template <class T>
void rnnt_grid_backward(const GridBatch<T>& batch, const T* cells, const uint8_t* path_count, const double* grad_nll,
                        const double* grad_entropy, double fastemit, const GridGradient<T>& grad) {
  parallel_for(batch.num_utterances, batch.num_threads, [&](int64_t n) {
    const GridGradient<T> mine = grad.utterance(n);
    mine.clear();
    if (path_count[n] == kNoPath) return;
    const Band band = band_of(batch, n);
    BandStep<T> step(band, batch.blank.utterance(n), batch.label.utterance(n));
    const double by_entropy = grad_entropy != nullptr && path_count[n] == kManyPaths ? grad_entropy[n] : 0.0;
    const auto sweep = grad_entropy != nullptr ? backward_utterance<T, true> : backward_utterance<T, false>;
    const T* end = cells + batch.cell_offsets[n] + CellFrame<T>::size(band.num_nodes(), grad_entropy != nullptr);
    sweep(band, step, end, grad_nll[n], by_entropy, fastemit, mine);
  });
}

#define WFST_INSTANTIATE(T)                                                                                           \
  template void rnnt_grid_forward(const GridBatch<T>&, T*, double*, double*, uint8_t*, int64_t*);                     \
  template void rnnt_grid_backward(const GridBatch<T>&, const T*, const uint8_t*, const double*, const double*,       \
                                   double, const GridGradient<T>&)
WFST_INSTANTIATE(float);
WFST_INSTANTIATE(double);
#undef WFST_INSTANTIATE

namespace {

template <class T>
void bind(nb::module_& m, const char* batch_name, const char* forward_name, const char* backward_name) {
  nb::class_<GridBatch<T>>(m, batch_name)
      .def_static("make", [](int64_t num_utterances, uintptr_t blank, int64_t blank_utterance, int64_t blank_frame,
                             int64_t blank_label, uintptr_t label, int64_t label_utterance, int64_t label_frame,
                             int64_t label_label, uintptr_t logit_lengths, uintptr_t target_lengths, int type,
                             uintptr_t cell_offsets, int num_threads) {
        return GridBatch<T>{num_utterances,
                            {pointer<const T>(blank), blank_utterance, blank_frame, blank_label},
                            {pointer<const T>(label), label_utterance, label_frame, label_label},
                            pointer<const int64_t>(logit_lengths),
                            pointer<const int64_t>(target_lengths),
                            static_cast<RnntType>(type),
                            pointer<const int64_t>(cell_offsets),
                            num_threads};
      });
  m.def(forward_name, [](const GridBatch<T>& batch, uintptr_t cells, uintptr_t nll, uintptr_t entropy,
                         uintptr_t path_count, uintptr_t bad) {
    nb::gil_scoped_release released;
    rnnt_grid_forward<T>(batch, pointer<T>(cells), pointer<double>(nll), pointer<double>(entropy),
                         pointer<uint8_t>(path_count), pointer<int64_t>(bad));
  });
  m.def(backward_name, [](const GridBatch<T>& batch, uintptr_t cells, uintptr_t path_count, uintptr_t grad_nll,
                          uintptr_t grad_entropy, double fastemit, uintptr_t grad_blank, uintptr_t grad_label,
                          int64_t num_frames, int64_t blank_width, int64_t label_width) {
    nb::gil_scoped_release released;
    rnnt_grid_backward<T>(batch, pointer<const T>(cells), pointer<const uint8_t>(path_count),
                          pointer<const double>(grad_nll), pointer<const double>(grad_entropy), fastemit,
                          {pointer<T>(grad_blank), pointer<T>(grad_label), num_frames, blank_width, label_width});
  });
}

}  // namespace

void bind_rnnt_grid(nb::module_& m) {
  m.def("rnnt_grid_workspace", [](int64_t num_utterances, uintptr_t logit_lengths, uintptr_t target_lengths, int type,
                                  bool entropy, uintptr_t cell_offsets) {
    return rnnt_grid_workspace(num_utterances, pointer<const int64_t>(logit_lengths),
                               pointer<const int64_t>(target_lengths), static_cast<RnntType>(type), entropy,
                               pointer<int64_t>(cell_offsets));
  });
  bind<float>(m, "RnntGridFloat32", "rnnt_grid_forward_float32", "rnnt_grid_backward_float32");
  bind<double>(m, "RnntGridFloat64", "rnnt_grid_forward_float64", "rnnt_grid_backward_float64");
}

}  // namespace wfst_entropy
