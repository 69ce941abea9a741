#include "plan/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

namespace sluice::plan {
namespace {

constexpr size_t kMaxProblems = 20;
constexpr size_t kUsualFields = 32;  // that are asked for in one mapping
constexpr size_t kMarked = 64;       // fields of a mapping that have a bit

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array<Unit, 6> kTimes = {{{"us", 1'000},
                                         {"ms", 1'000'000},
                                         {"s", 1'000'000'000},
                                         {"m", 60'000'000'000},
                                         {"h", 3'600'000'000'000},
                                         {"d", 86'400'000'000'000}}};
constexpr std::array<Unit, 5> kSizes = {
    {{"", 1}, {"B", 1}, {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}}};

// A whole number and one of the units; nothing when it is none or more than 63 bits.
template <size_t N>
Result<uint64_t> with_unit(std::string_view text, const std::array<Unit, N>& units) {
  uint64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return invalid("no number");
  const std::string_view unit = text.substr(static_cast<size_t>(at - text.data()));
  for (const Unit& known : units) {
    if (unit != known.name) continue;
    if (value > std::numeric_limits<int64_t>::max() / known.factor) return invalid("too large");
    return value * known.factor;
  }
  return invalid("no such unit");
}

std::string duration_text(Duration d) {
  const auto count = static_cast<uint64_t>(d.count());
  for (size_t i = kTimes.size(); i-- > 0;) {
    if (count >= kTimes[i].factor && count % kTimes[i].factor == 0) {
      return fmt::format("{}{}", count / kTimes[i].factor, kTimes[i].name);
    }
  }
  return count == 0 ? "0s" : fmt::format("{}us", count / 1000);
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./:@").contains(c);
  });
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration::zero();
  SLUICE_ASSIGN_OR_RETURN(const uint64_t value, with_unit(text, kTimes));
  return Duration(static_cast<Duration::rep>(value));
}

Result<size_t> parse_bytes(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(const uint64_t value, with_unit(text, kSizes));
  return static_cast<size_t>(value);
}

void Problems::add(const Node& node, std::string_view path, std::string_view message) {
  if (lines_.size() >= kMaxProblems) {
    ++left_out_;
    return;
  }
  std::string line = place_of(node);
  if (!line.empty()) line += ": ";
  if (!path.empty()) line.append(path).append(": ");
  lines_.push_back(line.append(message));
}

Outcome Problems::outcome() const {
  if (lines_.empty()) return {};
  std::string message = fmt::format("{}", fmt::join(lines_, "\n"));
  if (left_out_ > 0) message += fmt::format("\nand {} more", left_out_);
  return invalid(std::move(message));
}

Fields::Fields(const Node& node, std::string_view path, Problems& problems)
    : node_(node), name_(path), problems_(problems) {
  expect_mapping();
}

Fields::Fields(const Node& node, const Fields& parent, std::string_view name, size_t item)
    : node_(node), parent_(&parent), name_(name), item_(item), problems_(parent.problems_) {
  expect_mapping();
}

void Fields::expect_mapping() {
  asked_.reserve(kUsualFields);
  if (node_.kind == Node::Kind::kMap || node_.null()) return;
  problems_.add(node_, path(), "expected a mapping, found " + found_text(node_));
}

std::string Fields::path() const {
  std::string path = parent_ == nullptr ? std::string(name_) : parent_->path_of(name_);
  if (item_ != kNoItem) path += fmt::format("[{}]", item_);
  return path;
}

std::string Fields::path_of(std::string_view name) const {
  std::string whole = path();
  if (name.empty()) return whole;
  return whole.empty() ? std::string(name) : fmt::format("{}.{}", whole, name);
}

const Node* Fields::find(std::string_view name) {
  for (size_t i = 0; i < node_.fields.size(); ++i) {
    if (node_.fields[i].key != name) continue;
    asked_.push_back(node_.fields[i].key);
    if (i < kMarked) found_ |= uint64_t{1} << i;
    const Node& found = node_.fields[i].value;
    return found.null() ? nullptr : &found;
  }
  asked_.push_back(name);
  return nullptr;
}

bool Fields::was_asked(size_t field) const {
  if (field < kMarked) return (found_ & uint64_t{1} << field) != 0;
  return std::ranges::find(asked_, node_.fields[field].key) != asked_.end();
}

void Fields::problem(std::string_view name, std::string_view message) {
  const Node* found = name.empty() ? nullptr : node_.find(name);
  problems_.add(found != nullptr ? *found : node_, path_of(name), message);
}

void Fields::require(std::string_view name) {
  if (!has(name)) problem(name, "is required and missing");
}

const Node* Fields::scalar(std::string_view name, FunctionRef<std::string()> expected) {
  const Node* found = find(name);
  if (found == nullptr || found->kind == Node::Kind::kScalar) return found;
  problem(name, fmt::format("{}, found {}", expected(), found_text(*found)));
  return nullptr;
}

void Fields::text(std::string_view name, std::string& out, size_t max_bytes) {
  const Node* found = scalar(name, [] { return std::string("expected a text"); });
  if (found == nullptr) return;
  if (found->text.empty() || found->text.size() > max_bytes) {
    return problem(name, fmt::format("expected a text of 1 to {} bytes, found {} bytes", max_bytes,
                                     found->text.size()));
  }
  if (std::ranges::any_of(
          found->text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return problem(name, "expected a text without control characters");
  }
  out = found->text;
}

void Fields::name(std::string_view field, std::string& out) {
  const Node* found = scalar(field, [] { return std::string("expected a name"); });
  if (found == nullptr) return;
  if (!is_name(found->text)) {
    return problem(field, fmt::format("expected a name of letters, digits and -_./:@, found {}",
                                      found_text(*found)));
  }
  out = found->text;
}

const Node* Fields::items_of(std::string_view name, size_t max_items) {
  const Node* found = find(name);
  if (found == nullptr) return nullptr;
  if (found->kind != Node::Kind::kList) {
    problem(name, "expected a list, found " + found_text(*found));
    return nullptr;
  }
  if (found->items.size() > max_items) {
    problem(name,
            fmt::format("expected at most {} entries, found {}", max_items, found->items.size()));
    return nullptr;
  }
  return found;
}

void Fields::texts(std::string_view name, std::vector<std::string>& out, size_t max_items,
                   size_t max_bytes) {
  const Node* found = find(name);
  if (found == nullptr) return;
  // One text stands for a list of one.
  Node single;
  if (found->kind == Node::Kind::kScalar) {
    single.kind = Node::Kind::kList;
    single.items.push_back(*found);
    found = &single;
  } else if (found = items_of(name, max_items); found == nullptr) {
    return;
  }
  out.clear();
  for (const Node& item : found->items) {
    if (item.kind != Node::Kind::kScalar || item.text.empty() || item.text.size() > max_bytes) {
      problems_.add(
          item, path_of(name),
          fmt::format("expected texts of 1 to {} bytes, found {}", max_bytes, found_text(item)));
      continue;
    }
    out.push_back(item.text);
  }
}

void Fields::boolean(std::string_view name, bool& out) {
  choice<bool>(name, out, {{"true", true}, {"false", false}});
}

void Fields::integer(std::string_view name, int64_t& out, int64_t min, int64_t max) {
  const auto expected = [&] {
    return fmt::format("expected a whole number from {} to {}", min, max);
  };
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  int64_t value = 0;
  const char* end = found->text.data() + found->text.size();
  const auto [at, error] = std::from_chars(found->text.data(), end, value);
  if (error != std::errc() || at != end || value < min || value > max) {
    return problem(name, fmt::format("{}, found {}", expected(), found_text(*found)));
  }
  out = value;
}

void Fields::integer(std::string_view name, int& out, int min, int max) {
  int64_t value = out;
  integer(name, value, int64_t{min}, int64_t{max});
  out = static_cast<int>(value);
}

void Fields::number(std::string_view name, double& out, double min, double max) {
  const auto expected = [&] { return fmt::format("expected a number from {} to {}", min, max); };
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  double value = 0;
  const char* end = found->text.data() + found->text.size();
  const auto [at, error] = std::from_chars(found->text.data(), end, value);
  if (error != std::errc() || at != end || !(value >= min && value <= max)) {
    return problem(name, fmt::format("{}, found {}", expected(), found_text(*found)));
  }
  out = value;
}

void Fields::duration(std::string_view name, Duration& out, Duration min, Duration max) {
  const auto expected = [&] {
    return fmt::format("expected a duration from {} to {}, such as 250ms or 30s",
                       duration_text(min), duration_text(max));
  };
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  const auto value = parse_duration(found->text);
  if (!value || *value < min || *value > max) {
    return problem(name, fmt::format("{}; found {}", expected(), found_text(*found)));
  }
  out = *value;
}

void Fields::size(std::string_view name, size_t& out, size_t min, size_t max) {
  const auto expected = [&] {
    return fmt::format("expected a size from {} to {} bytes, such as 64KiB or 8MiB", min, max);
  };
  const Node* found = scalar(name, expected);
  if (found == nullptr) return;
  const auto value = parse_bytes(found->text);
  if (!value || *value < min || *value > max) {
    return problem(name, fmt::format("{}; found {}", expected(), found_text(*found)));
  }
  out = *value;
}

void Fields::finish() {
  for (size_t i = 0; i < node_.fields.size(); ++i) {
    if (was_asked(i)) continue;
    const auto& [key, value] = node_.fields[i];
    Node name;
    name.kind = Node::Kind::kScalar;
    name.text = key;
    const std::set<std::string_view> known(asked_.begin(), asked_.end());
    problems_.add(value, path(),
                  fmt::format("there is no field {}; expected one of {}", found_text(name),
                              fmt::join(known, ", ")));
  }
}

}  // namespace sluice::plan
