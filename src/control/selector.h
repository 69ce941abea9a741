// Label and field selectors: which objects a list or a watch is about.
//
// Immutable once parsed. Fuzz target: control_selector_fuzz.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/api_error.h"

namespace sluice::control {

class Selector {
 public:
  // labels: "app=x,tier!=db,env in (a,b),!legacy,canary,version>3"; fields:
  // "metadata.name=x,involvedObject.kind!=Node". Empty text selects everything.
  static ApiResult<Selector> parse(std::string_view labels, std::string_view fields);

  bool all() const { return labels_.empty() && fields_.empty(); }
  bool matches(const json::object& object) const;
  // The name that the selection is bound to, or empty.
  std::string_view only_name() const;

 private:
  enum class Op { kIn, kNotIn, kExists, kNotExists, kGreater, kLess };
  struct Term {
    std::string key;
    Op op = Op::kIn;
    std::vector<std::string> values;
  };

  static ApiResult<std::vector<Term>> parse_labels(std::string_view text);
  static ApiResult<std::vector<Term>> parse_fields(std::string_view text);
  static bool label_holds(const Term& term, const json::object* labels);

  std::vector<Term> labels_;
  std::vector<Term> fields_;  // kIn or kNotIn of one value
};

}  // namespace sluice::control
