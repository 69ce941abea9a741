#include "platform/process_backend.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "process/control_group.h"
#include "process/folder.h"
#include "process/folder_watch.h"
#include "process/replica_watch.h"
#include "process/spawn_keeper.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;
using process::ReplicaWatch;
using process::WatchedPhase;

constexpr std::string_view kOldFolder = ".old";
constexpr std::string_view kBackendLockFolder = ".backend";
constexpr uint64_t kLeastReserve = 256u << 20;
constexpr uint64_t kMostReserve = uint64_t{2} << 30;
constexpr Duration kProbePatience = std::chrono::seconds(10);

ReplicaPhase phase_of(WatchedPhase phase) {
  switch (phase) {
    case WatchedPhase::kStarting:
      return ReplicaPhase::kStarting;
    case WatchedPhase::kReady:
      return ReplicaPhase::kReady;
    case WatchedPhase::kNotReady:
      return ReplicaPhase::kNotReady;
    case WatchedPhase::kDraining:
      return ReplicaPhase::kDraining;
    case WatchedPhase::kExited:
      break;
  }
  return ReplicaPhase::kExited;
}

ReplicaView view_of(ReplicaWatch& replica) {
  const process::WatchedReplica status = replica.status();
  const process::Usage usage = replica.usage();
  ReplicaView out{.id = replica.id(),
                  .phase = phase_of(status.phase),
                  .url = status.url,
                  .pid = status.phase == WatchedPhase::kExited ? 0 : status.pid,
                  .started_unix = status.started_unix,
                  .memory_bytes = usage.memory_bytes,
                  .cpu_seconds = usage.cpu_seconds,
                  .exit = {}};
  if (status.end) {
    out.exit = ReplicaExit{.code = status.end->code,
                           .signal = status.end->signal,
                           .reason = status.end->reason,
                           .message = status.end->message,
                           .at_unix = status.end->at_unix};
  }
  return out;
}

uint64_t machine_memory() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

double usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<double>(std::thread::hardware_concurrency());
}

std::unexpected<Status> no_such(std::string_view id) {
  return fail(Code::kNotFound, fmt::format("there is no replica '{}'", id));
}

}  // namespace

struct ProcessBackend::Impl {
  explicit Impl(ProcessBackendOptions given) : options(std::move(given)) {}
  ~Impl();

  Outcome open();
  void adopt_all();
  Outcome start(const process::ReplicaSpec& spec);
  Result<std::shared_ptr<ReplicaWatch>> launch(const process::ReplicaSpec& spec,
                                               const fs::path& folder);
  std::shared_ptr<ReplicaWatch> get(std::string_view id);
  void forget(const std::string& id);
  void prune_logs();
  void tell(const std::string& id);
  ReplicaWatch::World world();

  const ProcessBackendOptions options;
  fs::path folder;
  fs::path program;
  net::Fd backend_lock;
  std::shared_ptr<net::EventLoop> loop;
  std::unique_ptr<net::HttpClient> client;
  std::unique_ptr<process::FolderWatch> folders;
  std::thread thread;

  std::mutex mutex;  // guards what follows
  // Null: it is being started.
  std::map<std::string, std::shared_ptr<ReplicaWatch>, std::less<>> replicas;
  std::map<const ReplicaWatch*, std::shared_ptr<ReplicaWatch>> leaving;  // forgotten, not yet gone
  std::function<void(const std::string& id)> listener;
};

ProcessBackend::Impl::~Impl() {
  if (!thread.joinable()) return;
  loop->stop();
  thread.join();
  // The loop has ended: all of these may be destroyed here.
  replicas.clear();
  leaving.clear();
  client.reset();
  folders.reset();
}

Outcome ProcessBackend::Impl::open() {
  std::error_code error;
  folder = fs::absolute(options.folder, error);
  // Now, while the link names the file: a new version is renamed over it.
  program = options.program.empty() ? fs::read_symlink("/proc/self/exe", error) : options.program;
  if (error) return fail(Code::kUnavailable, "/proc/self/exe: " + error.message());
  SLUICE_RETURN_IF_ERROR(process::own_folder(folder));
  SLUICE_RETURN_IF_ERROR(process::own_folder(folder / kOldFolder));
  SLUICE_RETURN_IF_ERROR(process::own_folder(folder / kBackendLockFolder));
  SLUICE_ASSIGN_OR_RETURN(auto lock, process::lock_folder(folder / kBackendLockFolder));
  if (!lock) {
    return fail(Code::kUnavailable,
                fmt::format("another controller works on the replicas in {}; end it first, or "
                            "choose another folder",
                            folder.string()));
  }
  backend_lock = *std::move(lock);
  SLUICE_ASSIGN_OR_RETURN(loop, net::EventLoop::create());
  client = std::make_unique<net::HttpClient>(
      net::ClientOptions{.connect_timeout = kProbePatience, .read_timeout = kProbePatience}, loop);
  folders = std::make_unique<process::FolderWatch>(*loop);
  adopt_all();
  prune_logs();
  thread = std::thread([events = loop] { events->run(); });
  return {};
}

ReplicaWatch::World ProcessBackend::Impl::world() {
  return {.loop = loop,
          .client = *client,
          .folders = *folders,
          .changed = [this](const std::string& id) { tell(id); }};
}

void ProcessBackend::Impl::adopt_all() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) continue;
    if (!process::is_replica_id(name) || !entry.is_directory(error) ||
        !process::own_folder(entry.path())) {
      log_warn("{} is no replica's folder, and is left alone", entry.path().string());
      continue;
    }
    auto replica = ReplicaWatch::adopt(world(), entry.path());
    loop->post([replica] { replica->begin(); });
    replicas.emplace(name, std::move(replica));
  }
  if (error) log_error("{}: {}", folder.string(), error.message());
}

Outcome ProcessBackend::Impl::start(const process::ReplicaSpec& spec) {
  SLUICE_RETURN_IF_ERROR(process::check_spec(spec));
  {
    const std::lock_guard lock(mutex);
    if (!replicas.emplace(spec.id, nullptr).second) return {};
  }
  auto launched = launch(spec, folder / spec.id);
  {
    const std::lock_guard lock(mutex);
    if (launched) {
      replicas[spec.id] = *launched;
    } else {
      replicas.erase(spec.id);
    }
  }
  if (!launched) return std::unexpected(launched.error());
  loop->post([replica = *launched] { replica->begin(); });
  return {};
}

Result<std::shared_ptr<ReplicaWatch>> ProcessBackend::Impl::launch(const process::ReplicaSpec& spec,
                                                                   const fs::path& own) {
  if (::mkdir(own.c_str(), 0700) != 0) {
    return fail(Code::kUnavailable, net::errno_text("cannot create " + own.string(), errno));
  }
  const auto begun = [&]() -> Result<std::shared_ptr<ReplicaWatch>> {
    // From now until the keeper's end the folder is never without its lock.
    SLUICE_ASSIGN_OR_RETURN(const auto lock, process::lock_folder(own));
    if (!lock) return fail(Code::kUnavailable, own.string() + " is locked by another process");
    process::KeeperOrder order{.token = new_id(""),
                               .control_groups = options.control_groups,
                               .logs = options.logs,
                               .spec = spec};
    SLUICE_RETURN_IF_ERROR(
        process::write_record(own / process::kSpecFile, process::order_text(order)));
    SLUICE_ASSIGN_OR_RETURN(auto keeper, process::spawn_keeper(program, own, *lock));
    return ReplicaWatch::started(world(), own, std::move(order), std::move(keeper));
  }();
  std::error_code ignored;
  if (!begun) fs::remove_all(own, ignored);
  return begun;
}

std::shared_ptr<ReplicaWatch> ProcessBackend::Impl::get(std::string_view id) {
  const std::lock_guard lock(mutex);
  const auto found = replicas.find(id);
  return found == replicas.end() ? nullptr : found->second;
}

void ProcessBackend::Impl::forget(const std::string& id) {
  std::shared_ptr<ReplicaWatch> replica;
  {
    const std::lock_guard lock(mutex);
    const auto found = replicas.find(id);
    if (found == replicas.end() || !found->second) return;
    if (found->second->status().phase != WatchedPhase::kExited) return;
    replica = std::move(found->second);
    replicas.erase(found);
    leaving.emplace(replica.get(), replica);
  }
  // Its keeper may still be on its last step, and is to be reaped.
  replica->when_gone([this, at = replica.get()] {
    std::shared_ptr<ReplicaWatch> last;
    const std::lock_guard lock(mutex);
    const auto found = leaving.find(at);
    if (found != leaving.end()) last = std::move(found->second);
    leaving.erase(at);
  });
  const fs::path own = replica->folder();
  ::unlink((own / process::kSpecFile).c_str());  // secrets
  std::error_code error;
  fs::remove_all(own / process::kWorkFolder, error);
  fs::remove_all(folder / kOldFolder / id, error);
  fs::rename(own, folder / kOldFolder / id, error);
  if (error) {
    log_error("cannot move {} away: {}; it is removed", own.string(), error.message());
    fs::remove_all(own, error);  // the next run of that name needs the place
  }
  prune_logs();
}

// By when they were forgotten: renaming a folder is the last change to it.
void ProcessBackend::Impl::prune_logs() {
  std::vector<std::pair<int64_t, fs::path>> old;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / kOldFolder, error)) {
    struct stat info{};
    if (::lstat(entry.path().c_str(), &info) == 0) {
      old.emplace_back(info.st_ctim.tv_sec, entry.path());
    }
  }
  std::ranges::sort(old, std::greater());
  const auto now = static_cast<int64_t>(system_clock().unix_seconds());
  for (size_t i = 0; i < old.size(); ++i) {
    const bool stays = i < options.keep_logs_of && now - old[i].first < options.keep_logs.count();
    if (!stays) fs::remove_all(old[i].second, error);
  }
}

void ProcessBackend::Impl::tell(const std::string& id) {
  std::function<void(const std::string& id)> to;
  {
    const std::lock_guard lock(mutex);
    to = listener;
  }
  if (to) to(id);
}

ProcessBackend::ProcessBackend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProcessBackend::~ProcessBackend() = default;

Result<std::unique_ptr<ProcessBackend>> ProcessBackend::open(ProcessBackendOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  SLUICE_RETURN_IF_ERROR(impl->open());
  return std::unique_ptr<ProcessBackend>(new ProcessBackend(std::move(impl)));
}

Outcome ProcessBackend::start(const process::ReplicaSpec& spec) { return impl_->start(spec); }

void ProcessBackend::drain(std::string_view id) {
  if (const auto replica = impl_->get(id)) replica->drain();
}

void ProcessBackend::kill(std::string_view id) {
  if (const auto replica = impl_->get(id)) replica->kill();
}

void ProcessBackend::forget(std::string_view id) { impl_->forget(std::string(id)); }

std::vector<ReplicaView> ProcessBackend::list() {
  std::vector<std::shared_ptr<ReplicaWatch>> all;
  std::vector<ReplicaView> out;
  {
    const std::lock_guard lock(impl_->mutex);
    for (const auto& [id, replica] : impl_->replicas) {
      if (replica) {
        all.push_back(replica);
      } else {
        out.push_back({.id = id, .url = {}, .exit = {}});
      }
    }
  }
  for (const auto& replica : all) out.push_back(view_of(*replica));
  std::ranges::sort(out, {}, &ReplicaView::id);
  return out;
}

std::optional<ReplicaView> ProcessBackend::find(std::string_view id) {
  std::shared_ptr<ReplicaWatch> replica;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->replicas.find(id);
    if (found == impl_->replicas.end()) return std::nullopt;
    if (!found->second) return ReplicaView{.id = std::string(id), .url = {}, .exit = {}};
    replica = found->second;
  }
  return view_of(*replica);
}

MachineRoom ProcessBackend::room() {
  const auto groups = process::ControlGroups::of_this_process();
  MachineRoom out;
  uint64_t memory = machine_memory();
  if (const uint64_t limit = groups.memory_limit(); limit > 0) memory = std::min(memory, limit);
  const uint64_t reserve = std::clamp(memory / 10, kLeastReserve, kMostReserve);
  out.memory_bytes = impl_->options.memory_bytes.value_or(memory - std::min(memory, reserve));
  double cpus = usable_processors();
  if (const double limit = groups.cpu_limit(); limit > 0) cpus = std::min(cpus, limit);
  out.cpus = impl_->options.cpus.value_or(cpus);
  return out;
}

void ProcessBackend::on_change(std::function<void(const std::string& id)> listener) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->listener = std::move(listener);
  }
  impl_->loop->post([impl = impl_.get()] {
    std::vector<std::string> ids;
    {
      const std::lock_guard lock(impl->mutex);
      for (const auto& [id, replica] : impl->replicas) ids.push_back(id);
    }
    for (const std::string& id : ids) impl->tell(id);
  });
}

Result<std::string> ProcessBackend::log_tail(std::string_view id, size_t max_bytes) {
  if (!process::is_replica_id(id)) return no_such(id);
  std::error_code error;
  for (const fs::path& own : {impl_->folder / id, impl_->folder / kOldFolder / id}) {
    if (fs::is_directory(own, error)) return process::read_log_tail(own, max_bytes);
  }
  return no_such(id);
}

}  // namespace sluice::platform
