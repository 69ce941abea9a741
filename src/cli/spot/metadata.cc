#include "cli/spot/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "base/json.h"
#include "cli/client/commands_kit.h"
#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::cli {
namespace {

using control::text_at;

constexpr double kUsualSeconds = 30;
constexpr JsonLimits kLimits{.max_bytes = 256u << 10, .max_depth = 16, .max_nodes = 10'000};
constexpr std::string_view kTokenSeconds = "21600";
constexpr std::string_view kAzureVersion = "2020-07-01";

using MaybeNotice = std::optional<SpotNotice>;

std::unexpected<Status> unreadable(Cloud cloud, int status, std::string_view body) {
  return fail(Code::kUnavailable,
              fmt::format("the metadata service ({}) answered HTTP {}: {}", cloud_name(cloud),
                          status, control::printable(body, 120)));
}

Result<MaybeNotice> read_aws(int status, std::string_view body, double now) {
  if (status == 404) return MaybeNotice();
  const auto parsed = parse_json(body, kLimits);
  const json::object* fields = parsed ? parsed->if_object() : nullptr;
  if (status != 200 || fields == nullptr) return unreadable(Cloud::kAws, status, body);
  const std::string_view action = text_at(*fields, "action");
  const auto at = control::parse_time(text_at(*fields, "time"));
  return SpotNotice{fmt::format("AWS will {} this instance", action.empty() ? "end" : action),
                    at.value_or(now + kUsualSeconds)};
}

Result<MaybeNotice> read_gcp(int status, std::string_view body, double now) {
  while (!body.empty() && (body.back() == '\n' || body.back() == ' ')) body.remove_suffix(1);
  if (status == 200 && body == "FALSE") return MaybeNotice();
  if (status != 200 || body != "TRUE") return unreadable(Cloud::kGcp, status, body);
  return SpotNotice{"Google Cloud preempts this instance", now + kUsualSeconds};
}

bool names(const json::object& event, const std::string& machine) {
  const json::array* resources = control::array_at(event, "Resources");
  if (machine.empty() || resources == nullptr) return true;
  return std::ranges::any_of(*resources, [&](const json::value& each) {
    return each.is_string() && std::string_view(each.get_string()) == machine;
  });
}

Result<MaybeNotice> read_azure(int status, std::string_view body, const std::string& machine,
                               double now) {
  const auto parsed = parse_json(body, kLimits);
  const json::object* fields = parsed ? parsed->if_object() : nullptr;
  const json::array* events = fields == nullptr ? nullptr : control::array_at(*fields, "Events");
  if (status != 200 || events == nullptr) return unreadable(Cloud::kAzure, status, body);
  MaybeNotice first;
  for (const json::value& each : *events) {
    const json::object* event = each.if_object();
    if (event == nullptr || !names(*event, machine)) continue;
    const std::string_view type = text_at(*event, "EventType");
    const std::string_view state = text_at(*event, "EventStatus");
    if ((type != "Preempt" && type != "Terminate") || state == "Completed" || state == "Canceled") {
      continue;
    }
    // An event that has begun names no time any more.
    const double at = parse_http_date(text_at(*event, "NotBefore")).value_or(now + kUsualSeconds);
    if (!first || at < first->ends_unix) {
      first = SpotNotice{fmt::format("Azure: {} of this machine", type), at};
    }
  }
  return first;
}

std::optional<int> digits(std::string_view text) {
  int value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<Cloud> parse_cloud(std::string_view name) {
  for (const Cloud cloud : {Cloud::kAws, Cloud::kGcp, Cloud::kAzure}) {
    if (cloud_name(cloud) == name) return cloud;
  }
  return invalid(fmt::format("\"{}\": expected aws, gcp or azure", name));
}

std::string_view cloud_name(Cloud cloud) {
  switch (cloud) {
    case Cloud::kAws:
      return "aws";
    case Cloud::kGcp:
      return "gcp";
    case Cloud::kAzure:
      return "azure";
  }
  return "aws";
}

std::string_view metadata_url(Cloud cloud) {
  return cloud == Cloud::kGcp ? "http://metadata.google.internal" : "http://169.254.169.254";
}

std::optional<MetadataRequest> first_request(Cloud cloud) {
  switch (cloud) {
    case Cloud::kAws:
      return MetadataRequest{
          "PUT",
          "/latest/api/token",
          {{"X-aws-ec2-metadata-token-ttl-seconds", std::string(kTokenSeconds)}}};
    case Cloud::kAzure:
      return MetadataRequest{
          "GET",
          fmt::format("/metadata/instance/compute/name?api-version={}&format=text", kAzureVersion),
          {{"Metadata", "true"}}};
    case Cloud::kGcp:
      break;
  }
  return std::nullopt;
}

MetadataRequest notice_request(Cloud cloud, const std::string& first) {
  switch (cloud) {
    case Cloud::kAws:
      return {"GET",
              "/latest/meta-data/spot/instance-action",
              {{"X-aws-ec2-metadata-token", control::printable(first, 512)}}};
    case Cloud::kAzure:
      return {"GET",
              fmt::format("/metadata/scheduledevents?api-version={}", kAzureVersion),
              {{"Metadata", "true"}}};
    case Cloud::kGcp:
      break;
  }
  return {"GET", "/computeMetadata/v1/instance/preempted", {{"Metadata-Flavor", "Google"}}};
}

Result<std::optional<SpotNotice>> read_notice(Cloud cloud, int status, std::string_view body,
                                              const std::string& first, double now_unix) {
  switch (cloud) {
    case Cloud::kAws:
      return read_aws(status, body, now_unix);
    case Cloud::kAzure:
      return read_azure(status, body, first, now_unix);
    case Cloud::kGcp:
      break;
  }
  return read_gcp(status, body, now_unix);
}

Result<SpotNotice> read_notice_file(std::string_view text, double now_unix) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const size_t end = text.find_last_not_of(" \t\r\n");
  const std::string word(begin == std::string_view::npos ? std::string_view()
                                                         : text.substr(begin, end + 1 - begin));
  SpotNotice out{"the notice file appeared", now_unix + kUsualSeconds};
  if (word.empty()) return out;
  if (const auto at = control::parse_time(word)) {
    out.ends_unix = *at;
    return out;
  }
  const auto patience = parse_patience(word);
  if (!patience || !*patience) {
    return invalid(fmt::format(
        "the notice file: expected nothing, a time such as 45s, or the time of the end (RFC 3339), "
        "found \"{}\"",
        control::printable(word, 60)));
  }
  out.ends_unix = now_unix + to_seconds(**patience);
  return out;
}

std::optional<double> parse_http_date(std::string_view text) {
  // Mon, 19 Sep 2016 18:29:47 GMT
  constexpr size_t kLength = 29;
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != kLength || !text.ends_with(" GMT")) return std::nullopt;
  const auto month = std::ranges::find(kMonths, text.substr(8, 3));
  const auto day = digits(text.substr(5, 2));
  const auto year = digits(text.substr(12, 4));
  const auto hour = digits(text.substr(17, 2));
  const auto minute = digits(text.substr(20, 2));
  const auto second = digits(text.substr(23, 2));
  if (month == kMonths.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
  if (*day < 1 || *day > 31 || *hour > 23 || *minute > 59 || *second > 60 || *year < 1970) {
    return std::nullopt;
  }
  tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = static_cast<int>(month - kMonths.begin());
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return static_cast<double>(::timegm(&parts));
}

}  // namespace sluice::cli
