#include "net/request_parser.h"

#include <gtest/gtest.h>

#include <vector>

#include "net/target.h"

namespace sluice::net {
namespace {

constexpr RequestLimits kLimits{
    .body_bytes = 1000, .header_bytes = 2048, .headers = 10, .target_bytes = 300};

struct Parsed {
  std::vector<HttpRequest> requests;
  int status = 0;  // of the fault that ended it, or 0
  std::string_view reason;
  bool unfinished = false;
};

Parsed parse(std::string_view bytes, size_t step) {
  RequestParser parser(kLimits);
  Parsed result;
  for (size_t at = 0; at < bytes.size() && result.status == 0; at += step) {
    std::string_view piece = bytes.substr(at, step);
    while (!piece.empty() && result.status == 0) {
      piece.remove_prefix(parser.feed(piece));
      if (parser.state() == RequestParser::State::kHeadDone) parser.accept_body();
      if (parser.state() == RequestParser::State::kDone) {
        result.requests.push_back(std::move(parser.request()));
        parser.reset();
      }
      if (parser.state() == RequestParser::State::kFault) {
        result.status = parser.fault().status;
        result.reason = parser.fault().reason;
      }
    }
  }
  result.unfinished = parser.begun();
  return result;
}

Parsed parse(std::string_view bytes) {
  const Parsed whole = parse(bytes, bytes.size() + 1);
  const Parsed bytewise = parse(bytes, 1);
  EXPECT_EQ(bytewise.status, whole.status) << bytes;
  EXPECT_EQ(bytewise.reason, whole.reason) << bytes;
  EXPECT_EQ(bytewise.requests.size(), whole.requests.size()) << bytes;
  return whole;
}

int status(std::string_view bytes) { return parse(bytes).status; }

// A request with these header lines (each with its CR LF) and this behind the head.
std::string with(std::string_view lines, std::string_view rest = {}) {
  return "POST /p HTTP/1.1\r\nHost: x\r\n" + std::string(lines) + "\r\n" + std::string(rest);
}

// The body of the one good request in `bytes`, or its fault as text.
std::string body(std::string_view bytes) {
  const Parsed parsed = parse(bytes);
  if (parsed.status != 0) return std::to_string(parsed.status) + " " + std::string(parsed.reason);
  return parsed.requests.size() == 1 ? parsed.requests[0].body : "incomplete";
}

TEST(RequestParser, ReadsAPlainRequest) {
  const Parsed parsed =
      parse("GET /a%20b?q=1&r=%2F HTTP/1.1\r\nHost: x:80\r\nX-Y:  v w \t\r\n\r\n");
  ASSERT_EQ(parsed.requests.size(), 1u);
  const HttpRequest& request = parsed.requests[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/a%20b?q=1&r=%2F");
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query, "q=1&r=%2F");
  EXPECT_EQ(request.header("x-y"), "v w");
  EXPECT_EQ(request.header("X-Y"), "v w");
  EXPECT_EQ(request.header("none"), "");
}

TEST(RequestParser, ReadsPipelinedRequests) {
  const Parsed parsed =
      parse(with("Content-Length: 3\r\n", "abc") + with("", "") + "\r\nGET / HTTP/1.0\r\n\r\n");
  ASSERT_EQ(parsed.requests.size(), 3u);
  EXPECT_EQ(parsed.requests[0].body, "abc");
  EXPECT_EQ(parsed.requests[2].method, "GET");
  EXPECT_FALSE(parsed.unfinished);
}

// Item 1.
TEST(RequestParser, LengthAndTransferEncodingTogether) {
  EXPECT_EQ(status(with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")), 400);
  EXPECT_EQ(status(with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "abc")), 400);
}

// Items 2 and 3.
TEST(RequestParser, ContentLengthForms) {
  EXPECT_EQ(status(with("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde")), 400);
  EXPECT_EQ(status(with("Content-Length: 5\r\nContent-Length: 6\r\n", "abcde")), 400);
  for (const std::string_view bad :
       {"5, 5", "+5", "-1", "0x10", "005", "", "5 5", "5a", "1e1", "5.0", "\"5\"",
        "123456789012345678901234567890", "9223372036854775808"}) {
    EXPECT_EQ(status(with("Content-Length: " + std::string(bad) + "\r\n", "abcde")), 400) << bad;
  }
  EXPECT_EQ(body(with("Content-Length: 5 \r\n", "abcde")), "abcde");  // blanks are not the value's
  EXPECT_EQ(body(with("Content-Length: 0\r\n")), "");
  EXPECT_EQ(status(with("Content-Length: 1001\r\n")), 413);
  EXPECT_EQ(status(with("Content-Length: 100000000000000000\r\n")), 413);
}

// Item 4.
TEST(RequestParser, TransferEncodingForms) {
  for (const std::string_view bad :
       {"xchunked", "chunked, chunked", "chunked;a=b", "identity, chunked", "\vchunked", "chunked,",
        "\"chunked\"", ""}) {
    EXPECT_EQ(status(with("Transfer-Encoding: " + std::string(bad) + "\r\n", "0\r\n\r\n")), 400)
        << bad;
  }
  EXPECT_EQ(status(with("Transfer-Encoding: gzip\r\n")), 501);
  EXPECT_EQ(status(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), 400);
  EXPECT_EQ(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(body(with("Transfer-Encoding:\t Chunked \r\n", "3\r\nabc\r\n0\r\n\r\n")), "abc");
}

std::string chunked(std::string_view rest) { return with("Transfer-Encoding: chunked\r\n", rest); }

// Items 5 and 6.
TEST(RequestParser, ChunkForms) {
  EXPECT_EQ(body(chunked("3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n")), "abc0123456789");
  EXPECT_EQ(body(chunked("3;x=y;z\r\nabc\r\n0;last\r\n\r\n")), "abc");
  for (const std::string_view bad :
       {"-3\r\nabc\r\n", "0x3\r\nabc\r\n", "3_0\r\nabc\r\n", " 3\r\nabc\r\n", "3 \r\nabc\r\n",
        "00000000000000003\r\nabc\r\n", "\r\nabc\r\n", ";a\r\nabc\r\n", "3\nabc\r\n", "3\rabc\r\n",
        "3\r\nabcX\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabcd\r\n", "3;a\nb\r\nabc\r\n",
        "3;\x01\r\nabc\r\n", "g\r\n"}) {
    EXPECT_EQ(status(chunked(bad)), 400) << bad;
  }
  EXPECT_EQ(status(chunked("3;" + std::string(1u << 20, 'a'))), 400);
  EXPECT_EQ(status(chunked("3e9\r\n")), 413);
  EXPECT_EQ(status(chunked("ffffffffffff\r\n")), 413);
  EXPECT_EQ(status(chunked("1f4\r\n" + std::string(500, 'a') + "\r\n1f5\r\n")), 413);
}

// Item 7.
TEST(RequestParser, TrailersChangeNothing) {
  const Parsed parsed =
      parse(chunked("0\r\nContent-Length: 5\r\nHost: evil\r\nAuthorization: Bearer x\r\n\r\nGET / "
                    "HTTP/1.0\r\n\r\n"));
  ASSERT_EQ(parsed.requests.size(), 2u);
  EXPECT_EQ(parsed.requests[0].header("host"), "x");
  EXPECT_EQ(parsed.requests[0].header("authorization"), "");
  EXPECT_EQ(status(chunked("0\r\nbad line\r\n\r\n")), 400);
  std::string endless = "0\r\n";
  for (int i = 0; i < 1000; ++i) endless += "A: b\r\n";
  EXPECT_EQ(status(chunked(endless)), 431);
}

// Item 8.
TEST(RequestParser, FieldLineForms) {
  for (const std::string_view bad :
       {"A: b\r\n c\r\n", " A: b\r\n", "A : b\r\n", ": b\r\n", "A\r\n", "A: b\x01\r\n",
        "A: b\x7f\r\n", "A: b\rc\r\n", "A: b\n", "\xc3\xa4: b\r\n", "A(: b\r\n", "A: b\r\r\n"}) {
    EXPECT_EQ(status(with(bad)), 400) << bad;
  }
  using namespace std::string_view_literals;
  EXPECT_EQ(status(with("A: b\0c\r\n"sv)), 400);
  EXPECT_EQ(parse(with("A: b\xc3\xa4\r\n")).requests.at(0).header("a"), "b\xc3\xa4");
  EXPECT_EQ(parse(with("A:\r\n")).requests.size(), 1u);
}

// Item 9.
TEST(RequestParser, HostForms) {
  EXPECT_EQ(status("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
  for (const std::string_view bad : {"", "a/b", "u@a", "a b", "a:b", "a:123456", "[::1", "[x]",
                                     ":80", "a,b", "[::1]x", "a\\b"}) {
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: " + std::string(bad) + "\r\n\r\n"), 400) << bad;
  }
  for (const std::string_view good : {"a", "a.b:8000", "127.0.0.1", "[::1]:80", "a_b-c."}) {
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: " + std::string(good) + "\r\n\r\n"), 0) << good;
  }
  EXPECT_EQ(status("GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(parse("GET http://a/x?y HTTP/1.1\r\nHost: A\r\n\r\n").requests.at(0).path, "/x");
  EXPECT_EQ(parse("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).path, "/");
  EXPECT_EQ(parse("GET https://a?q HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).query, "q");
  EXPECT_EQ(status("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

// Item 10.
TEST(RequestParser, RequestLineForms) {
  EXPECT_EQ(status("GET /" + std::string(300, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(status("GET /" + std::string(64u << 10, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(status(std::string(10u << 10, 'G') + " / HTTP/1.1\r\nHost: x\r\n\r\n"), 501);
  EXPECT_EQ(status("GET / HTTP/9.9\r\n\r\n"), 505);
  EXPECT_EQ(status("PRI * HTTP/2.0\r\n\r\n"), 505);
  for (const std::string_view bad :
       {"GET / HTTP/1.10", "GET / http/1.1", "GET / HTTP/1", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
        "GET\t/\tHTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET /", "GET", "GET / ",
        "G\x01T / HTTP/1.1", "GET /a b HTTP/1.1", "GET /\x7f HTTP/1.1", "GET a HTTP/1.1",
        "GET * HTTP/1.1", "GET /# HTTP/1.1", "GET \\ HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1"}) {
    EXPECT_EQ(status(std::string(bad) + "\r\nHost: x\r\n\r\n"), 400) << bad;
  }
  EXPECT_EQ(status("GET / HTTP/1.1\nHost: x\n\n"), 400);
  EXPECT_EQ(status("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);  // one empty line, not two
  EXPECT_EQ(status("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
  EXPECT_EQ(status("GET / HTTP/1.2\r\nHost: x\r\n\r\n"), 0);
}

// Item 11.
TEST(RequestParser, HeaderLimits) {
  std::string many;
  for (int i = 0; i < 10; ++i) many += "A: b\r\n";
  EXPECT_EQ(status(with(many)), 431);  // Host is one of them
  EXPECT_EQ(status(with("A: " + std::string(1u << 20, 'b'))), 431);
  EXPECT_EQ(status(with("A: " + std::string(1000, 'b') + "\r\nB: " + std::string(1100, 'b'))), 431);
}

// Item 12.
TEST(RequestParser, PathForms) {
  const auto path = [](std::string_view target) {
    const auto parsed = parse_target(target);
    return parsed ? parsed->path : std::string("refused");
  };
  EXPECT_EQ(path("/"), "/");
  EXPECT_EQ(path("/a/"), "/a/");
  EXPECT_EQ(path("/%61"), "/a");
  EXPECT_EQ(path("/a%2fb"), "/a%2Fb");
  EXPECT_EQ(path("/a%252fb"), "/a%252fb");  // decoded once: a segment that holds "%2f"
  EXPECT_EQ(decode_segment("a%252fb"), "a%2fb");
  EXPECT_EQ(decode_segment("a%2Fb"), "a/b");
  EXPECT_EQ(path("/%E2%82%AC"), "/\xe2\x82\xac");
  EXPECT_EQ(path("/..."), "/...");
  for (const std::string_view bad :
       {"/..",           "/a/../b", "/%2e%2e/a", "/.%2E",   "/a/.",      "/%00",       "/%0a",
        "/%7f",          "/%",      "/%4",       "/%zz",    "/%c0%af",   "/%e0%80%af", "/%ed%a0%80",
        "/%f5%80%80%80", "/%ff",    "/%e2%82",   "http://", "http:///a", "a",          ""}) {
    EXPECT_EQ(path(bad), "refused") << bad;
  }
}

// Items 13 and 14.
TEST(RequestParser, EncodingsAndExpectations) {
  EXPECT_EQ(status(with("Content-Encoding: gzip\r\n")), 415);
  EXPECT_EQ(status(with("Content-Encoding: gzip, gzip\r\n")), 415);
  EXPECT_EQ(status(with("Content-Encoding: identity\r\n")), 0);
  EXPECT_EQ(status(with("Expect: 200-maybe\r\n")), 417);
  EXPECT_EQ(status(with("Expect: 100-Continue\r\nContent-Length: 2000\r\n")), 413);
}

// Item 15.
TEST(RequestParser, MethodsThatAreNotOffered) {
  for (const std::string_view method : {"CONNECT", "TRACE", "get", "BREW", "PROPFIND"}) {
    EXPECT_EQ(status(std::string(method) + " / HTTP/1.1\r\nHost: x\r\n\r\n"), 501) << method;
  }
  EXPECT_EQ(status("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), 501);
  EXPECT_EQ(status(with("Connection: upgrade\r\nUpgrade: websocket\r\n")), 0);  // ignored
}

TEST(RequestParser, FieldsThatMustNotComeTwice) {
  EXPECT_EQ(status(with("Authorization: a\r\nAuthorization: b\r\n")), 400);
  EXPECT_EQ(status(with("Content-Type: a\r\nContent-Type: b\r\n")), 400);
}

TEST(RequestParser, KnowsWhetherTheConnectionIsKept) {
  const auto kept = [](std::string_view bytes) {
    RequestParser parser(kLimits);
    parser.feed(bytes);
    return parser.keep_alive();
  };
  EXPECT_TRUE(kept("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_FALSE(kept("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n"));
  EXPECT_FALSE(kept("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(kept("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

}  // namespace
}  // namespace sluice::net
