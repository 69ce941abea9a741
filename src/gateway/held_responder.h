// HeldResponder: keeps a client that waits for an event stream company while its request waits for
// a server: begins the stream with comments. An error that comes after that comes as an event, in
// the dialect of the path, because the status has been told.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/body_scan.h"
#include "net/http.h"
#include "net/server.h"

namespace sluice::gateway {

class HeldResponder final : public net::Responder {
 public:
  // `id` is the request's, for the answer's head.
  HeldResponder(std::shared_ptr<net::Responder> inner, std::string path, std::string id)
      : inner_(std::move(inner)), path_(std::move(path)), id_(std::move(id)) {}

  // Whether the request's answer is an event stream, in which comments may stand.
  static bool fits(const net::HttpRequest& request, const BodyFields& fields);

  // Before anything was answered; on the thread of whoever answers later, or before it is told.
  void comment();

  void send(net::HttpResponse response) override;
  void start(int status, net::Headers headers) override;
  bool write(std::string_view bytes) override;
  void finish() override;
  void finish_with_error() override;
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  bool closed() const override { return inner_->closed(); }

 private:
  const std::shared_ptr<net::Responder> inner_;
  const std::string path_;
  const std::string id_;
  std::atomic<bool> begun_ = false;   // by a comment
  std::atomic<bool> broken_ = false;  // the answer was told as an error: the rest is not heard
};

}  // namespace sluice::gateway
