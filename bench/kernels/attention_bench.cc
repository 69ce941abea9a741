// Times attention over a paged cache: decoding of 1 and 8 sequences at several contexts, and the
// prefill of whole prompts. One line a case: milliseconds, GB/s of K and V read once, GFLOP/s.
//
//   attention_bench [--isa avx512] [--threads 2] [--kv f16] [--case decode] [--seconds 0.2] [--huge
//   1] [--shared 1]
//
// --kv: f32, f16, bf16 or int8; --case: decode, prefill, small (heads of 8 to 32) or team (loops of
// empty chunks); --huge asks for huge pages; with --shared all sequences have the blocks of the
// first. Layers are rotated through 256 MiB or more, so that decoding streams from memory.
#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/ops.h"
#include "timing.h"

namespace sluice::kernels {
namespace {

struct Options {
  Isa isa = best_isa();
  int threads = 2;
  std::string kv;
  std::string wanted;
  double seconds = 0.2;
  bool huge = false;
  bool shared = false;
};

struct Heads {
  const char* name;
  int heads;
  int kv_heads;
  int head_dim;
};

constexpr Heads kModels[] = {{"qwen2.5-0.5b", 14, 2, 64}, {"llama-3.2-1b", 32, 8, 64}};
constexpr Heads kSmall[] = {{"8 of 8", 8, 4, 8}, {"8 of 16", 8, 4, 16}, {"8 of 32", 8, 4, 32}};
constexpr int kBlock = 16;
constexpr int64_t kStreamBytes = int64_t{256} << 20;

struct Case {
  Heads model;
  int context;  // positions after the rows
  int rows;     // of each sequence, at the end of its context
  int sequences;
};

std::string_view element_name(KvElement element) {
  switch (element) {
    case KvElement::kF32:
      return "f32";
    case KvElement::kF16:
      return "f16";
    case KvElement::kBf16:
      return "bf16";
    case KvElement::kInt8:
      return "int8";
  }
  return "";
}

std::vector<float> random_floats(Rng& rng, int64_t count) {
  std::vector<float> v(static_cast<size_t>(count));
  for (float& x : v) x = static_cast<float>(2 * rng.uniform() - 1);
  return v;
}

// The cache of some layers, filled: blocks of a sequence lie scattered, as a server leaves them.
struct Cache {
  int64_t bytes = 0;
  std::byte* slab = nullptr;
  std::vector<KvLayer> layers;
  std::vector<std::vector<int32_t>> blocks;  // of each sequence

  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  ~Cache() { munmap(slab, static_cast<size_t>(bytes)); }

  Cache(const Options& o, const Case& c, KvElement element) {
    const int of_one = (c.context + kBlock - 1) / kBlock;
    const int64_t block_bytes =
        kv_layer_block_bytes(element, c.model.kv_heads, c.model.head_dim, kBlock);
    const int64_t layer_bytes = block_bytes * of_one * c.sequences;
    const int64_t count = c.rows > 8 ? 1 : std::max<int64_t>(1, kStreamBytes / layer_bytes);
    bytes = layer_bytes * count;
    void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SLUICE_CHECK(memory != MAP_FAILED, "memory for the cache");
    if (o.huge) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
    slab = static_cast<std::byte*>(memory);
    for (int64_t i = 0; i < count; ++i) {
      layers.push_back(
          {element, c.model.kv_heads, c.model.head_dim, kBlock, slab + i * layer_bytes});
    }
    std::vector<int32_t> ids(static_cast<size_t>(of_one * c.sequences));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
    Rng rng(1);
    for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[rng.below(i)]);
    const std::vector<float> k =
        random_floats(rng, int64_t{c.context} * c.model.kv_heads * c.model.head_dim);
    for (int s = 0; s < c.sequences; ++s) {
      blocks.emplace_back(ids.begin() + s * of_one, ids.begin() + (s + 1) * of_one);
      for (const KvLayer& layer : layers) {
        write_kv(o.isa, layer, blocks.back(), 0, c.context, k.data(), k.data());
      }
    }
  }
};

void bench_case(const Options& o, const Case& c, KvElement element, ThreadTeam& team) {
  const Cache cache(o, c, element);
  const AttentionShape shape{c.model.heads, c.model.kv_heads, c.model.head_dim, 0.125F, 0, 0};
  Rng rng(2);
  const int64_t floats = int64_t{c.rows} * c.model.heads * c.model.head_dim;
  const std::vector<float> q = random_floats(rng, floats);
  std::vector<float> out(static_cast<size_t>(floats * c.sequences));
  std::vector<AttentionSlice> batch;
  for (int s = 0; s < c.sequences; ++s) {
    batch.push_back({q.data(), out.data() + s * floats, c.rows, c.context - c.rows,
                     cache.blocks[o.shared ? 0 : static_cast<size_t>(s)]});
  }
  size_t next = 0;
  const bench::Seconds s = bench::measure(o.seconds, [&] {
    attention(o.isa, shape, cache.layers[next++ % cache.layers.size()], batch, team);
  });
  const double pairs =
      c.sequences * (double(c.rows) * (c.context - c.rows) + 0.5 * c.rows * (c.rows + 1.0));
  const double flops = 4e-9 * pairs * c.model.heads * c.model.head_dim;
  const auto bytes = 1e-9 * static_cast<double>(kv_layer_block_bytes(element, c.model.kv_heads,
                                                                     c.model.head_dim, kBlock) /
                                                double{kBlock} * c.context * c.sequences);
  fmt::print(
      "{:8} {:12} {:4} context={:<5} rows={:<4} sequences={:<2} {:9.4f} ms {:6.1f} GB/s {:6.1f} "
      "GFLOP/s, best {:6.1f} GB/s {:6.1f} GFLOP/s\n",
      isa_name(o.isa), c.model.name, element_name(element), c.context, c.rows, c.sequences,
      s.median * 1e3, bytes / s.median, flops / s.median, bytes / s.best, flops / s.best);
  std::fflush(stdout);
}

void bench_element(const Options& o, KvElement element, ThreadTeam& team) {
  const auto wanted = [&](std::string_view name) { return o.wanted.empty() || o.wanted == name; };
  for (const Heads& model : kModels) {
    if (wanted("decode")) {
      for (const int context : {1024, 8192, 16384}) {
        for (const int sequences : {1, 8}) {
          bench_case(o, {model, context, 1, sequences}, element, team);
        }
      }
    }
    if (wanted("prefill")) {
      for (const int rows : {512, 2048, 4096}) bench_case(o, {model, rows, rows, 1}, element, team);
    }
  }
  if (!wanted("small")) return;
  for (const Heads& model : kSmall) {
    bench_case(o, {model, 512, 1, 1}, element, team);
    bench_case(o, {model, 512, 512, 1}, element, team);
  }
}

void bench_team(const Options& o, ThreadTeam& team) {
  int calls = 0;
  const bench::Seconds call = bench::measure(o.seconds, [&] {
    for (int i = 0; i < 1000; ++i) {
      team.parallel_for(4, 1, [&](int64_t begin, int64_t) { calls += begin == 0 ? 1 : 0; });
    }
  });
  fmt::print("{} thread(s): parallel_for of 4 empty chunks {:.2f} us, best {:.2f} us\n", o.threads,
             call.median * 1e3, call.best * 1e3);
}

int run(const Options& o) {
  ThreadTeam team(o.threads);
  if (o.wanted.empty() || o.wanted == "team") bench_team(o, team);
  if (o.wanted == "team") return 0;
  for (const KvElement element :
       {KvElement::kF16, KvElement::kBf16, KvElement::kInt8, KvElement::kF32}) {
    if (o.kv.empty() || o.kv == element_name(element)) bench_element(o, element, team);
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
    } else if (flag == "--kv") {
      o.kv = value;
    } else if (flag == "--case") {
      o.wanted = value;
    } else if (flag == "--huge") {
      o.huge = std::atoi(value) != 0;
    } else if (flag == "--shared") {
      o.shared = std::atoi(value) != 0;
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
