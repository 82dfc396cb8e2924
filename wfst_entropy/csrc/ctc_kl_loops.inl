// The bodies of ctc_kl_loops.h, included by loops.inl.

template <class T>
using PackPair = PairCell<typename Pack<T>::Real>;

template <class T, bool kMoment>
WFST_INLINE PackPair<T> load_pair(const T* p, const Int<T>* pe, const T* q, const Int<T>* qe, const T* r, int64_t i) {
  PackPair<T> c{load<T>(p + i), load_int<T>(pe + i), load<T>(q + i), load_int<T>(qe + i), {}};
  if (kMoment) c.r = load<T>(r + i);
  return c;
}

template <class T, bool kMoment>
WFST_INLINE PackPair<T> load_blank(const CtcPairFrame<T>& f, int64_t i) {
  return load_pair<T, kMoment>(f.blank_p, f.blank_pe, f.blank_q, f.blank_qe, f.blank_r, i);
}

template <class T, bool kMoment>
WFST_INLINE PackPair<T> load_label(const CtcPairFrame<T>& f, int64_t i) {
  return load_pair<T, kMoment>(f.label_p, f.label_pe, f.label_q, f.label_qe, f.label_r, i);
}

template <class T, bool kMoment>
WFST_INLINE void store_blank(const CtcPairFrame<T>& f, int64_t i, const PackPair<T>& c) {
  store(f.blank_p + i, c.p);
  store(f.blank_pe + i, c.pe);
  store(f.blank_q + i, c.q);
  store(f.blank_qe + i, c.qe);
  if (kMoment) store(f.blank_r + i, c.r);
}

template <class T, bool kMoment>
WFST_INLINE void store_label(const CtcPairFrame<T>& f, int64_t i, const PackPair<T>& c) {
  store(f.label_p + i, c.p);
  store(f.label_pe + i, c.pe);
  store(f.label_q + i, c.q);
  store(f.label_qe + i, c.qe);
  if (kMoment) store(f.label_r + i, c.r);
}

// The cell where it may be skipped to, else one without mass at the exponent `none`.
template <class T>
WFST_INLINE PackPair<T> where_allowed(typename Pack<T>::Int allowed, const PackPair<T>& c, Int<T> none) {
  using V = typename Pack<T>::Real;
  const auto nothing = splat<typename Pack<T>::Int>(none);
  return {allowed != 0 ? c.p : V{}, allowed != 0 ? c.pe : nothing, allowed != 0 ? c.q : V{},
          allowed != 0 ? c.qe : nothing, allowed != 0 ? c.r : V{}};
}

template <class T>
WFST_TARGET void ctc_pair_forward(int64_t width, CtcPairFrame<T> from, const CtcPairEmissions<T>& emissions,
                                  const Int<T>* skip, PairReference<T> reference, CtcPairFrame<T> to) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  const Weight<T> blank_p = emissions.blank_p, blank_q = emissions.blank_q;
  const V blank_ln = splat<V>(blank_p.ln - blank_q.ln);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackPair<T> b = load_blank<T, true>(from, i), l = load_label<T, true>(from, i);
    const PackPair<T> before = load_label<T, true>(from, i - 1);
    // blank i after blank i and label i - 1
    I pe = larger(b.pe, before.pe), qe = larger(b.qe, before.qe);
    PairSums<V> sums{};
    accumulate_pair<true>(b, pe, qe, &sums);
    accumulate_pair<true>(before, pe, qe, &sums);
    sums.r = extended_moment(sums.p, sums.r, blank_p.m, blank_ln, reference.offset);
    sums.p *= blank_p.m;
    sums.q *= blank_q.m;
    store_blank<T, true>(
        to, i, normalise_pair<true>(sums, pe + (blank_p.e - reference.p), qe + (blank_q.e - reference.q)));
    // label i after label i, blank i and, where that may be skipped, label i - 1
    const PackPair<T> skipped = where_allowed<T>(load_int<T>(skip + i), before, kNoMass);
    pe = larger(larger(l.pe, b.pe), skipped.pe);
    qe = larger(larger(l.qe, b.qe), skipped.qe);
    sums = PairSums<V>{};
    accumulate_pair<true>(l, pe, qe, &sums);
    accumulate_pair<true>(b, pe, qe, &sums);
    accumulate_pair<true>(skipped, pe, qe, &sums);
    const V w = load<T>(emissions.p + i);
    sums.r = extended_moment(sums.p, sums.r, w, load<T>(emissions.p_ln + i) - load<T>(emissions.q_ln + i),
                             reference.offset);
    sums.p *= w;
    sums.q *= load<T>(emissions.q + i);
    store_label<T, true>(to, i,
                         normalise_pair<true>(sums, pe + load_int<T>(emissions.pe + i) - reference.p,
                                              qe + load_int<T>(emissions.qe + i) - reference.q));
  }
}

// The cells of a frame times the weights of their emissions, less the reference; not normalised.
template <class T, bool kMoment>
WFST_TARGET void ctc_pair_emit(int64_t width, CtcPairFrame<T> from, const CtcPairEmissions<T>& emissions,
                               PairReference<T> reference, CtcPairFrame<T> emitted) {
  using V = typename Pack<T>::Real;
  const Weight<T> blank_p = emissions.blank_p, blank_q = emissions.blank_q;
  const V blank_ln = splat<V>(blank_p.ln - blank_q.ln);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    PackPair<T> b = load_blank<T, kMoment>(from, i), l = load_label<T, kMoment>(from, i);
    const V w = load<T>(emissions.p + i);
    if (kMoment) {
      b.r = extended_moment(b.p, b.r, blank_p.m, blank_ln, reference.offset);
      l.r = extended_moment(l.p, l.r, w, load<T>(emissions.p_ln + i) - load<T>(emissions.q_ln + i), reference.offset);
    }
    b.p *= blank_p.m;
    b.q *= blank_q.m;
    b.pe = led_exponent(b.p, b.pe + (blank_p.e - reference.p));
    b.qe = led_exponent(b.q, b.qe + (blank_q.e - reference.q));
    l.p *= w;
    l.q *= load<T>(emissions.q + i);
    l.pe = led_exponent(l.p, l.pe + load_int<T>(emissions.pe + i) - reference.p);
    l.qe = led_exponent(l.q, l.qe + load_int<T>(emissions.qe + i) - reference.q);
    store_blank<T, kMoment>(emitted, i, b);
    store_label<T, kMoment>(emitted, i, l);
  }
}

template <class T, bool kMoment>
WFST_TARGET void ctc_pair_backward(int64_t width, CtcPairFrame<T> from, const CtcPairEmissions<T>& emissions,
                                   const Int<T>* skip, PairReference<T> reference, CtcPairFrame<T> emitted,
                                   CtcPairFrame<T> to) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  ctc_pair_emit<T, kMoment>(width, from, emissions, reference, emitted);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const PackPair<T> b = load_blank<T, kMoment>(emitted, i), l = load_label<T, kMoment>(emitted, i);
    const PackPair<T> next_b = load_blank<T, kMoment>(emitted, i + 1);
    const PackPair<T> next_l = load_label<T, kMoment>(emitted, i + 1);
    // blank i before blank i and label i
    I pe = larger(b.pe, l.pe), qe = larger(b.qe, l.qe);
    PairSums<V> sums{};
    accumulate_pair<kMoment>(b, pe, qe, &sums);
    accumulate_pair<kMoment>(l, pe, qe, &sums);
    store_blank<T, kMoment>(to, i, normalise_pair<kMoment>(sums, pe, qe));
    // label i before label i, blank i + 1 and, where that may be skipped, label i + 1
    const PackPair<T> skipped = where_allowed<T>(load_int<T>(skip + i + 1), next_l, 2 * kNoMass);
    pe = larger(larger(l.pe, next_b.pe), skipped.pe);
    qe = larger(larger(l.qe, next_b.qe), skipped.qe);
    sums = PairSums<V>{};
    accumulate_pair<kMoment>(l, pe, qe, &sums);
    accumulate_pair<kMoment>(next_b, pe, qe, &sums);
    accumulate_pair<kMoment>(skipped, pe, qe, &sums);
    store_label<T, kMoment>(to, i, normalise_pair<kMoment>(sums, pe, qe));
  }
}

template <class T, bool kMoment>
WFST_TARGET PairReference<T> ctc_pair_reference(int64_t width, CtcPairFrame<T> frame) {
  using I = typename Pack<T>::Int;
  I highest_p = splat<I>(kNoMass), highest_q = highest_p;
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    highest_p = larger(highest_p, larger(load_int<T>(frame.blank_pe + i), load_int<T>(frame.label_pe + i)));
    highest_q = larger(highest_q, larger(load_int<T>(frame.blank_qe + i), load_int<T>(frame.label_qe + i)));
  }
  const Int<T> top_p = largest_of<Int<T>>(highest_p), top_q = largest_of<Int<T>>(highest_q);
  PairReference<T> reference{top_p == kNoMass ? Int<T>(0) : top_p, top_q == kNoMass ? Int<T>(0) : top_q, T(0)};
  if (!kMoment || top_p == kNoMass) return reference;
  int64_t i = 0;
  while (frame.blank_pe[i] != top_p && frame.label_pe[i] != top_p) ++i;
  const bool blank = frame.blank_pe[i] == top_p;
  reference.offset = blank ? frame.blank_r[i] / frame.blank_p[i] : frame.label_r[i] / frame.label_p[i];
  return reference;
}

template <class T, bool kMoment>
WFST_TARGET CtcPairSums<T> ctc_pair_products(int64_t width, CtcPairFrame<T> forward, CtcPairFrame<T> backward,
                                             Int<T>* scratch, T* label_p, T* label_q, T* label_r) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  constexpr int step = Pack<T>::kSize;
  I highest_p = splat<I>(2 * kNoMass), highest_q = highest_p;
  for (int64_t i = 0; i < width; i += step) {
    const PackPair<T> b = pair_product<false>(load_blank<T, false>(forward, i), load_blank<T, false>(backward, i));
    const PackPair<T> l = pair_product<false>(load_label<T, false>(forward, i), load_label<T, false>(backward, i));
    store(scratch + i, b.pe);
    store(scratch + width + i, b.qe);
    store(scratch + 2 * width + i, l.pe);
    store(scratch + 3 * width + i, l.qe);
    highest_p = larger(highest_p, larger(b.pe, l.pe));
    highest_q = larger(highest_q, larger(b.qe, l.qe));
  }
  const I top_p = splat<I>(largest_of<Int<T>>(highest_p)), top_q = splat<I>(largest_of<Int<T>>(highest_q));
  PairSums<V> blank{}, label{};
  for (int64_t i = 0; i < width; i += step) {
    PackPair<T> b = pair_product<kMoment>(load_blank<T, kMoment>(forward, i), load_blank<T, kMoment>(backward, i));
    PackPair<T> l = pair_product<kMoment>(load_label<T, kMoment>(forward, i), load_label<T, kMoment>(backward, i));
    b.pe = load_int<T>(scratch + i);
    b.qe = load_int<T>(scratch + width + i);
    l.pe = load_int<T>(scratch + 2 * width + i);
    l.qe = load_int<T>(scratch + 3 * width + i);
    accumulate_pair<kMoment>(b, top_p, top_q, &blank);
    PairSums<V> one{};
    accumulate_pair<kMoment>(l, top_p, top_q, &one);
    store(label_p + i, one.p);
    store(label_q + i, one.q);
    if (kMoment) store(label_r + i, one.r);
    label.p += one.p;
    label.q += one.q;
    label.r += one.r;
  }
  return {sum_of<T>(blank.p), sum_of<T>(blank.q), sum_of<T>(blank.r),
          sum_of<T>(label.p), sum_of<T>(label.q), sum_of<T>(label.r)};
}

template <class T, bool kMoment>
constexpr CtcPairLoops<T> ctc_pair_table() {
  return {ctc_pair_forward<T>, ctc_pair_backward<T, kMoment>, ctc_pair_reference<T, kMoment>,
          ctc_pair_products<T, kMoment>};
}
