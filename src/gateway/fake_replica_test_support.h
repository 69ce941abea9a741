// For the tests of this room: Sluice replicas that break in every way, in this process.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "api/block_events.h"
#include "api/internal_events.h"
#include "api/internal_request.h"
#include "net/server.h"

namespace sluice::gateway::testing {

inline constexpr int kTokens = 12;
inline constexpr const char* kWhole = "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 t10 t11 ";

enum class Mishap { kNone, kCut, kHang, kGarbage, kRefuse, kBusy, kFail, kWait };

// Answers tokens 0 … 11, in its own way.
class FakeReplica : public net::HttpHandler {
 public:
  FakeReplica() {
    auto server = net::HttpServer::start({}, std::shared_ptr<FakeReplica>(this, [](auto*) {}));
    EXPECT_TRUE(server);
    server_ = *std::move(server);
    url = "http://127.0.0.1:" + std::to_string(server_->port());
  }
  ~FakeReplica() override { server_.reset(); }

  void handle(net::HttpRequest http, std::shared_ptr<net::Responder> responder) override {
    if (http.path == "/internal/v1/identity") return responder->send(identity());
    if (http.path == "/internal/v1/blocks") return tell_blocks(responder);
    if (http.path == "/internal/v1/tokenize") {
      ++tokenized;
      return responder->send({200, {}, api::write_tokenize_result({{5, 6}, {}, 512})});
    }
    if (http.path == "/internal/v1/detokenize") return responder->send({200, {}, "text"});
    ++requests;
    const auto request = api::read_request(http.body, TimePoint{});
    if (!request) return responder->send({400, {}, "{}"});
    if (std::holds_alternative<completion::TokenPrompt>(request->prompts.front())) ++sent_as_ids;
    if (mishap == Mishap::kRefuse) {
      return responder->send({429, {}, R"({"error":{"message":"full","code":"queue_full"}})"});
    }
    answer(*request, responder);
  }

  net::HttpResponse identity() const {
    return {200,
            {},
            R"({"ready":true,"models":[{"id":"m","root":"m.gguf","fingerprint":")" + fingerprint +
                R"(","max_model_len":512,"created":1}],"load":{"running":1,"waiting":0,)"
                R"("waiting_tokens":0,"kv_blocks_used":0,"kv_blocks_total":9}})"};
  }

  // Drops the streams that it holds (kWait, kHang): they are cut.
  void let_go() {
    std::vector<std::shared_ptr<net::Responder>> dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(kept_);
  }

  // Says that it holds these blocks of its model, two tokens each; to whoever reads it now, and
  // later.
  void hold(std::vector<PrefixChange> changes) {
    const std::lock_guard lock(mutex_);
    held_blocks_ = std::move(changes);
    for (auto& [writer, responder] : block_streams_) {
      std::string out;
      writer.write(0, held_blocks_, out);
      responder->write(out);
    }
  }
  // Their streams break.
  void drop_block_streams() {
    decltype(block_streams_) dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(block_streams_);
  }

  std::string url;
  std::string fingerprint = "fp_1";  // set before anybody asks
  std::atomic<int> tokenized{0};
  std::atomic<int> sent_as_ids{0};
  std::atomic<int> block_readers{0};
  std::atomic<Mishap> mishap{Mishap::kNone};
  std::atomic<int> after{5};  // tokens told before it
  std::atomic<int> requests{0};
  std::atomic<int> left{0};  // streams whose reader went away
  std::atomic<uint64_t> seed{0};

 private:
  void tell_blocks(const std::shared_ptr<net::Responder>& responder) {
    const std::lock_guard lock(mutex_);
    auto& [writer, to] = block_streams_.emplace_back(api::BlockEventWriter(), responder);
    std::string out;
    writer.write({.models = {{{"m"}, fingerprint, 2}}}, out);
    writer.write(0, held_blocks_, out);
    writer.write(api::BlocksSynced{}, out);
    responder->start(200, {});
    responder->write(out);
    ++block_readers;
  }

  void answer(const completion::Request& request,
              const std::shared_ptr<net::Responder>& responder) {
    api::EventWriter writer;
    std::string out;
    seed = request.sampling.seed.value_or(0);
    responder->start(200, {});
    responder->on_close([this] { ++left; });
    api::StartEvent start{
        .fingerprint = fingerprint, .max_model_len = 512, .seed = seed, .info = {}};
    int at = 0;
    if (request.resume) {
      at = static_cast<int>(request.resume->choices.at(0).tokens.size());
    } else {
      start.info.tokens = {{1, 2, 3}};
    }
    writer.write(start, out);
    if (mishap == Mishap::kBusy) {
      writer.write(Status(Code::kUnavailable, "draining", {}, "draining"), out);
      responder->write(out);
      return responder->finish();
    }
    for (; at < kTokens; ++at) {
      if (mishap != Mishap::kNone && at >= after) break;
      completion::Delta delta;
      delta.text = "t" + std::to_string(at) + " ";
      delta.tokens = {at};
      if (at == kTokens - 1) delta.finish = completion::FinishReason::kLength;
      writer.write(delta, out);
    }
    if (mishap == Mishap::kGarbage) out += "\1\2\3\4garbage";
    if (mishap == Mishap::kFail) writer.write(Status(Code::kInternal, "the engine failed"), out);
    if (mishap == Mishap::kNone) writer.write(completion::Usage{3, kTokens, 0}, out);
    responder->write(out);
    if (mishap == Mishap::kCut || mishap == Mishap::kGarbage) return;  // dropped: cut
    if (mishap == Mishap::kHang || mishap == Mishap::kWait) {
      const std::lock_guard lock(mutex_);
      kept_.push_back(responder);
      return;
    }
    responder->finish();
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<net::Responder>> kept_;
  std::vector<PrefixChange> held_blocks_;
  std::vector<std::pair<api::BlockEventWriter, std::shared_ptr<net::Responder>>> block_streams_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace sluice::gateway::testing
