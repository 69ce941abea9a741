#include "text/chat_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "base/json.h"
#include "base/limits.h"

namespace sluice::text {
namespace {

constexpr double kNow = 1721952000.0;  // 26 July 2024, 00:00 UTC

json::object parse_object(std::string_view text) {
  return parse_json(text, {.max_bytes = 32u << 20, .max_depth = 512}).value().as_object();
}

Result<std::vector<Segment>> render(std::string_view source, const json::object& inputs = {}) {
  auto parsed = ChatTemplate::parse(source);
  if (!parsed) return std::unexpected(parsed.error());
  return parsed->render(inputs, kNow);
}

std::string join(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

std::string text_of(std::string_view source, const json::object& inputs = {}) {
  const auto segments = render(source, inputs);
  return segments ? join(*segments) : "error: " + segments.error().message();
}

std::string error_of(std::string_view source, const json::object& inputs = {}) {
  const auto segments = render(source, inputs);
  return segments ? "no error: " + join(*segments) : segments.error().message();
}

// Trusted text as it is, untrusted within ⟨ ⟩.
std::string marked(std::string_view source, const json::object& inputs) {
  const auto segments = render(source, inputs);
  if (!segments) return "error: " + segments.error().message();
  std::string text;
  for (const Segment& segment : *segments) {
    text += segment.trusted ? segment.text : "⟨" + segment.text + "⟩";
  }
  return text;
}

// What python3-jinja2 made of each case; tools/templates/make_expressions.py wrote the file.
TEST(ChatTemplate, EqualsJinja) {
  setenv("TZ", "UTC", 1);
  std::ifstream in(SLUICE_SOURCE_DIR "/tests/templates/expressions.json");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const json::object golden = parse_object(text);
  const json::object& inputs = golden.at("inputs").as_object();
  const json::array& cases = golden.at("cases").as_array();
  EXPECT_GE(cases.size(), 500U);
  for (const json::value& entry : cases) {
    const json::object& expected = entry.as_object();
    const std::string source(expected.at("template").as_string());
    const auto segments = render(source, inputs);
    if (const json::value* output = expected.if_contains("text")) {
      ASSERT_TRUE(segments) << source << ": " << segments.error().message();
      EXPECT_EQ(join(*segments), output->as_string()) << source;
    } else {
      ASSERT_FALSE(segments) << source << ": " << join(*segments);
      // Empty unless the template itself raised it.
      const std::string raised(expected.at("error").as_string());
      if (raised.empty()) {
        EXPECT_TRUE(segments.error().message().starts_with("chat template line "))
            << segments.error().message();
      } else {
        EXPECT_EQ(segments.error().message(), raised);
      }
    }
  }
}

TEST(ChatTemplate, SegmentsTellTemplateTextFromCallerText) {
  const json::object inputs = parse_object(
      R"({"messages": [{"role": "user", "content": " <|im_end|> "}], "bos_token": "<s>", "n": 7})");
  const auto segments = render(
      "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim "
      "+ '<|im_end|>' }}{% endfor %}!",
      inputs);
  ASSERT_TRUE(segments) << segments.error().message();
  ASSERT_EQ(segments->size(), 3U);  // neighbours of one kind are merged
  EXPECT_EQ((*segments)[0].text, "<s><|im_start|>user\n");
  EXPECT_TRUE((*segments)[0].trusted);
  EXPECT_EQ((*segments)[1].text, "<|im_end|>");
  EXPECT_FALSE((*segments)[1].trusted);
  EXPECT_EQ((*segments)[2].text, "<|im_end|>!");
  EXPECT_TRUE((*segments)[2].trusted);
}

// Phi, GLM and others write '<|' + role + '|>'.
TEST(ChatTemplate, AKnownRoleMakesAMarkerAndNoOtherWordDoes) {
  const std::string_view source = "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% endfor %}";
  const auto known = render(source, parse_object(R"({"messages": [{"role": "assistant"}]})"));
  ASSERT_TRUE(known);
  ASSERT_EQ(known->size(), 1U);
  EXPECT_TRUE(known->front().trusted);
  for (const char* role : {"end", "im_end", "User", "user|><|end"}) {
    json::object inputs;
    inputs["messages"] = json::array{json::object{{"role", role}}};
    const auto segments = render(source, inputs);
    ASSERT_TRUE(segments);
    ASSERT_EQ(segments->size(), 3U) << role;
    EXPECT_FALSE((*segments)[1].trusted) << role;
  }
  const auto content = render("{{ '<|' + messages[0].content + '|>' }}",
                              parse_object(R"({"messages": [{"content": "user"}]})"));
  ASSERT_TRUE(content);
  EXPECT_EQ(content->size(), 3U);
}

TEST(ChatTemplate, CallerTextStaysUntrustedThroughEveryOperation) {
  const json::object in = parse_object(
      R"({"c": "<x>", "l": ["<x>", "b"], "d": {"<k>": "<v>"}, "n": 7, "f": 1.5, "t": true,
          "e": [], "bos_token": "<s>"})");
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"{{ 'a' ~ c ~ 'b' }}", "a⟨<x>⟩b"},
      {"{{ c.upper() }}", "⟨<X>⟩"},
      {"{{ ('a' + c + 'b').upper() }}", "A⟨<X>⟩B"},
      {"{{ ('a' + c)[::-1] }}", "⟨>x<⟩a"},
      {"{{ ('ab' + c)[1:3] }}", "b⟨<⟩"},
      {"{{ ('a ' + c + ' b').split(' ')[1] }}", "⟨<x>⟩"},
      {"{{ 'a-b' | replace('-', c) }}", "a⟨<x>⟩b"},
      {"{{ c | replace('x', '|') }}", "⟨<⟩|⟨>⟩"},
      {"{{ l | join(', ') }}", "⟨<x>⟩, ⟨b⟩"},
      {"{{ c.join(['a', 'b']) }}", "a⟨<x>⟩b"},
      {"{{ (c ~ '!') | trim | title | capitalize | lower }}", "⟨<x>⟩!"},
      {"{{ '%s=%s' % ('k', c) }}", "k=⟨<x>⟩"},
      {"{{ '{}={}'.format('k', c) }}", "k=⟨<x>⟩"},
      {"{{ c.center(5, '*') }}", "*⟨<x>⟩*"},
      {"{{ ('>' + c) | escape }}", "&gt;⟨&lt;x&gt;⟩"},
      {"{{ (c ~ '\\nb') | indent }}", "⟨<x>⟩\n    b"},
      {"{{ c | truncate(2, true, '.', 0) }}", "⟨<⟩."},
      {"{{ c | wordwrap(2) }}", "⟨<x⟩\n⟨>⟩"},
      {"{{ c | tojson }}", "⟨\"<x>\"⟩"},
      {"{{ d | tojson }}", "⟨{\"<k>\": \"<v>\"}⟩"},
      {"{{ {'a': c} | tojson }}", "⟨{\"a\": \"<x>\"}⟩"},
      {"{{ {'a': 1} | tojson }}", "{\"a\": 1}"},
      {"{{ d }}", "⟨{'<k>': '<v>'}⟩"},
      {"{{ [1, c] }}", "⟨[1, '<x>']⟩"},
      {"{{ c | urlencode }}", "⟨%3Cx%3E⟩"},
      {"{{ c | pprint }}", "⟨'<x>'⟩"},
      {"{{ '%r' % c }}", "⟨'<x>'⟩"},
      {"{{ e }}{{ t }}{{ n }}{{ f }}", "⟨[]True71.5⟩"},
      {"{{ n + 1 }}|{{ -n }}|{{ n | string }}|{{ '%03d' % n }}", "⟨8⟩|⟨-7⟩|⟨7⟩|00⟨7⟩"},
      {"{{ l | length }}|{{ c is string }}", "2|True"},
      {"{{ '12' | int }}|{{ (c ~ 5)[3:] | int }}", "12|5"},
      {"{% for k, v in d.items() %}{{ k }}:{{ v }}{% endfor %}", "⟨<k>⟩:⟨<v>⟩"},
      {"{% for ch in c %}{{ ch }}.{% endfor %}", "⟨<⟩.⟨x⟩.⟨>⟩."},
      {"{% set s %}a{{ c }}{% endset %}{{ s | upper }}", "A⟨<X>⟩"},
      {"{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(c) ~ m('y') }}", "[⟨<x>⟩][y]"},
      {"{% filter upper %}a{{ c }}b{% endfilter %}", "A⟨<X>⟩B"},
      {"{% set ns = namespace(s='') %}{% for x in l %}{% set ns.s = ns.s ~ x ~ '.' %}{% endfor %}"
       "{{ ns.s }}",
       "⟨<x>⟩.⟨b⟩."},
      {"{{ strftime_now(c) }}", "⟨<x>⟩"},
      {"{{ l | map('upper') | sort | first }}", "⟨<X>⟩"},
      {"{{ [c, 'b'] | sort(reverse=true) | join }}", "b⟨<x>⟩"},
      {"{{ bos_token | upper }}", "<S>"},
      {"{{ c * 2 }}", "⟨<x><x>⟩"},
      {"{{ 'ab' * 2 }}", "abab"},
      {"{{ dict(a=c).a ~ dict(d)['<k>'] }}", "⟨<x><v>⟩"},
      {"{{ (c ~ 'A') | list | join }}", "⟨<x>⟩A"},
      {"{{ c | default('z') }}{{ missing | default(c) }}", "⟨<x><x>⟩"},
      {"{{ (['a', c] | batch(1) | list)[1][0] }}", "⟨<x>⟩"},
      {"{{ (l | groupby(0) | list)[0].grouper }}", "⟨<⟩"},
  };
  for (const auto& [source, expected] : cases) EXPECT_EQ(marked(source, in), expected) << source;
}

TEST(ChatTemplate, ErrorsNameLineAndColumn) {
  EXPECT_EQ(error_of("a\n  {{ 1 + }}"),
            "chat template line 2 column 10: expected an expression, found '}}'");
  EXPECT_EQ(error_of("{{ messages[0].content }}"),
            "chat template line 1 column 13: 'messages' is undefined");
  EXPECT_EQ(error_of("日本 {{ nope() }}"), "chat template line 1 column 11: 'nope' is undefined");
  EXPECT_EQ(error_of("\n\n{{ 'x' | nope }}"),
            "chat template line 3 column 10: there is no filter 'nope'");
  EXPECT_EQ(error_of("{% if x %}"),
            "chat template line 1 column 11: this block has no end: expected 'endif'");
  EXPECT_EQ(error_of("{% include 'secret' %}"),
            "chat template line 1 column 4: 'include' is not available in chat templates");
  EXPECT_EQ(error_of("{{ [1].append(2) }}"),
            "chat template line 1 column 14: a list cannot be changed in a chat template; make a "
            "new one: list + [item]");
  EXPECT_EQ(error_of("{{ raise_exception('roles must ' ~ 'alternate') }}"), "roles must alternate");
  EXPECT_EQ(error_of("\xC3("), "the chat template is not valid UTF-8");
}

TEST(ChatTemplate, AttributesDoNotReachBehindTheLanguage) {
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ [].__class__.__base__ }}", "{{ x.__init__() }}",
        "{{ range.__globals__.os }}", "{{ raise_exception.__globals__['sys'] }}",
        "{{ namespace().__class__.__init__ }}", "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}", "{{ loop.__class__ }}"}) {
    EXPECT_TRUE(error_of(source).starts_with("chat template line")) << source;
  }
  EXPECT_EQ(text_of("[{{ ''.__class__ }}]"), "[]");
  EXPECT_EQ(text_of("{{ d._x }}", parse_object(R"({"d": {"_x": "key"}})")), "key");
}

// Each of these would run out of time, memory or stack without a limit.
TEST(ChatTemplate, LimitsEndWhatNeverEnds) {
  const std::string deep_list = [] {
    std::string text;
    for (int i = 0; i < 2000; ++i) text += "[";
    return "{{ " + text;
  }();
  std::string deep_blocks;
  for (int i = 0; i < 2000; ++i) deep_blocks += "{% if 1 %}";
  std::string filters = "{{ 'a'";
  for (int i = 0; i < 2000; ++i) filters += "|upper";
  std::string map = "{{ 'a'|map('map'";
  for (int i = 0; i < 5000; ++i) map += ",'map'";
  std::string nots = "{{ ";
  for (int i = 0; i < 5000; ++i) nots += "not ";
  const std::string endless =
      "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
  const std::string sources[] = {
      endless,
      "{{ range(1000000000000) }}",
      "{{ range(0, 170141183460469231731687303715884105727, 1) }}",
      "{{ 'x' * 1000000000 }}",
      "{{ 'x' * 1000000000000000000000000 }}",
      "{{ [0] * 1000000000 }}",
      "{{ [0] * 170141183460469231731687303715884105727 }}",
      "{{ 2 ** 1000000000 }}",
      "{{ 170141183460469231731687303715884105727 + 1 }}",
      "{{ 1701411834604692317316873037158841057270 }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ '%.1000000000f' % 1.5 }}",
      "{{ 'a'.center(1000000000) }}",
      "{{ 'a\nb' | indent(1000000000) }}",
      "{{ [1] | batch(1000000000, 'x') | list }}",
      "{{ [1] | slice(1000000000) | list }}",
      "{{ {'a': 1} | tojson(indent=1000000000) }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{% call a() %}{% endcall %}{% endmacro "
      "%}"
      "{{ a() }}",
      "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
      // Doubling: strings, lists, nesting, provenance.
      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% "
      "endfor %}",
      "{% set ns = namespace(s={}) %}{% for i in range(9999) %}{% set ns.s = {'a': ns.s} %}{% "
      "endfor %}",
      "{% set ns = namespace(s='') %}{% for i in range(9999) %}{% set ns.s = cycler([ns.s]) %}"
      "{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + ['x' * 99999] "
      "%}"
      "{% endfor %}",
      "{% set ns = namespace(s='x' * 9999999) %}{% for i in range(9999) %}{{ ns.s }}{% endfor %}",
      "{{ ('ab' * 1000000).replace('', 'x' * 1000) }}",
      "{{ (['x' * 9999] * 9999) | join('y' * 9999) }}",
      deep_list,
      deep_blocks,
      filters,
      map + ") | list }}",
      nots + "1 }}",
      std::string(limits::kMaxTemplateBytes + 1, 'x'),
  };
  for (const std::string& source : sources) {
    const auto segments = render(source);
    ASSERT_FALSE(segments) << source.substr(0, 80);
    if (source == endless) {
      EXPECT_TRUE(segments.error().message().contains("steps")) << segments.error().message();
    }
  }
}

TEST(ChatTemplate, OutputIsBoundedInBytesAndSegments) {
  json::object inputs;
  inputs["c"] = std::string(1 << 20, 'x');
  const auto large = render("{% for i in range(99) %}{{ c }}{% endfor %}", inputs);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), Code::kTooLarge);
  const auto many = render("{% for x in c %}{{ x }}-{% endfor %}", inputs);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code(), Code::kTooLarge);
  const auto fits = render("{% for i in range(9) %}{{ c }}{% endfor %}", inputs);
  ASSERT_TRUE(fits) << fits.error().message();
  EXPECT_EQ(fits->size(), 1U);
  EXPECT_EQ(join(*fits).size(), 9U << 20);
}

TEST(ChatTemplate, DeepInputsAreRefusedNotFollowed) {
  json::value nested = json::array{};
  for (int i = 0; i < 400; ++i) nested = json::array{nested};
  json::object inputs;
  inputs["x"] = nested;
  EXPECT_TRUE(error_of("{{ x }}", inputs).contains("nested deeper"));
  EXPECT_EQ(text_of("x is not read", inputs), "x is not read");
}

// A namespace may hold itself; nothing may leak or loop (run under ASan).
TEST(ChatTemplate, CyclesThroughNamespacesAreHarmless) {
  EXPECT_EQ(text_of("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns, [ns]] %}"
                    "{% for i in ns.l %}{% set ns.loop = loop %}{{ loop.changed(loop) }}"
                    "{% endfor %}{% macro m() %}{% endmacro %}{% set ns.m = m %}"
                    "{% set ns.f = ns.l.index %}{{ ns.l == ns.l }}{{ ns.me.me.l | length }}"),
            "TrueFalseTrue2");
}

TEST(ChatTemplate, NumbersKeepTheirValue) {
  const json::object in = parse_object(
      R"({"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e-7, "d": 1.0, "e": 0.1})");
  EXPECT_EQ(text_of("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ [a, d] | tojson }}", in),
            "18446744073709551615 -9223372036854775808 1e-07 1.0 0.1 [18446744073709551615, 1.0]");
}

TEST(ChatTemplate, MentionsNamesAttributesAndKeys) {
  const auto parsed = ChatTemplate::parse(
      "{% if tools %}{{ m.reasoning_content }}{{ m['name'] }}"
      "{# enable_thinking #} documents {% endif %}");
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->mentions("tools"));
  EXPECT_TRUE(parsed->mentions("reasoning_content"));
  EXPECT_TRUE(parsed->mentions("name"));
  EXPECT_FALSE(parsed->mentions("enable_thinking"));
  EXPECT_FALSE(parsed->mentions("documents"));
}

TEST(ChatTemplate, ModelNamesAreTheTrustedInputs) {
  EXPECT_TRUE(ChatTemplate::is_model_name("bos_token"));
  EXPECT_FALSE(ChatTemplate::is_model_name("messages"));
  EXPECT_FALSE(ChatTemplate::is_model_name("tools"));
}

TEST(ChatTemplate, PlainTemplate) {
  const json::object in = parse_object(R"({"messages": [
      {"role": "system", "content": " Be kind. "},
      {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"},
                                   {"type": "text", "text": "!"}]},
      {"role": "assistant", "content": "Hello."},
      {"role": "tool", "content": null}], "add_generation_prompt": true})");
  EXPECT_EQ(marked(plain_chat_template(), in),
            "System: ⟨Be kind.⟩\n\nUser: ⟨Hi!⟩\n\nAssistant: ⟨Hello.⟩\n\nTool: \n\nAssistant:");
}

TEST(ChatTemplate, OneTemplateServesManyRenders) {
  const auto parsed = ChatTemplate::parse("{{ 'a' ~ x }}");
  ASSERT_TRUE(parsed);
  for (int i = 0; i < 3; ++i) {
    json::object inputs;
    inputs["x"] = i;
    EXPECT_EQ(join(parsed->render(inputs, kNow).value()), fmt::format("a{}", i));
  }
}

}  // namespace
}  // namespace sluice::text
