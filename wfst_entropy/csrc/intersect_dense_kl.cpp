#include "intersect_dense_kl.h"

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "dense_emissions.h"
#include "huge_pages.h"
#include "loops.h"
#include "parallel.h"

namespace wfst_entropy {
namespace {

#define WFST_TARGET
#define WFST_VECTOR_BYTES 0
#include "cell.inl"
#include "pair_cell.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES

template <class T>
const DensePairLoops<T>& pair_loops(bool moments) {
  return moments ? loops<T>().dense_pair_moment : loops<T>().dense_pair;
}

// Both models' scores for the symbols of one sequence's graph.
template <class T>
class PairScores {
 public:
  PairScores(const DensePair<T>& dense, int64_t s, const DenseGraph<T>& graph)
      : p_(dense.p, s, graph), q_(dense.q, s, graph) {}

  const Emissions<T>& p() const { return p_; }
  const Emissions<T>& q() const { return q_; }
  // Whether scores that q has not are taken out of p, as a finite divergence needs: no complete path has any then.
  void set_common(bool common) { common_ = common; }
  // Whether there were any.
  bool only_in_p() const { return only_in_p_; }

  // Reads frame t; false if a score of p, or of q, may not be used.
  std::pair<bool, bool> read(int64_t t) {
    const std::pair<bool, bool> good{p_.read(t), q_.read(t)};
    if (common_) only_in_p_ |= p_.take_out_missing(q_);
    return good;
  }
  PairEmissions<T> rows(PairTop<T> base, T offset) const {
    return {p_.rows(base.p, T(0)), q_.rows(base.q, T(0)), offset};
  }

 private:
  Emissions<T> p_, q_;
  bool common_ = true, only_in_p_ = false;
};

template <class T>
PairPaths count_paths(const DenseGraph<T>& graph, const PairScores<T>& scores, int64_t num_frames) {
  std::vector<PairPaths> now(graph.num_states), next(graph.num_states);
  if (graph.num_states > 0) now[0] = {1, 0, 1};
  const auto has_mass = [](T score) { return score >= T(-kScoreLimit); };
  for (int64_t t = 0; t < num_frames; ++t) {
    const T *p = scores.p().row(t), *q = scores.q().row(t);
    std::fill(next.begin(), next.end(), PairPaths{});
    for (const EmittingArc& arc : graph.emitting) {
      const int32_t symbol = graph.symbols[arc.symbol];
      next[arc.dst] = next[arc.dst] + extended(now[arc.src], has_mass(p[symbol]), has_mass(q[symbol]));
    }
    now.swap(next);
  }
  PairPaths paths;
  for (const FinalArc<T>& arc : graph.final) paths = paths + now[arc.src];
  return paths;
}

// The memory of the frames 0 ... num_frames of one sequence: all of them, or two that take turns.
template <class T>
class Frames {
 public:
  // cells: where the frames are saved, or nullptr; their moments are saved only if `moments`.
  Frames(T* cells, bool moments, int64_t width)
      : cells_(cells), moments_saved_(cells != nullptr && moments), width_(width) {
    if (cells_ == nullptr) masses_.resize(2 * PairFrame<T>::mass_size(width));
    if (!moments_saved_) moments_.resize(2 * width);
  }

  PairFrame<T> at(int64_t t) {
    T* masses = cells_ == nullptr ? masses_.data() + (t % 2) * PairFrame<T>::mass_size(width_)
                                  : cells_ + t * size(width_, moments_saved_);
    T* moments = moments_saved_ ? masses + PairFrame<T>::mass_size(width_) : moments_.data() + (t % 2) * width_;
    return PairFrame<T>::at(masses, moments, width_);
  }
  static int64_t size(int64_t width, bool moments) {
    return PairFrame<T>::mass_size(width) + (moments ? width : 0);
  }

 private:
  T* const cells_;
  const bool moments_saved_;
  const int64_t width_;
  std::vector<T> masses_, moments_;
};

template <class T>
PairCell<T> get(const PairFrame<T>& frame, int64_t i, bool moments) {
  return {frame.p[i], frame.pe[i], frame.q[i], frame.qe[i], moments ? frame.r[i] : T(0)};
}

template <class T>
void set(const PairFrame<T>& frame, int64_t i, const PairCell<T>& c, bool moments) {
  frame.p[i] = c.p;
  frame.pe[i] = c.pe;
  frame.q[i] = c.q;
  frame.qe[i] = c.qe;
  if (moments) frame.r[i] = c.r;
}

template <class T>
PairCell<T> zero() {
  return {T(0), Int<T>(kNoMass), T(0), Int<T>(kNoMass), T(0)};
}

template <class T>
PairCell<T> one() {
  return {T(1), 0, T(1), 0, T(0)};
}

template <class T>
void clear(const PairFrame<T>& frame, int64_t width, bool moments) {
  for (int64_t i = 0; i < width; ++i) set(frame, i, zero<T>(), moments);
}

// A cell times the weight of an arc that consumes no frame.
template <class T>
PairCell<T> extend(const PairCell<T>& c, const Weight<T>& arc) {
  return {c.p * arc.m, c.pe + arc.e, c.q * arc.m, c.qe + arc.e, c.r * arc.m};
}

template <class T>
PairCell<T> merge(const std::vector<PairCell<T>>& cells) {
  Int<T> pe = kNoMass, qe = kNoMass;
  for (const PairCell<T>& c : cells) {
    pe = std::max(pe, c.pe);
    qe = std::max(qe, c.qe);
  }
  PairSums<T> sums{};
  for (const PairCell<T>& c : cells) accumulate_pair<true>(c, pe, qe, &sums);
  return normalise_pair<true>(sums, pe, qe);
}

// The final arcs after the last frame.
template <class T>
std::vector<PairEnd> ends(const DenseGraph<T>& graph, const PairFrame<T>& last) {
  std::vector<PairEnd> result;
  for (const FinalArc<T>& arc : graph.final) {
    const PairCell<T> c = extend(get(last, graph.forward.row_of_state[arc.src], true), arc.weight);
    result.push_back({c.p, double(c.pe), c.q, double(c.qe), c.r});
  }
  return result;
}

struct BadScore {
  int64_t *frame, *symbol;
  uint8_t* model;
};

template <class T>
KlTotal sweep_forward(const DenseGraph<T>& graph, PairScores<T>& scores, int64_t num_frames, Frames<T>& frames,
                      const BadScore& bad) {
  if (graph.num_states == 0) return {};
  const DensePairLoops<T>& run = pair_loops<T>(true);
  const RowTable<T> table = graph.forward.table();
  const int64_t width = graph.forward.width();
  PairFrame<T> last = frames.at(0);
  clear(last, width, true);
  set(last, graph.forward.row_of_state[0], one<T>(), true);
  double scale_p = 0, scale_q = 0, total_offset = 0;
  for (int64_t t = 0; t < num_frames; ++t) {
    const auto [good_p, good_q] = scores.read(t);
    if (!good_p || !good_q) {
      *bad.frame = t;
      *bad.model = good_p;
      *bad.symbol = (good_p ? scores.q() : scores.p()).bad_symbol(t);
      return {};
    }
    T offset;
    const PairTop<T> base = run.reference(width, last, &offset);
    scale_p += static_cast<double>(scores.p().shift()) + static_cast<double>(base.p) * kLn2;
    scale_q += static_cast<double>(scores.q().shift()) + static_cast<double>(base.q) * kLn2;
    total_offset += offset;
    const PairFrame<T> next = frames.at(t + 1);
    run.forward(table, last, scores.rows(base, offset), next);
    last = next;
  }
  KlTotal result = pair_total(ends(graph, last));
  result.log_p += scale_p;
  result.log_q += scale_q;
  if (result.status == kKlFinite) result.kl += total_offset;
  return result;
}

// A frame that owns its memory, all zero cells.
template <class T>
class FrameBuffer {
 public:
  FrameBuffer(int64_t width, bool moments)
      : masses_(PairFrame<T>::mass_size(width)), moments_(moments ? width : 0) {
    frame = PairFrame<T>::at(masses_.data(), moments ? moments_.data() : nullptr, width);
    clear(frame, width, moments);
  }
  PairFrame<T> frame;

 private:
  std::vector<T> masses_, moments_;
};

// What the backward sweep of one sequence is asked for; nullptr: not wanted.
template <class T>
struct Wanted {
  double by_kl, by_p, by_q;
  T *grad_p, *grad_q;   // the gradients of the sequence's first frame
  double* grad_arcs;    // to be added to, by number of the arc within the graph
  bool graph_in_p, graph_in_q;
};

template <class T>
class Backward {
 public:
  Backward(const DenseGraph<T>& graph, bool moments, const Wanted<T>& wanted)
      : graph_(graph),
        run_(pair_loops<T>(moments)),
        moments_(moments),
        wanted_(wanted),
        table_(graph.backward.table()),
        num_rows_(graph.forward.num_weighted_rows()),
        num_reads_(wanted.grad_arcs == nullptr ? 0 : graph.backward.num_weighted_reads()),
        one_(graph.backward.width(), moments),
        other_(graph.backward.width(), moments),
        reached_(num_rows_, moments),
        emitted_(num_rows_, moments),
        products_(num_rows_, moments),
        arc_products_(num_reads_, moments),
        by_row_(num_rows_),
        by_read_(num_reads_),
        grad_reads_(num_reads_, 0.0) {}

  void run(PairScores<T>& scores, int64_t num_frames, Frames<T>& forward, int64_t symbols_of_p, int64_t symbols_of_q) {
    PairFrame<T> now = one_.frame, next = other_.frame;
    start(forward.at(num_frames), now);
    for (int64_t t = num_frames - 1; t >= 0; --t) {
      add_emissions(forward.at(t + 1), now, at(wanted_.grad_p, t * symbols_of_p), at(wanted_.grad_q, t * symbols_of_q));
      if (t == 0 && wanted_.grad_arcs == nullptr) break;
      scores.read(t);
      T offset;
      const PairTop<T> base = run_.reference(graph_.backward.width(), now, &offset);
      run_.emit(num_rows_, reached_.frame, scores.rows(base, offset), emitted_.frame);
      if (wanted_.grad_arcs != nullptr) add_arcs(forward.at(t));
      run_.backward(table_, emitted_.frame, next);
      std::swap(now, next);
    }
    for (int64_t i = 0; i < num_reads_; ++i)
      if (graph_.arc_of_read[i] >= 0) wanted_.grad_arcs[graph_.arc_of_read[i]] += grad_reads_[i];
  }

 private:
  static T* at(T* grad, int64_t i) { return grad == nullptr ? nullptr : grad + i; }

  // Products of forward and backward cells over what one path can take only one of (the rows or arcs of one frame, or
  // the final arcs) become gradients by these factors: the posteriors are made to sum to one, and the log-ratios are
  // centred.
  struct Factors {
    PairProductSums<T> to_p, to_q;
  };
  Factors weigh(int64_t n, PairTop<T> top, PairFrame<T> products) const {
    const PairProductSums<T> sums = run_.scale(n, top, products);
    const double per_p = sums.p > 0 ? 1 / static_cast<double>(sums.p) : 0;
    const double per_q = sums.q > 0 ? 1 / static_cast<double>(sums.q) : 0;
    const double mean = moments_ ? static_cast<double>(sums.r) * per_p : 0, by_kl = wanted_.by_kl;
    return {{T((wanted_.by_p - by_kl * mean) * per_p), T(0), T(by_kl * per_p)},
            {T(-by_kl * per_p), T((by_kl + wanted_.by_q) * per_q), T(0)}};
  }
  PairProductSums<T> of_graph(const Factors& by) const {
    const T in_p = wanted_.graph_in_p, in_q = wanted_.graph_in_q;
    return {in_p * by.to_p.p + in_q * by.to_q.p, in_q * by.to_q.q, in_p * by.to_p.r};
  }

  // Backward cells after the last frame, and the gradients of the final arcs.
  void start(PairFrame<T> last, PairFrame<T> now) {
    const std::vector<FinalArc<T>>& final = graph_.final;
    const int64_t n = static_cast<int64_t>(final.size());
    FrameBuffer<T> products(padded(n), moments_);
    PairTop<T> top{2 * kNoMass, 2 * kNoMass};
    std::vector<PairCell<T>> leaving;
    for (int64_t i = 0; i < n; ++i) {
      if (i == 0 || final[i].src != final[i - 1].src) leaving.clear();
      leaving.push_back(extend(one<T>(), final[i].weight));
      set(now, graph_.backward.row_of_state[final[i].src], merge(leaving), moments_);
      PairCell<T> end = extend(get(last, graph_.forward.row_of_state[final[i].src], moments_), final[i].weight);
      end.pe = led_exponent(end.p, end.pe);
      end.qe = led_exponent(end.q, end.qe);
      set(products.frame, i, end, moments_);
      top = {std::max(top.p, end.pe), std::max(top.q, end.qe)};
    }
    if (wanted_.grad_arcs == nullptr) return;
    std::vector<T> values(padded(n));
    run_.combine(padded(n), of_graph(weigh(padded(n), top, products.frame)), products.frame, values.data());
    for (int64_t i = 0; i < n; ++i) wanted_.grad_arcs[final[i].number] += values[i];
  }

  // The gradients of one frame's scores.
  void add_emissions(PairFrame<T> forward, PairFrame<T> backward, T* row_p, T* row_q) {
    const PairFrame<T> products = products_.frame;
    const PairTop<T> top =
        run_.row_products(num_rows_, graph_.dst_of_row.data(), forward, backward, reached_.frame, products);
    const Factors by = weigh(num_rows_, top, products);
    if (row_p != nullptr) add_row(by.to_p, row_p);
    if (row_q != nullptr) add_row(by.to_q, row_q);
  }
  void add_row(PairProductSums<T> by, T* row) {
    run_.combine(num_rows_, by, products_.frame, by_row_.data());
    const int64_t num_symbols = static_cast<int64_t>(graph_.symbols.size());
    for (int64_t i = 0; i < num_symbols; ++i) {
      T sum = 0;
      for (int64_t k = graph_.symbol_splits[i]; k < graph_.symbol_splits[i + 1]; ++k)
        sum += by_row_[graph_.rows_of_symbol[k]];
      row[graph_.symbols[i]] += sum;
    }
  }

  // The gradient of one frame's arcs.
  void add_arcs(PairFrame<T> forward) {
    const PairFrame<T> products = arc_products_.frame;
    const PairTop<T> top = run_.arc_products(table_, graph_.src_of_row.data(), forward, emitted_.frame, products);
    run_.combine(num_reads_, of_graph(weigh(num_reads_, top, products)), products, by_read_.data());
    for (int64_t i = 0; i < num_reads_; ++i) grad_reads_[i] += by_read_[i];
  }

  const DenseGraph<T>& graph_;
  const DensePairLoops<T>& run_;
  const bool moments_;
  const Wanted<T> wanted_;
  const RowTable<T> table_;
  const int64_t num_rows_, num_reads_;
  FrameBuffer<T> one_, other_, reached_, emitted_, products_, arc_products_;
  std::vector<T> by_row_, by_read_;
  std::vector<double> grad_reads_;
};

// Sequences whose gradients may overlap in some frame are handled by one thread.
template <class T>
std::vector<std::vector<int64_t>> independent_groups(const DensePair<T>& dense) {
  const int64_t num_sequences = dense.p.num_sequences;
  if (std::equal(dense.p.utterances, dense.p.utterances + num_sequences, dense.q.utterances))
    return by_utterance(dense.p);
  std::vector<std::vector<int64_t>> all(1, std::vector<int64_t>(num_sequences));
  std::iota(all[0].begin(), all[0].end(), 0);
  return all;
}

template <class T>
void fill_zero(const DenseVec<T>& dense, T* grad) {
  if (grad == nullptr) return;
  const int64_t size = dense.num_frames * dense.num_symbols;
  advise_huge_pages(grad, dense.num_utterances * size * sizeof(T));
  parallel_for(dense.num_utterances, dense.num_threads,
               [&](int64_t n) { std::fill(grad + n * size, grad + (n + 1) * size, T(0)); });
}

// Where the gradient of a sequence's first frame stands.
template <class T>
T* first_frame(const DenseVec<T>& dense, int64_t s, T* grad) {
  if (grad == nullptr) return nullptr;
  return grad + (dense.utterances[s] * dense.num_frames + dense.start_frames[s]) * dense.num_symbols;
}

}  // namespace

template <class T>
int64_t intersect_dense_kl_workspace(const std::vector<DenseGraph<T>>& graphs, int64_t num_sequences,
                                     const int64_t* lengths, bool moments, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t s = 0; s < num_sequences; ++s) {
    cell_offsets[s] = total;
    total += (lengths[s] + 1) * Frames<T>::size(graph_of(graphs, s).forward.width(), moments);
  }
  return total;
}

template <class T>
void intersect_dense_kl_forward(const std::vector<DenseGraph<T>>& graphs, const DensePair<T>& dense, bool moments,
                                T* cells, const int64_t* cell_offsets, double* log_p, double* log_q, double* kl,
                                uint8_t* status, int64_t* bad_frame, int64_t* bad_symbol, uint8_t* bad_model) {
  parallel_for(dense.p.num_sequences, dense.p.num_threads, [&](int64_t s) {
    const DenseGraph<T>& graph = graph_of(graphs, s);
    const int64_t num_frames = dense.p.lengths[s];
    bad_frame[s] = bad_symbol[s] = -1;
    PairScores<T> scores(dense, s, graph);
    Frames<T> frames(cells == nullptr ? nullptr : cells + cell_offsets[s], moments, graph.forward.width());
    const auto sweep = [&](bool common) {
      scores.set_common(common);
      return sweep_forward(graph, scores, num_frames, frames, {&bad_frame[s], &bad_symbol[s], &bad_model[s]});
    };
    const auto only_in_p = [&] { return bad_frame[s] < 0 && scores.only_in_p(); };
    const KlTotal result = settled(num_frames, sweep, only_in_p, [&] { return count_paths(graph, scores, num_frames); });
    log_p[s] = result.log_p;
    log_q[s] = result.log_q;
    kl[s] = result.kl;
    status[s] = result.status;
  });
}

template <class T>
void intersect_dense_kl_backward(const std::vector<DenseGraph<T>>& graphs, const DensePair<T>& dense, bool moments,
                                 const T* cells, const int64_t* cell_offsets, const uint8_t* status,
                                 const DenseKlGradients<T>& gradients) {
  fill_zero(dense.p, gradients.grad_p);
  fill_zero(dense.q, gradients.grad_q);
  const std::vector<std::vector<int64_t>> groups = independent_groups(dense);
  parallel_for(static_cast<int64_t>(groups.size()), dense.p.num_threads, [&](int64_t g) {
    for (const int64_t s : groups[g]) {
      const DenseGraph<T>& graph = graph_of(graphs, s);
      std::vector<double> grad_arcs(gradients.grad_graph == nullptr ? 0 : graph.num_arcs, 0.0);
      if (graph.num_states > 0) {
        const Wanted<T> wanted{status[s] == kKlFinite ? gradients.by_kl[s] : 0.0,
                               gradients.by_p[s],
                               gradients.by_q[s],
                               first_frame(dense.p, s, gradients.grad_p),
                               first_frame(dense.q, s, gradients.grad_q),
                               gradients.grad_graph == nullptr ? nullptr : grad_arcs.data(),
                               gradients.graph_in_p,
                               gradients.graph_in_q};
        PairScores<T> scores(dense, s, graph);
        scores.set_common(status[s] != kKlInfinite);
        Frames<T> frames(const_cast<T*>(cells) + cell_offsets[s], moments, graph.forward.width());  // only read
        Backward<T>(graph, moments, wanted)
            .run(scores, dense.p.lengths[s], frames, dense.p.num_symbols, dense.q.num_symbols);
      }
      if (gradients.grad_graph == nullptr) continue;
      T* to = gradients.grad_graph + (graphs.size() == 1 ? s * graph.num_arcs : graph.first_arc);
      std::copy(grad_arcs.begin(), grad_arcs.end(), to);
    }
  });
}

#define WFST_INSTANTIATE(T)                                                                                            \
  template int64_t intersect_dense_kl_workspace(const std::vector<DenseGraph<T>>&, int64_t, const int64_t*, bool,      \
                                                int64_t*);                                                             \
  template void intersect_dense_kl_forward(const std::vector<DenseGraph<T>>&, const DensePair<T>&, bool, T*,           \
                                           const int64_t*, double*, double*, double*, uint8_t*, int64_t*, int64_t*,    \
                                           uint8_t*);                                                                  \
  template void intersect_dense_kl_backward(const std::vector<DenseGraph<T>>&, const DensePair<T>&, bool, const T*,    \
                                            const int64_t*, const uint8_t*, const DenseKlGradients<T>&);
WFST_INSTANTIATE(float)
WFST_INSTANTIATE(double)
#undef WFST_INSTANTIATE

}  // namespace wfst_entropy
