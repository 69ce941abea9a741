#include "cli/chat.h"

#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <future>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "cli/line_reader.h"
#include "net/client.h"
#include "net/sse.h"

namespace sluice::cli {
namespace {

constexpr std::string_view kHelp =
    "/help            this list\n"
    "/system TEXT     set the system message and begin anew\n"
    "/clear           forget the conversation\n"
    "/retry           answer the last message once more\n"
    "/save FILE       write the conversation as JSON\n"
    "/set NAME VALUE  temperature, top_p or max_tokens\n"
    "/quit            leave (also Ctrl-D)\n"
    "A line that ends in \\ goes on in the next one; \"\"\" begins and ends several lines.\n"
    "Ctrl-C stops an answer.\n";

volatile std::sig_atomic_t interrupted = 0;

void note_interrupt(int) { interrupted = 1; }

struct Answer {
  std::string text;
  json::object usage;
};

class Conversation {
 public:
  explicit Conversation(ChatOptions options) : options_(std::move(options)) { clear(); }

  void clear() {
    messages_.clear();
    if (!options_.system.empty()) add("system", options_.system);
  }
  void set_system(std::string text) {
    options_.system = std::move(text);
    clear();
  }
  void add(std::string_view role, std::string_view text) {
    messages_.push_back(json::object{{"role", role}, {"content", text}});
  }
  // Drops the last answer, so that the message before it is answered again.
  bool take_back() {
    if (messages_.empty() || messages_.back().at("role") != "assistant") return false;
    messages_.pop_back();
    return true;
  }
  Outcome set(const std::string& name, const std::string& value) {
    auto number = parse_json(value);
    if (!number || !number->is_number()) return invalid("the value must be a number");
    if (name == "temperature") {
      options_.temperature = number->to_number<double>();
    } else if (name == "top_p") {
      options_.top_p = number->to_number<double>();
    } else if (name == "max_tokens") {
      options_.max_tokens = static_cast<int>(number->to_number<double>());
    } else {
      return invalid("the name must be temperature, top_p or max_tokens");
    }
    return {};
  }
  const json::array& messages() const { return messages_; }

  // Asks for an answer to the conversation so far and prints it as it comes.
  Result<Answer> answer(bool print);

 private:
  net::ClientRequest request() const {
    json::object body = {
        {"messages", messages_}, {"stream", true}, {"stream_options", {{"include_usage", true}}}};
    if (!options_.model.empty()) body["model"] = options_.model;
    if (options_.temperature) body["temperature"] = *options_.temperature;
    if (options_.top_p) body["top_p"] = *options_.top_p;
    if (options_.max_tokens) body["max_tokens"] = *options_.max_tokens;
    net::ClientRequest request{.method = "POST",
                               .url = options_.url + "/v1/chat/completions",
                               .headers = {{"Content-Type", "application/json"}},
                               .body = to_json(body)};
    if (!options_.api_key.empty()) {
      request.headers.emplace_back("Authorization", "Bearer " + options_.api_key);
    }
    return request;
  }

  ChatOptions options_;
  json::array messages_;
  net::HttpClient client_;
};

// Reads one answer's stream on the client's thread.
class AnswerReader {
 public:
  explicit AnswerReader(bool print) : print_(print) {}

  void on_head(int status) { status_ = status; }

  void on_data(std::string_view bytes) {
    if (status_ != 200) {
      if (error_body_.size() < 65536) error_body_ += bytes;
      return;
    }
    std::vector<net::SseEvent> events;
    if (!parser_.feed(bytes, events)) failure_ = "the answer is no event stream";
    for (const net::SseEvent& event : events) {
      if (event.data != "[DONE]") on_event(event.data);
    }
  }

  Result<Answer> result(const Outcome& outcome) {
    if (!outcome && outcome.error().code() != Code::kCancelled) {
      return std::unexpected(outcome.error());
    }
    if (status_ != 0 && status_ != 200) return fail(Code::kUnavailable, error_text());
    if (!failure_.empty()) return fail(Code::kUnavailable, failure_);
    return answer_;
  }

 private:
  void on_event(const std::string& data) {
    const auto chunk = parse_json(data);
    if (!chunk || !chunk->is_object()) return;
    if (const json::value* error = chunk->get_object().if_contains("error")) {
      failure_ = to_json(*error);
      return;
    }
    if (const json::value* usage = chunk->get_object().if_contains("usage");
        usage != nullptr && usage->is_object()) {
      answer_.usage = usage->get_object();
    }
    json::error_code missing;
    const json::value* text = chunk->find_pointer("/choices/0/delta/content", missing);
    if (text == nullptr || !text->is_string()) return;
    answer_.text += text->get_string();
    if (print_) std::cout << std::string_view(text->get_string()) << std::flush;
  }

  std::string error_text() const {
    const auto body = parse_json(error_body_);
    json::error_code missing;
    const json::value* message = body ? body->find_pointer("/error/message", missing) : nullptr;
    return message != nullptr && message->is_string()
               ? fmt::format("HTTP {}: {}", status_, std::string_view(message->get_string()))
               : fmt::format("HTTP {}", status_);
  }

  const bool print_;
  int status_ = 0;
  std::string error_body_;
  std::string failure_;
  net::SseParser parser_;
  Answer answer_;
};

Result<Answer> Conversation::answer(bool print) {
  auto reader = std::make_shared<AnswerReader>(print);
  auto ended = std::make_shared<std::promise<Outcome>>();
  std::future<Outcome> end = ended->get_future();
  interrupted = 0;
  net::ClientCall call = client_.request(
      request(), {.on_head = [reader](int status, const net::Headers&) { reader->on_head(status); },
                  .on_data = [reader](std::string_view bytes) { reader->on_data(bytes); },
                  .on_end = [ended](Outcome outcome) { ended->set_value(std::move(outcome)); }});
  while (end.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (interrupted != 0) call.cancel();
  }
  auto answer = reader->result(end.get());
  if (print) std::cout << "\n";
  if (answer) add("assistant", answer->text);
  return answer;
}

bool ask(Conversation& conversation) {
  const auto answer = conversation.answer(true);
  if (!answer) std::cerr << "error: " << answer.error().message() << "\n";
  return answer.has_value();
}

std::pair<std::string, std::string> split_word(const std::string& text) {
  const size_t at = text.find(' ');
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

// False when the conversation is to end.
bool run_command(Conversation& conversation, const std::string& line) {
  const auto [command, rest] = split_word(line);
  if (command == "/quit" || command == "/exit") return false;
  if (command == "/clear") {
    conversation.clear();
  } else if (command == "/system") {
    conversation.set_system(rest);
  } else if (command == "/retry") {
    if (conversation.take_back()) {
      ask(conversation);
    } else {
      std::cerr << "there is no answer yet\n";
    }
  } else if (command == "/save") {
    const Outcome saved = write_file_atomically(rest, to_json(conversation.messages()) + "\n");
    if (!saved) std::cerr << "error: " << saved.error().message() << "\n";
  } else if (command == "/set") {
    const auto [name, value] = split_word(rest);
    const Outcome set = conversation.set(name, value);
    if (!set) std::cerr << "error: " << set.error().message() << "\n";
  } else {
    if (command != "/help") std::cerr << "unknown command " << command << "\n";
    std::cout << kHelp;
  }
  return true;
}

int run_once(Conversation& conversation, const ChatOptions& options) {
  conversation.add("user", options.prompt);
  const bool as_json = options.output == "json";
  const auto answer = conversation.answer(!as_json);
  if (!answer) {
    log_error("{}", answer.error().message());
    return 1;
  }
  if (as_json) {
    std::cout << to_json({{"content", answer->text}, {"usage", answer->usage}}) << "\n";
  }
  return 0;
}

}  // namespace

int run_chat(const ChatOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  struct sigaction action{};
  action.sa_handler = note_interrupt;
  sigaction(SIGINT, &action, nullptr);
  Conversation conversation(options);
  if (!options.prompt.empty()) return run_once(conversation, options);

  std::cout << "Chatting with " << options.url << ". /help lists the commands.\n";
  LineReader reader("> ");
  while (auto line = reader.read()) {
    if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
    if (line->front() == '/') {
      if (!run_command(conversation, *line)) break;
      continue;
    }
    conversation.add("user", *line);
    ask(conversation);
  }
  return 0;
}

}  // namespace sluice::cli
