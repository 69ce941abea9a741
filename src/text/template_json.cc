// tojson, as Python's json.dumps writes it.

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <numeric>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

void write_unit(uint32_t unit, std::string& out) {
  fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit);
}

void write_string(std::string_view bytes, bool ascii, std::string& out) {
  static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f";
  static constexpr std::string_view kTo = "\"\\nrtbf";
  out.push_back('"');
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    const char32_t c = decode(bytes, at, length);
    const size_t special = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
    if (special != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(kTo[special]);
    } else if (c >= 0x20 && (c < 0x80 || !ascii)) {
      out.append(bytes.substr(at, length));
    } else if (c < 0x10000) {
      write_unit(c, out);
    } else {
      write_unit(0xD800 + ((c - 0x10000) >> 10), out);
      write_unit(0xDC00 + ((c - 0x10000) & 0x3FF), out);
    }
  }
  out.push_back('"');
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return format_float(value);
}

class Writer {
 public:
  Writer(Meter& meter, const JsonStyle& style, std::string& out)
      : meter_(meter), style_(style), out_(out) {}

  Outcome write(const Value& value) {
    meter_.step();
    SLUICE_RETURN_IF_ERROR(meter_.check());
    if (out_.size() > limits::kMaxTemplateOutput) {
      return fail(Code::kTooLarge,
                  fmt::format("tojson writes more than {} bytes", limits::kMaxTemplateOutput));
    }
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return {};
      case Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        return {};
      case Kind::kInt:
        out_ += format_int(value.as_int());
        return {};
      case Kind::kFloat:
        out_ += json_float(value.as_double());
        return {};
      case Kind::kString:
        meter_.step(value.bytes().size() / 256);
        write_string(value.bytes(), style_.ascii, out_);
        return {};
      case Kind::kList:
        return write_list(value.list());
      case Kind::kDict:
        return write_dict(value.dict());
      case Kind::kUndefined:
        return invalid("tojson cannot write an undefined value: " + value.why_undefined());
      case Kind::kObject:
        break;
    }
    return invalid(fmt::format("tojson cannot write a value of type '{}'", value.type_name()));
  }

 private:
  // What stands before the next item, and before the closing bracket.
  void separate(bool first) {
    if (!first) out_ += style_.item_separator;
    if (style_.pretty) line();
  }
  void line() {
    out_.push_back('\n');
    for (size_t i = 0; i < level_; ++i) out_ += style_.indent;
  }

  Outcome write_list(const List& list) {
    if (list.items.empty()) {
      out_ += "[]";
      return {};
    }
    out_.push_back('[');
    ++level_;
    for (size_t i = 0; i < list.items.size(); ++i) {
      separate(i == 0);
      SLUICE_RETURN_IF_ERROR(write(list.items[i]));
    }
    --level_;
    if (style_.pretty) line();
    out_.push_back(']');
    return {};
  }

  Outcome write_key(const Value& key) {
    if (key.is_string()) return write(key);
    if (!key.is_number() && !key.is_none()) {
      return invalid(fmt::format("tojson takes no key of type '{}'", key.type_name()));
    }
    out_.push_back('"');
    SLUICE_RETURN_IF_ERROR(write(key));
    out_.push_back('"');
    return {};
  }

  Outcome write_dict(const Dict& dict) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return {};
    }
    SLUICE_ASSIGN_OR_RETURN(const auto order, key_order(dict));
    out_.push_back('{');
    ++level_;
    for (size_t i = 0; i < order.size(); ++i) {
      const auto& [key, value] = dict.entries[order[i]];
      separate(i == 0);
      SLUICE_RETURN_IF_ERROR(write_key(key));
      out_ += style_.key_separator;
      SLUICE_RETURN_IF_ERROR(write(value));
    }
    --level_;
    if (style_.pretty) line();
    out_.push_back('}');
    return {};
  }

  Result<std::vector<uint32_t>> key_order(const Dict& dict) {
    if (!style_.sort_keys) {
      std::vector<uint32_t> order(dict.entries.size());
      std::iota(order.begin(), order.end(), 0U);
      return order;
    }
    std::vector<Value> keys;
    keys.reserve(dict.entries.size());
    for (const auto& entry : dict.entries) keys.push_back(entry.first);
    return sorted_order(meter_, keys, Direction::kUp);
  }

  Meter& meter_;
  const JsonStyle& style_;
  std::string& out_;
  size_t level_ = 0;
};

}  // namespace

Outcome write_json(Meter& meter, const Value& value, const JsonStyle& style, std::string& out) {
  return Writer(meter, style, out).write(value);
}

}  // namespace sluice::text::jinja
