// The bodies of dense_loops.h, included by loops.inl.

// base[index[0]], base[index[1]], ... as one vector. Plain loads, since gather instructions
// gained nothing in benchmarks/dense.py.
template <class T>
WFST_INLINE typename Pack<T>::Real gather_from(const T* base, const int32_t* index) {
  T v[Pack<T>::kSize];
  for (int k = 0; k < Pack<T>::kSize; ++k) v[k] = base[index[k]];
  return load<T>(v);
}

template <class T>
WFST_INLINE typename Pack<T>::Int gather_int_from(const Int<T>* base, const int32_t* index) {
  return same_bits<typename Pack<T>::Int>(gather_from<T>(reinterpret_cast<const T*>(base), index));
}

template <class T>
using PackCell = CellOf<typename Pack<T>::Real, typename Pack<T>::Int>;

template <class T, bool kEntropy>
WFST_INLINE PackCell<T> gather_cells(CellFrame<T> frame, const int32_t* index) {
  PackCell<T> c{gather_from<T>(frame.m, index), gather_int_from<T>(frame.e, index), {}};
  if (kEntropy) c.r = gather_from<T>(frame.r, index);
  return c;
}

template <class T, bool kEntropy>
WFST_INLINE PackCell<T> load_cells(CellFrame<T> frame, int64_t i) {
  PackCell<T> c{load<T>(frame.m + i), load_int<T>(frame.e + i), {}};
  if (kEntropy) c.r = load<T>(frame.r + i);
  return c;
}

template <class T, bool kEntropy>
WFST_INLINE void store_cells(CellFrame<T> frame, int64_t i, const PackCell<T>& c) {
  store(frame.m + i, c.m);
  store(frame.e + i, c.e);
  if (kEntropy) store(frame.r + i, c.r);
}

// A cell without mass must not lead a maximum of exponents, whatever weight it was multiplied with.
template <class T>
WFST_INLINE PackCell<T> led_by_mass(const PackCell<T>& c) {
  return {c.m, c.m > T(0) ? c.e : splat<typename Pack<T>::Int>(2 * kNoMass), c.r};
}

// A cell times weights (m, e, ln).
template <class T, bool kEntropy, class V, class I>
WFST_INLINE PackCell<T> times(const PackCell<T>& c, V m, I e, V ln) {
  PackCell<T> out{c.m * m, c.e + e, {}};
  if (kEntropy) out.r = m * (c.r - c.m * ln);
  return led_by_mass<T>(out);
}

// The sum of the reads of one vector of rows, not normalised. `index` and the weights stand at the rows' first read;
// each further one is kLanes on.
template <class T, bool kEntropy, bool kWeighted>
WFST_INLINE PackCell<T> merge_rows(int64_t num_slots, CellFrame<T> from, const int32_t* index, const T* m,
                                   const Int<T>* e, const T* ln) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  V mass[kRowLimit], moment[kRowLimit];
  I exponent[kRowLimit];
  PackCell<T> sum{V{}, splat<I>(2 * kNoMass), V{}};
  for (int64_t k = 0; k < num_slots; ++k) {
    PackCell<T> c = gather_cells<T, kEntropy>(from, index + k * kLanes);
    if (kWeighted)
      c = times<T, kEntropy>(c, load<T>(m + k * kLanes), load_int<T>(e + k * kLanes), load<T>(ln + k * kLanes));
    mass[k] = c.m;
    exponent[k] = c.e;
    if (kEntropy) moment[k] = c.r;
    sum.e = larger(sum.e, c.e);
  }
  for (int64_t k = 0; k < num_slots; ++k)
    accumulate<kEntropy>(mass[k], exponent[k], kEntropy ? moment[k] : V{}, sum.e, &sum.m, &sum.r);
  return sum;
}

// Cells of rows i ... times their emissions, less the reference; not normalised.
template <class T, bool kEntropy>
WFST_INLINE PackCell<T> emit_rows(const PackCell<T>& c, const RowEmissions<T>& emissions, int64_t i) {
  using V = typename Pack<T>::Real;
  const V x = gather_from<T>(emissions.x, emissions.symbols + i);
  const auto w = masked_weight(x, splat<V>(emissions.shift), emissions.far);
  return times<T, kEntropy>(c, w.m, w.e - emissions.base, w.ln + emissions.offset);
}

// Merges rows chunk by chunk; finish(cells, i) is applied to the weighted rows.
template <class T, bool kEntropy, class Finish>
WFST_INLINE void run_rows(const RowTable<T>& table, CellFrame<T> from, CellFrame<T> to, const Finish& finish) {
  for (int64_t c = 0; c < table.num_chunks; ++c) {
    const int64_t begin = table.begins[c], num_slots = table.begins[c + 1] - begin;
    for (int64_t lane = 0; lane < kLanes; lane += Pack<T>::kSize) {
      const int64_t row = c * kLanes + lane, read = begin * kLanes + lane;
      PackCell<T> cells;
      if (c < table.num_weighted)
        cells = finish(merge_rows<T, kEntropy, true>(num_slots, from, table.index + read, table.m + read,
                                                     table.e + read, table.ln + read),
                       row);
      else
        cells = merge_rows<T, kEntropy, false>(num_slots, to, table.index + read, nullptr, nullptr, nullptr);
      store_cells<T, kEntropy>(to, row, normalise(cells.m, cells.e, cells.r));
    }
  }
}

template <class T, bool kEntropy>
WFST_TARGET void dense_forward(const RowTable<T>& table, CellFrame<T> from, const RowEmissions<T>& emissions,
                               CellFrame<T> to) {
  struct Emit {
    const RowEmissions<T>& emissions;
    WFST_INLINE PackCell<T> operator()(const PackCell<T>& c, int64_t i) const {
      return emit_rows<T, kEntropy>(c, emissions, i);
    }
  };
  run_rows<T, kEntropy>(table, from, to, Emit{emissions});
}

template <class T, bool kEntropy>
WFST_TARGET void dense_backward(const RowTable<T>& table, CellFrame<T> emitted, CellFrame<T> to) {
  struct Keep {
    WFST_INLINE PackCell<T> operator()(const PackCell<T>& c, int64_t) const { return c; }
  };
  run_rows<T, kEntropy>(table, emitted, to, Keep{});
}

template <class T, bool kEntropy>
WFST_TARGET void dense_reference(int64_t width, CellFrame<T> frame, Int<T>* base, T* offset) {
  using I = typename Pack<T>::Int;
  I highest = splat<I>(kNoMass);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) highest = larger(highest, load_int<T>(frame.e + i));
  const Int<T> top = largest_of<Int<T>>(highest);
  *base = top == kNoMass ? Int<T>(0) : top;
  *offset = T(0);
  if (!kEntropy || top == kNoMass) return;
  int64_t i = 0;
  while (frame.e[i] != top) ++i;
  *offset = frame.r[i] / frame.m[i];
}

template <class T, bool kEntropy>
WFST_INLINE PackCell<T> product_of(const PackCell<T>& f, const PackCell<T>& g) {
  PackCell<T> c{f.m * g.m, f.e + g.e, {}};
  if (kEntropy) c.r = f.r * g.m + f.m * g.r;
  return led_by_mass<T>(c);
}

template <class T, bool kEntropy>
WFST_TARGET Int<T> row_products(int64_t n, const int32_t* at, CellFrame<T> forward, CellFrame<T> backward,
                                CellFrame<T> reached, CellFrame<T> products) {
  using I = typename Pack<T>::Int;
  I highest = splat<I>(2 * kNoMass);
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    const PackCell<T> g = gather_cells<T, kEntropy>(backward, at + i);
    const PackCell<T> c = product_of<T, kEntropy>(load_cells<T, kEntropy>(forward, i), g);
    store_cells<T, kEntropy>(reached, i, g);
    store_cells<T, kEntropy>(products, i, c);
    highest = larger(highest, c.e);
  }
  return largest_of<Int<T>>(highest);
}

template <class T, bool kEntropy>
WFST_TARGET void dense_emit(int64_t n, CellFrame<T> reached, const RowEmissions<T>& emissions, CellFrame<T> emitted) {
  for (int64_t i = 0; i < n; i += Pack<T>::kSize)
    store_cells<T, kEntropy>(emitted, i, emit_rows<T, kEntropy>(load_cells<T, kEntropy>(reached, i), emissions, i));
}

template <class T, bool kEntropy>
WFST_TARGET Int<T> arc_products(const RowTable<T>& table, const int32_t* at, CellFrame<T> forward,
                                CellFrame<T> emitted, CellFrame<T> products) {
  using I = typename Pack<T>::Int;
  I highest = splat<I>(2 * kNoMass);
  for (int64_t c = 0; c < table.num_weighted; ++c) {
    for (int64_t lane = 0; lane < kLanes; lane += Pack<T>::kSize) {
      const PackCell<T> f = gather_cells<T, kEntropy>(forward, at + c * kLanes + lane);
      for (int64_t k = table.begins[c]; k < table.begins[c + 1]; ++k) {
        const int64_t i = k * kLanes + lane;
        const PackCell<T> g = times<T, kEntropy>(gather_cells<T, kEntropy>(emitted, table.index + i),
                                                 load<T>(table.m + i), load_int<T>(table.e + i), load<T>(table.ln + i));
        const PackCell<T> product = product_of<T, kEntropy>(f, g);
        store_cells<T, kEntropy>(products, i, product);
        highest = larger(highest, product.e);
      }
    }
  }
  return largest_of<Int<T>>(highest);
}

template <class T, bool kEntropy>
WFST_TARGET ProductSums<T> scale_products(int64_t n, Int<T> top, CellFrame<T> products) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  V mass{}, moment{};
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    const PackCell<T> c = load_cells<T, kEntropy>(products, i);
    V m{}, r{};
    accumulate<kEntropy>(c.m, c.e, c.r, splat<I>(top), &m, &r);
    store(products.m + i, m);
    if (kEntropy) store(products.r + i, r);
    mass += m;
    moment += r;
  }
  return {sum_of<T>(mass), sum_of<T>(moment)};
}

template <class T, bool kEntropy>
WFST_TARGET void combine_products(int64_t n, T by_m, T by_r, CellFrame<T> products) {
  using V = typename Pack<T>::Real;
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    V value = by_m * load<T>(products.m + i);
    if (kEntropy) value += by_r * load<T>(products.r + i);
    store(products.m + i, value);
  }
}

template <class T, bool kEntropy>
constexpr DenseLoops<T> dense_table() {
  return {dense_forward<T, kEntropy>,  dense_backward<T, kEntropy>, dense_reference<T, kEntropy>,
          row_products<T, kEntropy>,   dense_emit<T, kEntropy>,     arc_products<T, kEntropy>,
          scale_products<T, kEntropy>, combine_products<T, kEntropy>};
}
