// The bodies of loops.h. Included by loops.cpp once per instruction set, inside a namespace of its own,
// with WFST_TARGET naming the set. No standard header may be included or used here: an inline function
// of one would be compiled for the wide set and could be linked into code that runs everywhere.

template <class T>
WFST_TARGET bool gather(const T* row, const int32_t* symbols, int64_t n, T* x) {
  const T limit = T(kScoreLimit);
  int bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T v = row[symbols[i]];
    bad |= !(v <= limit);
    x[i] = v;
  }
  for (int64_t i = n; i < padded(n); ++i) x[i] = T(-2 * kScoreLimit);
  return bad == 0;
}

template <class T>
WFST_TARGET T split(const T* x, int64_t n, Weights<T> weights) {
  const T lowest = T(-kScoreLimit);
  const int64_t width = padded(n);
  T lanes[kLanes];
  for (int k = 0; k < kLanes; ++k) lanes[k] = x[k];
  for (int64_t i = kLanes; i < width; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
  T top = lanes[0];
  for (int k = 1; k < kLanes; ++k) top = lanes[k] > top ? lanes[k] : top;
  const T shift = top >= lowest ? top : T(0);
  T* __restrict m = weights.m;
  Int<T>* __restrict e = weights.e;
  T* __restrict ln = weights.ln;
  for (int64_t i = 0; i < width; ++i) {
    const bool masked = !(x[i] >= lowest);
    const Weight<T> w = split_weight(masked ? shift : x[i], shift);
    m[i] = masked ? T(0) : w.m;
    e[i] = w.e;
    ln[i] = w.ln;
  }
  return shift;
}

// Moves the pair (m, r) from exponent e down to `to`, to >= e.
template <class T, bool kEntropy>
WFST_INLINE void rescale(T m, Int<T> e, T r, Int<T> to, T* m_sum, T* r_sum) {
  const T f = pow2<T>(e - to);
  *m_sum += f * m;
  if (kEntropy) *r_sum += f * (r + m * (T(to - e) * T(kLn2)));
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_forward_step(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip,
                                  Reference<T> reference, CtcFrame<T> to) {
  const T* __restrict bm = from.blank_m;
  const T* __restrict lm = from.label_m;
  const Int<T>* __restrict be = from.blank_e;
  const Int<T>* __restrict le = from.label_e;
  const T* __restrict br = from.blank_r;
  const T* __restrict lr = from.label_r;
  const T blank_weight = emit.m[0];
  const Int<T> blank_shift = emit.e[0] - reference.base;
  const T blank_offset = emit.ln[0] + reference.offset;
  {
    T* __restrict om = to.blank_m;
    Int<T>* __restrict oe = to.blank_e;
    T* __restrict orr = to.blank_r;
    for (int64_t j = 0; j < width; ++j) {
      const Int<T> e = be[j] > le[j] ? be[j] : le[j];
      T m = 0, r = 0;
      rescale<T, kEntropy>(bm[j], be[j], kEntropy ? br[j] : T(0), e, &m, &r);
      rescale<T, kEntropy>(lm[j], le[j], kEntropy ? lr[j] : T(0), e, &m, &r);
      if (kEntropy) r = blank_weight * (r - m * blank_offset);
      const Cell<T> c = normalise<T>(blank_weight * m, e + blank_shift, r);
      om[j] = c.m;
      oe[j] = c.e;
      if (kEntropy) orr[j] = c.r;
    }
  }
  T* __restrict om = to.label_m;
  Int<T>* __restrict oe = to.label_e;
  T* __restrict orr = to.label_r;
  const T* __restrict wm = emit.m;
  const Int<T>* __restrict we = emit.e;
  const T* __restrict wl = emit.ln;
  om[0] = T(0);
  oe[0] = kNoMass;
  if (kEntropy) orr[0] = T(0);
  for (int64_t j = 1; j < width; ++j) {
    const bool may_skip = skip[j] != 0;
    const Int<T> e_skip = may_skip ? le[j - 1] : Int<T>(kNoMass);
    Int<T> e = le[j] > be[j - 1] ? le[j] : be[j - 1];
    e = e > e_skip ? e : e_skip;
    T m = 0, r = 0;
    rescale<T, kEntropy>(lm[j], le[j], kEntropy ? lr[j] : T(0), e, &m, &r);
    rescale<T, kEntropy>(bm[j - 1], be[j - 1], kEntropy ? br[j - 1] : T(0), e, &m, &r);
    rescale<T, kEntropy>(may_skip ? lm[j - 1] : T(0), e_skip, kEntropy && may_skip ? lr[j - 1] : T(0), e, &m, &r);
    if (kEntropy) r = wm[j] * (r - m * (wl[j] + reference.offset));
    const Cell<T> c = normalise<T>(wm[j] * m, e + we[j] - reference.base, r);
    om[j] = c.m;
    oe[j] = c.e;
    if (kEntropy) orr[j] = c.r;
  }
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_backward_step(int64_t width, CtcFrame<T> from, Weights<T> emit, const Int<T>* skip,
                                   Reference<T> reference, CtcFrame<T> emitted, CtcFrame<T> to) {
  T* __restrict bm = emitted.blank_m;
  T* __restrict lm = emitted.label_m;
  Int<T>* __restrict be = emitted.blank_e;
  Int<T>* __restrict le = emitted.label_e;
  T* __restrict br = emitted.blank_r;
  T* __restrict lr = emitted.label_r;
  const T blank_weight = emit.m[0];
  const Int<T> blank_shift = emit.e[0] - reference.base;
  const T blank_offset = emit.ln[0] + reference.offset;
  for (int64_t j = 0; j < width; ++j) {
    bm[j] = blank_weight * from.blank_m[j];
    be[j] = from.blank_e[j] + blank_shift;
    if (kEntropy) br[j] = blank_weight * (from.blank_r[j] - from.blank_m[j] * blank_offset);
    const T w = emit.m[j];
    lm[j] = w * from.label_m[j];
    le[j] = from.label_e[j] + emit.e[j] - reference.base;
    if (kEntropy) lr[j] = w * (from.label_r[j] - from.label_m[j] * (emit.ln[j] + reference.offset));
  }
  // a weight of 0 leaves its exponent behind: such a cell must not lead the maximum below
  for (int64_t j = 0; j < width; ++j) {
    be[j] = bm[j] == T(0) ? Int<T>(2 * kNoMass) : be[j];
    le[j] = lm[j] == T(0) ? Int<T>(2 * kNoMass) : le[j];
  }
  T* __restrict obm = to.blank_m;
  Int<T>* __restrict obe = to.blank_e;
  T* __restrict obr = to.blank_r;
  T* __restrict olm = to.label_m;
  Int<T>* __restrict ole = to.label_e;
  T* __restrict olr = to.label_r;
  for (int64_t j = 0; j < width; ++j) {
    const bool may_skip = skip[j + 1] != 0;
    const Int<T> e_next = le[j + 1];
    const T r_next = kEntropy ? lr[j + 1] : T(0);
    const Int<T> e_blank = be[j] > e_next ? be[j] : e_next;
    T m = 0, r = 0;
    rescale<T, kEntropy>(bm[j], be[j], kEntropy ? br[j] : T(0), e_blank, &m, &r);
    rescale<T, kEntropy>(lm[j + 1], e_next, r_next, e_blank, &m, &r);
    const Cell<T> blank = normalise<T>(m, e_blank, r);
    obm[j] = blank.m;
    obe[j] = blank.e;
    if (kEntropy) obr[j] = blank.r;

    const Int<T> e_skip = may_skip ? e_next : Int<T>(2 * kNoMass);
    Int<T> e = le[j] > be[j] ? le[j] : be[j];
    e = e > e_skip ? e : e_skip;
    m = 0;
    r = 0;
    rescale<T, kEntropy>(lm[j], le[j], kEntropy ? lr[j] : T(0), e, &m, &r);
    rescale<T, kEntropy>(bm[j], be[j], kEntropy ? br[j] : T(0), e, &m, &r);
    rescale<T, kEntropy>(may_skip ? lm[j + 1] : T(0), e_skip, may_skip ? r_next : T(0), e, &m, &r);
    const Cell<T> label = normalise<T>(m, e, r);
    olm[j] = label.m;
    ole[j] = label.e;
    if (kEntropy) olr[j] = label.r;
  }
  // there is no label 0; it would otherwise collect mass from label 1 by skipping
  olm[0] = T(0);
  ole[0] = kNoMass;
  if (kEntropy) olr[0] = T(0);
}

template <class T, bool kEntropy>
WFST_TARGET Reference<T> ctc_reference(int64_t width, CtcFrame<T> frame) {
  Int<T> top = kNoMass;
  for (int64_t j = 0; j < width; ++j) {
    const Int<T> e = frame.blank_e[j] > frame.label_e[j] ? frame.blank_e[j] : frame.label_e[j];
    top = e > top ? e : top;
  }
  if (top == kNoMass) return {0, T(0)};
  if (!kEntropy) return {top, T(0)};
  int64_t j = 0;
  while (frame.blank_e[j] != top && frame.label_e[j] != top) ++j;
  if (frame.blank_e[j] == top) return {top, frame.blank_r[j] / frame.blank_m[j]};
  return {top, frame.label_r[j] / frame.label_m[j]};
}

// Fills p[j] and q[j] from the masses and moments at exponents e[j], measured from `top`.
template <class T, bool kEntropy>
WFST_TARGET void scale_products(int64_t width, const Int<T>* __restrict e, Int<T> top, const T* __restrict fm,
                                const T* __restrict fr, const T* __restrict gm, const T* __restrict gr,
                                T* __restrict p, T* __restrict q) {
  for (int64_t j = 0; j < width; ++j) {
    const T f = pow2<T>(e[j] - top);
    const T m = fm[j] * gm[j];
    p[j] = f * m;
    if (kEntropy) q[j] = f * (fr[j] * gm[j] + fm[j] * gr[j] + m * (T(top - e[j]) * T(kLn2)));
  }
}

template <class T>
WFST_TARGET T lane_sum(int64_t width, const T* x) {
  T lanes[kLanes];
  for (int k = 0; k < kLanes; ++k) lanes[k] = x[k];
  for (int64_t j = kLanes; j < width; j += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] += x[j + k];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  return lanes[0];
}

template <class T, bool kEntropy>
WFST_TARGET FrameSums<T> ctc_products(int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, Int<T>* scratch,
                                      T* label_p, T* label_q) {
  Int<T>* __restrict blank_e = scratch;
  Int<T>* __restrict label_e = scratch + width;
  Int<T> top = 2 * kNoMass;
  for (int64_t j = 0; j < width; ++j) {
    const bool no_blank = forward.blank_m[j] == T(0) || backward.blank_m[j] == T(0);
    const bool no_label = forward.label_m[j] == T(0) || backward.label_m[j] == T(0);
    blank_e[j] = no_blank ? Int<T>(2 * kNoMass) : forward.blank_e[j] + backward.blank_e[j];
    label_e[j] = no_label ? Int<T>(2 * kNoMass) : forward.label_e[j] + backward.label_e[j];
    const Int<T> e = blank_e[j] > label_e[j] ? blank_e[j] : label_e[j];
    top = e > top ? e : top;
  }
  FrameSums<T> sums{};
  scale_products<T, kEntropy>(width, blank_e, top, forward.blank_m, forward.blank_r, backward.blank_m,
                              backward.blank_r, label_p, label_q);
  sums.blank_p = lane_sum(width, label_p);
  if (kEntropy) sums.blank_q = lane_sum(width, label_q);
  scale_products<T, kEntropy>(width, label_e, top, forward.label_m, forward.label_r, backward.label_m,
                              backward.label_r, label_p, label_q);
  sums.label_p = lane_sum(width, label_p);
  if (kEntropy) sums.label_q = lane_sum(width, label_q);
  return sums;
}

template <class T>
constexpr Loops<T> table() {
  return {gather<T>,
          split<T>,
          ctc_forward_step<T, false>,
          ctc_forward_step<T, true>,
          ctc_backward_step<T, false>,
          ctc_backward_step<T, true>,
          ctc_reference<T, false>,
          ctc_reference<T, true>,
          ctc_products<T, false>,
          ctc_products<T, true>};
}
