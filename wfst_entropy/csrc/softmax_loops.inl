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

// All bits set in the last `count` lanes of a vector, at kSize - count.
template <class T>
struct LastLanes {
  Int<T> bits[2 * Pack<T>::kSize] = {};
  constexpr LastLanes() {
    for (int k = Pack<T>::kSize; k < 2 * Pack<T>::kSize; ++k) bits[k] = -1;
  }
};

// The last `count` of n elements, and `fill` in the other lanes. They stand last if there is a whole vector of elements
// to read, else first.
template <class Row>
WFST_INLINE typename RowIo<Row>::V load_tail(const Row* row, int64_t n, int64_t count, Computed<Row> fill) {
  using T = Computed<Row>;
  using V = typename Pack<T>::Real;
  static constexpr LastLanes<T> last;
  if (n < Pack<T>::kSize) return load_part(row, count, fill);
  const V v = RowIo<Row>::load_from(row + n - Pack<T>::kSize);
  return load_int<T>(last.bits + count) != 0 ? v : splat<V>(fill);
}

// exp(d) for d <= 0, to about one unit in the last place; exactly 0 below the normal range, NaN for NaN.
template <class V>
WFST_INLINE V exp_not_positive(V d) {
  using T = Element<V>;
  using I = Integer<V>;
  using Traits = CellTraits<T>;
  constexpr T magic = T(1.5) * T(Int<T>(1) << Traits::kMantissaBits);  // adding it rounds to an integer
  const V lowest = splat<V>(T(-kLn2) * T(Traits::kBias));
  d = lowest > d ? lowest : d;  // a NaN stays
  const V shifted = d * T(1.44269504088896340736) + magic;
  const V n = shifted - magic;
  const V r = (d - n * Traits::kLn2Hi) - n * Traits::kLn2Lo;
  T factorial = 1;
  for (int k = 2; k <= Traits::kExpDegree; ++k) factorial *= T(k);
  V y = splat<V>(T(1) / factorial);
  for (int k = Traits::kExpDegree; k >= 1; --k) {
    factorial /= T(k);
    y = y * r + T(1) / factorial;
  }
  // 2^n, from -bias (which is 0) to 0
  const I e = same_bits<I>(shifted) - same_bits<I>(splat<V>(magic)) + Traits::kBias;
  return y * same_bits<V>((e & (2 * Traits::kBias + 1)) << Traits::kMantissaBits);  // of a NaN, any bits do
}

// A sum of exponentials, those of the largest element counted apart: they are exactly 1.
template <class V>
struct ExpSum {
  V below{}, ones{};

  WFST_INLINE void add(V d) {
    const V y = exp_not_positive(d);
    below += d == Element<V>(0) ? V{} : y;
    ones += d == Element<V>(0) ? splat<V>(Element<V>(1)) : V{};
  }
};

template <class Row>
WFST_TARGET Normaliser<Computed<Row>> row_normaliser(int64_t n, const Row* row) {
  using T = Computed<Row>;
  using V = typename Pack<T>::Real;
  constexpr int step = Pack<T>::kSize, chains = 4;
  const T lowest = T(-__builtin_inf());
  const int64_t whole = n / step * step;
  const V tail = load_tail(row, n, n - whole, lowest);
  V top[chains];
  for (V& v : top) v = tail;
  int64_t i = 0;
  for (; i + chains * step <= whole; i += chains * step)
    for (int k = 0; k < chains; ++k) top[k] = larger(RowIo<Row>::load_from(row + i + k * step), top[k]);
  for (; i < whole; i += step) top[0] = larger(RowIo<Row>::load_from(row + i), top[0]);
  const T max = largest_of<T>(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  // a maximum passes a NaN by, so that only the sum tells an empty row from a bad one
  const T shift = max == lowest ? T(0) : max;
  const V shifts = splat<V>(shift);
  // short sums of floats, added up in double precision: long rows lose nothing
  constexpr int64_t block = 64 * step;
  ExpSum<V> last;
  last.add(tail - shifts);
  double below = sum_of<T>(last.below), ones = sum_of<T>(last.ones);
  for (int64_t begin = 0; begin < whole; begin += block) {
    const int64_t end = begin + block < whole ? begin + block : whole;
    ExpSum<V> sums[chains];
    for (i = begin; i + chains * step <= end; i += chains * step)
      for (int k = 0; k < chains; ++k) sums[k].add(RowIo<Row>::load_from(row + i + k * step) - shifts);
    for (; i < end; i += step) sums[0].add(RowIo<Row>::load_from(row + i) - shifts);
    below += sum_of<T>(V((sums[0].below + sums[1].below) + (sums[2].below + sums[3].below)));
    ones += sum_of<T>(V((sums[0].ones + sums[1].ones) + (sums[2].ones + sums[3].ones)));
  }
  return {max, ones + below, (ones - 1) + below};
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

// f of the row's vectors into out, f's results being vectors. In place, too, where the types agree: what is read of the
// last elements together with some before them is read first.
template <class Out, class Row, class F>
WFST_INLINE void map_row(int64_t n, const Row* row, Out* out, const F& f) {
  using T = Computed<Row>;
  constexpr int step = Pack<T>::kSize;
  if (n < step) return store_part(out, n, f(load_part(row, n, T(0))));
  const auto tail = f(RowIo<Row>::load_from(row + n - step));
  for (int64_t i = 0; i + step <= n; i += step) RowIo<Out>::store_to(out + i, f(RowIo<Row>::load_from(row + i)));
  RowIo<Out>::store_to(out + n - step, tail);
}

// scale * exp(x - shift)
template <class T>
struct ScaledExp {
  using V = typename Pack<T>::Real;
  T shift, scale;
  WFST_INLINE V operator()(V x) const { return scale * exp_not_positive(V(x - shift)); }
};

template <class T>
WFST_INLINE ScaledExp<T> scaled_exp(T max, T scale) {
  return {max == T(-__builtin_inf()) ? T(0) : max, scale};
}

template <class V>
struct Same {
  WFST_INLINE V operator()(V x) const { return x; }
};

template <class Row>
WFST_TARGET void row_softmax(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Computed<Row>* out) {
  map_row(n, row, out, scaled_exp(max, scale));
}

template <class Row>
WFST_TARGET void row_softmax_as_row(int64_t n, const Row* row, Computed<Row> max, Computed<Row> scale, Row* out) {
  map_row(n, row, out, scaled_exp(max, scale));
}

template <class Row>
WFST_TARGET void read_row(int64_t n, const Row* row, Computed<Row>* out) {
  map_row(n, row, out, Same<typename RowIo<Row>::V>{});
}

template <class Row>
WFST_TARGET void write_row(int64_t n, const Computed<Row>* values, Row* row) {
  map_row(n, values, row, Same<typename RowIo<Row>::V>{});
}

template <class Row>
constexpr SoftmaxLoops<Row> softmax_table() {
  return {row_normaliser<Row>, row_softmax<Row>, row_softmax_as_row<Row>, read_row<Row>, write_row<Row>};
}
