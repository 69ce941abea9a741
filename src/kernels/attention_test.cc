#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/kernels_testing.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

// One sequence: its queries, keys and values of every position, and a cache that holds them in
// scattered blocks.
struct Sequence {
  AttentionShape shape;
  KvLayer kv;
  int positions = 0;
  std::vector<float> q, k, v;
  std::vector<std::byte> slab;
  std::vector<int32_t> blocks;
};

struct Case {
  int heads;
  int kv_heads;
  int head_dim;
  int block_size;
  int positions;
  KvElement element;
  int window = 0;
  float softcap = 0;
};

constexpr Case kCases[] = {
    {1, 1, 8, 16, 1, KvElement::kF16},          {4, 2, 16, 16, 70, KvElement::kF32},
    {14, 2, 64, 16, 200, KvElement::kF16},      {14, 2, 64, 32, 150, KvElement::kInt8},
    {3, 3, 80, 8, 131, KvElement::kF16},        {14, 2, 64, 16, 170, KvElement::kBf16},
    {3, 1, 20, 5, 140, KvElement::kBf16, 33},   {4, 1, 16, 16, 1150, KvElement::kBf16},
    {5, 1, 20, 1, 65, KvElement::kInt8},        {8, 1, 256, 16, 90, KvElement::kF16, 0, 30.0F},
    {6, 2, 33, 5, 190, KvElement::kF32, 37},    {4, 4, 48, 16, 129, KvElement::kInt8, 64, 5.0F},
    {3, 1, 16, 16, 1100, KvElement::kF16},      {12, 1, 8, 32, 1600, KvElement::kInt8},
    {2, 2, 24, 16, 1300, KvElement::kF32, 530}, {2, 1, 16, 12, 1200, KvElement::kF16, 700},
    {14, 2, 64, 16, 90, KvElement::kBf16},      {9, 1, 33, 16, 120, KvElement::kBf16, 41},
    {4, 4, 80, 32, 130, KvElement::kBf16},      {8, 1, 256, 16, 70, KvElement::kBf16, 0, 30.0F},
};

// Of the plain twin, whose large cases take minutes under a sanitizer.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int64_t kMostPlainWork = 11'000'000;
#else
constexpr int64_t kMostPlainWork = std::numeric_limits<int64_t>::max();
#endif

class Attention : public EveryIsa {
 protected:
  // The plain twin knows no partitions: long sequences would tell nothing of it and take minutes.
  // So do large ones on an emulated processor; and all of its instruction sets share one attention.
  std::vector<Case> cases() const {
    const int64_t most_work = isa() == Isa::kNeon ? 30'000'000 : 2'000'000;
    std::vector<Case> found;
    for (const Case& c : kCases) {
      const int64_t work = int64_t{c.heads} * c.head_dim * c.positions * c.positions;
      const bool is_large = c.positions >= kPartitionPositions || work > kMostPlainWork;
      if (isa() == Isa::kReference && is_large) continue;
      if (!is_emulated() || work <= most_work) found.push_back(c);
    }
    return found;
  }

  // Blocks are taken from a slab four times too large, in an order that depends on `seed`; what no
  // position of the sequence fills holds NaNs, which no result may see.
  Sequence make(const Case& c, uint64_t seed, int shuffle = 0) {
    Rng rng(seed);
    Sequence s;
    s.shape = {c.heads, c.kv_heads, c.head_dim, 0.3F, c.softcap, c.window};
    s.positions = c.positions;
    s.q = random_floats(rng, int64_t{c.positions} * c.heads * c.head_dim, 2.0);
    s.k = random_floats(rng, int64_t{c.positions} * c.kv_heads * c.head_dim, 2.0);
    s.v = random_floats(rng, int64_t{c.positions} * c.kv_heads * c.head_dim, 2.0);
    const int needed = (c.positions + c.block_size - 1) / c.block_size;
    const int64_t bytes = kv_layer_block_bytes(c.element, c.kv_heads, c.head_dim, c.block_size);
    s.slab.assign(static_cast<size_t>(4 * needed * bytes), std::byte{0xFF});
    s.kv = {c.element, c.kv_heads, c.head_dim, c.block_size, s.slab.data()};
    s.blocks.resize(size_t{4} * static_cast<size_t>(needed));
    std::iota(s.blocks.begin(), s.blocks.end(), 0);
    Rng order(seed + static_cast<uint64_t>(shuffle));
    for (size_t i = s.blocks.size(); i > 1; --i)
      std::swap(s.blocks[i - 1], s.blocks[order.below(i)]);
    s.blocks.resize(static_cast<size_t>(needed));
    return s;
  }

  // Runs the positions in chunks of these sizes, the last one repeated, as prefill and decode do.
  std::vector<float> run(const Sequence& s, const std::vector<int>& chunks, ThreadTeam& team) {
    const int64_t q_row = int64_t{s.shape.heads} * s.shape.head_dim;
    const int64_t kv_row_floats = int64_t{s.shape.kv_heads} * s.shape.head_dim;
    std::vector<float> out(s.q.size(), NAN);
    int position = 0;
    for (size_t i = 0; position < s.positions; ++i) {
      const int rows = std::min(chunks[std::min(i, chunks.size() - 1)], s.positions - position);
      write_kv(isa(), s.kv, s.blocks, position, rows, s.k.data() + position * kv_row_floats,
               s.v.data() + position * kv_row_floats);
      const AttentionSlice slice = {s.q.data() + position * q_row, out.data() + position * q_row,
                                    rows, position, s.blocks};
      attention(isa(), s.shape, s.kv, {&slice, 1}, team);
      position += rows;
    }
    return out;
  }

  ThreadTeam one_{1};
  ThreadTeam two_{2};
  ThreadTeam three_{3};
};

INSTANTIATE_TEST_SUITE_P(Isa, Attention, every_isa(), isa_test_name);

// A row of K or V as the cache gives it back.
std::vector<double> cached_row(const Sequence& s, int position, int head, bool value) {
  const KvRow at = kv_row(s.kv, s.blocks[static_cast<size_t>(position / s.kv.block_size)], head,
                          position % s.kv.block_size);
  const std::byte* row = value ? at.v : at.k;
  const int64_t stride = value ? 1 : at.k_stride;
  float scale = 1.0F;
  if (s.kv.element == KvElement::kInt8) {
    std::memcpy(&scale, value ? at.v_scale : at.k_scale, sizeof scale);
  }
  std::vector<double> out;
  for (int d = 0; d < s.kv.head_dim; ++d) {
    float f = 0;
    uint16_t h = 0;
    switch (s.kv.element) {
      case KvElement::kF32:
        std::memcpy(&f, row + 4 * stride * d, sizeof f);
        break;
      case KvElement::kF16:
        std::memcpy(&h, row + 2 * stride * d, sizeof h);
        f = f16_to_float(h);
        break;
      case KvElement::kBf16:
        std::memcpy(&h, row + 2 * stride * d, sizeof h);
        f = bf16_to_float(h);
        break;
      case KvElement::kInt8:
        f = scale * static_cast<float>(static_cast<int8_t>(row[stride * d]));
    }
    out.push_back(double{f});
  }
  return out;
}

// What the cache holds must be what was written, within its type's rounding.
TEST_P(Attention, CacheKeepsItsTypesPrecision) {
  for (const Case& c : cases()) {
    const Sequence s = make(c, 7);
    run(s, {s.positions}, one_);
    for (int p = 0; p < s.positions; ++p) {
      for (int head = 0; head < c.kv_heads; ++head) {
        const size_t at = (static_cast<size_t>(p * c.kv_heads + head)) * size_t(c.head_dim);
        for (const bool value : {false, true}) {
          const std::vector<double> row = cached_row(s, p, head, value);
          const float* x = (value ? s.v : s.k).data() + at;
          float top = 0;
          for (int d = 0; d < c.head_dim; ++d) top = std::max(top, std::fabs(x[d]));
          for (int d = 0; d < c.head_dim; ++d) {
            const double bound = c.element == KvElement::kF32 ? 0.0
                                 : c.element == KvElement::kF16
                                     ? std::fabs(x[d]) * 0x1p-11 + 0x1p-25
                                 : c.element == KvElement::kBf16 ? std::fabs(x[d]) * 0x1p-8
                                                                 : top / 127.0 * 0.5001;
            ASSERT_NEAR(row[static_cast<size_t>(d)], x[d], bound);
          }
        }
      }
    }
  }
}

// Halves, the largest, the smallest, what is no number: every element as float_to_bf16() has it.
TEST_P(Attention, Bf16RoundsAllNumbersAlike) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> odd = {1.0F + 0x1p-8F, 1.0F + 0x3p-8F, 1.0F + 0x1p-8F + 0x1p-20F,
                                  -0.0F,          0x1p-149F,      -0x1.8p-127F,
                                  3.4e38F,        -inf,           std::nanf("")};
  Sequence s;
  s.k.resize(33);
  for (size_t i = 0; i < s.k.size(); ++i) s.k[i] = odd[i % odd.size()];
  s.v.assign(s.k.rbegin(), s.k.rend());
  s.blocks = {0};
  s.slab.resize(static_cast<size_t>(kv_layer_block_bytes(KvElement::kBf16, 1, 33, 16)));
  s.kv = {KvElement::kBf16, 1, 33, 16, s.slab.data()};
  write_kv(isa(), s.kv, s.blocks, 5, 1, s.k.data(), s.v.data());
  const KvRow at = kv_row(s.kv, 0, 0, 5);
  for (size_t i = 0; i < s.k.size(); ++i) {
    uint16_t k = 0, v = 0;
    std::memcpy(&k, at.k + 2 * static_cast<int64_t>(i) * at.k_stride, sizeof k);
    std::memcpy(&v, at.v + 2 * i, sizeof v);
    EXPECT_EQ(k, float_to_bf16(s.k[i])) << s.k[i];
    EXPECT_EQ(v, float_to_bf16(s.v[i])) << s.v[i];
  }
}

// Against softmax in double over what the cache holds. A weight's relative error is that of its
// score, some head_dim * eps * |q||k| * scale, plus exp's and of its own rounding; the result's is
// that of the weights.
TEST_P(Attention, MatchesDoublePrecision) {
  for (const Case& c : cases()) {
    const Sequence s = make(c, 11);
    const std::vector<float> out = run(s, {s.positions}, two_);
    const int group = c.heads / c.kv_heads;
    const bool in_pairs = c.element == KvElement::kBf16 && multiplies_bf16_pairs(isa());
    for (int p = 0; p < s.positions; p += p < 3 ? 1 : 1 + c.positions / 20) {
      const int first = c.window > 0 ? std::max(0, p - c.window + 1) : 0;
      for (int head = 0; head < c.heads; ++head) {
        std::vector<float> q(static_cast<size_t>(c.head_dim));
        const float* given = s.q.data() + (int64_t{p} * c.heads + head) * c.head_dim;
        std::transform(given, given + c.head_dim, q.begin(),
                       [&](float x) { return in_pairs ? bf16_to_float(float_to_bf16(x)) : x; });
        std::vector<double> scores;
        double size = 0;
        for (int j = first; j <= p; ++j) {
          const std::vector<double> k = cached_row(s, j, head / group, false);
          double dot = 0, absolute = 0;
          for (int d = 0; d < c.head_dim; ++d) {
            const double product = double{q[size_t(d)]} * k[size_t(d)];
            dot += product;
            absolute += std::fabs(product);
          }
          size = std::max(size, absolute * double{s.shape.scale});
          dot *= double{s.shape.scale};
          scores.push_back(c.softcap > 0 ? c.softcap * std::tanh(dot / c.softcap) : dot);
        }
        const double top = *std::max_element(scores.begin(), scores.end());
        double total = 0;
        std::vector<double> sum(static_cast<size_t>(c.head_dim)), absolute(sum.size());
        for (int j = first; j <= p; ++j) {
          const double weight = std::exp(scores[static_cast<size_t>(j - first)] - top);
          const std::vector<double> v = cached_row(s, j, head / group, true);
          total += weight;
          for (size_t d = 0; d < sum.size(); ++d) {
            sum[d] += weight * v[d];
            absolute[d] += weight * std::fabs(v[d]);
          }
        }
        const int roundings = c.head_dim / 8 + 4;
        // A rounded weight is off by half of its last bit, and so is their sum.
        const double relative = 0x1p-24 * roundings * size + 0x1p-24 * (p + 1 - first + 40) +
                                (in_pairs ? 0x1p-10 : 0.0);
        for (int d = 0; d < c.head_dim; ++d) {
          const size_t at = static_cast<size_t>((int64_t{p} * c.heads + head) * c.head_dim + d);
          ASSERT_NEAR(out[at], sum[size_t(d)] / total, 4 * relative * absolute[size_t(d)] / total)
              << "position " << p << " head " << head << " dim " << c.head_dim;
        }
      }
    }
  }
}

TEST_P(Attention, ChunksAndTeamsDoNotChangeBits) {
  for (const Case& c : cases()) {
    const Sequence s = make(c, 13);
    const auto whole = bits(run(s, {s.positions}, one_));
    for (const std::vector<int>& chunks :
         {std::vector<int>{1}, {2}, {7}, {64}, {63, 1}, {100, 1}, {5, 60, 3}}) {
      ASSERT_EQ(bits(run(s, chunks, one_)), whole) << "chunks of " << chunks.front();
    }
    ASSERT_EQ(bits(run(s, {s.positions}, two_)), whole);
    ASSERT_EQ(bits(run(s, {9}, three_)), whole);
    if (isa() == Isa::kReference) continue;  // cuts nothing but rows
    for (const int rows : {16, 23, 32, 33}) ASSERT_EQ(bits(run(s, {rows}, three_)), whole) << rows;
  }
}

TEST_P(Attention, OtherBlocksGiveEqualBits) {
  for (const Case& c : cases()) {
    const Sequence here = make(c, 17);
    const Sequence there = make(c, 17, 1);
    ASSERT_EQ(bits(run(here, {33}, one_)), bits(run(there, {33}, one_)));
  }
}

// A batch of slices of several sequences gives each what it gets alone.
TEST_P(Attention, SequencesShareABatch) {
  const Case c = {4, 2, 32, 16, 100, KvElement::kF16};
  std::vector<Sequence> all;
  std::vector<std::vector<float>> alone;
  for (uint64_t i = 0; i < 5; ++i) {
    all.push_back(make(c, 20 + i));
    alone.push_back(run(all.back(), {100}, one_));
  }
  std::vector<std::vector<float>> out(all.size());
  std::vector<AttentionSlice> slices;
  // The cache is one slab: blocks of sequence i follow those of the ones before it.
  std::vector<std::byte> slab;
  for (size_t i = 0; i < all.size(); ++i) {
    Sequence& s = all[i];
    const auto block_bytes = kv_layer_block_bytes(c.element, 2, 32, 16);
    for (int32_t& b : s.blocks)
      b += static_cast<int32_t>(static_cast<int64_t>(slab.size()) / block_bytes);
    slab.insert(slab.end(), s.slab.begin(), s.slab.end());
  }
  KvLayer kv = all[0].kv;
  kv.data = slab.data();
  const int first[] = {0, 99, 40, 99, 17}, rows[] = {100, 1, 33, 1, 64};
  for (size_t i = 0; i < all.size(); ++i) {
    out[i].assign(alone[i].size(), 0.0F);
    const int64_t offset = int64_t{first[i]} * 4 * 32;
    slices.push_back(
        {all[i].q.data() + offset, out[i].data() + offset, rows[i], first[i], all[i].blocks});
  }
  attention(isa(), all[0].shape, kv, slices, two_);
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t offset = int64_t{first[i]} * 4 * 32, count = int64_t{rows[i]} * 4 * 32;
    ASSERT_EQ(bits(out[i].data() + offset, count), bits(alone[i].data() + offset, count));
  }
}

// Sequences that begin with the same blocks, some of which go on alone.
TEST_P(Attention, ASharedPrefixChangesNoBits) {
  if (isa() == Isa::kReference) GTEST_SKIP() << "the plain twin reads every sequence by itself";
  if (is_emulated()) GTEST_SKIP() << "2,200 positions take minutes on an emulated processor";
  for (const KvElement element : {KvElement::kF16, KvElement::kBf16}) {
    const Case c = {6, 2, 16, 16, 2200, element};
    Sequence s = make(c, 31);
    run(s, {s.positions}, two_);
    const int64_t kv_floats = int64_t{c.kv_heads} * c.head_dim,
                  q_floats = int64_t{c.heads} * c.head_dim;
    // The tail of a second one, from position 1600 on: other blocks, which hold other rows.
    std::vector<int32_t> forked = s.blocks;
    std::vector<bool> used(4 * s.blocks.size());
    for (const int32_t block : s.blocks) used[size_t(block)] = true;
    for (size_t i = 100, next = 0; i < forked.size(); ++i, ++next) {
      while (used[next]) ++next;
      forked[i] = static_cast<int32_t>(next);
    }
    write_kv(isa(), s.kv, forked, 1600, 600, s.v.data() + 1600 * kv_floats,
             s.k.data() + 1600 * kv_floats);
    struct Part {
      int first;
      int rows;
      const std::vector<int32_t>* blocks;
    };
    const Part parts[] = {{2199, 1, &forked},  {2100, 3, &s.blocks}, {700, 1, &s.blocks},
                          {90, 40, &s.blocks}, {1800, 1, &forked},   {1500, 8, &s.blocks},
                          {0, 1, &forked},     {2190, 9, &forked}};
    std::vector<std::vector<float>> out;
    std::vector<AttentionSlice> slices;
    for (const Part& part : parts) {
      out.emplace_back(size_t(part.rows * q_floats), NAN);
      slices.push_back({s.q.data() + part.first * q_floats, out.back().data(), part.rows,
                        part.first, *part.blocks});
    }
    for (ThreadTeam* team : {&one_, &two_, &three_}) {
      attention(isa(), s.shape, s.kv, slices, *team);
      for (size_t i = 0; i < slices.size(); ++i) {
        std::vector<float> alone(out[i].size());
        AttentionSlice slice = slices[i];
        slice.out = alone.data();
        attention(isa(), s.shape, s.kv, {&slice, 1}, one_);
        ASSERT_EQ(bits(out[i]), bits(alone)) << "slice " << i;
      }
    }
  }
}

TEST(KvLayout, BlocksAreMultiplesOf64AndRowsDoNotOverlap) {
  for (const Case& c : kCases) {
    const int64_t bytes = kv_layer_block_bytes(c.element, c.kv_heads, c.head_dim, c.block_size);
    EXPECT_EQ(bytes % 64, 0);
    std::vector<std::byte> slab(static_cast<size_t>(2 * bytes));
    const KvLayer kv{c.element, c.kv_heads, c.head_dim, c.block_size, slab.data()};
    const int64_t element = kv_element_bytes(c.element);
    const auto mark = [&](std::byte* at, int64_t size) {
      for (int64_t i = 0; i < size; ++i) {
        ASSERT_TRUE(at + i >= slab.data() + bytes && at + i < slab.data() + 2 * bytes);
        ASSERT_EQ(at[i], std::byte{0});
        at[i] = std::byte{1};
      }
    };
    for (int head = 0; head < c.kv_heads; ++head) {
      for (int i = 0; i < c.block_size; ++i) {
        const KvRow at = kv_row(kv, 1, head, i);
        for (int d = 0; d < c.head_dim; ++d) mark(at.k + d * at.k_stride * element, element);
        mark(at.v, c.head_dim * element);
        if (at.k_scale != nullptr) mark(at.k_scale, 4), mark(at.v_scale, 4);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::kernels
