// model_bench: the forward pass alone, without server, sampling or text.
//
//   model_bench MODEL [streams=1,16] [prompt=128] [tokens=64] [threads=2] [isa=avx512] [kv=f16]
//
// For each number of streams: reads that many prompts of random tokens, in steps of 512 rows, then
// generates greedily with all streams in one batch. Prints tokens a second of both phases.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <numeric>
#include <string>

#include "base/rng.h"
#include "formats/model_source.h"
#include "model/model.h"

namespace {

using namespace sluice;
using Seconds = std::chrono::duration<double>;

constexpr int kStepRows = 512;
constexpr int kBlockSize = 16;

struct Options {
  std::string model;
  std::vector<int> streams = {1, 16};
  int prompt = 128;
  int tokens = 64;
  int threads = 2;
  kernels::Isa isa = kernels::best_isa();
  model::KvType kv = model::KvType::kF16;
};

struct Stream {
  std::vector<int32_t> blocks;
  std::vector<int32_t> prompt;
  int position = 0;
  int32_t next = 0;
};

class Run {
 public:
  Run(model::Model& model, const Options& options, int streams)
      : model_(model), logits_(static_cast<size_t>(streams) * vocab()) {
    Rng rng(1);
    const int blocks = (options.prompt + options.tokens + kBlockSize - 1) / kBlockSize;
    for (int i = 0; i < streams; ++i) {
      Stream s;
      s.blocks.resize(static_cast<size_t>(blocks));
      std::iota(s.blocks.begin(), s.blocks.end(), i * blocks);
      for (int t = 0; t < options.prompt; ++t) {
        s.prompt.push_back(static_cast<int32_t>(rng.below(vocab())));
      }
      streams_.push_back(std::move(s));
    }
  }

  // Reads the prompts, one stream after the other.
  void read() {
    for (Stream& s : streams_) {
      while (s.position < static_cast<int>(s.prompt.size())) {
        const int left = static_cast<int>(s.prompt.size()) - s.position;
        const int rows = std::min(left, kStepRows);
        batch_.clear();
        const auto first = s.prompt.begin() + s.position;
        batch_.tokens.assign(first, first + rows);
        batch_.slices = {
            {.first_row = 0, .rows = rows, .first_position = s.position, .blocks = s.blocks}};
        if (rows == left) batch_.output_rows = {rows - 1};
        model_.forward(batch_, std::span(logits_).first(batch_.output_rows.size() * vocab()));
        s.position += rows;
      }
      s.next = choose(0);
    }
  }

  void generate(int tokens) {
    for (int t = 0; t < tokens; ++t) {
      batch_.clear();
      for (Stream& s : streams_) {
        const int row = static_cast<int>(batch_.tokens.size());
        batch_.tokens.push_back(s.next);
        batch_.slices.push_back(
            {.first_row = row, .rows = 1, .first_position = s.position++, .blocks = s.blocks});
        batch_.output_rows.push_back(row);
      }
      model_.forward(batch_, logits_);
      for (size_t i = 0; i < streams_.size(); ++i) streams_[i].next = choose(i);
    }
  }

 private:
  size_t vocab() const { return static_cast<size_t>(model_.config().vocab); }
  int32_t choose(size_t row) const {
    const auto first = logits_.begin() + static_cast<ptrdiff_t>(row * vocab());
    const auto last = first + static_cast<ptrdiff_t>(vocab());
    return static_cast<int32_t>(std::max_element(first, last) - first);
  }

  model::Model& model_;
  std::vector<Stream> streams_;
  model::Batch batch_;
  std::vector<float> logits_;
};

// Wall time, and processor time of all threads: the second says more on a busy machine.
struct Times {
  double wall = 0;
  double processor = 0;
};

template <typename Fn>
Times times_of(Fn&& fn) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processor = std::clock();
  fn();
  return {.wall = Seconds(std::chrono::steady_clock::now() - start).count(),
          .processor = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC};
}

Result<Options> parse(int argc, char** argv) {
  Options o;
  if (argc < 2)
    return invalid(
        "usage: model_bench MODEL [streams=1,16] [prompt=128] [tokens=64]"
        " [threads=2] [isa=avx512] [kv=f32|f16|int8]");
  o.model = argv[1];
  const std::map<std::string, model::KvType> kinds = {
      {"f32", model::KvType::kF32}, {"f16", model::KvType::kF16}, {"int8", model::KvType::kInt8}};
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (key == "isa") {
      SLUICE_ASSIGN_OR_RETURN(o.isa, kernels::parse_isa(value));
    } else if (key == "kv" && kinds.contains(value)) {
      o.kv = kinds.at(value);
    } else if (key == "streams") {
      o.streams.clear();
      for (size_t at = 0; at != std::string::npos; value.erase(0, at + 1)) {
        at = value.find(',');
        o.streams.push_back(std::max(1, std::atoi(value.c_str())));
        if (at == std::string::npos) break;
      }
    } else if (key == "prompt") {
      o.prompt = std::max(1, std::atoi(value.c_str()));
    } else if (key == "tokens") {
      o.tokens = std::max(1, std::atoi(value.c_str()));
    } else if (key == "threads") {
      o.threads = std::max(1, std::atoi(value.c_str()));
    } else {
      return invalid("unknown argument " + argument);
    }
  }
  return o;
}

Outcome bench(int argc, char** argv) {
  SLUICE_ASSIGN_OR_RETURN(const Options o, parse(argc, argv));
  SLUICE_ASSIGN_OR_RETURN(const auto source, formats::open_model(o.model));
  ThreadTeam team(o.threads);
  const int most = std::ranges::max(o.streams);
  const int64_t blocks = int64_t{most} * ((o.prompt + o.tokens) / kBlockSize + 1);
  std::unique_ptr<model::Model> model;
  const Times load = times_of([&] {
    auto loaded = model::load_model(*source,
                                    {.isa = o.isa,
                                     .kv_type = o.kv,
                                     .block_size = kBlockSize,
                                     .kv_blocks = blocks,
                                     .max_batch_rows = std::max(kStepRows, most)},
                                    team);
    if (loaded) {
      model = *std::move(loaded);
    } else {
      fmt::print(stderr, "{}\n", loaded.error().message());
    }
  });
  if (model == nullptr) return invalid("the model was not loaded");
  fmt::print("{}: {} parameters, {}, {} threads, loaded in {:.3f} s\n", o.model,
             model::parameter_count(*source), kernels::isa_name(o.isa), o.threads, load.wall);
  for (const int streams : o.streams) {
    Run run(*model, o, streams);
    const Times reading = times_of([&] { run.read(); });
    const Times writing = times_of([&] { run.generate(o.tokens); });
    fmt::print(
        "{:3} streams: prompt {:.1f} tok/s, generation {:.1f} tok/s; a step {:.2f} ms, "
        "{:.2f} ms of processor time\n",
        streams, streams * o.prompt / reading.wall, streams * o.tokens / writing.wall,
        1e3 * writing.wall / o.tokens, 1e3 * writing.processor / o.tokens);
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (const Outcome done = bench(argc, argv); !done) {
    fmt::print(stderr, "model_bench: {}\n", done.error().message());
    return 1;
  }
  return 0;
}
