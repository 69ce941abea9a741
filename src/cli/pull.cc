#include "cli/pull.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/sizes.h"
#include "registry/model_cache.h"
#include "registry/pull.h"

namespace sluice::cli {
namespace {

using registry::Manifest;

constexpr int kBarWidth = 30;
constexpr double kLineEverySeconds = 10;  // where there is no terminal

// Progress on stderr: a line that is drawn over on a terminal, else one now and then.
class ProgressLine {
 public:
  void show(const registry::PullProgress& progress) {
    const TimePoint now = system_clock().now();
    if (!begun_ || progress.done < first_bytes_) {
      begun_ = true;
      start_ = last_line_ = now;
      first_bytes_ = progress.done;  // what was there is no speed
    }
    const double seconds = to_seconds(now - start_);
    const double rate =
        seconds > 0 ? static_cast<double>(progress.done - first_bytes_) / seconds : 0;
    if (terminal_) {
      std::cerr << "\r\x1b[K" << text(progress, rate) << std::flush;
      drawn_ = true;
    } else if (to_seconds(now - last_line_) >= kLineEverySeconds) {
      last_line_ = now;
      std::cerr << text(progress, rate) << "\n";
    }
  }

  void note(const std::string& line) {
    clear();
    std::cerr << line << "\n";
  }

  void clear() {
    if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
    drawn_ = false;
  }

 private:
  static std::string text(const registry::PullProgress& p, double rate) {
    const std::string speed = show_size(static_cast<int64_t>(rate)) + "/s";
    const std::string done = show_size(static_cast<int64_t>(p.done));
    const std::string file(p.file.substr(0, 40));
    if (p.total == 0) return fmt::format("{}  {}  {}", file, done, speed);
    const double part = std::min(1.0, static_cast<double>(p.done) / static_cast<double>(p.total));
    const int filled = static_cast<int>(part * kBarWidth);
    const std::string bar = std::string(static_cast<size_t>(filled), '=') +
                            std::string(static_cast<size_t>(kBarWidth - filled), ' ');
    std::string line = fmt::format("[{}] {:3.0f}%  {} of {}  {}", bar, part * 100, done,
                                   show_size(static_cast<int64_t>(p.total)), speed);
    if (rate > 0 && p.total > p.done) {
      const auto left = static_cast<int64_t>(static_cast<double>(p.total - p.done) / rate);
      line += fmt::format("  {}:{:02}:{:02} left", left / 3600, left / 60 % 60, left % 60);
    }
    return line + "  " + file;
  }

  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool begun_ = false;
  bool drawn_ = false;
  TimePoint start_{};
  TimePoint last_line_{};
  uint64_t first_bytes_ = 0;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

registry::PullOptions pull_options(const PullCliOptions& options, ProgressLine& line) {
  registry::PullOptions out;
  out.name = options.name;
  out.checksum = options.checksum;
  if (options.allow_http) out.plain_http = registry::PlainHttp::kAllowed;
  if (const std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) {
    out.hub.endpoint = endpoint;
  }
  out.hub.token = variable("HF_TOKEN");
  out.on_note = [&line](const std::string& text) { line.note(text); };
  out.on_progress = [&line](const registry::PullProgress& progress) {
    line.show(progress);
    return true;
  };
  return out;
}

json::object described(const Manifest& manifest) {
  json::array files;
  for (const registry::ModelFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"digest", file.digest}, {"bytes", file.bytes}});
  }
  return {{"name", manifest.name},
          {"source", manifest.source},
          {"revision", manifest.revision},
          {"bytes", manifest.bytes()},
          {"files", std::move(files)}};
}

Outcome list(const registry::ModelCache& cache, const PullCliOptions& options) {
  json::array all;
  for (const Manifest& manifest : cache.list()) {
    if (options.output == "json") {
      all.push_back(described(manifest));
    } else {
      std::cout << fmt::format("{:<40} {:>10}  {}\n", manifest.name,
                               show_size(static_cast<int64_t>(manifest.bytes())), manifest.source);
    }
  }
  if (options.output == "json") std::cout << to_json(all) << "\n";
  return {};
}

Outcome pull(const PullCliOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto cache, registry::ModelCache::of_environment());
  if (options.list) return list(cache, options);
  if (options.source.empty()) {
    return invalid("pull: SOURCE is expected: a path, https://…, hf://owner/model; or --list");
  }
  ProgressLine line;
  const auto result = registry::pull(cache, options.source, pull_options(options, line));
  line.clear();
  if (!result) return std::unexpected(result.error());
  const Manifest& manifest = result->manifest;
  if (options.output == "json") {
    json::object out = described(manifest);
    out["path"] = result->path.string();
    out["fetched_bytes"] = result->fetched_bytes;
    std::cout << to_json(out) << "\n";
    return {};
  }
  for (const registry::ModelFile& file : manifest.files) {
    std::cout << fmt::format("{:<40} {:>10}  {}\n", file.path,
                             show_size(static_cast<int64_t>(file.bytes)), file.digest);
  }
  std::cout << fmt::format("{} is cached ({} fetched). To serve it: sluice serve {}\n",
                           manifest.name, show_size(static_cast<int64_t>(result->fetched_bytes)),
                           manifest.name);
  return {};
}

}  // namespace

int run_pull(const PullCliOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  const Outcome outcome = pull(options);
  if (outcome) return 0;
  log_error("{}", outcome.error().message());
  return 1;
}

}  // namespace sluice::cli
