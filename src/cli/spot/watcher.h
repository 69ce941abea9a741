// SpotWatcher: learns that this machine is about to be taken back, from a cloud's metadata service
// or from a file.
//
// One thread of its own. The listener is called on it, once, with the first notice.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "cli/spot/metadata.h"
#include "net/client.h"

namespace sluice::cli {

struct SpotOptions {
  std::optional<Cloud> cloud;  // none: nobody is asked
  std::string url;             // of the metadata service; empty: the cloud's own
  std::filesystem::path file;  // empty: none is looked for
  Duration look = std::chrono::seconds(2);
};

class SpotWatcher {
 public:
  using OnNotice = std::function<void(const SpotNotice& notice)>;

  SpotWatcher(SpotOptions options, OnNotice on_notice, const Clock& clock = system_clock());
  ~SpotWatcher();
  SpotWatcher(const SpotWatcher&) = delete;
  SpotWatcher& operator=(const SpotWatcher&) = delete;

  // Someone else has learned of it: an operator's call. Any thread; the first notice counts.
  void give(const SpotNotice& notice);

 private:
  void watch(const std::stop_token& stop);
  std::optional<SpotNotice> look();
  std::optional<SpotNotice> ask();
  Result<net::HttpResponse> fetch(const MetadataRequest& request);
  void complain(const Status& status);

  const SpotOptions options_;
  const OnNotice on_notice_;
  const Clock& clock_;
  net::HttpClient http_;
  std::optional<std::string> first_;  // answer to first_request()
  std::string complained_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::optional<SpotNotice> given_;
  bool told_ = false;
  std::jthread thread_;  // last: uses the members above
};

}  // namespace sluice::cli
