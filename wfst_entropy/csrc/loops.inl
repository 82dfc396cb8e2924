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
WFST_INLINE void split_vector(const T* x, typename Pack<T>::Real shift, bool far, int64_t i, Weights<T> weights) {
  const auto w = masked_weight(load<T>(x + i), shift, far);
  store(weights.m + i, w.m);
  store(weights.e + i, w.e);
  store(weights.ln + i, w.ln);
}

template <class T>
WFST_TARGET void split_at(int64_t n, const T* x, T shift, bool far, Weights<T> weights) {
  using V = typename Pack<T>::Real;
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) split_vector(x, splat<V>(shift), far, i, weights);
}

template <class T>
WFST_TARGET T split(int64_t n, const T* x, Weights<T> weights) {
  const Range<T> range = range_of(n, x);
  split_at(n, x, range.top, range.far, weights);
  return range.top;
}

template <class T>
WFST_TARGET void split_each(int64_t n, const T* x, const T* shifts, bool far, Weights<T> weights) {
  for (int64_t i = 0; i < n; i += Pack<T>::kSize) split_vector(x, load<T>(shifts + i), far, i, weights);
}

#include "ctc_kl_loops.inl"
#include "dense_loops.inl"
#include "dense_kl_loops.inl"
#include "rnnt_loops.inl"
#include "rnnt_kl_loops.inl"
#include "softmax_loops.inl"
#include "ctc_loops.inl"

template <class T>
constexpr Loops<T> table() {
  return {gather<T>,
          range_of<T>,
          split<T>,
          split_at<T>,
          split_each<T>,
          ctc_table<T, false>(),
          ctc_table<T, true>(),
          ctc_pair_table<T, false>(),
          ctc_pair_table<T, true>(),
          dense_table<T, false>(),
          dense_table<T, true>(),
          dense_pair_table<T, false>(),
          dense_pair_table<T, true>(),
          band_table<T, false>(),
          band_table<T, true>(),
          band_pair_table<T, false>(),
          band_pair_table<T, true>()};
}
#undef WFST_INLINE
