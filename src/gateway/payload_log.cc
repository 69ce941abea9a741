#include "gateway/payload_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "gateway/url_call.h"
#include "net/address.h"

namespace sluice::gateway {
namespace {

constexpr size_t kEventOverhead = 1024;  // headers, and what holds them
constexpr size_t kMaxIdBytes = 128;
constexpr size_t kMaxHeaderBytes = 1024;  // of one request header that is told
constexpr std::string_view kSource = "urn:sluice:gateway";
constexpr std::string_view kRequestType = "org.kubeflow.serving.inference.request";
constexpr std::string_view kResponseType = "org.kubeflow.serving.inference.response";

bool is_visible(char c) { return c > ' ' && c <= '~'; }

std::string utc_text(double unix_seconds) {
  const auto seconds = static_cast<int64_t>(unix_seconds);
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     static_cast<int64_t>((unix_seconds - static_cast<double>(seconds)) * 1e3));
}

// JSON is UTF-8, which a header's bytes need not be.
std::string header_text(std::string_view value) {
  std::string out(value.substr(0, kMaxHeaderBytes));
  std::ranges::replace_if(out, [](char c) { return !is_visible(c) && c != ' '; }, '?');
  return out;
}

// {"name": ["value", …]} of those that the plan names.
std::string metadata_of(const plan::PayloadLogPlan& plan, const net::HttpRequest& request) {
  json::object told;
  for (const std::string& name : plan.headers) {
    json::array values;
    for (const auto& [key, value] : request.headers) {
      if (net::equals_ignoring_case(key, name)) values.emplace_back(header_text(value));
    }
    if (!values.empty()) told[name] = std::move(values);
  }
  return told.empty() ? std::string() : to_json(told);
}

// Of the request's own, so that several services' events of one request go together.
std::string event_id(const net::HttpRequest& request, const std::string& id) {
  const std::string_view given = request.header("ce-id");
  const bool usable =
      !given.empty() && given.size() <= kMaxIdBytes && std::ranges::all_of(given, is_visible);
  return usable ? std::string(given) : id;
}

// What both events of one request have.
PayloadEvent event_of(const plan::PayloadLogPlan& plan, const std::string& route,
                      const net::HttpRequest& request, const std::string& id) {
  PayloadEvent event{.route = route, .url = plan.url, .timeout = plan.timeout};
  event.headers = {{"ce-specversion", "1.0"},
                   {"ce-id", event_id(request, id)},
                   {"ce-source", std::string(kSource)}};
  for (const auto& [name, value] : plan.attributes) {
    event.headers.emplace_back("ce-" + name, attribute_text(value));
  }
  if (const std::string metadata = metadata_of(plan, request); !metadata.empty()) {
    event.headers.emplace_back("ce-metadata", attribute_text(metadata));
  }
  return event;
}

void set_kind(PayloadEvent& event, std::string_view type, double unix_seconds,
              std::string_view content_type) {
  event.headers.emplace_back("ce-type", type);
  event.headers.emplace_back("ce-time", utc_text(unix_seconds));
  event.headers.emplace_back("Content-Type",
                             content_type.empty() ? "application/octet-stream" : content_type);
}

// Passes an answer on and keeps what of it fits.
class Recorder final : public net::Responder {
 public:
  Recorder(std::shared_ptr<net::Responder> inner, std::shared_ptr<PayloadLog> log,
           PayloadEvent event, size_t max_body, const Clock& clock)
      : inner_(std::move(inner)),
        log_(std::move(log)),
        event_(std::move(event)),
        max_body_(max_body),
        clock_(clock) {}

  ~Recorder() override {
    if (started_ && !told_) {
      event_.headers.emplace_back("ce-cut", "true");
      tell();
    }
    log_->give_room(room_);
  }

  void send(net::HttpResponse response) override {
    {
      const std::lock_guard lock(mutex_);
      begin(response.status, response.headers, false);
      keep(response.body);
      tell();
    }
    inner_->send(std::move(response));
  }

  void start(int status, net::Headers headers) override {
    {
      const std::lock_guard lock(mutex_);
      begin(status, headers, true);
    }
    inner_->start(status, std::move(headers));
  }

  bool write(std::string_view bytes) override {
    {
      const std::lock_guard lock(mutex_);
      keep(bytes);
    }
    return inner_->write(bytes);
  }

  void finish() override {
    end();
    inner_->finish();
  }

  void finish_with_error() override {
    end();
    inner_->finish_with_error();
  }

  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  bool closed() const override { return inner_->closed(); }

 private:
  void begin(int status, const net::Headers& headers, bool stream) {
    if (std::exchange(started_, true)) return;
    type_ = net::find_header(headers, "content-type");
    event_.headers.emplace_back("ce-status", std::to_string(status));
    if (stream) event_.headers.emplace_back("ce-stream", "true");
  }

  void end() {
    const std::lock_guard lock(mutex_);
    if (inner_->closed() && !told_) event_.headers.emplace_back("ce-cut", "true");
    tell();
  }

  void keep(std::string_view bytes) {
    if (told_ || crowded_) return;
    const std::string_view kept = bytes.substr(0, max_body_ - event_.body.size());
    truncated_ = truncated_ || kept.size() < bytes.size();
    if (kept.empty()) return;
    if (!log_->take_room(kept.size())) {
      crowded_ = true;
      event_.body = {};
      return;
    }
    room_ += kept.size();
    event_.body += kept;
  }

  void tell() {
    if (std::exchange(told_, true)) return;
    if (crowded_) return log_->dropped(event_.route);
    if (truncated_) event_.headers.emplace_back("ce-truncated", "true");
    set_kind(event_, kResponseType, clock_.unix_seconds(), type_);
    log_->give_room(std::exchange(room_, 0));
    log_->offer(std::move(event_));
  }

  const std::shared_ptr<net::Responder> inner_;
  const std::shared_ptr<PayloadLog> log_;
  std::mutex mutex_;  // an answer may be written by more than one thread in turn
  PayloadEvent event_;
  const size_t max_body_;
  const Clock& clock_;
  std::string type_;
  size_t room_ = 0;
  bool started_ = false;
  bool told_ = false;
  bool truncated_ = false;
  bool crowded_ = false;  // there was no room for it
};

size_t size_of(const PayloadEvent& event) {
  size_t bytes = kEventOverhead + event.body.size();
  for (const auto& [name, value] : event.headers) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

std::string attribute_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_visible(c) && c != '"' && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

PayloadLog::~PayloadLog() { stop(); }

std::shared_ptr<net::Responder> PayloadLog::watch(const plan::PayloadLogPlan& plan,
                                                  const std::string& route,
                                                  const net::HttpRequest& request,
                                                  const std::string& id,
                                                  std::shared_ptr<net::Responder> responder) {
  using Mode = plan::PayloadLogPlan::Mode;
  if (request.body.empty()) return responder;
  PayloadEvent event = event_of(plan, route, request, id);
  if (plan.mode != Mode::kResponse) {
    PayloadEvent asked = event;
    asked.body = request.body.substr(0, plan.max_body);
    if (asked.body.size() < request.body.size()) {
      asked.headers.emplace_back("ce-truncated", "true");
    }
    set_kind(asked, kRequestType, clock_.unix_seconds(), request.header("content-type"));
    offer(std::move(asked));
  }
  if (plan.mode == Mode::kRequest) return responder;
  return std::make_shared<Recorder>(std::move(responder), shared_from_this(), std::move(event),
                                    plan.max_body, clock_);
}

bool PayloadLog::take_room(size_t bytes) {
  if (held_.fetch_add(bytes) + bytes <= kMaxHeldBytes) return true;
  held_ -= bytes;
  return false;
}

void PayloadLog::dropped(const std::string& route) {
  const std::lock_guard lock(mutex_);
  if (!stopped_) metrics_.payload_event(route, "dropped");
}

bool PayloadLog::begin() {
  if (loop_) return true;
  auto loop = net::EventLoop::create();
  if (!loop) {
    log_error("payloads are not logged: {}", loop.error().message());
    return false;
  }
  loop_ = *std::move(loop);
  client_ = std::make_unique<net::HttpClient>(
      net::ClientOptions{.may_connect = net::is_service_address}, loop_);
  thread_ = std::jthread([loop = loop_] { loop->run(); });
  return true;
}

void PayloadLog::offer(PayloadEvent event) {
  const size_t bytes = size_of(event);
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  const auto sink = sinks_.try_emplace(event.url).first;
  const bool room = sink->second.waiting.size() < kMaxWaiting &&
                    sink->second.bytes + bytes <= kMaxSinkBytes && begin() && take_room(bytes);
  if (!room) {
    metrics_.payload_event(event.route, "dropped");
    if (sink->second.waiting.empty() && sink->second.under_way == 0) sinks_.erase(sink);
    return;
  }
  sink->second.bytes += bytes;
  sink->second.waiting.push_back(std::move(event));
  if (sink->second.under_way < kMaxUnderWay) {
    loop_->post([this, url = sink->first] { send_next(url); });
  }
}

// On the log's thread.
void PayloadLog::send_next(const std::string& url) {
  auto event = std::make_shared<PayloadEvent>();
  {
    const std::lock_guard lock(mutex_);
    const auto sink = sinks_.find(url);
    if (stopped_ || sink == sinks_.end() || sink->second.waiting.empty() ||
        sink->second.under_way >= kMaxUnderWay) {
      return;
    }
    *event = std::move(sink->second.waiting.front());
    sink->second.waiting.pop_front();
    sink->second.bytes -= size_of(*event);
    ++sink->second.under_way;
  }
  send(event, true);
}

// A kept connection that the sink has closed meanwhile says nothing of the sink: once more.
void PayloadLog::send(const std::shared_ptr<PayloadEvent>& event, bool may_repeat) {
  UrlCall::begin(*client_, event->url, event->headers, event->body, event->timeout,
                 [this, event, may_repeat](const Result<net::HttpResponse>& answer) {
                   if (!answer && may_repeat && answer.error().reason() == net::kStaleConnection) {
                     return loop_->post([this, event] { send(event, false); });
                   }
                   give_room(size_of(*event));
                   ended(*event, answer && answer->status >= 200 && answer->status < 300);
                 });
}

void PayloadLog::ended(const PayloadEvent& event, bool taken) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  metrics_.payload_event(event.route, taken ? "sent" : "failed");
  const auto sink = sinks_.find(event.url);
  if (sink == sinks_.end()) return;
  --sink->second.under_way;
  if (!sink->second.waiting.empty()) {
    loop_->post([this, url = event.url] { send_next(url); });
  } else if (sink->second.under_way == 0) {
    sinks_.erase(sink);
    if (sinks_.empty()) all_sent_.notify_all();
  }
}

void PayloadLog::flush(Duration patience) {
  std::unique_lock lock(mutex_);
  all_sent_.wait_for(lock, patience, [this] { return sinks_.empty(); });
}

void PayloadLog::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
    sinks_.clear();
  }
  if (!loop_) return;
  loop_->stop();
  thread_ = {};
  client_.reset();
}

}  // namespace sluice::gateway
