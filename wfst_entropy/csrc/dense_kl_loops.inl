// The bodies of dense_kl_loops.h, included by loops.inl after dense_loops.inl and ctc_kl_loops.inl.

template <class T, bool kMoment>
WFST_INLINE PackPair<T> gather_pairs(const PairFrame<T>& frame, const int32_t* index) {
  PackPair<T> c{gather_from<T>(frame.p, index), gather_int_from<T>(frame.pe, index), gather_from<T>(frame.q, index),
                gather_int_from<T>(frame.qe, index), {}};
  if (kMoment) c.r = gather_from<T>(frame.r, index);
  return c;
}

template <class T, bool kMoment>
WFST_INLINE PackPair<T> load_pairs(const PairFrame<T>& frame, int64_t i) {
  return load_pair<T, kMoment>(frame.p, frame.pe, frame.q, frame.qe, frame.r, i);
}

template <class T, bool kMoment>
WFST_INLINE void store_pairs(const PairFrame<T>& frame, int64_t i, const PackPair<T>& c) {
  store(frame.p + i, c.p);
  store(frame.pe + i, c.pe);
  store(frame.q + i, c.q);
  store(frame.qe + i, c.qe);
  if (kMoment) store(frame.r + i, c.r);
}

// A cell times the weights (m, e) of an arc, the same in both models.
template <class T, bool kMoment, class V, class I>
WFST_INLINE PackPair<T> times_arc(PackPair<T> c, V m, I e) {
  c.p *= m;
  c.q *= m;
  c.pe = led_exponent(c.p, c.pe + e);
  c.qe = led_exponent(c.q, c.qe + e);
  if (kMoment) c.r *= m;
  return c;
}

// The emissions of rows i ... by one model.
template <class T>
WFST_INLINE WeightOf<typename Pack<T>::Real, typename Pack<T>::Int> emission_of(const RowEmissions<T>& emissions,
                                                                              int64_t i) {
  using V = typename Pack<T>::Real;
  const V x = gather_from<T>(emissions.x, emissions.symbols + i), shift = splat<V>(emissions.shift);
  const auto used = x >= T(-kScoreLimit);
  const V used_x = used ? x : shift;
  auto w = emissions.far ? split_far_weight(used_x, shift) : split_weight(used_x, shift);
  w.m = used ? w.m : V{};
  w.e -= emissions.base;
  return w;
}

// Cells of rows i ... times their emissions, less the reference; not normalised.
template <class T, bool kMoment>
WFST_INLINE PackPair<T> emit_pairs(PackPair<T> c, const PairEmissions<T>& emissions, int64_t i) {
  const auto p = emission_of<T>(emissions.p, i), q = emission_of<T>(emissions.q, i);
  if (kMoment) c.r = extended_moment(c.p, c.r, p.m, p.ln - q.ln, emissions.offset);
  c.p *= p.m;
  c.q *= q.m;
  c.pe = led_exponent(c.p, c.pe + p.e);
  c.qe = led_exponent(c.q, c.qe + q.e);
  return c;
}

// The sum of the reads of one vector of rows, as merge_rows.
template <class T, bool kMoment, bool kWeighted>
WFST_INLINE PackPair<T> merge_pairs(int64_t num_slots, const PairFrame<T>& from, const int32_t* index, const T* m,
                                    const Int<T>* e) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  PackPair<T> reads[kRowLimit];
  I pe = splat<I>(2 * kNoMass), qe = pe;
  for (int64_t k = 0; k < num_slots; ++k) {
    reads[k] = gather_pairs<T, kMoment>(from, index + k * kLanes);
    if (kWeighted) reads[k] = times_arc<T, kMoment>(reads[k], load<T>(m + k * kLanes), load_int<T>(e + k * kLanes));
    pe = larger(pe, reads[k].pe);
    qe = larger(qe, reads[k].qe);
  }
  PairSums<V> sums{};
  for (int64_t k = 0; k < num_slots; ++k) accumulate_pair<kMoment>(reads[k], pe, qe, &sums);
  return {sums.p, pe, sums.q, qe, sums.r};
}

// Merges rows chunk by chunk, as run_rows.
template <class T, bool kMoment, class Finish>
WFST_INLINE void run_pair_rows(const RowTable<T>& table, const PairFrame<T>& from, const PairFrame<T>& to,
                               const Finish& finish) {
  using V = typename Pack<T>::Real;
  for (int64_t c = 0; c < table.num_chunks; ++c) {
    const int64_t begin = table.begins[c], num_slots = table.begins[c + 1] - begin;
    for (int64_t lane = 0; lane < kLanes; lane += Pack<T>::kSize) {
      const int64_t row = c * kLanes + lane, read = begin * kLanes + lane;
      PackPair<T> cells;
      if (c < table.num_weighted)
        cells = finish(
            merge_pairs<T, kMoment, true>(num_slots, from, table.index + read, table.m + read, table.e + read), row);
      else
        cells = merge_pairs<T, kMoment, false>(num_slots, to, table.index + read, nullptr, nullptr);
      store_pairs<T, kMoment>(to, row,
                              normalise_pair<kMoment>(PairSums<V>{cells.p, cells.q, cells.r}, cells.pe, cells.qe));
    }
  }
}

template <class T>
WFST_TARGET void dense_pair_forward(const RowTable<T>& table, PairFrame<T> from, const PairEmissions<T>& emissions,
                                    PairFrame<T> to) {
  struct Emit {
    const PairEmissions<T>& emissions;
    WFST_INLINE PackPair<T> operator()(const PackPair<T>& c, int64_t i) const {
      return emit_pairs<T, true>(c, emissions, i);
    }
  };
  run_pair_rows<T, true>(table, from, to, Emit{emissions});
}

template <class T, bool kMoment>
WFST_TARGET void dense_pair_backward(const RowTable<T>& table, PairFrame<T> emitted, PairFrame<T> to) {
  struct Keep {
    WFST_INLINE PackPair<T> operator()(const PackPair<T>& c, int64_t) const { return c; }
  };
  run_pair_rows<T, kMoment>(table, emitted, to, Keep{});
}

template <class T, bool kMoment>
WFST_TARGET PairTop<T> dense_pair_reference(int64_t width, PairFrame<T> frame, T* offset) {
  using I = typename Pack<T>::Int;
  I highest_p = splat<I>(kNoMass), highest_q = highest_p;
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    highest_p = larger(highest_p, load_int<T>(frame.pe + i));
    highest_q = larger(highest_q, load_int<T>(frame.qe + i));
  }
  const Int<T> top_p = largest_of<Int<T>>(highest_p), top_q = largest_of<Int<T>>(highest_q);
  *offset = T(0);
  if (kMoment && top_p != kNoMass) {
    int64_t i = 0;
    while (frame.pe[i] != top_p) ++i;
    *offset = frame.r[i] / frame.p[i];
  }
  return {top_p == kNoMass ? Int<T>(0) : top_p, top_q == kNoMass ? Int<T>(0) : top_q};
}

template <class T, bool kMoment>
WFST_TARGET PairTop<T> pair_row_products(int64_t n, const int32_t* at, PairFrame<T> forward, PairFrame<T> backward,
                                         PairFrame<T> reached, PairFrame<T> products) {
  using I = typename Pack<T>::Int;
  I highest_p = splat<I>(2 * kNoMass), highest_q = highest_p;
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    const PackPair<T> g = gather_pairs<T, kMoment>(backward, at + i);
    const PackPair<T> c = pair_product<kMoment>(load_pairs<T, kMoment>(forward, i), g);
    store_pairs<T, kMoment>(reached, i, g);
    store_pairs<T, kMoment>(products, i, c);
    highest_p = larger(highest_p, c.pe);
    highest_q = larger(highest_q, c.qe);
  }
  return {largest_of<Int<T>>(highest_p), largest_of<Int<T>>(highest_q)};
}

template <class T, bool kMoment>
WFST_TARGET void dense_pair_emit(int64_t n, PairFrame<T> reached, const PairEmissions<T>& emissions,
                                 PairFrame<T> emitted) {
  for (int64_t i = 0; i < n; i += Pack<T>::kSize)
    store_pairs<T, kMoment>(emitted, i, emit_pairs<T, kMoment>(load_pairs<T, kMoment>(reached, i), emissions, i));
}

template <class T, bool kMoment>
WFST_TARGET PairTop<T> pair_arc_products(const RowTable<T>& table, const int32_t* at, PairFrame<T> forward,
                                         PairFrame<T> emitted, PairFrame<T> products) {
  using I = typename Pack<T>::Int;
  I highest_p = splat<I>(2 * kNoMass), highest_q = highest_p;
  for (int64_t c = 0; c < table.num_weighted; ++c) {
    for (int64_t lane = 0; lane < kLanes; lane += Pack<T>::kSize) {
      const PackPair<T> f = gather_pairs<T, kMoment>(forward, at + c * kLanes + lane);
      for (int64_t k = table.begins[c]; k < table.begins[c + 1]; ++k) {
        const int64_t i = k * kLanes + lane;
        const PackPair<T> g = times_arc<T, kMoment>(gather_pairs<T, kMoment>(emitted, table.index + i),
                                                    load<T>(table.m + i), load_int<T>(table.e + i));
        const PackPair<T> product = pair_product<kMoment>(f, g);
        store_pairs<T, kMoment>(products, i, product);
        highest_p = larger(highest_p, product.pe);
        highest_q = larger(highest_q, product.qe);
      }
    }
  }
  return {largest_of<Int<T>>(highest_p), largest_of<Int<T>>(highest_q)};
}

template <class T, bool kMoment>
WFST_TARGET PairProductSums<T> scale_pairs(int64_t n, PairTop<T> top, PairFrame<T> products) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  const I top_p = splat<I>(top.p), top_q = splat<I>(top.q);
  PairSums<V> all{};
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    PairSums<V> one{};
    accumulate_pair<kMoment>(load_pairs<T, kMoment>(products, i), top_p, top_q, &one);
    store(products.p + i, one.p);
    store(products.q + i, one.q);
    if (kMoment) store(products.r + i, one.r);
    all.p += one.p;
    all.q += one.q;
    all.r += one.r;
  }
  return {sum_of<T>(all.p), sum_of<T>(all.q), sum_of<T>(all.r)};
}

template <class T, bool kMoment>
WFST_TARGET void combine_pairs(int64_t n, PairProductSums<T> by, PairFrame<T> products, T* out) {
  using V = typename Pack<T>::Real;
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    V value = by.p * load<T>(products.p + i) + by.q * load<T>(products.q + i);
    if (kMoment) value += by.r * load<T>(products.r + i);
    store(out + i, value);
  }
}

template <class T, bool kMoment>
constexpr DensePairLoops<T> dense_pair_table() {
  return {dense_pair_forward<T>,          dense_pair_backward<T, kMoment>, dense_pair_reference<T, kMoment>,
          pair_row_products<T, kMoment>,  dense_pair_emit<T, kMoment>,     pair_arc_products<T, kMoment>,
          scale_pairs<T, kMoment>,        combine_pairs<T, kMoment>};
}
