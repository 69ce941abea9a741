// step_bench: where the time of the engine's steps goes.
//
//   step_bench MODEL [streams=1,32] [tokens=64] [prompt=32] [threads=2] [temperature=0.8]
//              [draft=MODEL] [depth=8] [text=own|copy|random] [rounds=1]
//
// For each number of streams runs that many random prompts to their end without a server, greedy
// and sampled (with top_p 0.95), and prints tokens a second and the shares of the steps' time:
// planning, the forward pass, sampling with all that follows it, the draft model, and what lies
// between steps.
//
// text=copy and text=random compare decoding with and without n-gram speculation, in turns, medians
// of the rounds. What is generated is then given: logits are computed and a fixed token is lifted
// above all others. copy repeats the prompt with another token in the place of every 16th, as an
// edit of a file does; random draws from so few tokens that pairs repeat, and nothing follows.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "engine/core.h"
#include "formats/model_source.h"
#include "model/model.h"

namespace {

using namespace sluice;

struct Options {
  std::string model;
  std::string draft;
  std::vector<int> streams = {1, 32};
  int tokens = 64;
  int prompt = 32;
  int threads = 2;
  int depth = 8;
  double temperature = 0.8;
  int rounds = 1;
  std::string text = "own";
};

struct Loaded {
  std::unique_ptr<formats::ModelSource> source;
  std::unique_ptr<model::Model> model;
};

constexpr int kContext = 2048;
constexpr int kBlockSize = 16;

Result<Loaded> load(const std::string& path, int streams, ThreadTeam& team) {
  Loaded loaded;
  SLUICE_ASSIGN_OR_RETURN(loaded.source, formats::open_model(path));
  SLUICE_ASSIGN_OR_RETURN(
      loaded.model,
      model::load_model(*loaded.source,
                        {.kv_type = model::default_kv_type(*loaded.source, kernels::best_isa()),
                         .block_size = kBlockSize,
                         .kv_blocks = streams * kContext / kBlockSize,
                         .max_context = kContext},
                        team));
  return loaded;
}

std::vector<int> parse_list(const std::string& text) {
  std::vector<int> out;
  for (size_t at = 0; at < text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    out.push_back(std::stoi(text.substr(at, comma - at)));
    at = comma + 1;
  }
  return out;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      o.model = word;
      continue;
    }
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "streams") o.streams = parse_list(value);
    if (key == "tokens") o.tokens = std::stoi(value);
    if (key == "prompt") o.prompt = std::stoi(value);
    if (key == "threads") o.threads = std::stoi(value);
    if (key == "draft") o.draft = value;
    if (key == "depth") o.depth = std::stoi(value);
    if (key == "temperature") o.temperature = std::stod(value);
    if (key == "rounds") o.rounds = std::stoi(value);
    if (key == "text") o.text = value;
  }
  return o;
}

// The model's forward pass, and logits that choose a given token at each position.
class GivenText final : public engine::Runner {
 public:
  GivenText(model::Model& model, std::vector<int32_t> text)
      : model_(model), text_(std::move(text)) {}
  int vocab() const override { return model_.vocab(); }
  void forward(const model::Batch& batch, std::span<float> logits) override {
    model_.forward(batch, logits);
    size_t slice = 0;
    for (size_t i = 0; i < batch.output_rows.size(); ++i) {
      const int row = batch.output_rows[i];
      while (row >= batch.slices[slice].first_row + batch.slices[slice].rows) ++slice;
      const model::SequenceSlice& s = batch.slices[slice];
      const auto next = static_cast<size_t>(s.first_position + row - s.first_row) + 1;
      const auto token = static_cast<size_t>(text_[next % text_.size()]);
      logits[i * static_cast<size_t>(vocab()) + token] = 1e4F;
    }
  }

 private:
  engine::ModelRunner model_;
  const std::vector<int32_t> text_;
};

// A prompt, and what follows it.
std::vector<int32_t> make_text(const Options& o, int vocab) {
  Rng rng(11);
  const bool copies = o.text == "copy";
  const uint64_t tokens = copies ? static_cast<uint64_t>(vocab) : 40;
  std::vector<int32_t> text;
  for (int i = 0; i < o.prompt + o.tokens; ++i) {
    const bool repeats = copies && i >= o.prompt && i % 16 != 0;
    text.push_back(repeats ? text[static_cast<size_t>(i - o.prompt)]
                           : static_cast<int32_t>(rng.below(tokens)));
  }
  return text;
}

// Tokens a second of `streams` that generate the given text; how many drafts were right.
double decode_rate(const Options& o, model::Model& model, ThreadTeam& team, int streams,
                   bool speculates, uint64_t& right) {
  const std::vector<int32_t> text = make_text(o, model.config().vocab);
  GivenText runner(model, text);
  engine::EngineOptions options{.max_sequences = streams,
                                .max_context = kContext,
                                .block_size = kBlockSize,
                                .kv_blocks = model.options().kv_blocks,
                                .team = &team};
  if (speculates) options.speculation = {.max_draft = o.depth};
  engine::EngineCore core(runner, options, system_clock());
  for (int i = 0; i < streams; ++i) {
    engine::Request request;
    request.id = static_cast<engine::RequestId>(i) + 1;
    request.prompt.assign(text.begin(), text.begin() + o.prompt);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = o.tokens;
    core.add(std::move(request), system_clock().now());
  }
  while (core.stats().generated_tokens < static_cast<uint64_t>(streams)) core.step();
  const uint64_t before = core.stats().generated_tokens;
  const TimePoint begin = system_clock().now();
  while (!core.idle()) core.step();
  right = core.stats().accepted_drafts;
  return static_cast<double>(core.stats().generated_tokens - before) /
         to_seconds(system_clock().now() - begin);
}

void compare(const Options& o, model::Model& model, ThreadTeam& team, int streams) {
  std::vector<double> without, with, ratios;
  uint64_t right = 0, unused = 0;
  for (int round = 0; round < o.rounds; ++round) {
    without.push_back(decode_rate(o, model, team, streams, false, unused));
    with.push_back(decode_rate(o, model, team, streams, true, right));
    ratios.push_back(with.back() / without.back());
  }
  const auto median = [](std::vector<double>& v) {
    std::ranges::sort(v);
    return v[v.size() / 2];
  };
  fmt::print("{:2} streams, {}: {:.1f} tokens/s without, {:.1f} with, ratio {:.2f}; {} right\n",
             streams, o.text, median(without), median(with), median(ratios), right);
}

// One batch of requests, run to its end.
void measure(const Options& o, model::Model& model, model::Model* draft, ThreadTeam& team,
             int streams, double temperature) {
  engine::StepInfo sum;
  engine::EngineOptions options{.max_sequences = streams,
                                .max_context = kContext,
                                .block_size = kBlockSize,
                                .kv_blocks = model.options().kv_blocks,
                                .team = &team};
  options.on_step = [&](const engine::StepInfo& step) {
    sum.draft += step.draft;
    sum.schedule += step.schedule;
    sum.forward += step.forward;
    sum.sample += step.sample;
  };
  engine::ModelRunner runner(model);
  std::unique_ptr<engine::ModelRunner> draft_runner;
  if (draft != nullptr) {
    draft_runner = std::make_unique<engine::ModelRunner>(*draft);
    options.speculation = {.method = engine::DraftMethod::kModel, .max_draft = o.depth};
    options.draft = {.runner = draft_runner.get(),
                     .block_size = kBlockSize,
                     .kv_blocks = draft->options().kv_blocks,
                     .max_rows = draft->options().max_batch_rows,
                     .max_context = kContext};
  }
  engine::EngineCore core(runner, options, system_clock());
  Rng rng(7);
  for (int i = 0; i < streams; ++i) {
    engine::Request request;
    request.id = static_cast<engine::RequestId>(i) + 1;
    for (int t = 0; t < o.prompt; ++t) {
      request.prompt.push_back(
          static_cast<int32_t>(rng.below(static_cast<uint64_t>(runner.vocab()))));
    }
    request.sampling.temperature = temperature;
    if (temperature > 0) request.sampling.top_p = 0.95;
    request.sampling.max_tokens = o.tokens;
    request.sampling.seed = rng.next();
    core.add(std::move(request), system_clock().now());
  }
  while (core.stats().generated_tokens < static_cast<uint64_t>(streams)) core.step();
  sum = {};
  const uint64_t before = core.stats().generated_tokens;
  const TimePoint begin = system_clock().now();
  while (!core.idle()) core.step();
  const double all = to_seconds(system_clock().now() - begin);
  const auto share = [&](Duration d) { return 100.0 * to_seconds(d) / all; };
  const double known =
      share(sum.draft) + share(sum.schedule) + share(sum.forward) + share(sum.sample);
  const engine::EngineStats& stats = core.stats();
  fmt::print(
      "{:2} streams, {:7}: {:7.1f} tokens/s; forward {:5.2f} %, sample {:5.2f} %, plan {:5.2f} %, "
      "draft {:5.2f} %, between {:5.2f} %; drafts {} of {} right\n",
      streams, temperature > 0 ? "sampled" : "greedy",
      static_cast<double>(stats.generated_tokens - before) / all, share(sum.forward),
      share(sum.sample), share(sum.schedule), share(sum.draft), 100.0 - known,
      stats.accepted_drafts, stats.draft_tokens);
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  ThreadTeam team(o.threads);
  int most = 1;
  for (const int streams : o.streams) most = std::max(most, streams);
  const auto model = load(o.model, most, team);
  const auto draft = o.draft.empty() ? Result<Loaded>(Loaded()) : load(o.draft, most, team);
  for (const auto* each : {&model, &draft}) {
    if (each->has_value()) continue;
    fmt::print(stderr, "{}\n", each->error().message());
    return 1;
  }
  for (const int streams : o.streams) {
    if (o.text != "own") {
      compare(o, *model->model, team, streams);
      continue;
    }
    for (const double temperature : {0.0, o.temperature}) {
      measure(o, *model->model, draft->model.get(), team, streams, temperature);
    }
  }
  return 0;
}
