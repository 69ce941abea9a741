#include "base/json.h"

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <exception>
#include <string>
#include <vector>

namespace sluice {
namespace {

// Builds the value itself rather than through json::parse, so that duplicate keys are seen: the
// reader behind a guard must not see another `model` than the guard did.
class Handler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  explicit Handler(size_t max_nodes) : max_nodes_(max_nodes) {}

  std::string problem;
  json::value result;

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code& ec) { return open(json::value(json::object()), ec); }
  bool on_array_begin(json::error_code& ec) { return open(json::value(json::array()), ec); }
  bool on_object_end(size_t, json::error_code& ec) { return close(ec); }
  bool on_array_end(size_t, json::error_code& ec) { return close(ec); }

  bool on_key_part(std::string_view s, size_t, json::error_code&) {
    text_.append(s);
    return true;
  }
  bool on_key(std::string_view s, size_t, json::error_code& ec) {
    text_.append(s);
    if (!count(ec)) return false;
    if (stack_.back().value.as_object().contains(text_)) {
      return refuse(fmt::format("the key \"{}\" stands twice in one object", shorten(text_)), ec);
    }
    stack_.back().key = std::move(text_);
    text_.clear();
    return true;
  }
  bool on_string_part(std::string_view s, size_t, json::error_code&) {
    text_.append(s);
    return true;
  }
  bool on_string(std::string_view s, size_t, json::error_code& ec) {
    text_.append(s);
    const bool ok = add(json::value(json::string(text_)), ec);
    text_.clear();
    return ok;
  }
  bool on_number_part(std::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t i, std::string_view, json::error_code& ec) { return add(i, ec); }
  bool on_uint64(uint64_t u, std::string_view, json::error_code& ec) { return add(u, ec); }
  bool on_double(double d, std::string_view, json::error_code& ec) {
    if (!std::isfinite(d)) return refuse("a number is too large for a 64-bit float", ec);
    return add(d, ec);
  }
  bool on_bool(bool b, json::error_code& ec) { return add(b, ec); }
  bool on_null(json::error_code& ec) { return add(nullptr, ec); }
  bool on_comment_part(std::string_view, json::error_code&) { return true; }
  bool on_comment(std::string_view, json::error_code&) { return true; }

 private:
  struct Level {
    json::value value;
    std::string key;
  };

  static std::string shorten(const std::string& s) {
    return s.size() <= 64 ? s : s.substr(0, 64) + "…";
  }

  bool refuse(std::string why, json::error_code& ec) {
    problem = std::move(why);
    ec = json::error::syntax;
    return false;
  }
  bool count(json::error_code& ec) {
    if (++nodes_ > max_nodes_) {
      return refuse(fmt::format("it holds more than {} values", max_nodes_), ec);
    }
    return true;
  }
  bool open(json::value container, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_back({std::move(container), {}});
    return true;
  }
  bool close(json::error_code&) {
    json::value done = std::move(stack_.back().value);
    stack_.pop_back();
    place(std::move(done));
    return true;
  }
  bool add(json::value value, json::error_code& ec) {
    if (!count(ec)) return false;
    place(std::move(value));
    return true;
  }
  void place(json::value value) {
    if (stack_.empty()) {
      result = std::move(value);
    } else if (stack_.back().value.is_array()) {
      stack_.back().value.get_array().push_back(std::move(value));
    } else {
      stack_.back().value.get_object().emplace(stack_.back().key, std::move(value));
    }
  }

  const size_t max_nodes_;
  size_t nodes_ = 0;
  std::vector<Level> stack_;
  std::string text_;
};

}  // namespace

Result<json::value> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return fail(Code::kTooLarge, fmt::format("JSON of {} bytes; at most {} are accepted",
                                             text.size(), limits.max_bytes));
  }
  json::parse_options options;
  options.max_depth = limits.max_depth;
  try {
    json::basic_parser<Handler> parser(options, limits.max_nodes);
    json::error_code ec;
    const size_t used = parser.write_some(false, text.data(), text.size(), ec);
    if (!ec && used < text.size()) ec = json::error::extra_data;
    if (!ec) return std::move(parser.handler().result);
    if (ec == json::error::too_deep) {
      return invalid(fmt::format("JSON is nested deeper than {} levels", limits.max_depth));
    }
    const std::string& problem = parser.handler().problem;
    return invalid(fmt::format("not valid JSON near byte {}: {}", used,
                               problem.empty() ? ec.message() : problem));
  } catch (const std::exception& e) {
    return invalid(fmt::format("not valid JSON: {}", e.what()));
  }
}

std::string to_json(const json::value& value) { return json::serialize(value); }

std::string_view json_kind(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "nothing";
}

}  // namespace sluice
