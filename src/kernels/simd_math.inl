// Elementary functions over V. Errors are at most a few units in the last place.

SLUICE_INLINE int lanes_left(int64_t count, int64_t i) {
  return static_cast<int>(std::min<int64_t>(kLanes, count - i));
}

// The largest of x[0 … count).
SLUICE_INLINE float largest(const float* x, int64_t count) {
  float top = x[0];
  int64_t i = 0;
  if (count >= kLanes) {
    // Four chains: one would wait for itself.
    V tops[4] = {load(x), load(x), load(x), load(x)};
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
      for (int c = 0; c < 4; ++c) tops[c] = max(tops[c], load(x + i + c * kLanes));
    }
    for (; i + kLanes <= count; i += kLanes) tops[0] = max(tops[0], load(x + i));
    top = max_lane(max(max(tops[0], tops[1]), max(tops[2], tops[3])));
  }
  for (; i < count; ++i) top = std::max(top, x[i]);
  return top;
}

// e^x = scale * (1 + rest) for x in -87 … 88.37: 2^n times a Taylor polynomial of degree 7, whose
// error at |r| <= ln2 / 2 is 5e-9.
struct ExpParts {
  V scale;
  V rest;
};

constexpr float kExpLow = -87.0F;
constexpr float kExpHigh = 88.37F;

SLUICE_INLINE ExpParts exp_parts(V x) {
  // ln2 in two parts: n times the first one is exact.
  const V ln2_high = set(-0.693359375F), ln2_low = set(2.12194440e-4F);
  const V n = round_even(x * set(1.44269504F));
  const V r = fma(n, ln2_low, fma(n, ln2_high, x));
  V p = set(1.0F / 5040);
  p = fma(p, r, set(1.0F / 720));
  p = fma(p, r, set(1.0F / 120));
  p = fma(p, r, set(1.0F / 24));
  p = fma(p, r, set(1.0F / 6));
  p = fma(p, r, set(0.5F));
  return {pow2(n), fma(p * r, r, r)};
}

// Zero below -87, infinity above 88.37, exactly 1 at 0; NaN stays NaN.
SLUICE_INLINE V exp(V x) {
  const V low = set(kExpLow), high = set(kExpHigh);
  const ExpParts e = exp_parts(min(high, max(low, x)));
  const V y = fma(e.scale, e.rest, e.scale);
  return select_less(x, low, zero(),
                     select_less(high, x, set(std::numeric_limits<float>::infinity()), y));
}

// 2^x for x <= 0, zero below -126, exactly 1 at 0; NaN stays NaN. 1 plus x times a polynomial of
// degree 5 through the Chebyshev nodes of -0.5 … 0.5, whose error is 9e-9.
SLUICE_INLINE V exp2_of_negative(V x) {
  const V n = round_even(x), r = x - n;
  V p = set(1.54531634e-4F);
  p = fma(p, r, set(1.33908633e-3F));
  p = fma(p, r, set(9.61808302e-3F));
  p = fma(p, r, set(5.55035695e-2F));
  p = fma(p, r, set(2.40226507e-1F));
  p = fma(p, r, set(6.93147182e-1F));
  p = fma(p, r, set(1.0F));
  return scale_unless_less(x, set(-126.0F), p, n);
}

// By e^2x - 1, which keeps its digits near 0.
SLUICE_INLINE V tanh(V x) {
  const ExpParts e = exp_parts(min(set(40.0F), max(set(-40.0F), x + x)));
  const V less_one = fma(e.scale, e.rest, e.scale - set(1.0F));
  return less_one / (less_one + set(2.0F));
}

SLUICE_INLINE V silu(V x) { return x / (set(1.0F) + exp(zero() - x)); }

// The tanh form, 0.5 x (1 + tanh u) = x / (1 + e^-2u).
SLUICE_INLINE V gelu(V x) {
  constexpr float kMinusTwoRootTwoOverPi = -1.5957691216057308F;
  const V cubic = fma(set(0.044715F) * x * x, x, x);
  return x / (set(1.0F) + exp(set(kMinusTwoRootTwoOverPi) * cubic));
}
