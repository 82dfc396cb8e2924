// The bodies of softmax_loops.h, included by loops.inl.

// 16-bit numbers, as many as Pack<float> has floats.
#if WFST_VECTOR_BYTES
typedef uint16_t Bits16 __attribute__((vector_size(WFST_VECTOR_BYTES / 2)));
#else
using Bits16 = uint16_t;
#endif

// One vector of a row, as numbers to compute with.
template <class Row>
struct RowIo {
  using V = typename Pack<Row>::Real;
  static WFST_INLINE V load_from(const Row* p) { return load<Row>(p); }
  static WFST_INLINE void store_to(Row* p, const V& v) { store(p, v); }
};

template <>
struct RowIo<BFloat16> {
  using V = Pack<float>::Real;
  using I = Pack<float>::Int;
  static WFST_INLINE V load_from(const BFloat16* p) {
    Bits16 bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return same_bits<V>(convert<I>(bits) << 16);
  }
  static WFST_INLINE void store_to(BFloat16* p, const V& v) {
    const I u = same_bits<I>(v);
    const I rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    const Bits16 bits = convert<Bits16>(v == v ? rounded : splat<I>(0x7fc0));
    __builtin_memcpy(p, &bits, sizeof bits);
  }
};

template <>
struct RowIo<Float16> {
  using V = Pack<float>::Real;
  using I = Pack<float>::Int;
  static WFST_INLINE V load_from(const Float16* p) {
    Bits16 bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    const I h = convert<I>(bits), a = h & 0x7fff;
    // the exponent's bias differs by 112; the product makes subnormal halves normal floats, too
    const V scaled = same_bits<V>(a << 13) * 5.192296858534828e33f;
    const I finite = same_bits<I>(scaled), special = (a << 13) | 0x7f800000;
    return same_bits<V>((a >= 0x7c00 ? special : finite) | ((h & 0x8000) << 16));
  }
  static WFST_INLINE void store_to(Float16* p, const V& v) {
    const I u = same_bits<I>(v), a = u & 0x7fffffff;
    const I normal = (a - (112 << 23) + 0xfff + ((a >> 13) & 1)) >> 13;
    // in [0.5, 1) one unit in a float's last place is 2^-24, as it is among subnormal halves
    const I subnormal = same_bits<I>(V(same_bits<V>(a) + 0.5f)) - 0x3f000000;
    I h = a < (113 << 23) ? subnormal : normal;
    h = a >= 0x477ff000 ? splat<I>(0x7c00) : h;  // 65520 and above
    h = a > 0x7f800000 ? splat<I>(0x7e00) : h;
    const Bits16 bits = convert<Bits16>(h | ((u >> 16) & 0x8000));
    __builtin_memcpy(p, &bits, sizeof bits);
  }
};

// The first `count` elements at p, and `fill` in the others. Nothing beyond them is read.
template <class Row>
WFST_INLINE typename RowIo<Row>::V load_part(const Row* p, int64_t count, Computed<Row> fill) {
  using T = Computed<Row>;
  Row row[Pack<T>::kSize] = {};
  T values[Pack<T>::kSize];
  __builtin_memcpy(row, p, count * sizeof(Row));
  store(values, RowIo<Row>::load_from(row));
  for (int64_t k = count; k < Pack<T>::kSize; ++k) values[k] = fill;
  return load<T>(values);
}

template <class Row>
WFST_INLINE void store_part(Row* p, int64_t count, const typename RowIo<Row>::V& v) {
  Row row[Pack<Computed<Row>>::kSize];
  RowIo<Row>::store_to(row, v);
  __builtin_memcpy(p, row, count * sizeof(Row));
}

// exp(d) for d <= 0, to about one unit in the last place; exactly 0 below the normal range, NaN for NaN.
template <class V>
WFST_INLINE V exp_not_positive(V d) {
  using T = Element<V>;
  using Traits = CellTraits<T>;
  const V lowest = splat<V>(T(-kLn2) * T(Traits::kBias + 1));
  d = d < lowest ? lowest : d;  // a NaN stays
  const Integer<V> e = convert<Integer<V>>(V(larger(d, lowest) * T(1.44269504088896340736) - T(0.5)));
  const V n = convert<V>(e);
  const V r = (d - n * Traits::kLn2Hi) - n * Traits::kLn2Lo;
  T factorial = 1;
  for (int k = 2; k <= Traits::kExpDegree; ++k) factorial *= T(k);
  V y = splat<V>(T(1) / factorial);
  for (int k = Traits::kExpDegree; k >= 1; --k) {
    factorial /= T(k);
    y = y * r + T(1) / factorial;
  }
  return y * pow2<V>(e);
}

template <class Row>
WFST_TARGET Normaliser<Computed<Row>> row_normaliser(int64_t n, const Row* row) {
  using T = Computed<Row>;
  using V = typename Pack<T>::Real;
  constexpr int step = Pack<T>::kSize, chains = 4;
  const T lowest = T(-__builtin_inf());
  const int64_t whole = n / step * step;
  V top[chains];
  for (V& v : top) v = splat<V>(lowest);
  int64_t i = 0;
  for (; i + chains * step <= whole; i += chains * step)
    for (int k = 0; k < chains; ++k) top[k] = larger(RowIo<Row>::load_from(row + i + k * step), top[k]);
  for (; i < whole; i += step) top[0] = larger(RowIo<Row>::load_from(row + i), top[0]);
  if (i < n) top[0] = larger(load_part(row + i, n - i, lowest), top[0]);
  const T max = largest_of<T>(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  // a maximum passes a NaN by, so that only the sum tells an empty row from a bad one
  const T shift = max == lowest ? T(0) : max;
  const V shifts = splat<V>(shift);
  // short sums of floats, added up in double precision: long rows lose nothing
  constexpr int64_t block = 64 * step;
  double sum = 0;
  for (int64_t begin = 0; begin < whole; begin += block) {
    const int64_t end = begin + block < whole ? begin + block : whole;
    V sums[chains] = {};
    for (i = begin; i + chains * step <= end; i += chains * step)
      for (int k = 0; k < chains; ++k)
        sums[k] += exp_not_positive(V(RowIo<Row>::load_from(row + i + k * step) - shifts));
    for (; i < end; i += step) sums[0] += exp_not_positive(V(RowIo<Row>::load_from(row + i) - shifts));
    sum += sum_of<T>(V((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
  if (whole < n) sum += sum_of<T>(exp_not_positive(V(load_part(row + whole, n - whole, lowest) - shifts)));
  return {max, sum};
}

// scale * exp(row[i] - max), given to put(i, count, vector).
template <class Row, class Put>
WFST_INLINE void run_softmax(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, const Put& put) {
  using T = Computed<Row>;
  using V = typename Pack<T>::Real;
  constexpr int step = Pack<T>::kSize;
  const T lowest = T(-__builtin_inf());
  const V shifts = splat<V>(max == lowest ? T(0) : max);
  int64_t i = 0;
  for (; i + step <= n; i += step)
    put(i, step, V(scale * exp_not_positive(V(RowIo<Row>::load_from(row + i) - shifts))));
  if (i < n) put(i, n - i, V(scale * exp_not_positive(V(load_part(row + i, n - i, lowest) - shifts))));
}

// Stores vectors, or the first numbers of the last one.
template <class Row>
struct PutRow {
  Row* out;
  WFST_INLINE void operator()(int64_t i, int64_t count, const typename RowIo<Row>::V& v) const {
    if (count == Pack<Computed<Row>>::kSize)
      RowIo<Row>::store_to(out + i, v);
    else
      store_part(out + i, count, v);
  }
};

template <class Row>
WFST_TARGET void row_softmax(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Computed<Row>* out) {
  run_softmax(n, row, max, scale, PutRow<Computed<Row>>{out});
}

template <class Row>
WFST_TARGET void row_softmax_as_row(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Row* out) {
  run_softmax(n, row, max, scale, PutRow<Row>{out});
}

template <class Row>
WFST_TARGET void read_row(int64_t n, const Row* row, Computed<Row>* out) {
  using T = Computed<Row>;
  const PutRow<T> put{out};
  int64_t i = 0;
  for (; i + Pack<T>::kSize <= n; i += Pack<T>::kSize) put(i, Pack<T>::kSize, RowIo<Row>::load_from(row + i));
  if (i < n) put(i, n - i, load_part(row + i, n - i, T(0)));
}

template <class Row>
WFST_TARGET void write_row(int64_t n, const Computed<Row>* values, Row* row) {
  using T = Computed<Row>;
  const PutRow<Row> put{row};
  int64_t i = 0;
  for (; i + Pack<T>::kSize <= n; i += Pack<T>::kSize) put(i, Pack<T>::kSize, load<T>(values + i));
  if (i < n) put(i, n - i, load_part(values + i, n - i, T(0)));
}

template <class Row>
constexpr SoftmaxLoops<Row> softmax_table() {
  return {row_normaliser<Row>, row_softmax<Row>, row_softmax_as_row<Row>, read_row<Row>, write_row<Row>};
}
