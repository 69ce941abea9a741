#include "cli/spot/watcher.h"

#include <fmt/format.h>

#include <utility>

#include "base/files.h"
#include "base/log.h"

namespace sluice::cli {
namespace {

constexpr size_t kMaxFileBytes = 4096;
constexpr Duration kPatience = std::chrono::seconds(2);

}  // namespace

SpotWatcher::SpotWatcher(SpotOptions options, OnNotice on_notice, const Clock& clock)
    : options_(std::move(options)),
      on_notice_(std::move(on_notice)),
      clock_(clock),
      http_(net::ClientOptions{.connect_timeout = kPatience, .max_body_bytes = 256u << 10}),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

SpotWatcher::~SpotWatcher() = default;

void SpotWatcher::give(const SpotNotice& notice) {
  const std::lock_guard lock(mutex_);
  if (!given_) given_ = notice;
  wake_.notify_all();
}

void SpotWatcher::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested() && !told_) {
    std::optional<SpotNotice> notice = given_;
    if (!notice) {
      lock.unlock();
      notice = look();
      lock.lock();
    }
    if (notice) {
      told_ = true;
      lock.unlock();
      on_notice_(*notice);
      return;
    }
    wake_.wait_for(lock, stop, options_.look, [this] { return given_.has_value(); });
  }
}

std::optional<SpotNotice> SpotWatcher::look() {
  std::error_code error;
  if (!options_.file.empty() && std::filesystem::exists(options_.file, error)) {
    const auto text = read_file(options_.file, kMaxFileBytes);
    const auto notice = text ? read_notice_file(*text, clock_.unix_seconds())
                             : Result<SpotNotice>(std::unexpected(text.error()));
    if (notice) return *notice;
    complain(notice.error());
    // It is there, whatever it says.
    return read_notice_file({}, clock_.unix_seconds()).value();
  }
  return options_.cloud ? ask() : std::nullopt;
}

std::optional<SpotNotice> SpotWatcher::ask() {
  const Cloud cloud = *options_.cloud;
  if (const auto request = first_request(cloud); request && !first_) {
    const auto answer = fetch(*request);
    if (!answer || answer->status != 200) {
      complain(answer ? Status(Code::kUnavailable,
                               fmt::format("{} answered HTTP {}", request->path, answer->status))
                      : answer.error());
      return std::nullopt;
    }
    first_ = answer->body;
  }
  const auto answer = fetch(notice_request(cloud, first_.value_or(std::string())));
  if (!answer) {
    complain(answer.error());
    return std::nullopt;
  }
  // A session token that has run out is asked for anew at the next look.
  if (answer->status == 401) first_.reset();
  const auto notice = read_notice(cloud, answer->status, answer->body,
                                  first_.value_or(std::string()), clock_.unix_seconds());
  if (notice) return *notice;
  complain(notice.error());
  return std::nullopt;
}

Result<net::HttpResponse> SpotWatcher::fetch(const MetadataRequest& request) {
  const std::string base =
      options_.url.empty() ? std::string(metadata_url(*options_.cloud)) : options_.url;
  return http_.fetch({.method = request.method,
                      .url = base + request.path,
                      .headers = request.headers,
                      .timeout = kPatience});
}

// Once for each kind of trouble: it is looked at every few seconds.
void SpotWatcher::complain(const Status& status) {
  if (std::exchange(complained_, status.message()) == status.message()) return;
  log_warn("spot notices cannot be learned: {}", status.message());
}

}  // namespace sluice::cli
