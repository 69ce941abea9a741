// How clouds say that a machine is about to be taken back: what to ask, and what answers mean.
//
//   AWS    GET /latest/meta-data/spot/instance-action, behind a session token (IMDSv2); 404: no
//   notice GCP    GET /computeMetadata/v1/instance/preempted: TRUE or FALSE; 30 s from then on
//   Azure  GET /metadata/scheduledevents: a list, of which Preempt and Terminate of this machine
//   count
//
// Pure functions on foreign text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace sluice::cli {

enum class Cloud { kAws, kGcp, kAzure };
Result<Cloud> parse_cloud(std::string_view name);
std::string_view cloud_name(Cloud cloud);
// http://169.254.169.254 or its like.
std::string_view metadata_url(Cloud cloud);

struct MetadataRequest {
  std::string method = "GET";
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// What must be asked once before, and again when it is no longer taken: AWS' session token, the
// name of an Azure machine. Nothing: the notice can be asked for at once.
std::optional<MetadataRequest> first_request(Cloud cloud);
// `first` is the answer to that.
MetadataRequest notice_request(Cloud cloud, const std::string& first);

struct SpotNotice {
  std::string reason;  // in words
  double ends_unix = 0;
};
// Nothing: none is given. An answer that cannot be read is an error, and is no notice.
Result<std::optional<SpotNotice>> read_notice(Cloud cloud, int status, std::string_view body,
                                              const std::string& first, double now_unix);

// The text of a notice file: empty (30 s from now), "45s", or the time of the end (RFC 3339).
Result<SpotNotice> read_notice_file(std::string_view text, double now_unix);

// "Mon, 19 Sep 2016 18:29:47 GMT" (RFC 9110 §5.6.7) → seconds since the epoch.
std::optional<double> parse_http_date(std::string_view text);

}  // namespace sluice::cli
