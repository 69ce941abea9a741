// model_bench: the forward pass alone, without server, sampling or text.
//
//   model_bench MODEL [streams=1,16] [prompt=128] [tokens=64] [depth=0] [threads=2] [isa=avx512]
//               [kv=auto] [draw=own] [bandwidth=0] [output=text]
//
// For each number of streams: reads that many prompts of random tokens, in steps of 512 rows, then
// generates with all streams in one batch, each next token drawn at random. Prints tokens a second
// of both phases; output=json prints one JSON object a line instead. With depth=N all streams
// continue one text of N tokens, whose K and V they share and whose reading is not timed. With
// draw=same all streams are fed one token again and again, as some engines' tools do: a mixture of
// experts then reads a single stream's experts, however many streams there are. With bandwidth=N
// memory is read behind each N tokens, as `limits` reads it, and the median rate is printed.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <numeric>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/rng.h"
#include "formats/model_source.h"
#include "limits/probes.h"
#include "model/model.h"

namespace {

using namespace sluice;
using Seconds = std::chrono::duration<double>;

constexpr int kStepRows = 512;
constexpr int kBlockSize = 16;
constexpr size_t kReadBytes = size_t{256} << 20;

struct Options {
  std::string model;
  std::vector<int> streams = {1, 16};
  int prompt = 128;
  int tokens = 64;
  int depth = 0;
  int threads = 2;
  kernels::Isa isa = kernels::best_isa();
  std::optional<model::KvType> kv;  // none: the server's default
  bool draws_same = false;
  int bandwidth = 0;  // tokens between two readings; 0: none
  bool as_json = false;
};

struct Stream {
  std::vector<int32_t> blocks;
  std::vector<int32_t> prompt;
  int position = 0;
};

int blocks_of(int positions) { return (positions + kBlockSize - 1) / kBlockSize; }

class Run {
 public:
  Run(model::Model& model, const Options& options, int streams)
      : model_(model),
        draws_same_(options.draws_same),
        logits_(static_cast<size_t>(streams) * vocab()) {
    const int shared = blocks_of(options.depth);
    const int own = blocks_of(options.prompt + options.tokens);
    head_.prompt = next_tokens(options.depth);
    head_.blocks.resize(static_cast<size_t>(shared));
    std::iota(head_.blocks.begin(), head_.blocks.end(), 0);
    for (int i = 0; i < streams; ++i) {
      Stream s{.blocks = head_.blocks, .prompt = next_tokens(options.prompt)};
      for (int b = 0; b < own; ++b) s.blocks.push_back(shared + i * own + b);
      s.position = shared * kBlockSize;
      streams_.push_back(std::move(s));
    }
  }

  // Reads what all streams begin with.
  void read_head() { read(head_); }

  // Reads the prompts, one stream after the other.
  void read() {
    for (Stream& s : streams_) read(s);
  }

  void generate(int tokens) {
    for (int t = 0; t < tokens; ++t) {
      batch_.clear();
      for (Stream& s : streams_) {
        const int row = static_cast<int>(batch_.tokens.size());
        batch_.tokens.push_back(next_token());
        batch_.slices.push_back(
            {.first_row = row, .rows = 1, .first_position = s.position++, .blocks = s.blocks});
        batch_.output_rows.push_back(row);
      }
      model_.forward(batch_, logits_);
    }
  }

 private:
  size_t vocab() const { return static_cast<size_t>(model_.config().vocab); }
  int32_t next_token() { return draws_same_ ? 0 : static_cast<int32_t>(rng_.below(vocab())); }

  std::vector<int32_t> next_tokens(int count) {
    std::vector<int32_t> out(static_cast<size_t>(count));
    std::ranges::generate(out, [this] { return next_token(); });
    return out;
  }

  void read(Stream& s) {
    for (size_t done = 0; done < s.prompt.size();) {
      const int left = static_cast<int>(s.prompt.size() - done);
      const int rows = std::min(left, kStepRows);
      batch_.clear();
      const auto first = s.prompt.begin() + static_cast<ptrdiff_t>(done);
      batch_.tokens.assign(first, first + rows);
      batch_.slices = {
          {.first_row = 0, .rows = rows, .first_position = s.position, .blocks = s.blocks}};
      if (rows == left) batch_.output_rows = {rows - 1};
      model_.forward(batch_, std::span(logits_).first(batch_.output_rows.size() * vocab()));
      s.position += rows;
      done += static_cast<size_t>(rows);
    }
  }

  model::Model& model_;
  const bool draws_same_;
  Rng rng_{1};
  Stream head_;
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

// What the same threads read from memory between pieces of work; nothing where none is asked for.
class Bandwidth {
 public:
  Bandwidth(const Options& options) : threads_(options.threads) {
    if (options.bandwidth == 0) return;
    probes_ = bench::make_probes(threads_, 0.05, kReadBytes);
    read_ = std::ranges::find(probes_, "memory_read", &bench::Probe::name)->sample;
  }

  void measure() {
    if (read_) rates_.push_back(read_(threads_));
  }

  // GB/s; 0: nothing was measured.
  double median() {
    if (rates_.empty()) return 0;
    const auto middle = rates_.begin() + static_cast<ptrdiff_t>(rates_.size() / 2);
    std::ranges::nth_element(rates_, middle);
    return *middle;
  }

 private:
  const int threads_;
  std::vector<bench::Probe> probes_;
  std::function<double(int)> read_;
  std::vector<double> rates_;
};

Times& operator+=(Times& sum, const Times& more) {
  sum.wall += more.wall;
  sum.processor += more.processor;
  return sum;
}

Result<Options> parse(int argc, char** argv) {
  Options o;
  if (argc < 2)
    return invalid(
        "usage: model_bench MODEL [streams=1,16] [prompt=128] [tokens=64] [depth=0]"
        " [threads=2] [isa=avx512] [kv=f32|f16|bf16|int8] [draw=own|same] [bandwidth=0]"
        " [output=text|json]");
  o.model = argv[1];
  const std::map<std::string, model::KvType> kinds = {{"f32", model::KvType::kF32},
                                                      {"f16", model::KvType::kF16},
                                                      {"bf16", model::KvType::kBf16},
                                                      {"int8", model::KvType::kInt8}};
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
    } else if (key == "depth") {
      o.depth = std::max(0, std::atoi(value.c_str()));
    } else if (key == "bandwidth") {
      o.bandwidth = std::max(0, std::atoi(value.c_str()));
    } else if (key == "draw" && (value == "own" || value == "same")) {
      o.draws_same = value == "same";
    } else if (key == "output" && (value == "text" || value == "json")) {
      o.as_json = value == "json";
    } else if (key == "threads") {
      o.threads = std::max(1, std::atoi(value.c_str()));
    } else {
      return invalid("unknown argument " + argument);
    }
  }
  return o;
}

void print(const Options& o, int streams, const Times& load, const Times& reading,
           const Times& writing, double memory_rate) {
  const double prompt_rate = streams * o.prompt / reading.wall;
  const double rate = streams * o.tokens / writing.wall;
  if (o.as_json) {
    json::object out{{"streams", streams},
                     {"prompt", o.prompt},
                     {"tokens", o.tokens},
                     {"depth", o.depth},
                     {"prompt_tok_s", prompt_rate},
                     {"tok_s", rate},
                     {"step_ms", 1e3 * writing.wall / o.tokens},
                     {"step_cpu_ms", 1e3 * writing.processor / o.tokens},
                     {"load_s", load.wall}};
    if (memory_rate > 0) out["memory_gb_s"] = memory_rate;
    fmt::print("{}\n", to_json(out));
    return;
  }
  fmt::print(
      "{:3} streams: prompt {:.1f} tok/s, generation {:.1f} tok/s; a step {:.2f} ms, "
      "{:.2f} ms of processor time\n",
      streams, prompt_rate, rate, 1e3 * writing.wall / o.tokens,
      1e3 * writing.processor / o.tokens);
  if (memory_rate > 0) fmt::print("             memory beside it: {:.1f} GB/s\n", memory_rate);
}

Outcome measure(int argc, char** argv) {
  SLUICE_ASSIGN_OR_RETURN(const Options o, parse(argc, argv));
  SLUICE_ASSIGN_OR_RETURN(const auto source, formats::open_model(o.model));
  ThreadTeam team(o.threads);
  const int most = std::ranges::max(o.streams);
  const int64_t blocks = int64_t{most} * blocks_of(o.prompt + o.tokens) + blocks_of(o.depth);
  std::unique_ptr<model::Model> model;
  const Times load = times_of([&] {
    auto loaded =
        model::load_model(*source,
                          {.isa = o.isa,
                           .kv_type = o.kv ? *o.kv : model::default_kv_type(*source, o.isa),
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
  if (!o.as_json) {
    fmt::print("{}: {} parameters, {}, {} threads, loaded in {:.3f} s\n", o.model,
               model::parameter_count(*source), kernels::isa_name(o.isa), o.threads, load.wall);
  }
  for (const int streams : o.streams) {
    Options warm = o;
    warm.depth = 0;
    warm.prompt = std::min(o.prompt, 64);
    warm.tokens = 1;
    Run warming(*model, warm, streams);
    warming.read();
    warming.generate(1);
    Run run(*model, o, streams);
    run.read_head();
    const Times reading = times_of([&] { run.read(); });
    Bandwidth bandwidth(o);
    const int piece = o.bandwidth == 0 ? o.tokens : o.bandwidth;
    Times writing;
    for (int left = o.tokens; left > 0; left -= piece) {
      writing += times_of([&] { run.generate(std::min(left, piece)); });
      bandwidth.measure();
    }
    print(o, streams, load, reading, writing, bandwidth.median());
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (const Outcome done = measure(argc, argv); !done) {
    fmt::print(stderr, "model_bench: {}\n", done.error().message());
    return 1;
  }
  return 0;
}
