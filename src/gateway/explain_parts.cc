#include "gateway/explain_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace sluice::gateway {
namespace {

using Segments = plan::ExplainPlan::Segments;

constexpr size_t kMaxBodyBytes = 1u << 20;
constexpr size_t kMaxMessages = 256;
constexpr size_t kMaxSearched = 1024;  // parts among which the shortest pair is looked for

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool ends_sentence(std::string_view text, size_t at) {
  if (text[at] == '\n') return true;
  const bool mark = text[at] == '.' || text[at] == '!' || text[at] == '?';
  if (mark) return at + 1 == text.size() || is_blank(text[at + 1]);
  // The full stops of Chinese and Japanese: no blank follows.
  return text.substr(0, at + 1).ends_with("。") || text.substr(0, at + 1).ends_with("！") ||
         text.substr(0, at + 1).ends_with("？");
}

bool ends_part(std::string_view text, size_t at, Segments by) {
  if (by == Segments::kLine) return text[at] == '\n';
  if (by == Segments::kSentence) return ends_sentence(text, at);
  return is_blank(text[at]);
}

void add_parts(std::string_view text, size_t message, Segments by, std::vector<PromptPart>& out) {
  const size_t first = out.size();
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool end = at + 1 == text.size() || ends_part(text, at, by);
    if (!end) continue;
    // Blanks behind it belong to it.
    while (at + 1 < text.size() && is_blank(text[at + 1])) ++at;
    const std::string_view part = text.substr(begin, at + 1 - begin);
    const bool blank = std::ranges::all_of(part, is_blank);
    if (blank && out.size() > first) {
      out.back().end = at + 1;
    } else if (!blank) {
      out.push_back({.message = message, .begin = begin, .end = at + 1});
    } else {
      continue;  // it goes to the part behind it
    }
    begin = at + 1;
  }
}

// Each with its neighbour of the same message. False: none had one.
bool join_pairs(std::vector<PromptPart>& parts) {
  size_t kept = 0;
  for (size_t i = 0; i < parts.size(); ++i, ++kept) {
    parts[kept] = parts[i];
    const bool pair = i + 1 < parts.size() && parts[i + 1].message == parts[i].message;
    if (pair) parts[kept].end = parts[++i].end;
  }
  const bool fewer = kept < parts.size();
  parts.resize(kept);
  return fewer;
}

std::string_view text_of(const ExplainQuestion& question, size_t message) {
  if (!question.chat()) return question.text;
  return question.messages[message].get_object().at("content").get_string();
}

Outcome read_messages(const json::value& value, ExplainQuestion& out) {
  const json::array* list = value.if_array();
  if (list == nullptr || list->empty() || list->size() > kMaxMessages) {
    return invalid(fmt::format("messages must be a list of 1 to {}", kMaxMessages), "messages");
  }
  for (const json::value& each : *list) {
    const json::object* message = each.if_object();
    const json::value* content = message == nullptr ? nullptr : message->if_contains("content");
    if (content == nullptr || !content->is_string()) {
      return invalid("every message must have a text as its content", "messages");
    }
  }
  out.messages = *list;
  return {};
}

Outcome read_instance(const json::value& value, ExplainQuestion& out) {
  if (const json::string* text = value.if_string()) {
    out.text = *text;
  } else if (const json::object* object = value.if_object()) {
    if (const json::value* messages = object->if_contains("messages")) {
      SLUICE_RETURN_IF_ERROR(read_messages(*messages, out));
    } else if (const json::value* prompt = object->if_contains("prompt");
               prompt != nullptr && prompt->is_string()) {
      out.text = prompt->get_string();
    }
  }
  if (out.chat() || !out.text.empty()) return {};
  return invalid("expected a prompt: a text, or an object with prompt or messages", "instances");
}

Outcome read_count(const json::object& from, std::string_view name, int& out) {
  const json::value* value = from.if_contains(name);
  if (value == nullptr) return {};
  const int64_t* number = value->if_int64();
  if (number == nullptr || *number < 1 || *number > out) {
    return invalid(fmt::format("{} must be a whole number from 1 to {}", name, out),
                   std::string(name));
  }
  out = static_cast<int>(*number);
  return {};
}

Outcome read_options(const json::object& from, ExplainQuestion& out) {
  SLUICE_RETURN_IF_ERROR(read_count(from, "max_segments", out.max_segments));
  SLUICE_RETURN_IF_ERROR(read_count(from, "max_tokens", out.max_tokens));
  if (const json::value* answer = from.if_contains("answer")) {
    if (!answer->is_string()) return invalid("answer must be a text", "answer");
    out.answer = answer->get_string();
  }
  const json::value* by = from.if_contains("segments");
  if (by == nullptr) return {};
  const std::string_view word = by->is_string() ? std::string_view(by->get_string()) : "";
  for (const auto& [name, segments] :
       {std::pair("word", Segments::kWord), std::pair("sentence", Segments::kSentence),
        std::pair("line", Segments::kLine)}) {
    if (word != name) continue;
    out.segments = segments;
    return {};
  }
  return invalid("segments must be word, sentence or line", "segments");
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
}

// Warm: the answer needs it; cold: it stands against the answer.
std::string colour(double share) {
  const int strength = static_cast<int>(std::round(std::abs(share) * 100));
  return share >= 0 ? fmt::format("rgba(230,110,20,{}%)", strength)
                    : fmt::format("rgba(30,110,220,{}%)", strength);
}

}  // namespace

Result<ExplainQuestion> read_question(std::string_view body, std::string_view model,
                                      const plan::ExplainPlan& plan) {
  SLUICE_ASSIGN_OR_RETURN(const json::value value, parse_json(body, {.max_bytes = kMaxBodyBytes}));
  const json::object* object = value.if_object();
  if (object == nullptr) return invalid("the body must be a JSON object");
  ExplainQuestion question{.model = std::string(model),
                           .messages = {},
                           .text = {},
                           .segments = plan.segments,
                           .max_segments = plan.max_segments,
                           .max_tokens = plan.max_tokens,
                           .answer = {}};
  const json::value* instances = object->if_contains("instances");
  if (instances == nullptr) {
    SLUICE_RETURN_IF_ERROR(read_instance(value, question));
  } else {
    const json::array* list = instances->if_array();
    if (list == nullptr || list->size() != 1) {
      return invalid("instances must be a list of one: one prompt is explained at a time",
                     "instances");
    }
    SLUICE_RETURN_IF_ERROR(read_instance(list->front(), question));
  }
  if (const json::value* options = object->if_contains("parameters")) {
    if (!options->is_object()) return invalid("parameters must be an object", "parameters");
    SLUICE_RETURN_IF_ERROR(read_options(options->get_object(), question));
  }
  return question;
}

std::vector<PromptPart> prompt_parts(const ExplainQuestion& question) {
  std::vector<PromptPart> parts;
  const size_t messages = question.chat() ? question.messages.size() : 1;
  for (size_t i = 0; i < messages; ++i) {
    add_parts(text_of(question, i), i, question.segments, parts);
  }
  const auto most = static_cast<size_t>(question.max_segments);
  // The search below looks at all of them for each that it joins.
  while (parts.size() > kMaxSearched && join_pairs(parts)) {
  }
  while (parts.size() > most) {
    // The two neighbours that are the shortest together; those of one message only.
    size_t best = parts.size();
    size_t shortest = SIZE_MAX;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      if (parts[i].message != parts[i + 1].message) continue;
      const size_t size = parts[i + 1].end - parts[i].begin;
      if (size >= shortest) continue;
      shortest = size;
      best = i;
    }
    if (best == parts.size()) break;
    parts[best].end = parts[best + 1].end;
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  return parts;
}

json::object prompt_without(const ExplainQuestion& question, const PromptPart* part) {
  const auto cut = [part](std::string_view text) {
    std::string out(text);
    if (part != nullptr) out.erase(part->begin, part->end - part->begin);
    return out;
  };
  json::object out;
  if (!question.chat()) {
    out["prompt"] = cut(question.text);
    return out;
  }
  json::array messages = question.messages;
  if (part != nullptr) {
    json::value& content = messages[part->message].get_object().at("content");
    content = cut(std::string_view(content.get_string()));
  }
  out["messages"] = std::move(messages);
  return out;
}

double score(const Explanation& explanation, size_t part) {
  double lost = 0;
  for (size_t i = 0; i < explanation.whole.size(); ++i) {
    lost += explanation.whole[i] - explanation.without[part][i];
  }
  return lost;
}

std::string explanation_json(const Explanation& e) {
  json::array segments;
  for (size_t i = 0; i < e.parts.size(); ++i) {
    const PromptPart& part = e.parts[i];
    json::array each;
    for (size_t t = 0; t < e.whole.size(); ++t) each.push_back(e.whole[t] - e.without[i][t]);
    json::object segment{
        {"text", text_of(e.question, part.message).substr(part.begin, part.end - part.begin)},
        {"begin", part.begin},
        {"end", part.end},
        {"score", score(e, i)},
        {"token_scores", std::move(each)}};
    if (e.question.chat()) segment["message"] = part.message;
    segments.push_back(std::move(segment));
  }
  json::array logprobs(e.whole.begin(), e.whole.end());
  json::array tokens(e.tokens.begin(), e.tokens.end());
  const json::object explanation{{"method", "ablation"},
                                 {"unit", "nats that the answer loses without the segment"},
                                 {"answer", e.answer},
                                 {"answer_tokens", std::move(tokens)},
                                 {"answer_logprobs", std::move(logprobs)},
                                 {"segments", std::move(segments)}};
  return to_json(json::object{{"predictions", json::array{json::value(e.answer)}},
                              {"explanations", json::array{json::value(explanation)}}});
}

std::string explanation_page(const Explanation& e) {
  double most = 1e-9;
  for (size_t i = 0; i < e.parts.size(); ++i) most = std::max(most, std::abs(score(e, i)));
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>What the answer "
      "rests on</title>\n<style>\nbody{font:16px/1.6 sans-serif;max-width:60rem;margin:2rem auto;"
      "padding:0 1rem}\n.text{white-space:pre-wrap;border:1px solid #ccc;padding:1rem}\n"
      "span{border-radius:3px}\ntd,th{padding:.2rem .6rem;text-align:left}\n"
      "td:first-child{text-align:right;font-variant-numeric:tabular-nums}\n</style>\n"
      "<h1>What the answer rests on</h1>\n<p>Orange: without it the answer is less likely. Blue: "
      "more likely. The numbers are nats of the answer's log-probability.</p>\n";
  out += "<h2>Prompt</h2>\n";
  for (size_t i = 0; i < e.parts.size(); ++i) {
    const PromptPart& part = e.parts[i];
    const bool begins = i == 0 || e.parts[i - 1].message != part.message;
    if (begins) out += i == 0 ? "<div class=\"text\">" : "</div>\n<div class=\"text\">";
    fmt::format_to(std::back_inserter(out), "<span style=\"background:{}\" title=\"{:+.3f}\">",
                   colour(score(e, i) / most), score(e, i));
    append_escaped(out,
                   text_of(e.question, part.message).substr(part.begin, part.end - part.begin));
    out += "</span>";
  }
  out += "</div>\n<h2>Answer</h2>\n<div class=\"text\">";
  append_escaped(out, e.answer);
  out += "</div>\n<h2>Numbers</h2>\n<table>\n<tr><th>nats</th><th>segment</th></tr>\n";
  for (size_t i = 0; i < e.parts.size(); ++i) {
    const PromptPart& part = e.parts[i];
    fmt::format_to(std::back_inserter(out), "<tr><td>{:+.3f}</td><td>", score(e, i));
    append_escaped(out,
                   text_of(e.question, part.message).substr(part.begin, part.end - part.begin));
    out += "</td></tr>\n";
  }
  return out + "</table>\n</html>\n";
}

}  // namespace sluice::gateway
