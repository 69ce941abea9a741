#include "endpoint/metered_responder.h"

#include <atomic>
#include <utility>

#include "telemetry/buckets.h"

namespace sluice::endpoint {
namespace {

constexpr int kClientLeft = 499;

class MeteredResponder : public net::Responder {
 public:
  MeteredResponder(std::shared_ptr<net::Responder> inner, telemetry::Metrics& metrics,
                   const Clock& clock, std::string route, std::string method)
      : inner_(std::move(inner)),
        metrics_(metrics),
        clock_(clock),
        route_(std::move(route)),
        method_(std::move(method)),
        began_(clock.now()) {}

  ~MeteredResponder() override { count(inner_->closed() ? kClientLeft : 500); }

  void send(net::HttpResponse response) override {
    const int status = response.status;
    inner_->send(std::move(response));
    count(status);
  }
  void start(int status, net::Headers headers) override {
    status_ = status;
    inner_->start(status, std::move(headers));
  }
  bool write(std::string_view bytes) override { return inner_->write(bytes); }
  void finish() override {
    inner_->finish();
    count(status_);
  }
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  bool closed() const override { return inner_->closed(); }

 private:
  void count(int status) {
    if (counted_.exchange(true)) return;
    metrics_
        .counter(telemetry::View::kNative, "sluice_http_requests_total",
                 "HTTP requests answered, by route, method and status.",
                 {{"route", route_}, {"method", method_}, {"status", std::to_string(status)}})
        .Increment();
    metrics_
        .histogram(telemetry::View::kNative, "sluice_http_request_duration_seconds",
                   "Time from a request's arrival to the end of its answer.",
                   telemetry::first_token_buckets(), {{"route", route_}})
        .Observe(to_seconds(clock_.now() - began_));
  }

  const std::shared_ptr<net::Responder> inner_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  const std::string route_;
  const std::string method_;
  const TimePoint began_;
  std::atomic<int> status_{200};
  std::atomic<bool> counted_{false};
};

}  // namespace

std::shared_ptr<net::Responder> metered(std::shared_ptr<net::Responder> inner,
                                        telemetry::Metrics& metrics, const Clock& clock,
                                        std::string route, std::string method) {
  return std::make_shared<MeteredResponder>(std::move(inner), metrics, clock, std::move(route),
                                            std::move(method));
}

}  // namespace sluice::endpoint
