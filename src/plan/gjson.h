// GjsonPath: the part of the GJSON path language that conditions of graphs are written in: whether
// something is there in a JSON value.
//
//   a.b.0        keys and indexes; '*' and '?' in keys fit any text; '\' takes a character as it is
//   list.#       a list's length; list.#.a: of every item that has it
//   list.#(a.b=="x")    the first item for which it holds; #(…)# all of them
//   == != < <= > >= % !%   with a string, a bare word, a number, true, false or null; % fits '*'
//                and '?'; without an operator: the item has it. "#(>5)" looks at the item itself
//   @this, [@this]      the value itself; a list with it alone
//
// Other modifiers (@reverse, …), several paths at once ([a,b], {a,b}), pipes and '~' are refused by
// name. Source: the published syntax description of GJSON. Foreign text: bounded; fuzz target
// gjson_fuzz. Immutable; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::plan {

class GjsonPath {
 public:
  static constexpr size_t kMaxBytes = 1024;
  static constexpr int kMaxDepth = 8;  // queries within queries

  static Result<GjsonPath> parse(std::string_view text);

  // Whether the path leads to something. Lists of all items for which something holds are there,
  // though they may be empty.
  bool exists(const json::value& value) const;

  enum class Operator {
    kHas,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kMore,
    kMoreEqual,
    kLike,
    kUnlike
  };
  struct Query;
  struct Step {
    enum class Kind { kKey, kCount, kThis, kWrapped, kFirst, kAll };
    Kind kind = Kind::kKey;
    std::string key = {};                     // '\' before what is meant as it stands
    bool pattern = false;                     // it has '*' or '?'
    std::shared_ptr<const Query> query = {};  // of kFirst and kAll
  };
  struct Query {
    std::vector<Step> path = {};  // empty: the item itself
    Operator op = Operator::kHas;
    std::string operand = {};
  };

 private:
  explicit GjsonPath(std::vector<Step> steps) : steps_(std::move(steps)) {}

  std::vector<Step> steps_;
};

}  // namespace sluice::plan
