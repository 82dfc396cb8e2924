// The bodies of loops.h, included by loops.cpp once per instruction set; see cell.inl for how.

#include "cell.inl"
#include "pair_cell.inl"

// One vector from, or to, any address.
template <class T>
WFST_INLINE typename Pack<T>::Real load(const T* p) {
  typename Pack<T>::Real v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
WFST_INLINE typename Pack<T>::Int load_int(const Int<T>* p) {
  typename Pack<T>::Int v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T, class V>
WFST_INLINE void store(T* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof v);
}

// The sum or maximum of a vector's elements, in a fixed order.
template <class T, class V>
WFST_INLINE T sum_of(const V& v) {
  T x[sizeof(V) / sizeof(T)];
  __builtin_memcpy(x, &v, sizeof v);
  for (int half = sizeof(V) / sizeof(T) / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) x[k] += x[k + half];
  return x[0];
}

template <class T, class V>
WFST_INLINE T largest_of(const V& v) {
  T x[sizeof(V) / sizeof(T)];
  __builtin_memcpy(x, &v, sizeof v);
  for (int half = sizeof(V) / sizeof(T) / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) x[k] = x[k + half] > x[k] ? x[k + half] : x[k];
  return x[0];
}

template <class T>
WFST_TARGET bool gather(const T* row, const int32_t* symbols, int64_t n, T* x) {
  const T limit = T(kScoreLimit);
  int bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T v = row[symbols[i]];
    bad |= !(v <= limit);
    x[i] = v;
  }
  return bad == 0;
}

template <class T>
WFST_TARGET Range<T> range_of(int64_t n, const T* x) {
  using V = typename Pack<T>::Real;
  const T lowest = T(-kScoreLimit);
  V top = splat<V>(lowest), bottom = splat<V>(T(kScoreLimit));
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) {
    const V v = load<T>(x + i);
    top = larger(top, v);
    bottom = ((v >= lowest) & (v < bottom)) ? v : bottom;
  }
  const T best = largest_of<T>(top), worst = -largest_of<T>(V(-bottom));
  if (worst > best) return {T(0), false};  // no score is used
  return {best, best - worst > CellTraits<T>::kFar};
}

template <class T>
WFST_TARGET void split_at(int64_t n, const T* x, T shift, bool far, Weights<T> weights) {
  using V = typename Pack<T>::Real;
  constexpr int step = Pack<T>::kSize;
  const T lowest = T(-kScoreLimit);
  const V shifts = splat<V>(shift);
  for (int64_t i = 0; i < n; i += step) {
    const V v = load<T>(x + i);
    const auto used = v >= lowest;
    const V used_v = used ? v : shifts;
    const auto w = far ? split_far_weight(used_v, shifts) : split_weight(used_v, shifts);
    store(weights.m + i, used ? w.m : V{});
    store(weights.e + i, w.e);
    store(weights.ln + i, w.ln);
  }
}

template <class T>
WFST_TARGET T split(int64_t n, const T* x, Weights<T> weights) {
  const Range<T> range = range_of(n, x);
  split_at(n, x, range.top, range.far, weights);
  return range.top;
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_forward(int64_t width, CtcFrame<T> from, Weight<T> blank, Weights<T> labels, const Int<T>* skip,
                             Reference<T> reference, CtcFrame<T> to) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  const Int<T> blank_shift = blank.e - reference.base;
  const T blank_offset = blank.ln + reference.offset;
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const V bm = load<T>(from.blank_m + i), lm = load<T>(from.label_m + i), pm = load<T>(from.label_m + i - 1);
    const I be = load_int<T>(from.blank_e + i), le = load_int<T>(from.label_e + i);
    const I pe = load_int<T>(from.label_e + i - 1);
    V br{}, lr{}, pr{};
    if (kEntropy) {
      br = load<T>(from.blank_r + i);
      lr = load<T>(from.label_r + i);
      pr = load<T>(from.label_r + i - 1);
    }
    // blank i after blank i and label i - 1
    I e = larger(be, pe);
    V m{}, r{};
    accumulate<kEntropy>(bm, be, br, e, &m, &r);
    accumulate<kEntropy>(pm, pe, pr, e, &m, &r);
    if (kEntropy) r = blank.m * (r - m * blank_offset);
    const auto b = normalise<V>(blank.m * m, e + blank_shift, r);
    store(to.blank_m + i, b.m);
    store(to.blank_e + i, b.e);
    if (kEntropy) store(to.blank_r + i, b.r);
    // label i after label i, blank i and, where that may be skipped, label i - 1
    const I may_skip = load_int<T>(skip + i);
    const I skip_e = may_skip != 0 ? pe : splat<I>(kNoMass);
    e = larger(larger(le, be), skip_e);
    m = V{};
    r = V{};
    accumulate<kEntropy>(lm, le, lr, e, &m, &r);
    accumulate<kEntropy>(bm, be, br, e, &m, &r);
    accumulate<kEntropy>(may_skip != 0 ? pm : V{}, skip_e, may_skip != 0 ? pr : V{}, e, &m, &r);
    const V w = load<T>(labels.m + i);
    if (kEntropy) r = w * (r - m * (load<T>(labels.ln + i) + reference.offset));
    const auto l = normalise<V>(w * m, e + load_int<T>(labels.e + i) - reference.base, r);
    store(to.label_m + i, l.m);
    store(to.label_e + i, l.e);
    if (kEntropy) store(to.label_r + i, l.r);
  }
}

// The cells of a frame times the weights of their emissions, less the reference. A weight of 0 would leave its exponent
// behind: a cell without mass must not lead a maximum.
template <class T, bool kEntropy>
WFST_TARGET void ctc_emit(int64_t width, CtcFrame<T> from, Weight<T> blank, Weights<T> labels, Reference<T> reference,
                          CtcFrame<T> emitted) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  const I nothing = splat<I>(2 * kNoMass);
  const Int<T> blank_shift = blank.e - reference.base;
  const T blank_offset = blank.ln + reference.offset;
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const V bm = load<T>(from.blank_m + i), lm = load<T>(from.label_m + i), w = load<T>(labels.m + i);
    const V new_bm = blank.m * bm, new_lm = w * lm;
    const I be = load_int<T>(from.blank_e + i) + blank_shift;
    const I le = load_int<T>(from.label_e + i) + load_int<T>(labels.e + i) - reference.base;
    store(emitted.blank_m + i, new_bm);
    store(emitted.label_m + i, new_lm);
    store(emitted.blank_e + i, new_bm > 0 ? be : nothing);
    store(emitted.label_e + i, new_lm > 0 ? le : nothing);
    if (kEntropy) {
      const V offset = load<T>(labels.ln + i) + reference.offset;
      store(emitted.blank_r + i, blank.m * (load<T>(from.blank_r + i) - bm * blank_offset));
      store(emitted.label_r + i, w * (load<T>(from.label_r + i) - lm * offset));
    }
  }
}

template <class T, bool kEntropy>
WFST_TARGET void ctc_backward(int64_t width, CtcFrame<T> from, Weight<T> blank, Weights<T> labels, const Int<T>* skip,
                              Reference<T> reference, CtcFrame<T> emitted, CtcFrame<T> to) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  ctc_emit<T, kEntropy>(width, from, blank, labels, reference, emitted);
  for (int64_t i = 0; i < width; i += Pack<T>::kSize) {
    const V bm = load<T>(emitted.blank_m + i), lm = load<T>(emitted.label_m + i);
    const V next_bm = load<T>(emitted.blank_m + i + 1), next_lm = load<T>(emitted.label_m + i + 1);
    const I be = load_int<T>(emitted.blank_e + i), le = load_int<T>(emitted.label_e + i);
    const I next_be = load_int<T>(emitted.blank_e + i + 1), next_le = load_int<T>(emitted.label_e + i + 1);
    V br{}, lr{}, next_br{}, next_lr{};
    if (kEntropy) {
      br = load<T>(emitted.blank_r + i);
      lr = load<T>(emitted.label_r + i);
      next_br = load<T>(emitted.blank_r + i + 1);
      next_lr = load<T>(emitted.label_r + i + 1);
    }
    // blank i before blank i and label i
    I e = larger(be, le);
    V m{}, r{};
    accumulate<kEntropy>(bm, be, br, e, &m, &r);
    accumulate<kEntropy>(lm, le, lr, e, &m, &r);
    const auto b = normalise<V>(m, e, r);
    store(to.blank_m + i, b.m);
    store(to.blank_e + i, b.e);
    if (kEntropy) store(to.blank_r + i, b.r);
    // label i before label i, blank i + 1 and, where that may be skipped, label i + 1
    const I may_skip = load_int<T>(skip + i + 1);
    const I skip_e = may_skip != 0 ? next_le : splat<I>(2 * kNoMass);
    e = larger(larger(le, next_be), skip_e);
    m = V{};
    r = V{};
    accumulate<kEntropy>(lm, le, lr, e, &m, &r);
    accumulate<kEntropy>(next_bm, next_be, next_br, e, &m, &r);
    accumulate<kEntropy>(may_skip != 0 ? next_lm : V{}, skip_e, may_skip != 0 ? next_lr : V{}, e, &m, &r);
    const auto l = normalise<V>(m, e, r);
    store(to.label_m + i, l.m);
    store(to.label_e + i, l.e);
    if (kEntropy) store(to.label_r + i, l.r);
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

// p and q of one vector of products at exponents e, measured from `top`.
template <class T, bool kEntropy, class V, class I>
WFST_INLINE void product(V fm, V fr, V gm, V gr, I e, I top, V* p, V* q) {
  const V f = pow2<V>(e - top);
  const V m = fm * gm;
  *p = f * m;
  if (kEntropy) *q = f * (fr * gm + fm * gr + m * (convert<V>(top - e) * T(kLn2)));
}

template <class T, bool kEntropy>
WFST_TARGET FrameSums<T> ctc_products(int64_t width, CtcFrame<T> forward, CtcFrame<T> backward, Int<T>* scratch,
                                      T* label_p, T* label_q) {
  using V = typename Pack<T>::Real;
  using I = typename Pack<T>::Int;
  constexpr int step = Pack<T>::kSize;
  const I nothing = splat<I>(2 * kNoMass);
  I highest = nothing;
  for (int64_t i = 0; i < width; i += step) {
    const V bm = load<T>(forward.blank_m + i) * load<T>(backward.blank_m + i);
    const V lm = load<T>(forward.label_m + i) * load<T>(backward.label_m + i);
    const I be = load_int<T>(forward.blank_e + i) + load_int<T>(backward.blank_e + i);
    const I le = load_int<T>(forward.label_e + i) + load_int<T>(backward.label_e + i);
    const I used_be = bm > 0 ? be : nothing, used_le = lm > 0 ? le : nothing;
    store(scratch + i, used_be);
    store(scratch + width + i, used_le);
    highest = larger(highest, larger(used_be, used_le));
  }
  const I top = splat<I>(largest_of<Int<T>>(highest));
  V blank_p{}, blank_q{}, sum_p{}, sum_q{};
  for (int64_t i = 0; i < width; i += step) {
    V p{}, q{}, fr{}, gr{};
    if (kEntropy) {
      fr = load<T>(forward.blank_r + i);
      gr = load<T>(backward.blank_r + i);
    }
    product<T, kEntropy>(load<T>(forward.blank_m + i), fr, load<T>(backward.blank_m + i), gr, load_int<T>(scratch + i),
                         top, &p, &q);
    blank_p += p;
    blank_q += q;
    if (kEntropy) {
      fr = load<T>(forward.label_r + i);
      gr = load<T>(backward.label_r + i);
    }
    product<T, kEntropy>(load<T>(forward.label_m + i), fr, load<T>(backward.label_m + i), gr,
                         load_int<T>(scratch + width + i), top, &p, &q);
    store(label_p + i, p);
    if (kEntropy) store(label_q + i, q);
    sum_p += p;
    sum_q += q;
  }
  return {sum_of<T>(blank_p), sum_of<T>(sum_p), sum_of<T>(blank_q), sum_of<T>(sum_q)};
}

template <class T, bool kEntropy>
constexpr CtcLoops<T> ctc_table() {
  return {ctc_forward<T, kEntropy>, ctc_backward<T, kEntropy>, ctc_reference<T, kEntropy>, ctc_products<T, kEntropy>};
}

#include "ctc_kl_loops.inl"
#include "dense_loops.inl"
#include "rnnt_loops.inl"
#include "softmax_loops.inl"

template <class T>
constexpr Loops<T> table() {
  return {gather<T>,
          range_of<T>,
          split<T>,
          split_at<T>,
          ctc_table<T, false>(),
          ctc_table<T, true>(),
          ctc_pair_table<T, false>(),
          ctc_pair_table<T, true>(),
          dense_table<T, false>(),
          dense_table<T, true>(),
          band_table<T, false>(),
          band_table<T, true>()};
}
#undef WFST_INLINE
