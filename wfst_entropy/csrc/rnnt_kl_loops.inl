// The bodies of rnnt_kl_loops.h, included by loops.inl after those of rnnt_loops.h and ctc_kl_loops.h.

template <class T, bool kMoment>
WFST_INLINE PackPair<T> load_pair(const BandPair<T>& f, int64_t i) {
  return load_pair<T, kMoment>(f.p.m, f.p.e, f.q.m, f.q.e, f.p.r, i);
}

template <class T, bool kMoment>
WFST_INLINE void store_pair(const BandPair<T>& f, int64_t i, const PackPair<T>& c) {
  store(f.p.m + i, c.p);
  store(f.p.e + i, c.pe);
  store(f.q.m + i, c.q);
  store(f.q.e + i, c.qe);
  if (kMoment) store(f.p.r + i, c.r);
}

// A cell times the weights at i.
template <class T, bool kMoment>
WFST_INLINE PackPair<T> times_pair(const PackPair<T>& c, const BandPairWeights<T>& weights, int64_t i, T offset) {
  using V = typename Pack<T>::Real;
  const V by_p = load<T>(weights.p.m + i);
  const V p = c.p * by_p, q = c.q * load<T>(weights.q.m + i);
  PackPair<T> out{p, led_exponent(p, c.pe + load_int<T>(weights.p.e + i)), q,
                  led_exponent(q, c.qe + load_int<T>(weights.q.e + i)), V{}};
  if (kMoment) {
    const V ln_ratio = load<T>(weights.p.ln + i) - load<T>(weights.q.ln + i);
    out.r = extended_moment(c.p, c.r, by_p, ln_ratio, offset);
  }
  return out;
}

template <class T, bool kMoment>
WFST_INLINE PackPair<T> plus_pair(const PackPair<T>& a, const PackPair<T>& b, PairReference<T> reference) {
  using V = typename Pack<T>::Real;
  const auto pe = larger(a.pe, b.pe), qe = larger(a.qe, b.qe);
  PairSums<V> sums{};
  accumulate_pair<kMoment>(a, pe, qe, &sums);
  accumulate_pair<kMoment>(b, pe, qe, &sums);
  return normalise_pair<kMoment>(sums, pe - reference.p, qe - reference.q);
}

template <class T>
WFST_TARGET void band_pair_forward(int64_t width, BandPair<T> from, const BandPairWeights<T>& stay,
                                   const BandPairWeights<T>& move, PairReference<T> reference, BandPair<T> to) {
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackPair<T> stayed = times_pair<T, true>(load_pair<T, true>(from, i), stay, i, reference.offset);
    const PackPair<T> moved = times_pair<T, true>(load_pair<T, true>(from, i - 1), move, i - 1, reference.offset);
    store_pair<T, true>(to, i, plus_pair<T, true>(stayed, moved, reference));
  }
}

template <class T, bool kMoment>
WFST_TARGET BandPairTops<T> band_pair_backward(int64_t width, BandPair<T> from, const BandPairWeights<T>& stay,
                                               const BandPairWeights<T>& move, PairReference<T> reference,
                                               BandPair<T> forward, BandPair<T> stays, BandPair<T> moves,
                                               BandPair<T> to) {
  using I = typename Pack<T>::Int;
  I top_p = splat<I>(2 * kNoMass), top_q = top_p;
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackPair<T> stayed = times_pair<T, kMoment>(load_pair<T, kMoment>(from, i), stay, i, reference.offset);
    const PackPair<T> moved = times_pair<T, kMoment>(load_pair<T, kMoment>(from, i + 1), move, i, reference.offset);
    const PackPair<T> before = load_pair<T, kMoment>(forward, i);
    const PackPair<T> by_stay = pair_product<kMoment>(before, stayed), by_move = pair_product<kMoment>(before, moved);
    store_pair<T, kMoment>(stays, i, by_stay);
    store_pair<T, kMoment>(moves, i, by_move);
    top_p = larger(top_p, larger(by_stay.pe, by_move.pe));
    top_q = larger(top_q, larger(by_stay.qe, by_move.qe));
    store_pair<T, kMoment>(to, i, plus_pair<T, kMoment>(stayed, moved, reference));
  }
  return {largest_of<Int<T>>(top_p), largest_of<Int<T>>(top_q)};
}

template <class T, bool kMoment>
WFST_TARGET BandPairSums<T> band_pair_scale(int64_t width, BandPairTops<T> tops, BandPair<T> products) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  PairSums<V> all{};
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    PairSums<V> sums{};
    accumulate_pair<kMoment>(load_pair<T, kMoment>(products, i), splat<I>(tops.p), splat<I>(tops.q), &sums);
    store(products.p.m + i, sums.p);
    store(products.q.m + i, sums.q);
    if (kMoment) store(products.p.r + i, sums.r);
    all.p += sums.p;
    all.q += sums.q;
    all.r += sums.r;
  }
  return {sum_of<T>(all.p), sum_of<T>(all.q), sum_of<T>(all.r)};
}

template <class T, bool kMoment>
constexpr BandPairLoops<T> band_pair_table() {
  return {band_pair_forward<T>, band_pair_backward<T, kMoment>, band_pair_scale<T, kMoment>};
}
