#include "cli/doctor/machine_checks.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>
#include <optional>

#include "base/sizes.h"
#include "kernels/isa.h"
#include "net/socket.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 1u << 20;
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;
constexpr rlim_t kEnoughDescriptors = 16'384;
constexpr rlim_t kFewDescriptors = 1'024;
constexpr int64_t kEnoughBacklog = 1'024;

// Files of /proc say that they are empty.
std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  std::string text;
  std::array<char, 4096> piece{};
  while (text.size() < kMaxFileBytes &&
         (file.read(piece.data(), piece.size()), file.gcount() > 0)) {
    text.append(piece.data(), static_cast<size_t>(file.gcount()));
  }
  while (text.ends_with('\n') || text.ends_with(' ')) text.pop_back();
  return text;
}

std::optional<int64_t> number_in(std::string_view text) {
  int64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// "MemAvailable:   123 kB" → bytes.
std::optional<int64_t> meminfo(const std::string& text, std::string_view name) {
  const size_t at = text.find(std::string(name) + ":");
  if (at == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(text).substr(at + name.size() + 1);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const auto kib = number_in(rest);
  if (!kib) return std::nullopt;
  return *kib * 1024;
}

// Of this process, in the unified hierarchy; empty where there is none.
fs::path own_group(const fs::path& root) {
  const std::string text = text_of(root / "proc/self/cgroup");
  const size_t at = text.find("0::/");
  if (at == std::string::npos) return {};
  const std::string path = text.substr(at + 4, text.find('\n', at) - (at + 4));
  const fs::path whole = root / "sys/fs/cgroup";
  std::error_code error;
  return fs::exists(whole / path / "cgroup.controllers", error) ? whole / path
         : fs::exists(whole / "cgroup.controllers", error)      ? whole
                                                                : fs::path();
}

std::string cut(double number) {
  std::string text = fmt::format("{:.1f}", number);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

}  // namespace

std::string_view health_word(Health health) {
  switch (health) {
    case Health::kGood:
      return "ok";
    case Health::kNote:
      return "note";
    case Health::kBad:
      return "bad";
  }
  return "bad";
}

double cpu_limit_of(std::string_view cpu_max) {
  const size_t blank = cpu_max.find(' ');
  if (blank == std::string_view::npos) return 0;
  const auto quota = number_in(cpu_max.substr(0, blank));
  const auto period = number_in(cpu_max.substr(blank + 1));
  if (!quota || !period || *period <= 0) return 0;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::string chosen_word(std::string_view text) {
  const size_t open = text.find('[');
  const size_t close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  return std::string(text.substr(open + 1, close - open - 1));
}

Finding check_cores(const fs::path& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cores = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  Finding out{.subject = "cores", .found = fmt::format("{} may be used", cores)};
  double limit = 0;
  if (const fs::path group = own_group(root); !group.empty()) {
    limit = cpu_limit_of(text_of(group / "cpu.max"));
  }
  if (limit > 0 && limit < cores) {
    out.health = Health::kNote;
    out.found = fmt::format("{}, and the control group allows {} of them", cores, cut(limit));
    out.advice =
        fmt::format("start models with --threads {}: more threads than cores wait for each other",
                    std::max(1, static_cast<int>(limit)));
  } else if (cores < 2) {
    out.health = Health::kNote;
    out.advice = "one core computes and answers by turns: streams will be uneven";
  }
  return out;
}

Finding check_instructions() {
  std::string names;
  for (const kernels::Isa isa : kernels::supported_isas()) {
    names += fmt::format("{}{}", names.empty() ? "" : " ", kernels::isa_name(isa));
  }
  Finding out{.subject = "instructions", .found = names};
  if (kernels::best_isa() == kernels::Isa::kReference) {
    out.health = Health::kBad;
    out.advice =
        "the plain kernels are for comparison, not for use: take a processor with AVX2 "
        "or NEON, or give the virtual machine the host's processor type";
  }
  return out;
}

Finding check_frequency(const fs::path& root) {
  const std::string governor =
      text_of(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  Finding out{.subject = "clock frequency",
              .found = governor.empty() ? "not told by this machine" : "governor " + governor};
  if (governor == "powersave" || governor == "conservative") {
    out.health = Health::kNote;
    out.advice = "cpupower frequency-set -g performance";
  }
  return out;
}

Finding check_memory(const fs::path& root) {
  const std::string info = text_of(root / "proc/meminfo");
  const auto total = meminfo(info, "MemTotal");
  auto left = meminfo(info, "MemAvailable");
  Finding out{.subject = "memory"};
  if (!total || !left) {
    out.health = Health::kNote;
    out.found = "not told by this machine";
    return out;
  }
  out.found = fmt::format("{} of {} available", show_size(*left), show_size(*total));
  if (const fs::path group = own_group(root); !group.empty()) {
    const auto limit = number_in(text_of(group / "memory.max"));
    const auto used = number_in(text_of(group / "memory.current"));
    if (limit && used && *limit - *used < *left) {
      left = std::max<int64_t>(*limit - *used, 0);
      out.found +=
          fmt::format("; the control group leaves {} of {}", show_size(*left), show_size(*limit));
    }
  }
  if (*left < 256 * kMiB) {
    out.health = Health::kBad;
    out.advice = "a model and its cache will not fit: end other programs, or raise the limit";
  } else if (*left < 2 * kGiB) {
    out.health = Health::kNote;
    out.advice = "enough for small models only; the KV cache takes at most half of what is left";
  }
  return out;
}

Finding check_huge_pages(const fs::path& root) {
  const std::string word =
      chosen_word(text_of(root / "sys/kernel/mm/transparent_hugepage/enabled"));
  Finding out{.subject = "huge pages", .found = word.empty() ? "not told by this machine" : word};
  if (word == "never") {
    out.health = Health::kNote;
    out.advice =
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: weights are read "
        "faster with fewer entries in the page tables";
  }
  return out;
}

Finding check_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  Finding out{.subject = "descriptors",
              .found = fmt::format("{} now, {} at most", limit.rlim_cur, limit.rlim_max)};
  if (limit.rlim_cur >= kEnoughDescriptors) return out;
  out.health = limit.rlim_cur < kFewDescriptors ? Health::kBad : Health::kNote;
  out.advice = fmt::format(
      "each connection takes one: ulimit -n {} (LimitNOFILE= of a systemd "
      "unit)",
      std::min<rlim_t>(limit.rlim_max, 65'536));
  return out;
}

Finding check_backlog(const fs::path& root) {
  const auto most = number_in(text_of(root / "proc/sys/net/core/somaxconn"));
  Finding out{.subject = "waiting connections",
              .found = most ? fmt::format("{} at most", *most) : "not told by this machine"};
  if (most && *most < kEnoughBacklog) {
    out.health = Health::kNote;
    out.advice =
        "sysctl net.core.somaxconn=4096: connections that come in a burst, or while the "
        "gateway is restarted, wait there";
  }
  return out;
}

Finding check_control_groups(const fs::path& root) {
  Finding out{.subject = "control groups"};
  const auto writable = [](const fs::path& path) { return ::access(path.c_str(), W_OK) == 0; };
  if (const fs::path group = own_group(root); !group.empty()) {
    const std::string controllers = text_of(group / "cgroup.controllers");
    const bool both = controllers.contains("memory") && controllers.contains("cpu");
    out.found = fmt::format("version 2 with {}", controllers.empty() ? "none" : controllers);
    if (both && writable(group / "cgroup.subtree_control") && writable(group)) return out;
    out.found += both ? ", not writable" : "";
  } else if (writable(root / "sys/fs/cgroup/memory") && writable(root / "sys/fs/cgroup/cpu")) {
    out.found = "version 1, writable";
    return out;
  } else {
    out.found = "none that is writable";
  }
  out.health = Health::kNote;
  out.advice =
      "memory limits of replicas are then kept by watching them, and CPU limits by "
      "their number of threads; run under systemd with Delegate=yes, or as root, for "
      "the kernel's limits";
  return out;
}

Finding check_clock() {
  timex state{};
  const int status = ::adjtimex(&state);
  const time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  Finding out{.subject = "clock",
              .found = fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900,
                                   parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min)};
  constexpr int kFirstYear = 2025;
  if (parts.tm_year + 1900 < kFirstYear) {
    out.health = Health::kBad;
    out.advice =
        "the clock is years behind: certificates and keys will count as not yet valid; "
        "set it, and run an NTP client";
  } else if (status < 0 || status == TIME_ERROR || (state.status & STA_UNSYNC) != 0) {
    out.health = Health::kNote;
    out.found += ", not synchronized as far as the kernel knows";
    out.advice = "run an NTP client (systemd-timesyncd, chrony); in a container the host's counts";
  } else {
    out.found += ", synchronized";
  }
  return out;
}

Finding check_disk(std::string_view subject, const fs::path& folder) {
  Finding out{.subject = std::string(subject)};
  fs::path there = fs::absolute(folder);
  std::error_code error;
  while (!fs::exists(there, error) && there.has_parent_path() && there != there.parent_path()) {
    there = there.parent_path();
  }
  struct statvfs room{};
  if (::statvfs(there.c_str(), &room) != 0) {
    out.health = Health::kBad;
    out.found = net::errno_text(there.string(), errno);
    out.advice = "name another folder with --data";
    return out;
  }
  const auto free = static_cast<int64_t>(room.f_bavail) * static_cast<int64_t>(room.f_frsize);
  out.found = fmt::format("{}: {} free", folder.string(), show_size(free));
  if (::access(there.c_str(), W_OK) != 0) {
    out.health = Health::kBad;
    out.found += fmt::format(", {} is not writable", there.string());
    out.advice = fmt::format("give this user the folder: chown -R $(id -u) {}", there.string());
  } else if (free < 64 * kMiB) {
    out.health = Health::kBad;
    out.advice = "objects and logs need room: without it changes are refused";
  } else if (free < 2 * kGiB) {
    out.health = Health::kNote;
    out.advice = "models that are downloaded may not fit";
  }
  return out;
}

Finding check_port(const std::string& host, uint16_t port, std::string_view use) {
  Finding out{.subject = fmt::format("port {}", port), .found = std::string(use)};
  if (auto socket = net::listen_on(host, port); !socket) {
    out.health = Health::kBad;
    out.found = fmt::format("{}: {}", use, socket.error().message());
    out.advice =
        "who has it: ss -ltnp; or take another port. While `sluice up` runs, it is the "
        "one who has it";
  } else {
    out.found += ", free";
  }
  return out;
}

}  // namespace sluice::cli
