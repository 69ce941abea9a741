// Both sides of a front under load, for run.py: the server behind it and the clients before it.
//   front_load upstream [events]            answers at once; prints its port; until standard input
//   ends front_load client URL BODY clients seconds [key]   each asks again when it is answered;
//   prints JSON front_load hold URL BODY streams [key]  opens streams that stay open; prints how
//   many; until
//                                           standard input ends
// The server answers a body with "stream":true by `events` server-sent events of 100 bytes, one
// with "hold":true by a first event and nothing more, any other by 200 bytes of JSON.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/client.h"
#include "net/event_loop.h"
#include "net/server.h"

namespace {

using namespace sluice;
using namespace sluice::net;
using std::chrono::duration;

constexpr size_t kBatch = 32;  // events that leave together

std::string event() {
  std::string text = R"(data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,)";
  text += R"("delta":{"content":")";
  text.resize(95, 'a');
  return text + "\"}]\n\n";
}

class Upstream final : public HttpHandler {
 public:
  explicit Upstream(size_t events) : events_(events) {
    for (size_t i = 0; i < kBatch; ++i) batch_ += event();
  }

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    if (request.body.contains(R"("hold":true)")) {
      responder->start(200, {{"Content-Type", "text/event-stream"}});
      responder->write(event());
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(responder));
    } else if (request.body.contains(R"("stream":true)")) {
      responder->start(200, {{"Content-Type", "text/event-stream"}});
      stream(std::move(responder), 0);
    } else {
      responder->send({.status = 200,
                       .headers = {{"Content-Type", "application/json"}},
                       .body = std::string(190, 'x').insert(0, "{\"a\":\"").append("\"}")});
    }
  }

 private:
  // A batch at a time, so that all streams go on side by side and none is cut for being unread.
  void stream(std::shared_ptr<Responder> responder, size_t sent) {
    if (responder->closed()) return;
    if (sent >= events_) {
      responder->write("data: [DONE]\n\n");
      return responder->finish();
    }
    if (!responder->write(batch_)) return;
    EventLoop::current()->post([this, responder = std::move(responder), sent]() mutable {
      stream(std::move(responder), sent + kBatch);
    });
  }

  const size_t events_;
  std::string batch_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Responder>> held_;
};

// What a front wants besides: "NAME: VALUE" lines of FRONT_HEADERS.
void add_headers(Headers& headers) {
  const char* lines = std::getenv("FRONT_HEADERS");
  std::istringstream all(lines == nullptr ? "" : lines);
  for (std::string line; std::getline(all, line);) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos)
      headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
}

struct Target {
  std::string url;
  std::string body;
  std::string key;

  ClientRequest request() const {
    ClientRequest out{.method = "POST",
                      .url = url,
                      .headers = {{"Content-Type", "application/json"}},
                      .body = body};
    if (!key.empty()) out.headers.emplace_back("Authorization", "Bearer " + key);
    add_headers(out.headers);
    return out;
  }
};

int serve(size_t events) {
  ServerOptions options;
  options.limits.connections = 20'000;
  options.limits.idle_timeout = std::chrono::hours(1);
  options.limits.unsent_bytes = size_t{64} << 20;
  auto server = HttpServer::start(std::move(options), std::make_shared<Upstream>(events));
  if (!server) return std::fprintf(stderr, "%s\n", server.error().message().c_str()), 1;
  std::printf("%d\n", (*server)->port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

// One client, on the loop's thread.
struct Client {
  HttpClient& http;
  const Target& target;
  TimePoint until;
  std::latch& over;
  std::vector<double> seconds = {};
  uint64_t bytes = 0;
  uint64_t failed = 0;
  TimePoint began = {};
  int status = 0;

  void ask() {
    began = system_clock().now();
    if (began >= until) return over.count_down();
    http.request(target.request(),
                 {.on_head = [this](int got, const Headers&) { status = got; },
                  .on_data = [this](std::string_view data) { bytes += data.size(); },
                  .on_end =
                      [this](const Outcome& outcome) {
                        if (outcome && status == 200) {
                          seconds.push_back(to_seconds(system_clock().now() - began));
                        } else {
                          ++failed;
                        }
                        // A new turn of the loop: ends told at once must not pile up.
                        EventLoop::current()->post([this] { ask(); });
                      }});
  }
};

int load(const Target& target, int count, double seconds) {
  auto loop = EventLoop::create();
  if (!loop) return 1;
  std::thread thread([events = *loop] { events->run(); });
  std::latch over(count);
  std::vector<std::unique_ptr<Client>> clients;
  const TimePoint began = system_clock().now();
  {
    HttpClient http({}, *loop);
    const auto until = began + std::chrono::duration_cast<Duration>(duration<double>(seconds));
    for (int i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Client>(Client{http, target, until, over}));
      (*loop)->post([client = clients.back().get()] { client->ask(); });
    }
    over.wait();
    (*loop)->stop();
    thread.join();
  }
  const double took = to_seconds(system_clock().now() - began);
  std::vector<double> all;
  uint64_t bytes = 0;
  uint64_t failed = 0;
  for (const auto& client : clients) {
    all.insert(all.end(), client->seconds.begin(), client->seconds.end());
    bytes += client->bytes;
    failed += client->failed;
  }
  std::ranges::sort(all);
  const auto at = [&](double share) {
    return all.empty() ? 0.0 : all[std::min(all.size() - 1, size_t(share * double(all.size())))];
  };
  std::printf(
      R"({"requests":%zu,"failed":%llu,"seconds":%.3f,"p50_us":%.1f,"p99_us":%.1f,"bytes":%llu})"
      "\n",
      all.size(), static_cast<unsigned long long>(failed), took, at(0.5) * 1e6, at(0.99) * 1e6,
      static_cast<unsigned long long>(bytes));
  return 0;
}

int hold(const Target& target, int streams) {
  ClientOptions options;
  options.max_connections = 20'000;
  options.read_timeout = std::chrono::hours(1);
  HttpClient http(options);
  std::atomic<int> opened = 0;
  std::atomic<int> told = 0;
  for (int i = 0; i < streams; ++i) {
    auto begun = std::make_shared<std::atomic<bool>>(false);
    const auto tell = [&, begun](bool good) {
      if (begun->exchange(true)) return;
      opened += good ? 1 : 0;
      ++told;
      told.notify_all();
    };
    http.request(target.request(), {.on_data = [tell](std::string_view) { tell(true); },
                                    .on_end = [tell](const Outcome&) { tell(false); }});
  }
  for (int seen = told; seen < streams; seen = told) told.wait(seen);
  std::printf("%d\n", opened.load());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto word = [&](size_t i) { return i < words.size() ? words[i] : std::string(); };
  const auto number = [&](size_t i, double otherwise) {
    return i < words.size() ? std::atof(words[i].c_str()) : otherwise;
  };
  if (word(0) == "upstream") return serve(static_cast<size_t>(number(1, 1024)));
  if (word(0) == "client" && words.size() >= 5) {
    return load({word(1), word(2), word(5)}, static_cast<int>(number(3, 1)), number(4, 1));
  }
  if (word(0) == "hold" && words.size() >= 4) {
    return hold({word(1), word(2), word(4)}, static_cast<int>(number(3, 1)));
  }
  std::fprintf(stderr, "usage: front_load upstream|client|hold …; see the source's head\n");
  return 2;
}
