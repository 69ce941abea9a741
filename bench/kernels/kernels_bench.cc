// Times products of a weight matrix with 1 … 512 rows, by format and instruction set, and
// attention. One line a case: milliseconds, GB/s of weights read, GFLOP/s; median and best run.
//
//   kernels_bench [--isa avx512] [--threads 2] [--dtype BF16] [--rows 1] [--seconds 0.3]
//
// The matrices of a case are rotated through 128 MiB or more, so that one row streams from memory
// as decoding does. On a machine with busy neighbours only the best run says something.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "kernels/half.h"
#include "kernels/ops.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

struct Options {
  Isa isa = best_isa();
  int threads = 2;
  std::string dtype;
  int64_t rows = 0;
  double seconds = 0.3;
};

struct Shape {
  int64_t out;
  int64_t in;
};

constexpr DType kDTypes[] = {DType::kF32,    DType::kBF16, DType::kF16,   DType::kQ8_0,
                             DType::kQ4_0,   DType::kQ4_1, DType::kQ5_0,  DType::kQ5_1,
                             DType::kIQ4_NL, DType::kQ2_K, DType::kQ3_K,  DType::kQ4_K,
                             DType::kQ5_K,   DType::kQ6_K, DType::kIQ4_XS};
constexpr int64_t kRowCounts[] = {1, 2, 4, 8, 16, 32, 64, 512};
constexpr int64_t kStreamBytes = int64_t{128} << 20;

double now() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(t).count();
}

struct Seconds {
  double median;
  double best;
};

// Seconds of one f() over the given time, at least five runs.
template <typename F>
Seconds measure(double seconds, F f) {
  f();
  std::vector<double> runs;
  const double end = now() + seconds;
  while (runs.size() < 5 || now() < end) {
    const double start = now();
    f();
    runs.push_back(now() - start);
  }
  std::sort(runs.begin(), runs.end());
  return {runs[runs.size() / 2], runs.front()};
}

// Bytes that are small numbers in every format: each half-width word is a modest float16.
std::vector<std::byte> weights(int64_t bytes) {
  std::vector<std::byte> data(static_cast<size_t>(bytes));
  Rng rng(1);
  for (int64_t i = 0; i + 2 <= bytes; i += 2) {
    const auto h = float_to_f16(static_cast<float>(0.01 + 0.09 * rng.uniform()));
    std::memcpy(data.data() + i, &h, sizeof h);
  }
  return data;
}

void bench_matmul(const Options& o, DType dtype, Shape shape, ThreadTeam& team) {
  const tensor::DTypeInfo& info = tensor::dtype_info(dtype);
  if (shape.in % info.block_elements != 0) return;
  const int64_t bytes = shape.out * shape.in / info.block_elements * info.block_bytes;
  const int64_t copies = std::max<int64_t>(1, kStreamBytes / bytes);
  const std::vector<std::byte> data = weights(bytes * copies);
  std::vector<std::unique_ptr<Matrix>> matrices;
  for (int64_t i = 0; i < copies; ++i) {
    const auto part = std::span(data).subspan(static_cast<size_t>(i * bytes), size_t(bytes));
    matrices.push_back(
        std::move(prepare_matrix({dtype, {shape.out, shape.in}, part}, o.isa, team).value()));
  }
  for (const int64_t n : kRowCounts) {
    if (o.rows != 0 && o.rows != n) continue;
    const std::vector<float> x(static_cast<size_t>(n * shape.in), 0.5F);
    std::vector<float> y(static_cast<size_t>(n * shape.out));
    size_t next = 0;
    const Seconds s = measure(o.seconds, [&] {
      matmul(*matrices[next++ % matrices.size()], x.data(), n, y.data(), {}, team);
    });
    const double flops = 2e-9 * static_cast<double>(n * shape.out * shape.in);
    fmt::print(
        "{:8} {:7} {:5}x{:<5} n={:<4} {:8.4f} ms {:6.1f} GB/s {:6.1f} GFLOP/s, best {:6.1f} GB/s "
        "{:6.1f} GFLOP/s\n",
        isa_name(o.isa), info.name, shape.out, shape.in, n, s.median * 1e3,
        static_cast<double>(bytes) / s.median / 1e9, flops / s.median,
        static_cast<double>(bytes) / s.best / 1e9, flops / s.best);
    std::fflush(stdout);
  }
}

// `rows` queries at the end of `context` positions; qwen2.5-0.5b's heads.
void bench_attention(const Options& o, int context, int rows, int slices, KvElement element,
                     ThreadTeam& team) {
  constexpr int kHeads = 14, kKvHeads = 2, kDim = 64, kBlock = 16;
  const int blocks = (context + kBlock - 1) / kBlock;
  std::vector<std::byte> slab(
      static_cast<size_t>(blocks * slices * kv_layer_block_bytes(element, kKvHeads, kDim, kBlock)));
  const KvLayer kv{element, kKvHeads, kDim, kBlock, slab.data()};
  const std::vector<float> k(static_cast<size_t>(context * kKvHeads * kDim), 0.1F);
  const std::vector<float> q(static_cast<size_t>(rows * kHeads * kDim), 0.1F);
  std::vector<float> out(q.size() * static_cast<size_t>(slices));
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(slices));
  std::vector<AttentionSlice> batch;
  for (int i = 0; i < slices; ++i) {
    auto& mine = ids[static_cast<size_t>(i)];
    for (int b = 0; b < blocks; ++b) mine.push_back(b * slices + i);
    write_kv(o.isa, kv, mine, 0, context, k.data(), k.data());
    batch.push_back(
        {q.data(), out.data() + static_cast<size_t>(i) * q.size(), rows, context - rows, mine});
  }
  const AttentionShape shape{kHeads, kKvHeads, kDim, 0.125F, 0, 0};
  const Seconds s = measure(o.seconds, [&] { attention(o.isa, shape, kv, batch, team); });
  const double pairs = slices * (double(rows) * (context - rows) + 0.5 * rows * (rows + 1.0));
  const char* name = element == KvElement::kF16   ? "f16"
                     : element == KvElement::kF32 ? "f32"
                                                  : "int8";
  const double flops = 4e-9 * pairs * kHeads * kDim;
  fmt::print(
      "{:8} attention {:4} context={:<5} rows={:<4} slices={:<3} {:8.4f} ms {:6.1f} GFLOP/s, best "
      "{:6.1f} GFLOP/s\n",
      isa_name(o.isa), name, context, rows, slices, s.median * 1e3, flops / s.median,
      flops / s.best);
}

int run(const Options& o) {
  ThreadTeam team(o.threads);
  int calls = 0;
  const Seconds call = measure(o.seconds, [&] {
    for (int i = 0; i < 1000; ++i) {
      team.parallel_for(4, 1, [&](int64_t begin, int64_t) { calls += begin == 0 ? 1 : 0; });
    }
  });
  fmt::print("{} thread(s): parallel_for of 4 empty chunks {:.2f} us, best {:.2f} us\n", o.threads,
             call.median * 1e3, call.best * 1e3);
  for (const DType dtype : kDTypes) {
    if (!o.dtype.empty() && o.dtype != tensor::dtype_info(dtype).name) continue;
    const bool superblocks = tensor::dtype_info(dtype).block_elements == 256;
    // The feed-forward of qwen2.5-0.5b; of llama-3.2-1b where blocks of 256 need it.
    bench_matmul(o, dtype, superblocks ? Shape{8192, 2048} : Shape{4864, 896}, team);
    bench_matmul(o, dtype, superblocks ? Shape{2048, 8192} : Shape{896, 4864}, team);
  }
  if (!o.dtype.empty() && o.dtype != "attention") return 0;
  for (const KvElement element : {KvElement::kF16, KvElement::kInt8}) {
    bench_attention(o, 512, 512, 1, element, team);
    bench_attention(o, 4096, 1, 1, element, team);
    bench_attention(o, 256, 1, 16, element, team);
  }
  return 0;
}

Result<Options> parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--isa") {
      SLUICE_ASSIGN_OR_RETURN(o.isa, parse_isa(value));
    } else if (flag == "--threads") {
      o.threads = std::max(1, std::atoi(value));
    } else if (flag == "--dtype") {
      o.dtype = value;
    } else if (flag == "--rows") {
      o.rows = std::atoll(value);
    } else if (flag == "--seconds") {
      o.seconds = std::atof(value);
    } else {
      return invalid(fmt::format("unknown flag {}", flag));
    }
  }
  if (!isa_supported(o.isa)) return invalid("this processor does not support that ISA");
  return o;
}

}  // namespace
}  // namespace sluice::kernels

int main(int argc, char** argv) {
  const auto options = sluice::kernels::parse(argc, argv);
  if (!options) {
    fmt::print(stderr, "{}\n", options.error().message());
    return 2;
  }
  return sluice::kernels::run(*options);
}
