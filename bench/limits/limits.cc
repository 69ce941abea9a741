// limits: what this machine can do at most.
//
//   limits [--only PREFIX[,PREFIX]] [--threads 1,2] [--rounds 9] [--seconds 0.2] [--mib 1024]
//          [-o text|json]
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "pinned_threads.h"
#include "probes.h"

namespace {

using namespace sluice;

struct Options {
  std::vector<std::string> only;
  std::vector<int> threads;
  int rounds = 9;
  double seconds = 0.2;
  size_t mib = 1024;
  bool as_json = false;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) out.push_back(part);
  return out;
}

Result<double> parse_number(const std::string& text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return invalid(fmt::format("a number from {} to {} expected; found \"{}\"", least, most, text));
  }
  return value;
}

Outcome apply(const std::string& key, const std::string& value, Options& o) {
  if (key == "--only") {
    o.only = split(value);
  } else if (key == "-o") {
    if (value != "text" && value != "json") return invalid("-o takes text or json");
    o.as_json = value == "json";
  } else if (key == "--threads") {
    o.threads.clear();
    for (const std::string& part : split(value)) {
      const double most = static_cast<double>(bench::usable_processors().size());
      SLUICE_ASSIGN_OR_RETURN(const double n, parse_number(part, 1, most));
      o.threads.push_back(static_cast<int>(n));
    }
  } else if (key == "--rounds") {
    SLUICE_ASSIGN_OR_RETURN(const double n, parse_number(value, 1, 1000));
    o.rounds = static_cast<int>(n);
  } else if (key == "--seconds") {
    SLUICE_ASSIGN_OR_RETURN(o.seconds, parse_number(value, 0.001, 60));
  } else if (key == "--mib") {
    SLUICE_ASSIGN_OR_RETURN(const double n, parse_number(value, 1, 1 << 20));
    o.mib = static_cast<size_t>(n);
  } else {
    return invalid("unknown option " + key);
  }
  return {};
}

Result<Options> parse(int argc, char** argv) {
  Options o;
  const int all = static_cast<int>(bench::usable_processors().size());
  o.threads = all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i];
    if (i + 1 == argc) return invalid(key + " needs a value");
    auto applied = apply(key, argv[i + 1], o);
    if (!applied) return std::unexpected(applied.error().at(key));
  }
  if (o.threads.empty()) return invalid("--threads names no number");
  return o;
}

// Seconds of processor time: of the whole machine, and of this process.
double machine_seconds() {
  std::ifstream in("/proc/stat");
  std::string word;
  in >> word;
  std::vector<double> fields;
  for (double v = 0; in >> v;) fields.push_back(v);
  if (fields.size() < 8) return 0;
  // user nice system (idle iowait) irq softirq steal
  const double busy = std::accumulate(fields.begin(), fields.begin() + 8, 0.0);
  return (busy - fields[3] - fields[4]) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

struct Samples {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  double best(bool smaller) const {
    return smaller ? std::ranges::min(values) : std::ranges::max(values);
  }
};

using Table = std::vector<std::map<int, Samples>>;  // by probe, by number of threads

void print_text(const std::vector<bench::Probe>& probes, const Table& table, double others) {
  for (size_t i = 0; i < probes.size(); ++i) {
    for (const auto& [threads, samples] : table[i]) {
      fmt::print("{:<22}{:>3} thread{} {:>10.1f} {:<8} best {:>10.1f}   {}\n", probes[i].name,
                 threads, threads == 1 ? " " : "s", samples.median(), probes[i].unit,
                 samples.best(probes[i].smaller_is_better), probes[i].what);
    }
  }
  fmt::print("others used {:.1f} % of the processors\n", 100 * others);
}

void print_json(const std::vector<bench::Probe>& probes, const Table& table, double others) {
  json::object all;
  for (size_t i = 0; i < probes.size(); ++i) {
    json::object by_threads;
    for (const auto& [threads, samples] : table[i]) {
      by_threads[std::to_string(threads)] = {{"median", samples.median()},
                                             {"best", samples.best(probes[i].smaller_is_better)},
                                             {"samples", json::value_from(samples.values)}};
    }
    all[probes[i].name] = {
        {"unit", probes[i].unit}, {"what", probes[i].what}, {"threads", std::move(by_threads)}};
  }
  fmt::print("{}\n", to_json({{"probes", std::move(all)}, {"others", others}}));
}

Outcome measure(int argc, char** argv) {
  SLUICE_ASSIGN_OR_RETURN(const Options o, parse(argc, argv));
  std::vector<bench::Probe> probes =
      bench::make_probes(std::ranges::max(o.threads), o.seconds, o.mib << 20);
  std::erase_if(probes, [&](const bench::Probe& probe) {
    return !o.only.empty() && std::ranges::none_of(o.only, [&](const std::string& prefix) {
      return probe.name.starts_with(prefix);
    });
  });
  if (probes.empty()) return invalid("no probe has such a name, or the processor lacks it");
  Table table(probes.size());
  const double machine = machine_seconds(), own = own_seconds();
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < o.rounds; ++round) {
    for (size_t i = 0; i < probes.size(); ++i) {
      for (const int threads : o.threads) {
        if (probes[i].smaller_is_better && threads == 1) continue;
        table[i][threads].values.push_back(probes[i].sample(threads));
      }
    }
  }
  const double span =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double others = std::max(0.0, machine_seconds() - machine - (own_seconds() - own)) / span /
                        static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  (o.as_json ? print_json : print_text)(probes, table, others);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (const Outcome done = measure(argc, argv); !done) {
    fmt::print(stderr, "limits: {}\n", done.error().message());
    return 1;
  }
  return 0;
}
