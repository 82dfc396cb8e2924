// The bodies of ctc_loops.h, included by loops.inl.

template <class T>
WFST_INLINE CellFrame<T> blanks(const CtcFrame<T>& frame) {
  return {frame.blank_m, frame.blank_e, frame.blank_r};
}

template <class T>
WFST_INLINE CellFrame<T> labels(const CtcFrame<T>& frame) {
  return {frame.label_m, frame.label_e, frame.label_r};
}

// A vector of zero cells that lead no maximum of exponents.
template <class T>
WFST_INLINE PackCell<T> no_cells() {
  using V = typename Pack<T>::Real;
  return {V{}, splat<typename Pack<T>::Int>(2 * kNoMass), V{}};
}

// 0, 1, 2, ...
template <class T>
WFST_INLINE typename Pack<T>::Int lanes() {
  Int<T> x[Pack<T>::kSize];
  for (int k = 0; k < Pack<T>::kSize; ++k) x[k] = k;
  return load_int<T>(x);
}

// The elements of two vectors that stand side by side, from `begin` on. Shuffles, since loads that reach across two
// recent stores would wait for both.
template <int kBegin, class T, class V>
WFST_INLINE V window(const V& a, [[maybe_unused]] const V& b) {
#if WFST_VECTOR_BYTES
  return __builtin_shuffle(a, b, lanes<T>() + kBegin);
#else
  return kBegin == 0 ? a : b;
#endif
}

template <int kBegin, class T, bool kEntropy>
WFST_INLINE PackCell<T> cells_window(const PackCell<T>& a, const PackCell<T>& b) {
  PackCell<T> c{window<kBegin, T>(a.m, b.m), window<kBegin, T>(a.e, b.e), a.r};
  if (kEntropy) c.r = window<kBegin, T>(a.r, b.r);
  return c;
}

// Those cells whose bits are set in `keep`.
template <class T, bool kEntropy>
WFST_INLINE PackCell<T> cells_where(typename Pack<T>::Int keep, const PackCell<T>& c) {
  const PackCell<T> nothing = no_cells<T>();
  return {keep != 0 ? c.m : nothing.m, keep != 0 ? c.e : nothing.e, kEntropy ? (keep != 0 ? c.r : nothing.r) : c.r};
}

// Sums, not normalised.
template <class T, bool kEntropy>
WFST_INLINE PackCell<T> merge(const PackCell<T>& a, const PackCell<T>& b) {
  using V = typename Pack<T>::Real;
  PackCell<T> sum{V{}, larger(a.e, b.e), V{}};
  accumulate<kEntropy>(a.m, a.e, a.r, sum.e, &sum.m, &sum.r);
  accumulate<kEntropy>(b.m, b.e, b.r, sum.e, &sum.m, &sum.r);
  return sum;
}

template <class T, bool kEntropy>
WFST_INLINE PackCell<T> merge(const PackCell<T>& a, const PackCell<T>& b, const PackCell<T>& c) {
  using V = typename Pack<T>::Real;
  PackCell<T> sum{V{}, larger(larger(a.e, b.e), c.e), V{}};
  accumulate<kEntropy>(a.m, a.e, a.r, sum.e, &sum.m, &sum.r);
  accumulate<kEntropy>(b.m, b.e, b.r, sum.e, &sum.m, &sum.r);
  accumulate<kEntropy>(c.m, c.e, c.r, sum.e, &sum.m, &sum.r);
  return sum;
}

// Times a weight (m, e, ln), less the reference; not normalised.
template <class T, bool kEntropy, class V, class I>
WFST_INLINE PackCell<T> emit(const PackCell<T>& c, const WeightOf<V, I>& w, const Reference<T>& reference) {
  PackCell<T> out{w.m * c.m, c.e + (w.e - reference.base), c.r};
  if (kEntropy) out.r = w.m * (c.r - c.m * (w.ln + reference.offset));
  return out;
}

template <class T>
WFST_INLINE auto label_weights(const CtcEmission<T>& emission, int64_t i) {
  using V = typename Pack<T>::Real;
  return masked_weight(load<T>(emission.x + i), splat<V>(emission.shift), emission.far);
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_forward(int64_t width, CtcFrame<T> from, CtcEmission<T> emission, const Int<T>* skip,
                             Reference<T> reference, CtcFrame<T> to) {
  constexpr int step = Pack<T>::kSize;
  PackCell<T> before = no_cells<T>();  // the label cells of the vector before
  for (int64_t i = 0; i < width; i += step) {
    const PackCell<T> blank = load_cells<T, kEntropy>(blanks(from), i);
    const PackCell<T> label = load_cells<T, kEntropy>(labels(from), i);
    const PackCell<T> previous = cells_window<step - 1, T, kEntropy>(before, label);  // label i - 1
    before = label;
    const PackCell<T> b = emit<T, kEntropy>(merge<T, kEntropy>(blank, previous), emission.blank, reference);
    store_cells<T, kEntropy>(blanks(to), i, normalise(b.m, b.e, b.r));
    const PackCell<T> skipped = cells_where<T, kEntropy>(load_int<T>(skip + i), previous);
    const PackCell<T> l =
        emit<T, kEntropy>(merge<T, kEntropy>(label, blank, skipped), label_weights(emission, i), reference);
    store_cells<T, kEntropy>(labels(to), i, normalise(l.m, l.e, l.r));
  }
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_backward(int64_t width, CtcFrame<T> from, CtcEmission<T> emission, const Int<T>* skip,
                              Reference<T> reference, CtcFrame<T> to) {
  constexpr int step = Pack<T>::kSize;
  PackCell<T> blank_after = no_cells<T>(), label_after = no_cells<T>();  // of the vector after
  for (int64_t i = width - step; i >= 0; i -= step) {
    const PackCell<T> blank = led_by_mass<T>(emit<T, kEntropy>(
        load_cells<T, kEntropy>(blanks(from), i), emission.blank, reference));
    const PackCell<T> label = led_by_mass<T>(
        emit<T, kEntropy>(load_cells<T, kEntropy>(labels(from), i),
                          label_weights(emission, i), reference));
    const PackCell<T> next_blank = cells_window<1, T, kEntropy>(blank, blank_after);
    const PackCell<T> next_label = cells_window<1, T, kEntropy>(label, label_after);
    blank_after = blank;
    label_after = label;
    const PackCell<T> b = merge<T, kEntropy>(blank, label);
    store_cells<T, kEntropy>(blanks(to), i, normalise(b.m, b.e, b.r));
    const PackCell<T> skipped = cells_where<T, kEntropy>(load_int<T>(skip + i + 1), next_label);
    const PackCell<T> l = merge<T, kEntropy>(label, next_blank, skipped);
    store_cells<T, kEntropy>(labels(to), i, normalise(l.m, l.e, l.r));
  }
}

template <class T, bool kEntropy>
WFST_TARGET Reference<T> ctc_reference(int64_t width, CtcFrame<T> frame) {
  using I = typename Pack<T>::Int;
  I highest = splat<I>(kNoMass);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize)
    highest = larger(highest, larger(load_int<T>(frame.blank_e + i), load_int<T>(frame.label_e + i)));
  const Int<T> top = largest_of<Int<T>>(highest);
  if (top == kNoMass) return {0, T(0)};
  if (!kEntropy) return {top, T(0)};
  int64_t i = 0;
  while (frame.blank_e[i] != top && frame.label_e[i] != top) ++i;
  if (frame.blank_e[i] == top) return {top, frame.blank_r[i] / frame.blank_m[i]};
  return {top, frame.label_r[i] / frame.label_m[i]};
}

// The products of two frames' cells, from i on.
template <class T, bool kEntropy>
WFST_INLINE PackCell<T> products_at(const CellFrame<T>& forward, const CellFrame<T>& backward, int64_t i) {
  return product_of<T, kEntropy>(load_cells<T, kEntropy>(forward, i), load_cells<T, kEntropy>(backward, i));
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_posteriors(int64_t num_labels, int64_t width, CtcFrame<T> forward, CtcFrame<T> backward,
                                T* scratch, T* p, T* q) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  constexpr int step = Pack<T>::kSize;
  Int<T>* exponents = reinterpret_cast<Int<T>*>(scratch);
  T *label_p = scratch + 2 * width, *label_q = scratch + 3 * width;
  I highest = no_cells<T>().e;
  for (int64_t i = 0; i < width; i += step) {
    const I b = products_at<T, false>(blanks(forward), blanks(backward), i).e;
    const I l = products_at<T, false>(labels(forward), labels(backward), i).e;
    store(exponents + i, b);
    store(exponents + width + i, l);
    highest = larger(highest, larger(b, l));
  }
  const I top = splat<I>(largest_of<Int<T>>(highest));
  V blank_ps{}, blank_qs{}, label_ps{}, label_qs{};
  for (int64_t i = 0; i < width; i += step) {
    const PackCell<T> b = products_at<T, kEntropy>(blanks(forward), blanks(backward), i);
    accumulate<kEntropy>(b.m, load_int<T>(exponents + i), b.r, top, &blank_ps, &blank_qs);
    const PackCell<T> l = products_at<T, kEntropy>(labels(forward), labels(backward), i);
    V m{}, r{};
    accumulate<kEntropy>(l.m, load_int<T>(exponents + width + i), l.r, top, &m, &r);
    store(label_p + i, m);
    label_ps += m;
    if (kEntropy) {
      store(label_q + i, r);
      label_qs += r;
    }
  }
  // every path passes exactly one state of the frame
  const T blank_p = sum_of<T>(blank_ps), mass = blank_p + sum_of<T>(label_ps);
  const T scale = mass > 0 ? 1 / mass : T(0);
  T blank_q{}, mean{};
  if (kEntropy) {
    blank_q = sum_of<T>(blank_qs);
    mean = (blank_q + sum_of<T>(label_qs)) * scale;
  }
  for (int64_t i = 0; i < num_labels; i += step) {
    const int64_t count = num_labels - i < step ? num_labels - i : step;
    const V m = load<T>(label_p + i);
    PutRow<T>{p}(i, count, V(scale * m));
    if (kEntropy) PutRow<T>{q}(i, count, V(scale * (load<T>(label_q + i) - mean * m)));
  }
  p[num_labels] = scale * blank_p;
  if (kEntropy) q[num_labels] = scale * (blank_q - mean * blank_p);
}

template <class T, bool kEntropy>
constexpr CtcLoops<T> ctc_table() {
  return {ctc_forward<T, kEntropy>, ctc_backward<T, kEntropy>, ctc_reference<T, kEntropy>,
          ctc_posteriors<T, kEntropy>};
}

template <class Row>
WFST_TARGET CtcReading<Computed<Row>> ctc_gather(const Row* row, const Row* ahead, Computed<Row> origin,
                                                const int64_t* symbols, int64_t num_labels, int64_t width,
                                                Computed<Row>* x) {
  using T = Computed<Row>;
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  constexpr int step = Pack<T>::kSize;
  const T lowest = T(-kScoreLimit);
  V top = splat<V>(lowest), bottom = splat<V>(T(kScoreLimit));
  I bad{};
  for (int64_t i = 0; i < width; i += step) {
    Row scores[step];
    for (int k = 0; k < step; ++k) {
      scores[k] = row[symbols[i + k]];
      __builtin_prefetch(ahead + symbols[i + k]);
    }
    const V v = RowIo<Row>::load_from(scores) - origin;
    bad |= v <= T(kScoreLimit) ? I{} : splat<I>(1);
    top = larger(v, top);
    bottom = ((v >= lowest) & (v < bottom)) ? v : bottom;
    store(x + i, lanes<T>() < splat<I>(Int<T>(num_labels - i)) ? v : splat<V>(2 * lowest));
  }
  const bool good = largest_of<Int<T>>(bad) == 0;
  T blank[step];
  store(blank, V(load_part(row + symbols[num_labels], 1, T(0)) - origin));
  const T best = largest_of<T>(top), worst = -largest_of<T>(V(-bottom));
  if (worst > best) return {T(0), blank[0], false, good};  // no score carries mass
  return {best, blank[0], best - worst > CellTraits<T>::kFar, good};
}

template <class Row>
constexpr CtcRowLoops<Row> ctc_row_table() {
  return {ctc_gather<Row>};
}
