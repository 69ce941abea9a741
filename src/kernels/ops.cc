// The dispatch table, and the ops that only split their elements or rows.
#include "kernels/ops.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/dequant.h"
#include "kernels/op_table.h"
#include "kernels/panels.h"

namespace sluice::kernels {
namespace {

// Elements of a task of an elementwise op; below it the caller does the work alone.
constexpr int64_t kElementChunk = 8192;

}  // namespace

const OpTable& ops(Isa isa) {
  SLUICE_CHECK(isa_supported(isa), "the instruction set was checked before");
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return avx2_ops();
    case Isa::kAvx512:
    case Isa::kAvx512Vnni:
      return avx512_ops();
    case Isa::kAvx512Bf16:
      return avx512_bf16_ops();
#elif defined(__aarch64__)
    case Isa::kNeon:
    case Isa::kNeonDotprod:
    case Isa::kNeonI8mm:
    case Isa::kNeonBf16:
      return neon_ops();
#endif
    default:
      return reference_ops();
  }
}

const PanelTable* panel_table(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
      return &avx2_panels();
    case Isa::kAvxVnni:
      return &avx_vnni_panels();
    case Isa::kAvx512:
      return &avx512_panels();
    case Isa::kAvx512Vnni:
      return &avx512_vnni_panels();
    case Isa::kAvx512Bf16:
      return &avx512_bf16_panels();
#elif defined(__aarch64__)
    case Isa::kNeon:
      return &neon_panels();
    case Isa::kNeonDotprod:
      return &neon_dotprod_panels();
    case Isa::kNeonI8mm:
      return &neon_i8mm_panels();
    case Isa::kNeonBf16:
      return &neon_bf16_panels();
#endif
    default:
      return nullptr;
  }
}

void embed_rows(const tensor::TensorView& table, std::span<const int32_t> ids, float scale,
                float* out) {
  const int64_t cols = table.cols();
  const int64_t row_bytes = table.row_bytes();
  for (const int32_t id : ids) {
    SLUICE_CHECK(id >= 0 && id < table.rows(), "a token id lies in the vocabulary");
    dequantize(table.dtype, table.bytes.data() + id * row_bytes, cols, out);
    if (scale != 1.0F) {
      for (int64_t i = 0; i < cols; ++i) out[i] *= scale;
    }
    out += cols;
  }
}

Result<std::vector<float>> to_float(const tensor::TensorView& view) {
  const int64_t count = view.elements();
  const tensor::DTypeInfo& info = tensor::dtype_info(view.dtype);
  if (count % info.block_elements != 0 ||
      count / info.block_elements * info.block_bytes != static_cast<int64_t>(view.bytes.size())) {
    return invalid("a tensor's bytes do not match its shape");
  }
  std::vector<float> values(static_cast<size_t>(count));
  dequantize(view.dtype, view.bytes.data(), count, values.data());
  return values;
}

void rms_norm(Isa isa, const float* x, int64_t n, int64_t width, std::span<const float> weight,
              float eps, float* out) {
  SLUICE_CHECK(static_cast<int64_t>(weight.size()) == width, "one weight a column");
  ops(isa).rms_norm(x, n, width, weight.data(), eps, out);
}

void rms_norm(Isa isa, const float* x, int64_t n, int64_t width, std::span<const float> weight,
              float eps, float* out, ThreadTeam& team) {
  SLUICE_CHECK(static_cast<int64_t>(weight.size()) == width, "one weight a column");
  const OpTable& table = ops(isa);
  const int64_t rows = std::max<int64_t>(1, kElementChunk / width);
  team.parallel_for(n, rows, [&](int64_t begin, int64_t end) {
    table.rms_norm(x + begin * width, end - begin, width, weight.data(), eps, out + begin * width);
  });
}

void rope_neighbours(Isa isa, float* x, int64_t n, int heads, int head_dim, int dim,
                     const float* cos, const float* sin) {
  ops(isa).rope_neighbours(x, n, heads, head_dim, dim, cos, sin);
}

void rope_halves(Isa isa, float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                 const float* sin) {
  ops(isa).rope_halves(x, n, heads, head_dim, dim, cos, sin);
}

void silu_mul(Isa isa, const float* gate, const float* up, int64_t count, float* out,
              ThreadTeam& team) {
  const OpTable& table = ops(isa);
  team.parallel_for(count, kElementChunk, [&](int64_t begin, int64_t end) {
    table.silu_mul(gate + begin, up + begin, end - begin, out + begin);
  });
}

void gelu_mul(Isa isa, const float* gate, const float* up, int64_t count, float* out,
              ThreadTeam& team) {
  const OpTable& table = ops(isa);
  team.parallel_for(count, kElementChunk, [&](int64_t begin, int64_t end) {
    table.gelu_mul(gate + begin, up + begin, end - begin, out + begin);
  });
}

void add(Isa isa, float* x, const float* y, int64_t count) { ops(isa).add(x, y, count); }

void add_scaled(Isa isa, float* x, const float* y, float s, int64_t count) {
  ops(isa).add_scaled(x, y, s, count);
}

void softcap(Isa isa, float* x, int64_t count, float cap) { ops(isa).softcap(x, count, cap); }

void softmax(Isa isa, float* x, int64_t n, int64_t width) { ops(isa).softmax(x, n, width); }

}  // namespace sluice::kernels
