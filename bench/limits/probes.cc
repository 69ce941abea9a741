#include "probes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>

#include "base/thread_team.h"
#include "pinned_threads.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Results end here, so that no loop is left out as unused.
std::atomic<uint64_t> sink{0};

// ---- reading ------------------------------------------------------------------------------------

// 64 bytes that the compiler splits as the enabled instructions need.
using Line = uint64_t __attribute__((vector_size(64)));

constexpr size_t kStreams = 8;  // places read in turn: what a product with several rows looks like

[[gnu::always_inline]] inline uint64_t read_lines(const std::byte* data, size_t bytes) {
  const size_t part = bytes / kStreams / sizeof(Line);
  const Line* line = reinterpret_cast<const Line*>(data);
  Line sums[kStreams] = {};
  for (size_t i = 0; i < part; ++i) {
    for (size_t s = 0; s < kStreams; ++s) sums[s] ^= line[s * part + i];
  }
  for (size_t s = 1; s < kStreams; ++s) sums[0] ^= sums[s];
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out ^= sums[0][i];
  return out;
}

uint64_t read_plain(const std::byte* data, size_t bytes) { return read_lines(data, bytes); }

using Reader = uint64_t (*)(const std::byte*, size_t);

#if defined(__x86_64__)
[[gnu::target("avx2")]] uint64_t read_avx2(const std::byte* data, size_t bytes) {
  return read_lines(data, bytes);
}
[[gnu::target("avx512f")]] uint64_t read_avx512(const std::byte* data, size_t bytes) {
  return read_lines(data, bytes);
}
#endif

Reader best_reader() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  if (__builtin_cpu_supports("avx2")) return read_avx2;
#endif
  return read_plain;
}

class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data_ = p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
    if (data_ != nullptr) std::memset(data_, 1, bytes);
  }
  ~Buffer() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  const std::byte* data() const { return data_; }
  size_t bytes() const { return data_ == nullptr ? 0 : bytes_; }

 private:
  size_t bytes_;
  std::byte* data_;
};

// The buffer is split among the threads and read `passes` times.
double read_rate(const Buffer& buffer, size_t share, int passes, int threads) {
  const Reader read = best_reader();
  const double seconds = run_pinned(threads, [&](int member) {
    uint64_t sum = 0;
    for (int i = 0; i < passes; ++i) {
      sum ^= read(buffer.data() + static_cast<size_t>(member) * share, share);
    }
    sink.fetch_xor(sum, std::memory_order_relaxed);
  });
  return static_cast<double>(share) * threads * passes / seconds / 1e9;
}

void add_reading(std::vector<Probe>& out, int threads, size_t memory_bytes) {
  constexpr size_t kL2 = size_t{512} << 10;
  constexpr size_t kL3 = size_t{8} << 20;
  const auto memory = std::make_shared<Buffer>(memory_bytes);
  const auto cache = std::make_shared<Buffer>(kL3 * static_cast<size_t>(threads));
  out.push_back({"memory_read", "GB/s", "a large buffer, 8 places in turn", [memory](int n) {
                   return read_rate(*memory, memory->bytes() / static_cast<size_t>(n), 1, n);
                 }});
  out.push_back({"l3_read", "GB/s", "8 MiB a thread",
                 [cache](int n) { return read_rate(*cache, kL3, 40, n); }});
  out.push_back({"l2_read", "GB/s", "512 KiB a thread",
                 [cache](int n) { return read_rate(*cache, kL2, 800, n); }});
}

// ---- arithmetic ---------------------------------------------------------------------------------

// Independent sums: more than latency times units, and as many as fit in registers beside operands.
constexpr int kSums = 16;
constexpr int kSums256 = 12;
constexpr int kTurns = 4000;  // between two looks at the clock

// Runs `turns(k)`, which does `ops` operations k times, for about `seconds`.
double arithmetic_rate(int threads, double seconds, double ops, void (*turns)(int)) {
  std::atomic<uint64_t> done{0};
  const double span = run_pinned(threads, [&](int) {
    const Clock::time_point start = Clock::now();
    uint64_t count = 0;
    do {
      turns(kTurns);
      count += kTurns;
    } while (seconds_since(start) < seconds);
    done.fetch_add(count, std::memory_order_relaxed);
  });
  return static_cast<double>(done.load()) * ops / span / 1e9;
}

#if defined(__x86_64__)

// A value that the compiler cannot know.
volatile int unknown = 3;

// Uses the sums. A copy is what escapes, so that the sums themselves stay in registers.
template <typename V, int count>
[[gnu::always_inline]] inline void keep(const V (&sums)[count]) {
  V copy[count];
  for (int i = 0; i < count; ++i) copy[i] = sums[i];
  asm volatile("" : : "r"(copy) : "memory");
}

[[gnu::target("avx512f,avx512vnni")]] void turns_vnni512(int turns) {
  const __m512i x = _mm512_set1_epi8(static_cast<char>(unknown));
  const __m512i y = _mm512_set1_epi8(static_cast<char>(unknown));
  __m512i sums[kSums] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], x, y);
  }
  keep(sums);
}

// As above, with one operand from the first-level cache each time: what a kernel reaches that
// keeps nothing of the weights in registers.
[[gnu::target("avx512f,avx512vnni")]] void turns_vnni512_loads(int turns) {
  alignas(64) int8_t cells[2 * kSums * 64];
  std::memset(cells, unknown, sizeof cells);
  asm volatile("" : : "r"(cells) : "memory");
  __m512i sums[kSums] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      const __m512i x = _mm512_load_si512(cells + 128 * i);
      asm volatile("vpdpbusd %1, %2, %0" : "+v"(sums[i]) : "m"(cells[128 * i + 64]), "v"(x));
    }
  }
  keep(sums);
}

[[gnu::target("avx2,avxvnni")]] void turns_vnni256(int turns) {
  const __m256i x = _mm256_set1_epi8(static_cast<char>(unknown));
  const __m256i y = x;
  __m256i sums[kSums256] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums256; ++i) sums[i] = _mm256_dpbusd_avx_epi32(sums[i], x, y);
  }
  keep(sums);
}

// Without VNNI: multiply bytes, widen the pairs, add. The product must be formed anew each time,
// so one operand is a sum's neighbour.
[[gnu::target("avx2")]] void turns_maddubs(int turns) {
  const __m256i y = _mm256_set1_epi8(static_cast<char>(unknown));
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i x = y;
  __m256i sums[kSums256] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums256; ++i) {
      asm volatile("" : "+v"(x));
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
    }
  }
  keep(sums);
}

[[gnu::target("avx512f,avx512bf16")]] void turns_bf16(int turns) {
  const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi16(static_cast<int16_t>(unknown)));
  __m512 sums[kSums] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
  }
  keep(sums);
}

[[gnu::target("avx512f")]] void turns_fma512(int turns) {
  const __m512 x = _mm512_set1_ps(static_cast<float>(unknown));
  __m512 sums[kSums] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
  }
  keep(sums);
}

[[gnu::target("avx2,fma")]] void turns_fma256(int turns) {
  const __m256 x = _mm256_set1_ps(static_cast<float>(unknown));
  __m256 sums[kSums256] = {};
  for (int k = 0; k < turns; ++k) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums256; ++i) sums[i] = _mm256_fmadd_ps(x, x, sums[i]);
  }
  keep(sums);
}

// AVX-VNNI has no name in the compiler's own query: CPUID leaf 7, sub-leaf 1, EAX bit 4.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
         (a >> 4 & 1) != 0;
}

void add_arithmetic(std::vector<Probe>& out, double seconds) {
  const auto add = [&](bool present, std::string_view name, std::string_view what, double ops,
                       void (*turns)(int)) {
    if (!present) return;
    const bool is_float = name.starts_with("bf16") || name.starts_with("fp32");
    out.push_back({name, is_float ? "GFLOP/s" : "GOP/s", what,
                   [=](int threads) { return arithmetic_rate(threads, seconds, ops, turns); }});
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  add(vnni, "int8_avx512_vnni", "vpdpbusd, registers", 128 * kSums, turns_vnni512);
  add(vnni, "int8_avx512_vnni_l1", "vpdpbusd, both operands loaded", 128 * kSums,
      turns_vnni512_loads);
  add(has_avx_vnni(), "int8_avx_vnni", "vpdpbusd, 256 bits", 64 * kSums256, turns_vnni256);
  add(avx2, "int8_avx2", "vpmaddubsw, vpmaddwd, vpaddd", 64 * kSums256, turns_maddubs);
  add(avx512 && __builtin_cpu_supports("avx512bf16"), "bf16_avx512", "vdpbf16ps, registers",
      64 * kSums, turns_bf16);
  add(avx512, "fp32_avx512", "vfmadd231ps, 512 bits", 32 * kSums, turns_fma512);
  add(avx2, "fp32_avx2", "vfmadd231ps, 256 bits", 16 * kSums256, turns_fma256);
}

#else

void add_arithmetic(std::vector<Probe>&, double) {}

#endif

// ---- threads ------------------------------------------------------------------------------------

double barrier_nanoseconds(int threads) {
  constexpr int kRounds = 200'000;
  SpinBarrier barrier(threads);
  const double seconds = run_pinned(threads, [&](int) {
    for (int i = 0; i < kRounds; ++i) barrier.wait();
  });
  return seconds / kRounds * 1e9;
}

double team_nanoseconds(int threads) {
  constexpr int kRounds = 20'000;
  ThreadTeam team(threads);
  std::atomic<int64_t> calls{0};
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < kRounds; ++i) {
    team.parallel_for(2 * threads, 1,
                      [&](int64_t, int64_t) { calls.fetch_add(1, std::memory_order_relaxed); });
  }
  const double seconds = seconds_since(start);
  sink.fetch_xor(static_cast<uint64_t>(calls.load()), std::memory_order_relaxed);
  return seconds / kRounds * 1e9;
}

}  // namespace

std::vector<Probe> make_probes(int threads, double seconds, size_t memory_bytes) {
  std::vector<Probe> out;
  add_reading(out, threads, memory_bytes);
  add_arithmetic(out, seconds);
  out.push_back({"barrier", "ns", "spinning threads", barrier_nanoseconds, true});
  out.push_back({"team_loop", "ns", "an empty loop of the thread team", team_nanoseconds, true});
  return out;
}

}  // namespace sluice::bench
