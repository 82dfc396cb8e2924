// The bodies of rnnt_loops.h, included by loops.inl.

template <class T, bool kEntropy>
WFST_INLINE PackCell<T> times_weights(const PackCell<T>& c, Weights<T> weights, int64_t i, T offset) {
  using V = typename Pack<T>::Real;
  V ln{};
  if (kEntropy) ln = load<T>(weights.ln + i) + offset;
  return times<T, kEntropy>(c, load<T>(weights.m + i), load_int<T>(weights.e + i), ln);
}

// a + b, less the base.
template <class T, bool kEntropy>
WFST_INLINE PackCell<T> plus(const PackCell<T>& a, const PackCell<T>& b, Int<T> base) {
  using V = typename Pack<T>::Real;
  const auto e = larger(a.e, b.e);
  V m{}, r{};
  accumulate<kEntropy>(a.m, a.e, a.r, e, &m, &r);
  accumulate<kEntropy>(b.m, b.e, b.r, e, &m, &r);
  return normalise<V>(m, e - base, r);
}

template <class T, bool kEntropy>
WFST_TARGET void band_forward(int64_t width, CellFrame<T> from, Weights<T> stay, Weights<T> move,
                              Reference<T> reference, CellFrame<T> to) {
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackCell<T> stayed =
        times_weights<T, kEntropy>(load_cells<T, kEntropy>(from, i), stay, i, reference.offset);
    const PackCell<T> moved =
        times_weights<T, kEntropy>(load_cells<T, kEntropy>(from, i - 1), move, i - 1, reference.offset);
    store_cells<T, kEntropy>(to, i, plus<T, kEntropy>(stayed, moved, reference.base));
  }
}

template <class T, bool kEntropy>
WFST_TARGET Int<T> band_backward(int64_t width, CellFrame<T> from, Weights<T> stay, Weights<T> move,
                                 Reference<T> reference, CellFrame<T> forward, CellFrame<T> stays, CellFrame<T> moves,
                                 CellFrame<T> to) {
  auto highest = splat<typename Pack<T>::Int>(2 * kNoMass);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackCell<T> stayed =
        times_weights<T, kEntropy>(load_cells<T, kEntropy>(from, i), stay, i, reference.offset);
    const PackCell<T> moved =
        times_weights<T, kEntropy>(load_cells<T, kEntropy>(from, i + 1), move, i, reference.offset);
    const PackCell<T> before = load_cells<T, kEntropy>(forward, i);
    const PackCell<T> by_stay = product_of<T, kEntropy>(before, stayed);
    const PackCell<T> by_move = product_of<T, kEntropy>(before, moved);
    store_cells<T, kEntropy>(stays, i, by_stay);
    store_cells<T, kEntropy>(moves, i, by_move);
    highest = larger(highest, larger(by_stay.e, by_move.e));
    store_cells<T, kEntropy>(to, i, plus<T, kEntropy>(stayed, moved, reference.base));
  }
  return largest_of<Int<T>>(highest);
}

template <class T>
WFST_TARGET int64_t band_heaviest(int64_t width, CellFrame<T> frame) {
  auto highest = splat<typename Pack<T>::Int>(kNoMass);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) highest = larger(highest, load_int<T>(frame.e + i));
  const Int<T> top = largest_of<Int<T>>(highest);
  if (top == kNoMass) return -1;
  int64_t i = 0;
  while (frame.e[i] != top) ++i;
  return i;
}

template <class T, bool kEntropy>
constexpr BandLoops<T> band_table() {
  return {band_forward<T, kEntropy>, band_backward<T, kEntropy>, scale_products<T, kEntropy>, band_heaviest<T>};
}
