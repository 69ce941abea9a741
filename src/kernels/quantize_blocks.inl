// The searches behind quantize(), for the instruction set that the including function enables.
// Everything here is always inlined into it. Sums run over fixed lanes and in fixed order, and no
// multiply-add is fused, so that all instruction sets give the same bytes.
//
// Symmetric formats store x ≈ d * q. For given q the best d is sum(x q) / sum(q q), and the error
// it leaves is sum(x x) - sum(x q)² / sum(q q): a candidate is judged without computing its error.
// Q4_K stores x ≈ s * q - m, whose best s and m for given q solve two linear equations.

#define SLUICE_INLINE [[gnu::always_inline]] inline

constexpr int kLanes = 16;

// Nearest integer, ties to even, for |v| below 2^22.
SLUICE_INLINE float nearest(float v) { return (v + 12582912.0F) - 12582912.0F; }

SLUICE_INLINE float clamped(float v, float low, float high) {
  const float least = v < low ? low : v;
  return least > high ? high : least;
}

// A scale as the file keeps it. Too large a one is kept finite.
SLUICE_INLINE float stored(float d, F16Bytes& out) {
  const uint16_t bits = float_to_f16(clamped(d, -65504.0F, 65504.0F));
  std::memcpy(out.bytes, &bits, sizeof bits);
  return f16_to_float(bits);
}

SLUICE_INLINE float inverse(float d) { return d == 0.0F ? 0.0F : 1.0F / d; }

template <int n>
SLUICE_INLINE float sum(const float (&lanes)[n]) {
  float total = 0;
  for (int i = 0; i < n; ++i) total += lanes[i];
  return total;
}

// The element of largest magnitude, with its sign.
template <int n>
SLUICE_INLINE float extreme(const float* x) {
  float low = 0, high = 0;
  for (int i = 0; i < n; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  return -low > high ? low : high;
}

// ---- symmetric ----------------------------------------------------------------------------------

struct Fit {
  float scale = 0;  // the best d for these q
  float gain = 0;   // how much of sum(x x) it explains
};

template <int n>
SLUICE_INLINE Fit fit_symmetric(const float* x, float inverse_scale, float low, float high) {
  float xq[kLanes] = {}, qq[kLanes] = {};
  for (int i = 0; i < n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = clamped(nearest(x[i + l] * inverse_scale), low, high);
      xq[l] += x[i + l] * q;
      qq[l] += q * q;
    }
  }
  const float a = sum(xq), b = sum(qq);
  if (!(b > 0)) return {};
  return {.scale = a / b, .gain = a * a / b};
}

// The best scale for q in [-levels, levels - 1]. The extreme element is put at the side that has
// one level more, near its end: how near is what `steps` candidates on either side try.
template <int n>
SLUICE_INLINE float search_symmetric(const float* x, int levels, int steps) {
  const float most = extreme<n>(x);
  const auto end = static_cast<float>(levels);
  if (!(std::abs(most) > kSmallest)) return 0;
  Fit best;
  for (int step = -steps; step <= steps; ++step) {
    const float target = end + static_cast<float>(step) * 0.1F;
    const Fit fit = fit_symmetric<n>(x, -target / most, -end, end - 1);
    if (fit.gain > best.gain) best = fit;
  }
  for (int turn = 0; turn < 2 && best.scale != 0; ++turn) {
    const Fit fit = fit_symmetric<n>(x, 1.0F / best.scale, -end, end - 1);
    if (fit.gain <= best.gain) break;
    best = fit;
  }
  return best.scale;
}

template <int n>
SLUICE_INLINE void levels_of(const float* x, float scale, float low, float high, float shift,
                             uint8_t* q) {
  const float inverse_scale = inverse(scale);
  for (int i = 0; i < n; ++i) {
    q[i] = static_cast<uint8_t>(clamped(nearest(x[i] * inverse_scale), low, high) + shift);
  }
}

SLUICE_INLINE void encode(const float* x, BlockQ8_0& b) {
  const float d = stored(std::abs(extreme<32>(x)) / 127.0F, b.d);
  const float inverse_d = inverse(d);
  for (int i = 0; i < 32; ++i) {
    b.qs[i] = static_cast<int8_t>(clamped(nearest(x[i] * inverse_d), -127, 127));
  }
}

SLUICE_INLINE void encode(const float* x, BlockQ4_0& b) {
  const float d = stored(search_symmetric<32>(x, 8, 12), b.d);
  uint8_t q[32];
  levels_of<32>(x, d, -8, 7, 8, q);
  for (int i = 0; i < 16; ++i) b.qs[i] = static_cast<uint8_t>(q[i] | q[i + 16] << 4);
}

SLUICE_INLINE void encode(const float* x, BlockQ5_0& b) {
  const float d = stored(search_symmetric<32>(x, 16, 12), b.d);
  uint8_t q[32];
  levels_of<32>(x, d, -16, 15, 16, q);
  std::memset(b.qh, 0, sizeof b.qh);
  for (int i = 0; i < 16; ++i) b.qs[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 16] & 15) << 4);
  for (int i = 0; i < 32; ++i) b.qh[i / 8] |= static_cast<uint8_t>((q[i] >> 4) << (i % 8));
}

// ---- Q6_K ---------------------------------------------------------------------------------------

SLUICE_INLINE float error_symmetric(const float* x, float scale, float low, float high) {
  const float inverse_scale = inverse(scale);
  float errors[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const float e = x[l] - scale * clamped(nearest(x[l] * inverse_scale), low, high);
    errors[l] = e * e;
  }
  return sum(errors);
}

// The integer near scale / d whose error is smallest.
SLUICE_INLINE int best_multiple(const float* x, float scale, float d) {
  const auto middle = static_cast<int>(clamped(nearest(scale * inverse(d)), -127, 126));
  int best = middle;
  float least = std::numeric_limits<float>::max();
  for (int candidate = middle - 1; candidate <= middle + 1; ++candidate) {
    const float error = error_symmetric(x, d * static_cast<float>(candidate), -32, 31);
    if (error < least) {
      least = error;
      best = candidate;
    }
  }
  return best;
}

// The d that fits best once all multiples are chosen.
SLUICE_INLINE float refit_q6k(const float* x, const int8_t* multiples, float d) {
  float xq[kLanes] = {}, qq[kLanes] = {};
  for (int j = 0; j < 16; ++j) {
    const auto multiple = static_cast<float>(multiples[j]);
    const float inverse_scale = inverse(d * multiple);
    for (int l = 0; l < kLanes; ++l) {
      const float value = x[16 * j + l];
      const float q = multiple * clamped(nearest(value * inverse_scale), -32, 31);
      xq[l] += value * q;
      qq[l] += q * q;
    }
  }
  const float b = sum(qq);
  return b > 0 ? sum(xq) / b : d;
}

SLUICE_INLINE void encode(const float* x, BlockQ6_K& b) {
  std::memset(&b, 0, sizeof b);
  float scales[16];
  for (int j = 0; j < 16; ++j) scales[j] = search_symmetric<16>(x + 16 * j, 32, 8);
  const float most = extreme<16>(scales);
  if (!(std::abs(most) > kSmallest)) return;
  float d = stored(most / -128.0F, b.d);
  for (int j = 0; j < 16; ++j) {
    b.scales[j] = static_cast<int8_t>(best_multiple(x + 16 * j, scales[j], d));
  }
  d = stored(refit_q6k(x, b.scales, d), b.d);
  uint8_t q[256];
  for (int j = 0; j < 16; ++j) {
    levels_of<16>(x + 16 * j, d * static_cast<float>(b.scales[j]), -32, 31, 32, q + 16 * j);
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* const from = q + 128 * half;
    for (int i = 0; i < 64; ++i) {
      b.ql[64 * half + i] = static_cast<uint8_t>((from[i] & 15) | (from[i + 64] & 15) << 4);
    }
    for (int i = 0; i < 32; ++i) {
      b.qh[32 * half + i] =
          static_cast<uint8_t>(from[i] >> 4 | (from[i + 32] >> 4) << 2 | (from[i + 64] >> 4) << 4 |
                               (from[i + 96] >> 4) << 6);
    }
  }
}

// ---- Q4_K ---------------------------------------------------------------------------------------

struct Line {
  float scale = 0;
  float min = 0;  // not negative: the format can only take away
};

// The best line for the q that `with` gives, and the squared error of that line with these q.
SLUICE_INLINE float fit_line(const float* x, Line with, Line& out) {
  const float inverse_scale = inverse(with.scale);
  float q1[kLanes] = {}, q2[kLanes] = {}, x1[kLanes] = {}, xq[kLanes] = {}, x2[kLanes] = {};
  for (int i = 0; i < 32; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float value = x[i + l];
      const float q = clamped(nearest((value + with.min) * inverse_scale), 0, 15);
      q1[l] += q;
      q2[l] += q * q;
      x1[l] += value;
      xq[l] += value * q;
      x2[l] += value * value;
    }
  }
  const float sq = sum(q1), sqq = sum(q2), sx = sum(x1), sxq = sum(xq), sxx = sum(x2);
  const float determinant = 32.0F * sqq - sq * sq;
  if (!(sqq > 0)) return std::numeric_limits<float>::max();
  Line line{.scale = sxq / sqq, .min = 0};
  if (determinant > 0) {
    const Line free{.scale = (32.0F * sxq - sq * sx) / determinant,
                    .min = (sq * sxq - sqq * sx) / determinant};
    if (free.min > 0) line = free;
  }
  out = line;
  return sxx + line.scale * line.scale * sqq + 32.0F * line.min * line.min -
         2.0F * line.scale * sxq + 2.0F * line.min * sx - 2.0F * line.scale * line.min * sq;
}

SLUICE_INLINE Line search_line(const float* x) {
  float low = 0, high = x[0];
  for (int i = 0; i < 32; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  if (!(high - low > kSmallest)) return {.scale = 0, .min = -low};
  Line best{.scale = (high - low) / 15.0F, .min = -low};
  float least = std::numeric_limits<float>::max();
  for (int step = -6; step <= 14; ++step) {
    const float levels = 15.0F + static_cast<float>(step) * 0.1F;
    Line line;
    float error = fit_line(x, {.scale = (high - low) / levels, .min = -low}, line);
    if (error < least) {
      least = error;
      best = line;
    }
  }
  for (int turn = 0; turn < 3; ++turn) {
    Line line;
    const float error = fit_line(x, best, line);
    if (!(error < least)) break;
    least = error;
    best = line;
  }
  return best;
}

SLUICE_INLINE float error_line(const float* x, Line line) {
  const float inverse_scale = inverse(line.scale);
  float errors[kLanes] = {};
  for (int i = 0; i < 32; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = clamped(nearest((x[i + l] + line.min) * inverse_scale), 0, 15);
      const float e = x[i + l] - (line.scale * q - line.min);
      errors[l] += e * e;
    }
  }
  return sum(errors);
}

struct LineCode {
  int scale[8];
  int min[8];
};

// Six-bit multiples of d and dmin for each sub-block: the nearest ones and their neighbours.
SLUICE_INLINE LineCode choose_codes(const float* x, const Line (&lines)[8], float d, float dmin) {
  LineCode code;
  for (int j = 0; j < 8; ++j) {
    const auto scale = static_cast<int>(clamped(nearest(lines[j].scale * inverse(d)), 0, 63));
    const auto min = static_cast<int>(clamped(nearest(lines[j].min * inverse(dmin)), 0, 63));
    float least = std::numeric_limits<float>::max();
    for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, 63); ++s) {
      for (int m = std::max(min - 1, 0); m <= std::min(min + 1, 63); ++m) {
        const float error = error_line(
            x + 32 * j, {.scale = d * static_cast<float>(s), .min = dmin * static_cast<float>(m)});
        if (error < least) {
          least = error;
          code.scale[j] = s;
          code.min[j] = m;
        }
      }
    }
  }
  return code;
}

SLUICE_INLINE float error_block(const float* x, const LineCode& code, float d, float dmin) {
  float error = 0;
  for (int j = 0; j < 8; ++j) {
    error += error_line(x + 32 * j, {.scale = d * static_cast<float>(code.scale[j]),
                                     .min = dmin * static_cast<float>(code.min[j])});
  }
  return error;
}

// The d and dmin that fit best once all codes are chosen: x ≈ d * (scale q) - dmin * min.
SLUICE_INLINE Line refit_q4k(const float* x, const LineCode& code, Line now) {
  float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  for (int j = 0; j < 8; ++j) {
    const auto scale = static_cast<float>(code.scale[j]);
    const auto min = static_cast<float>(code.min[j]);
    const float inverse_scale = inverse(now.scale * scale);
    float q1[kLanes] = {}, q2[kLanes] = {}, x1[kLanes] = {}, xq[kLanes] = {};
    for (int i = 0; i < 32; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const float value = x[32 * j + i + l];
        const float q = clamped(nearest((value + now.min * min) * inverse_scale), 0, 15);
        q1[l] += q;
        q2[l] += q * q;
        x1[l] += value;
        xq[l] += value * q;
      }
    }
    aa += scale * scale * sum(q2);
    ab += scale * min * sum(q1);
    bb += min * min * 32.0F;
    xa += scale * sum(xq);
    xb += min * sum(x1);
  }
  const float determinant = aa * bb - ab * ab;
  if (!(determinant > 0.0001F * aa * bb)) return aa > 0 && bb == 0 ? Line{xa / aa, now.min} : now;
  return {.scale = (xa * bb - xb * ab) / determinant, .min = (xa * ab - xb * aa) / determinant};
}

SLUICE_INLINE void encode(const float* x, BlockQ4_K& b) {
  std::memset(&b, 0, sizeof b);
  Line lines[8];
  float most_scale = 0, most_min = 0;
  for (int j = 0; j < 8; ++j) {
    lines[j] = search_line(x + 32 * j);
    most_scale = std::max(most_scale, lines[j].scale);
    most_min = std::max(most_min, lines[j].min);
  }
  float d = stored(most_scale / 63.0F, b.d);
  float dmin = stored(most_min / 63.0F, b.dmin);
  LineCode code = choose_codes(x, lines, d, dmin);
  const Line refit = refit_q4k(x, code, {.scale = d, .min = dmin});
  F16Bytes d_bytes, dmin_bytes;
  const float new_d = stored(refit.scale, d_bytes), new_dmin = stored(refit.min, dmin_bytes);
  if (new_d > 0 && new_dmin >= 0 &&
      error_block(x, code, new_d, new_dmin) < error_block(x, code, d, dmin)) {
    b.d = d_bytes;
    b.dmin = dmin_bytes;
    d = new_d;
    dmin = new_dmin;
  }
  for (int j = 0; j < 8; ++j) {
    const float scale = d * static_cast<float>(code.scale[j]);
    const float min = dmin * static_cast<float>(code.min[j]);
    const float inverse_scale = inverse(scale);
    for (int l = 0; l < 32; ++l) {
      const float q = clamped(nearest((x[32 * j + l] + min) * inverse_scale), 0, 15);
      b.qs[32 * (j / 2) + l] |= static_cast<uint8_t>(static_cast<int>(q) << (4 * (j % 2)));
    }
    set_k_scale_min(b.scales, j, code.scale[j], code.min[j]);
  }
}

// ---- rows ---------------------------------------------------------------------------------------

template <typename Block>
SLUICE_INLINE void encode_row(const float* src, int64_t count, int64_t block, std::byte* out) {
  for (int64_t i = 0; i < count; i += block) {
    Block b;
    encode(src + i, b);
    std::memcpy(out, &b, sizeof b);
    out += sizeof b;
  }
}

SLUICE_INLINE void encode_any(DType dtype, const float* src, int64_t count, std::byte* out) {
  switch (dtype) {
    case DType::kQ8_0:
      return encode_row<BlockQ8_0>(src, count, 32, out);
    case DType::kQ4_0:
      return encode_row<BlockQ4_0>(src, count, 32, out);
    case DType::kQ5_0:
      return encode_row<BlockQ5_0>(src, count, 32, out);
    case DType::kQ4_K:
      return encode_row<BlockQ4_K>(src, count, 256, out);
    case DType::kQ6_K:
      return encode_row<BlockQ6_K>(src, count, 256, out);
    default:
      break;
  }
}

#undef SLUICE_INLINE
