#include "intersect_dense.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dense_emissions.h"
#include "loops.h"
#include "parallel.h"
#include "path_count.h"

namespace wfst_entropy {
namespace {

#define WFST_TARGET
#define WFST_VECTOR_BYTES 0
#include "cell.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES

template <class T>
const DenseLoops<T>& dense_loops(bool entropy) {
  return entropy ? loops<T>().dense_entropy : loops<T>().dense;
}

template <class T>
void clear(const CellFrame<T>& frame, int64_t width, bool entropy) {
  for (int64_t i = 0; i < width; ++i) frame.set(i, cell_zero<T>(), entropy);
}

// A cell times the weight of an arc that consumes no frame.
template <class T>
Cell<T> extend(const Cell<T>& cell, const Weight<T>& arc) {
  return {cell.m * arc.m, cell.e + arc.e, arc.m * (cell.r - cell.m * arc.ln)};
}

template <class T>
Cell<T> merge(const std::vector<Cell<T>>& cells) {
  if (cells.empty()) return cell_zero<T>();
  Int<T> top = cells[0].e;
  for (const Cell<T>& c : cells) top = std::max(top, c.e);
  T m = 0, r = 0;
  for (const Cell<T>& c : cells) accumulate<true>(c.m, c.e, c.r, top, &m, &r);
  return normalise<T>(m, top, r);
}

// Paths of non-zero mass, counted up to two.
template <class T>
PathCount count_paths(const DenseGraph<T>& graph, const Emissions<T>& emissions, int64_t num_frames) {
  std::vector<uint8_t> now(graph.num_states, 0), next(graph.num_states);
  if (graph.num_states > 0) now[0] = 1;
  for (int64_t t = 0; t < num_frames; ++t) {
    const T* row = emissions.row(t);
    std::fill(next.begin(), next.end(), 0);
    for (const EmittingArc& arc : graph.emitting)
      if (row[graph.symbols[arc.symbol]] >= T(-kScoreLimit)) next[arc.dst] = add_counts(next[arc.dst], now[arc.src]);
    now.swap(next);
  }
  int count = 0;
  for (const FinalArc<T>& arc : graph.final) count = add_counts(count, now[arc.src]);
  return static_cast<PathCount>(count);
}

struct Total {
  double nll = INFINITY;
  double entropy = 0;
  PathCount count = kNoPath;
};

// The final arcs after the last frame.
template <class T>
Total total(const DenseGraph<T>& graph, const CellFrame<T>& last, double log_scale, double offset, bool entropy) {
  std::vector<Cell<T>> ends;
  for (const FinalArc<T>& arc : graph.final) {
    const Cell<T> cell = last.get(graph.forward.row_of_state[arc.src], entropy);
    if (cell.m > T(0)) ends.push_back(extend(cell, arc.weight));
  }
  const Cell<T> end = merge(ends);
  if (end.m == T(0)) return {};
  const double log_m = std::log(static_cast<double>(end.m));
  Total result;
  result.count = kManyPaths;
  result.nll = -(log_scale + static_cast<double>(end.e) * kLn2 + log_m);
  if (entropy) result.entropy = std::max(0.0, static_cast<double>(end.r) / static_cast<double>(end.m) + log_m + offset);
  return result;
}

// `cells` holds the frames 0 ... num_frames (saved) or two that take turns.
template <class T>
Total forward_sequence(const DenseGraph<T>& graph, Emissions<T>& emissions, int64_t num_frames, T* cells, bool saved,
                       bool entropy, int64_t* bad_frame, int64_t* bad_symbol) {
  if (graph.num_states == 0) return {};
  const DenseLoops<T>& run = dense_loops<T>(entropy);
  const RowTable<T> table = graph.forward.table();
  const int64_t width = graph.forward.width(), frame_size = CellFrame<T>::size(width, entropy);
  CellFrame<T> last = CellFrame<T>::at(cells, width);
  clear(last, width, entropy);
  last.set(graph.forward.row_of_state[0], cell_one<T>(), entropy);
  double log_scale = 0, offset = 0;
  for (int64_t t = 0; t < num_frames; ++t) {
    if (!emissions.read(t)) {
      *bad_frame = t;
      *bad_symbol = emissions.bad_symbol(t);
      return {};
    }
    Reference<T> reference;
    run.reference(width, last, &reference.base, &reference.offset);
    log_scale += static_cast<double>(emissions.shift()) + static_cast<double>(reference.base) * kLn2;
    offset += reference.offset;
    const CellFrame<T> next = CellFrame<T>::at(cells + (saved ? t + 1 : (t + 1) % 2) * frame_size, width);
    run.forward(table, last, emissions.rows(reference.base, reference.offset), next);
    last = next;
  }
  Total result = total(graph, last, log_scale, offset, entropy);
  if (entropy && result.count == kManyPaths && result.entropy < small_entropy(num_frames)) {
    result.count = count_paths(graph, emissions, num_frames);
    if (result.count == kOnePath) result.entropy = 0;
  }
  return result;
}

// What backward sweeps are asked for.
struct Gradients {
  double nll, entropy;
};

// Products of forward and backward cells over what one path can take only one of (the rows or arcs of one frame, or the
// final arcs) become gradients: their posteriors are made to sum to one, and the surprisals are centred.
template <class T>
bool weigh(const DenseLoops<T>& run, int64_t n, Int<T> top, const Gradients& wanted, CellFrame<T> products) {
  const ProductSums<T> sums = run.scale(n, top, products);
  const double mass = sums.mass;
  if (!(mass > 0)) return false;
  const double mean = static_cast<double>(sums.moment) / mass;
  run.combine(n, T(-(wanted.nll + wanted.entropy * mean) / mass), T(wanted.entropy / mass), products);
  return true;
}

// A frame of cells that are all zero at first.
template <class T>
class FrameBuffer {
 public:
  FrameBuffer(int64_t width, bool entropy)
      : width_(width), memory_(CellFrame<T>::size(width, entropy)) {
    clear(frame(), width, entropy);
  }
  CellFrame<T> frame() { return CellFrame<T>::at(memory_.data(), width_); }

 private:
  int64_t width_;
  std::vector<T> memory_;
};

// The backward sweep of one sequence.
template <class T>
class Backward {
 public:
  // grad_arcs: to be added to, by number of the arc within the graph; nullptr: not wanted.
  Backward(const DenseGraph<T>& graph, bool entropy, const Gradients& wanted, double* grad_arcs)
      : graph_(graph),
        run_(dense_loops<T>(entropy)),
        entropy_(entropy),
        wanted_(wanted),
        grad_arcs_(grad_arcs),
        table_(graph.backward.table()),
        num_rows_(graph.forward.num_weighted_rows()),
        num_reads_(grad_arcs == nullptr ? 0 : graph.backward.num_weighted_reads()),
        one_(graph.backward.width(), entropy),
        other_(graph.backward.width(), entropy),
        reached_(num_rows_, entropy),
        emitted_(num_rows_, entropy),
        products_(num_rows_, entropy),
        arc_products_(num_reads_, entropy),
        grad_reads_(num_reads_, 0.0) {}

  // cells: those of frames 0 ... num_frames; grad: the gradient of the sequence's first frame.
  void run(Emissions<T>& emissions, int64_t num_frames, const T* cells, int64_t num_symbols, T* grad) {
    const int64_t width = graph_.forward.width(), frame_size = CellFrame<T>::size(width, entropy_);
    const auto forward = [&](int64_t t) {
      return CellFrame<T>::at(const_cast<T*>(cells) + t * frame_size, width);  // only read
    };
    CellFrame<T> now = one_.frame(), next = other_.frame();
    start(forward(num_frames), now);
    for (int64_t t = num_frames - 1; t >= 0; --t) {
      add_emissions(forward(t + 1), now, grad + t * num_symbols);
      if (t == 0 && grad_arcs_ == nullptr) break;
      emissions.read(t);
      Reference<T> reference;
      run_.reference(graph_.backward.width(), now, &reference.base, &reference.offset);
      run_.emit(num_rows_, reached_.frame(), emissions.rows(reference.base, reference.offset), emitted_.frame());
      if (grad_arcs_ != nullptr) add_arcs(forward(t));
      run_.backward(table_, emitted_.frame(), next);
      std::swap(now, next);
    }
    for (int64_t i = 0; i < num_reads_; ++i)
      if (graph_.arc_of_read[i] >= 0) grad_arcs_[graph_.arc_of_read[i]] += grad_reads_[i];
  }

 private:
  // Backward cells after the last frame, and the gradients of the final arcs.
  void start(CellFrame<T> last, CellFrame<T> now) {
    const std::vector<FinalArc<T>>& final = graph_.final;
    const int64_t n = static_cast<int64_t>(final.size());
    FrameBuffer<T> buffer(padded(n), entropy_);
    Int<T> top = 2 * kNoMass;
    std::vector<Cell<T>> leaving;
    for (int64_t i = 0; i < n; ++i) {
      if (i == 0 || final[i].src != final[i - 1].src) leaving.clear();
      leaving.push_back(extend(cell_one<T>(), final[i].weight));
      now.set(graph_.backward.row_of_state[final[i].src], merge(leaving), entropy_);
      const Cell<T> end = extend(last.get(graph_.forward.row_of_state[final[i].src], entropy_), final[i].weight);
      if (end.m == T(0)) continue;
      buffer.frame().set(i, end, entropy_);
      top = std::max(top, end.e);
    }
    if (grad_arcs_ == nullptr || !weigh(run_, padded(n), top, wanted_, buffer.frame())) return;
    for (int64_t i = 0; i < n; ++i) grad_arcs_[final[i].number] += buffer.frame().m[i];
  }

  // The gradient of one frame's scores.
  void add_emissions(CellFrame<T> forward, CellFrame<T> backward, T* row) {
    const CellFrame<T> products = products_.frame();
    const Int<T> top =
        run_.row_products(num_rows_, graph_.dst_of_row.data(), forward, backward, reached_.frame(), products);
    if (!weigh(run_, num_rows_, top, wanted_, products)) return;
    const int64_t num_symbols = static_cast<int64_t>(graph_.symbols.size());
    for (int64_t i = 0; i < num_symbols; ++i) {
      T sum = 0;
      for (int64_t k = graph_.symbol_splits[i]; k < graph_.symbol_splits[i + 1]; ++k)
        sum += products.m[graph_.rows_of_symbol[k]];
      row[graph_.symbols[i]] += sum;
    }
  }

  // The gradient of one frame's arcs.
  void add_arcs(CellFrame<T> forward) {
    const CellFrame<T> products = arc_products_.frame();
    const Int<T> top = run_.arc_products(table_, graph_.src_of_row.data(), forward, emitted_.frame(), products);
    if (!weigh(run_, num_reads_, top, wanted_, products)) return;
    for (int64_t i = 0; i < num_reads_; ++i) grad_reads_[i] += products.m[i];
  }

  const DenseGraph<T>& graph_;
  const DenseLoops<T>& run_;
  const bool entropy_;
  const Gradients wanted_;
  double* const grad_arcs_;
  const RowTable<T> table_;
  const int64_t num_rows_, num_reads_;
  FrameBuffer<T> one_, other_, reached_, emitted_, products_, arc_products_;
  std::vector<double> grad_reads_;
};

}  // namespace

template <class T>
int64_t intersect_dense_workspace(const std::vector<DenseGraph<T>>& graphs, int64_t num_sequences,
                                  const int64_t* lengths, bool entropy, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t s = 0; s < num_sequences; ++s) {
    cell_offsets[s] = total;
    total += (lengths[s] + 1) * CellFrame<T>::size(graph_of(graphs, s).forward.width(), entropy);
  }
  return total;
}

template <class T>
void intersect_dense_forward(const std::vector<DenseGraph<T>>& graphs, const DenseVec<T>& dense, T* cells,
                             const int64_t* cell_offsets, double* nll, double* entropy, uint8_t* path_count,
                             int64_t* bad_frame, int64_t* bad_symbol) {
  const bool wanted = entropy != nullptr;
  parallel_for(dense.num_sequences, dense.num_threads, [&](int64_t s) {
    const DenseGraph<T>& graph = graph_of(graphs, s);
    bad_frame[s] = bad_symbol[s] = -1;
    Emissions<T> emissions(dense, s, graph);
    std::vector<T> pair;
    if (cells == nullptr) pair.resize(2 * CellFrame<T>::size(graph.forward.width(), wanted));
    T* memory = cells == nullptr ? pair.data() : cells + cell_offsets[s];
    const Total result = forward_sequence(graph, emissions, dense.lengths[s], memory, cells != nullptr, wanted,
                                          &bad_frame[s], &bad_symbol[s]);
    nll[s] = result.nll;
    if (wanted) entropy[s] = result.entropy;
    path_count[s] = result.count;
  });
}

template <class T>
void intersect_dense_backward(const std::vector<DenseGraph<T>>& graphs, const DenseVec<T>& dense, const T* cells,
                              const int64_t* cell_offsets, const uint8_t* path_count, const double* grad_nll,
                              const double* grad_entropy, T* grad_dense, T* grad_graph) {
  const std::vector<std::vector<int64_t>> sequences = by_utterance(dense);
  const int64_t utterance_size = dense.num_frames * dense.num_symbols;
  parallel_for(dense.num_utterances, dense.num_threads, [&](int64_t n) {
    T* grad = grad_dense + n * utterance_size;
    std::fill(grad, grad + utterance_size, T(0));
    for (const int64_t s : sequences[n]) {
      const DenseGraph<T>& graph = graph_of(graphs, s);
      std::vector<double> grad_arcs(grad_graph == nullptr ? 0 : graph.num_arcs, 0.0);
      if (path_count[s] != kNoPath) {
        const bool many = grad_entropy != nullptr && path_count[s] == kManyPaths;
        Emissions<T> emissions(dense, s, graph);
        Backward<T> sweep(graph, grad_entropy != nullptr, {grad_nll[s], many ? grad_entropy[s] : 0.0},
                          grad_graph == nullptr ? nullptr : grad_arcs.data());
        sweep.run(emissions, dense.lengths[s], cells + cell_offsets[s], dense.num_symbols,
                  grad + dense.start_frames[s] * dense.num_symbols);
      }
      if (grad_graph == nullptr) continue;
      T* to = grad_graph + (graphs.size() == 1 ? s * graph.num_arcs : graph.first_arc);
      std::copy(grad_arcs.begin(), grad_arcs.end(), to);
    }
  });
}

template int64_t intersect_dense_workspace(const std::vector<DenseGraph<float>>&, int64_t, const int64_t*, bool,
                                           int64_t*);
template int64_t intersect_dense_workspace(const std::vector<DenseGraph<double>>&, int64_t, const int64_t*, bool,
                                           int64_t*);
template void intersect_dense_forward(const std::vector<DenseGraph<float>>&, const DenseVec<float>&, float*,
                                      const int64_t*, double*, double*, uint8_t*, int64_t*, int64_t*);
template void intersect_dense_forward(const std::vector<DenseGraph<double>>&, const DenseVec<double>&, double*,
                                      const int64_t*, double*, double*, uint8_t*, int64_t*, int64_t*);
template void intersect_dense_backward(const std::vector<DenseGraph<float>>&, const DenseVec<float>&, const float*,
                                       const int64_t*, const uint8_t*, const double*, const double*, float*, float*);
template void intersect_dense_backward(const std::vector<DenseGraph<double>>&, const DenseVec<double>&, const double*,
                                       const int64_t*, const uint8_t*, const double*, const double*, double*,
                                       double*);

}  // namespace wfst_entropy
