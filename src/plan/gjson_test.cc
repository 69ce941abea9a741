#include "plan/gjson.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::plan {
namespace {

constexpr const char* kDocument = R"({
  "name": {"first": "Tom", "last": "A"}, "age": 37, "fav.movie": "Deer", "on": true, "none": null,
  "children": ["Sara", "Alex", "Jack"],
  "friends": [
    {"first": "Dale", "age": 44, "nets": ["ig", "fb"]},
    {"first": "Roger", "age": 68, "nets": ["fb"]},
    {"first": "Jane", "age": 47, "nets": []}],
  "numbers": [1, 5, 9], "decision_picker": "ENSEMBLE", "predictions": ["cat", "dog"]})";

bool exists(const std::string& path) {
  const auto parsed = GjsonPath::parse(path);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed && parsed->exists(*parse_json(kDocument));
}

std::string refusal(const std::string& path) {
  const auto parsed = GjsonPath::parse(path);
  return parsed ? "" : parsed.error().message();
}

TEST(Gjson, KeysAndIndexes) {
  for (const char* path : {"age", "name.first", "children.0", "children.2", "fav\\.movie", "none",
                           "child*.1", "c?ildren", "friends.1.nets.0", "@this", "@this.age",
                           "children.#", "friends.#.first", "friends.#.nothing"}) {
    EXPECT_TRUE(exists(path)) << path;
  }
  for (const char* path : {"Age", "name.middle", "children.3", "children.x", "fav.movie", "age.x",
                           "x*", "age.#", "children.-1"}) {
    EXPECT_FALSE(exists(path)) << path;
  }
}

TEST(Gjson, Queries) {
  for (const char* path :
       {R"(friends.#(first=="Dale").age)", "friends.#(age>45).first", "friends.#(age>=68)",
        R"(friends.#(first%"D*"))", R"(friends.#(first!%"D*"))", "friends.#(first==Roger)",
        R"(friends.#(nets.#(=="fb")).first)", "friends.#(nets.0)", "numbers.#(>5)",
        "numbers.#(==5)", "friends.#(age>1000)#", R"(children.#(=="Alex"))",
        R"([@this].#(predictions.0=="cat"))", "[@this].#(decision_picker==ENSEMBLE)",
        "[@this].#(on==true)", "[@this].#(none==null)", "friends.#(first!=Dale)",
        R"(predictions.#(=="dog"))", "friends.#( age > 45 )"}) {
    EXPECT_TRUE(exists(path)) << path;
  }
  for (const char* path :
       {R"(friends.#(first=="Nobody"))", "friends.#(age>68)", "numbers.#(>9)", "numbers.#(==x)",
        R"([@this].#(predictions.0=="dog"))", "[@this].#(decision_picker==SPLITTER)",
        "[@this].#(on==false)", "friends.#(first==Dale).last", "name.#(first==Tom)",
        R"(friends.#(nets.#(=="tw")))"}) {
    EXPECT_FALSE(exists(path)) << path;
  }
}

TEST(Gjson, WhatIsNotUnderstoodIsNamed) {
  EXPECT_TRUE(refusal("list.@reverse").contains("@reverse"));
  EXPECT_TRUE(refusal("@pretty:{}").contains("@pretty"));
  EXPECT_TRUE(refusal("[a,b]").contains("several paths"));
  EXPECT_TRUE(refusal("{a,b}").contains("several paths"));
  EXPECT_TRUE(refusal("a|b").contains("'|'"));
  EXPECT_TRUE(refusal("a.#(b==~true)").contains("'~'"));
  EXPECT_TRUE(refusal("a.#(b==1").contains("closing bracket"));
  EXPECT_TRUE(refusal("a.#()").contains("empty"));
  EXPECT_TRUE(refusal("a..b").contains("expected a key"));
  EXPECT_TRUE(refusal("").contains("1 to 1024"));
  EXPECT_TRUE(refusal("a.#x").contains("behind '#'"));
  EXPECT_TRUE(refusal(R"(a.#(b=="x))").contains("closing bracket"));
  std::string deep = "a";
  for (int i = 0; i < 20; ++i) deep = "l.#(" + deep + ")";
  EXPECT_TRUE(refusal(deep).contains("too deeply"));
}

}  // namespace
}  // namespace sluice::plan
