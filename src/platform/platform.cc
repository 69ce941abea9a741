#include "platform/platform.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "control/control_plane.h"
#include "platform/internal_api.h"
#include "platform/load_book.h"
#include "platform/model_store.h"
#include "platform/outside_calls.h"
#include "platform/plan_writer.h"
#include "platform/platform_core.h"
#include "platform/recipes.h"
#include "platform/runtime_choice.h"

namespace sluice::platform {
namespace {

constexpr size_t kKeyWords = 4;  // of 64 bits
constexpr size_t kMaxKeyBytes = 256;

// A secret of the installation: made once, then always the same.
Result<std::string> secret_of(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    SLUICE_ASSIGN_OR_RETURN(std::string text, read_file(path, kMaxKeyBytes));
    while (text.ends_with('\n')) text.pop_back();
    if (text.size() >= 2 * sizeof(uint64_t) * kKeyWords) return text;
    return fail(Code::kDataLoss,
                fmt::format("{} is damaged: remove it, and a new one is made (running replicas of "
                            "ours are then restarted)",
                            path.string()));
  }
  std::string text;
  for (size_t i = 0; i < kKeyWords; ++i) text += fmt::format("{:016x}", random_seed());
  SLUICE_RETURN_IF_ERROR(write_file_atomically(path, text + "\n"));
  return text;
}

Result<std::filesystem::path> own_program() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(Code::kInternal, "/proc/self/exe cannot be read: " + error.message());
  return path;
}

Result<ModelStoreOptions> model_options(const PlatformOptions& options) {
  if (options.models) return *options.models;
  SLUICE_ASSIGN_OR_RETURN(registry::ModelCache cache, registry::ModelCache::of_environment());
  return ModelStoreOptions{.cache = std::move(cache), .volumes = {}, .hub = {}, .pull = {}};
}

// The plan's file, and whether it still is the one that was put there: a plan that a person or a
// damaged disk has changed is written anew before a gateway has to begin with it. One thread.
class PlanFile {
 public:
  PlanFile(std::filesystem::path file, std::filesystem::path secrets)
      : file_(std::move(file)), secrets_(std::move(secrets)) {}

  Result<bool> publish(const PlanText& plan) {
    Result<bool> done = publish_plan(plan, file_, secrets_);
    if (done) put_ = look();
    return done;
  }

  // Before the first was put there, as well.
  bool is_in_place() {
    if (!put_ || look() == *put_) return true;
    log_warn("{} was changed by somebody else, and is written anew", file_.string());
    put_.reset();
    return false;
  }

 private:
  struct Look {
    ino_t number = 0;
    off_t size = 0;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    bool operator==(const Look&) const = default;
  };
  Look look() const {
    struct stat info{};
    if (::stat(file_.c_str(), &info) != 0) return {};
    return {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }

  const std::filesystem::path file_;
  const std::filesystem::path secrets_;
  std::optional<Look> put_;
};

void audit_note(control::ControlPlane& plane, const control::StoredObject& service,
                const RolloutNote& note) {
  plane.audit().write({.user = "system:controller",
                       .role = "admin",
                       .verb = "rollout",
                       .resource = service.type->qualified_plural(),
                       .subresource = {},
                       .ns = service.ns,
                       .name = service.name,
                       .peer = {},
                       .agent = {},
                       .manager = "sluice-platform",
                       .reason = fmt::format("{}: {}", note.reason, note.message),
                       .version = std::to_string(service.version),
                       .code = 200});
}

}  // namespace

// In the order in which they are needed; the thread goes first.
struct Platform::Parts {
  std::filesystem::path plan_file;
  std::unique_ptr<LoadBook> book = std::make_unique<LoadBook>();
  std::unique_ptr<ModelStore> models;
  std::unique_ptr<Recipes> recipes;
  std::unique_ptr<SignalScraper> signals;
  std::unique_ptr<RolloutChecks> checks;
  std::unique_ptr<PlatformCore> core;
  std::unique_ptr<InternalApi> api;
  std::atomic<PlatformCore*> woken{nullptr};  // once there is one
  std::jthread worker;

  Parts() = default;
  ~Parts() {
    if (worker.joinable()) {
      worker.request_stop();
      worker.join();
    }
    // Whoever calls back goes before what is called.
    api.reset();
    checks.reset();
    signals.reset();
    models.reset();
  }
};

Platform::Platform(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Platform::~Platform() = default;

std::filesystem::path Platform::plan_file() const { return parts_->plan_file; }
std::string Platform::internal_url() const { return parts_->api->url(); }

Result<std::unique_ptr<Platform>> Platform::start(control::ControlPlane& plane,
                                                  ReplicaBackend& backend,
                                                  PlatformOptions options) {
  auto parts = std::make_unique<Parts>();
  Parts* const all = parts.get();
  const std::filesystem::path folder = std::filesystem::absolute(options.folder);
  const std::filesystem::path secrets = folder / "secrets";
  const std::filesystem::path token_file = folder / "internal-token";
  std::error_code error;
  std::filesystem::create_directories(secrets, error);
  std::filesystem::permissions(secrets, std::filesystem::perms::owner_all, error);
  if (error) {
    return fail(Code::kPermissionDenied,
                fmt::format("cannot make {}: {}", secrets.string(), error.message()));
  }
  SLUICE_ASSIGN_OR_RETURN(const std::string master, secret_of(folder / "platform-key"));
  SLUICE_ASSIGN_OR_RETURN(const std::string token, secret_of(token_file));
  if (options.sluice_program.empty()) {
    SLUICE_ASSIGN_OR_RETURN(options.sluice_program, own_program());
  }
  if (const auto made = ensure_built_in_runtime(plane.objects()); !made) {
    return fail(Code::kInternal, made.error().message);
  }
  SLUICE_ASSIGN_OR_RETURN(ModelStoreOptions models, model_options(options));
  all->plan_file = folder / "gateway.json";
  all->models = std::make_unique<ModelStore>(std::move(models));
  all->recipes = std::make_unique<Recipes>(
      plane.objects().store(),
      [store = all->models.get()](const std::string& uri, const std::string& key) {
        return store->want(uri, key);
      },
      RecipeOptions{.sluice_program = options.sluice_program.string(),
                    .master = master,
                    .gateway = fmt::format("{}:{}", options.gateway_address, options.gateway_port),
                    .check_model = options.check_model});
  // Load reports may come before there is a core to wake.
  SLUICE_ASSIGN_OR_RETURN(
      all->api, InternalApi::start({.port = options.internal_port, .token = token}, *all->book,
                                   [all](const std::vector<std::string>& awaited) {
                                     PlatformCore* const core = all->woken.load();
                                     if (core != nullptr) core->told(awaited);
                                   }));
  CoreOptions core{.timing = options.timing, .seed = random_seed()};
  core.plan.secrets_folder = secrets;
  core.plan.master = master;
  core.plan.control_url = all->api->url();
  core.plan.control_token_file = token_file;
  core.plan.base = options.plan_base;
  core.plan.domains.insert(core.plan.domains.end(), options.domains.begin(), options.domains.end());
  const auto plan_file = std::make_shared<PlanFile>(all->plan_file, secrets);
  core.publish = [plan_file](const PlanText& plan) { return plan_file->publish(plan); };
  core.hooks.url = [host = options.gateway_host, port = options.gateway_port](
                       const std::string& ns, const std::string& name) {
    return fmt::format("http://{}.{}.{}:{}", name, ns, host, port);
  };
  all->signals = std::make_unique<SignalScraper>([master](const SignalTarget& target) {
    return deployment_secrets(master, target.ns, target.revision).api_key;
  });
  core.signals = all->signals.get();
  all->checks = std::make_unique<RolloutChecks>([all](const control::ObjectKey& service) {
    all->core->queue().add({WorkKind::kService, service.ns, service.name});
  });
  core.hooks.check = [checks = all->checks.get()](const control::ObjectKey& service,
                                                  const RolloutCheckDue& due) {
    return checks->answer(service, due);
  };
  core.hooks.audit = [&plane](const control::StoredObject& service, const RolloutNote& note) {
    audit_note(plane, service, note);
  };
  all->core = std::make_unique<PlatformCore>(plane.objects(), backend, *all->recipes, *all->book,
                                             std::move(core));
  all->models->on_change([all](const std::string& uri) { all->core->model_changed(uri); });
  SLUICE_RETURN_IF_ERROR(all->core->begin());
  all->woken.store(all->core.get());
  all->worker = std::jthread([all, plan_file](const std::stop_token& stop) {
    all->core->queue().run(stop, [all, &plan_file](const WorkKey& key) {
      // As often as the autoscaler looks: every two seconds.
      if (key.kind == WorkKind::kScale && !plan_file->is_in_place()) {
        all->core->queue().add({WorkKind::kPlan, {}, {}});
      }
      return all->core->work(key);
    });
  });
  return std::unique_ptr<Platform>(new Platform(std::move(parts)));
}

}  // namespace sluice::platform
