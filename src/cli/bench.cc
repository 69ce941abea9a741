#include "cli/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "cli/bench_result.h"
#include "net/client.h"
#include "net/sse.h"

namespace sluice::cli {
namespace {

constexpr std::array<std::string_view, 32> kWords = {
    "river", "stone",  "light",  "garden",  "window", "paper",  "mountain", "bird",
    "table", "water",  "summer", "letter",  "market", "forest", "bridge",   "story",
    "music", "winter", "friend", "morning", "street", "house",  "cloud",    "ocean",
    "field", "night",  "apple",  "horse",   "train",  "glass",  "silver",   "road"};

std::string words(Rng& rng, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text += kWords[rng.below(kWords.size())];
  }
  return text;
}

// One request under way: fed by the client's loop thread.
struct Flight {
  net::ClientRequest request;
  RequestRecord record;
  int status = 0;
  std::string body;  // of an answer that is no stream
  net::SseParser parser;
};

class Run {
 public:
  Run(const BenchOptions& options, const std::string& head)
      : options_(options),
        began_(system_clock().now()),
        rng_(options.seed),
        prefix_(head + words(rng_, options.prefix_words)) {}

  std::vector<RequestRecord> go() {
    const std::vector<double> arrivals = arrival_times();
    for (size_t i = 0; i < arrivals.size(); ++i) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return in_flight_ < options_.concurrency; });
        if (options_.request_rate > 0) {
          const TimePoint due = began_ + std::chrono::duration_cast<Duration>(
                                             std::chrono::duration<double>(arrivals[i]));
          wake_.wait_until(lock, due, [] { return false; });
        }
        ++in_flight_;
      }
      send();
    }
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return in_flight_ == 0; });
    return std::move(records_);
  }

  double seconds() const { return to_seconds(system_clock().now() - began_); }

 private:
  // Gamma-distributed gaps of the asked mean, scaled so that the last arrival comes at its mean
  // time.
  std::vector<double> arrival_times() {
    std::vector<double> times(static_cast<size_t>(options_.requests));
    if (options_.request_rate <= 0) return times;
    std::mt19937_64 engine(options_.seed);
    std::gamma_distribution<double> gap(options_.burstiness,
                                        1.0 / (options_.request_rate * options_.burstiness));
    double at = 0;
    for (double& time : times) {
      time = at;
      at += gap(engine);
    }
    const double wanted = (static_cast<double>(times.size()) - 1) / options_.request_rate;
    if (times.back() > 0) {
      for (double& time : times) time *= wanted / times.back();
    }
    return times;
  }

  std::string body() {
    int count = options_.input_words;
    if (options_.max_input_words > count) {
      count = static_cast<int>(rng_.between(count, options_.max_input_words));
    }
    const std::string prompt = prefix_ + (prefix_.empty() ? "" : " ") + words(rng_, count);
    json::object out = {{"max_tokens", options_.output_tokens},
                        {"temperature", options_.temperature},
                        {"stream", options_.stream}};
    if (options_.temperature > 0) out["seed"] = rng_.between(0, INT32_MAX);
    if (options_.stream) out["stream_options"] = {{"include_usage", true}};
    if (!options_.model.empty()) out["model"] = options_.model;
    if (options_.ignore_eos) out["ignore_eos"] = true;
    if (options_.route == "chat") {
      out["messages"] = json::array{json::object{{"role", "user"}, {"content", prompt}}};
    } else {
      out["prompt"] = prompt;
    }
    return to_json(out);
  }

  void send() {
    auto flight = std::make_shared<Flight>();
    net::ClientRequest request;
    request.method = "POST";
    request.url =
        options_.url + (options_.route == "chat" ? "/v1/chat/completions" : "/v1/completions");
    request.headers = {{"Content-Type", "application/json"}};
    if (!options_.api_key.empty()) {
      request.headers.emplace_back("Authorization", "Bearer " + options_.api_key);
    }
    request.body = body();
    flight->request = std::move(request);
    flight->record.start = seconds();
    launch(flight);
  }

  void launch(const std::shared_ptr<Flight>& flight) {
    client_.request(
        flight->request,
        {.on_head = [flight](int status, const net::Headers&) { flight->status = status; },
         .on_data = [this, flight](std::string_view bytes) { receive(*flight, bytes); },
         .on_end =
             [this, flight](const Outcome& outcome) {
               // Some servers close a kept connection after a stream: another one is taken.
               if (!outcome && outcome.error().reason() == net::kStaleConnection) {
                 return launch(flight);
               }
               end(*flight, outcome);
             }});
  }

  void receive(Flight& flight, std::string_view bytes) {
    if (flight.status != 200) return;
    if (!options_.stream) {
      if (flight.body.size() < limits::kMaxBodyBytes) flight.body += bytes;
      return;
    }
    std::vector<net::SseEvent> events;
    if (!flight.parser.feed(bytes, events)) {
      flight.record.error = "the answer is no event stream";
      return;
    }
    for (const net::SseEvent& event : events) {
      if (event.data != "[DONE]") read_event(flight.record, event.data);
    }
  }

  void read_event(RequestRecord& record, const std::string& data) {
    const auto parsed = parse_json(data);
    const json::object* chunk = parsed ? parsed->if_object() : nullptr;
    if (chunk == nullptr || chunk->contains("error")) {
      record.error = "an error in place of an answer";
      return;
    }
    const json::value* choices = chunk->if_contains("choices");
    if (choices != nullptr && choices->is_array() && !choices->get_array().empty()) {
      record.token_times.push_back(seconds());
    }
    const json::value* usage = chunk->if_contains("usage");
    if (usage == nullptr || !usage->is_object()) return;
    const auto count = [&](const json::object& from, const char* name) {
      const json::value* value = from.if_contains(name);
      return value != nullptr && value->is_int64() ? static_cast<int>(value->get_int64()) : 0;
    };
    record.input_tokens = count(usage->get_object(), "prompt_tokens");
    record.output_tokens = count(usage->get_object(), "completion_tokens");
    const json::value* details = usage->get_object().if_contains("prompt_tokens_details");
    if (details != nullptr && details->is_object()) {
      record.cached_tokens = count(details->get_object(), "cached_tokens");
    }
  }

  void end(Flight& flight, const Outcome& outcome) {
    RequestRecord& record = flight.record;
    record.end = seconds();
    if (outcome && flight.status == 200 && !options_.stream) read_event(record, flight.body);
    if (!outcome) record.error = outcome.error().message();
    if (outcome && flight.status != 200) record.error = fmt::format("HTTP {}", flight.status);
    if (record.error.empty() && record.output_tokens == 0) {
      record.output_tokens = static_cast<int>(record.token_times.size());
    }
    {
      const std::lock_guard lock(mutex_);
      records_.push_back(std::move(record));
      --in_flight_;
      show_progress();
    }
    wake_.notify_all();
  }

  void show_progress() {
    if (!progress_) return;
    const size_t done = records_.size();
    const auto total = static_cast<size_t>(options_.requests);
    const size_t filled = done * 40 / total;
    std::cerr << fmt::format("\r[{}{}] {}/{}{}", std::string(filled, '#'),
                             std::string(40 - filled, ' '), done, total, done == total ? "\n" : "")
              << std::flush;
  }

  const BenchOptions& options_;
  const TimePoint began_;
  const bool progress_ = ::isatty(STDERR_FILENO) != 0;
  Rng rng_;
  const std::string prefix_;
  std::mutex mutex_;
  std::condition_variable wake_;
  int in_flight_ = 0;
  std::vector<RequestRecord> records_;
  net::HttpClient client_;  // last: its thread uses the members above
};

}  // namespace

int run_bench(const BenchOptions& options) {
  if (options.max_input_words != 0 && options.max_input_words < options.input_words) {
    fmt::print(stderr, "--max-input-words {} is less than --input-words {}\n",
               options.max_input_words, options.input_words);
    return 2;
  }
  std::string head;
  if (!options.prompt_file.empty()) {
    auto text = read_file(options.prompt_file, limits::kMaxBodyBytes);
    if (!text) {
      log_error("{}", text.error().message());
      return 1;
    }
    head = *std::move(text);
  }
  Run run(options, head);
  const std::vector<RequestRecord> records = run.go();
  const json::object summary =
      summarize(records, run.seconds(),
                {options.goodput_ttft_ms, options.goodput_tpot_ms, options.goodput_e2el_ms});
  std::cout << (options.output == "json" ? to_json(summary) + "\n" : show_summary(summary));
  return summary.at("errors").as_object().empty() ? 0 : 1;
}

}  // namespace sluice::cli
