// Times products of a weight matrix with 1 … 512 rows, by format and instruction
// set. One line a case: milliseconds, GB/s of weights read, GFLOP/s; median and best run.
//
//   kernels_bench [--isa avx512] [--threads 2] [--dtype BF16] [--rows 1] [--seconds 0.3]
//
// The matrices of a case are rotated through 128 MiB or more, so that one row streams from memory
// as decoding does. On a machine with busy neighbours only the best run says something.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "kernels/half.h"
#include "kernels/ops.h"
#include "timing.h"

namespace sluice::kernels {
namespace {

using bench::measure;
using bench::Seconds;
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
  const std::vector<int64_t> counts =
      o.rows != 0 ? std::vector{o.rows} : std::vector(std::begin(kRowCounts), std::end(kRowCounts));
  for (const int64_t n : counts) {
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
