// Renders chat templates for the comparison of tests/templates/run.sh. Each line of the input is a
// JSON object {"template", "inputs", "time"}; each line of the output is {"segments": [[text,
// trusted], …]} or {"error": message}.

#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "base/json.h"
#include "text/chat_template.h"

namespace {

using sluice::Result;
namespace json = boost::json;

std::string answer(const json::object& request) {
  static std::map<std::string, Result<sluice::text::ChatTemplate>, std::less<>> parsed;
  const std::string source(request.at("template").as_string());
  auto it = parsed.find(source);
  if (it == parsed.end()) {
    it = parsed.emplace(source, sluice::text::ChatTemplate::parse(source)).first;
  }
  json::object reply;
  if (!it->second) {
    reply["error"] = it->second.error().message();
    return json::serialize(reply);
  }
  const auto segments =
      it->second->render(request.at("inputs").as_object(), request.at("time").to_number<double>());
  if (!segments) {
    reply["error"] = segments.error().message();
    return json::serialize(reply);
  }
  json::array list;
  for (const auto& segment : *segments) list.push_back(json::array{segment.text, segment.trusted});
  reply["segments"] = std::move(list);
  return json::serialize(reply);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: render_cases CASES.jsonl ANSWERS.jsonl\n";
    return 2;
  }
  std::ifstream in(argv[1]);
  std::ofstream out(argv[2]);
  for (std::string line; std::getline(in, line);) {
    const auto request = sluice::parse_json(line, {.max_bytes = 16u << 20});
    if (!request) {
      std::cerr << request.error().message() << "\n";
      return 1;
    }
    out << answer(request->as_object()) << "\n";
  }
  return 0;
}
