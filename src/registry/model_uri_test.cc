#include "registry/model_uri.h"

#include <gtest/gtest.h>

#include "registry/digest.h"
#include "registry/names.h"

namespace sluice::registry {
namespace {

using namespace std::string_literals;

ModelUri parsed(std::string_view text) {
  auto uri = parse_model_uri(text, PlainHttp::kRefused);
  EXPECT_TRUE(uri) << text << ": " << uri.error().message();
  return uri.value_or(ModelUri{});
}

bool refused(std::string_view text) { return !parse_model_uri(text, PlainHttp::kAllowed); }

TEST(ModelUri, Paths) {
  EXPECT_EQ(parsed("models/story.gguf").path, "models/story.gguf");
  EXPECT_EQ(parsed("models/story.gguf").name, "story");
  EXPECT_EQ(parsed("../folder/").name, "folder");
  EXPECT_EQ(parsed("/a/b.gguf").kind, SourceKind::kLocal);
  EXPECT_EQ(parsed("..").name, "");
  EXPECT_EQ(parsed("/a/na me.gguf").name, "");
  EXPECT_EQ(parsed("file:///a/na%6de.gguf").path, "/a/name.gguf");
  EXPECT_EQ(parsed("file://localhost/a/b.gguf").path, "/a/b.gguf");
}

TEST(ModelUri, FileUrisThatClimbOrNameAHostAreRefused) {
  for (const char* text :
       {"file:///a/../b.gguf", "file:///a/%2e%2e/b.gguf", "file:///a/.%2E/b.gguf",
        "file:///a%2f..%2fb.gguf", "file:///a%00.gguf", "file:///a%zz.gguf", "file:///a%2",
        "file://host/a.gguf", "file:a.gguf", "file:"}) {
    EXPECT_TRUE(refused(text)) << text;
  }
  // Decoded once and no more: this names a file that has a per cent sign.
  EXPECT_EQ(parsed("file:///a/%252e%252e/b.gguf").path, "/a/%2e%2e/b.gguf");
}

TEST(ModelUri, Urls) {
  const ModelUri uri = parsed("https://host:8443/dir/m-q8.gguf?download=true");
  EXPECT_EQ(uri.kind, SourceKind::kUrl);
  EXPECT_EQ(uri.file, "m-q8.gguf");
  EXPECT_EQ(uri.name, "m-q8");
  EXPECT_FALSE(parse_model_uri("http://host/m.gguf", PlainHttp::kRefused));
  EXPECT_TRUE(parse_model_uri("http://host/m.gguf", PlainHttp::kAllowed));
  for (const char* text :
       {"https://host/", "https://host", "https://host/x.bin", "https://host/.gguf",
        "https://host/..%2f..%2fx.gguf", "https://host/%2e%2e%5cx.gguf", "https://host/..gguf",
        "https://host/%252e%252e%252fx.gguf", "https://user:secret@host/x.gguf",
        "https://host/x%00.gguf", "https://host/a?b=/x.gguf", "ftp://host/x.gguf",
        "s3://bucket/x.gguf", "https:///x.gguf", "https://host/x.gguf#y"}) {
    EXPECT_TRUE(refused(text)) << text;
  }
}

TEST(ModelUri, Hub) {
  const ModelUri plain = parsed("hf://owner/model");
  EXPECT_EQ(plain.kind, SourceKind::kHub);
  EXPECT_EQ(plain.repository, "owner/model");
  EXPECT_EQ(plain.revision, "main");
  EXPECT_EQ(plain.file, "");
  EXPECT_EQ(plain.name, "owner/model");
  const ModelUri full = parsed("hf://owner/model-1.5:v2.0/sub/m.gguf");
  EXPECT_EQ(full.repository, "owner/model-1.5");
  EXPECT_EQ(full.revision, "v2.0");
  EXPECT_EQ(full.file, "sub/m.gguf");
  EXPECT_EQ(full.name, "owner/model-1.5:v2.0/sub/m.gguf");
  for (const char* text :
       {"hf://", "hf://owner", "hf://owner/", "hf:///model", "hf://../model", "hf://owner/..",
        "hf://owner/model:", "hf://owner/model:..", "hf://owner/model:a:b", "hf://owner/model/",
        "hf://owner/model/../x.gguf", "hf://owner/model//x.gguf", "hf://owner/model/%2e%2e/x.gguf",
        "hf://owner/model/x.bin", "hf://owner/mo del", "hf://owner/model?x=.gguf",
        "hf://own:er/model", "hf://owner/model:r%2F1"}) {
    EXPECT_TRUE(refused(text)) << text;
  }
  EXPECT_TRUE(refused("hf://owner/model\0"s));
  EXPECT_TRUE(refused(""));
}

TEST(Names, FilePathsStayInside) {
  for (const char* good : {"a.gguf", "sub/a-00001-of-00002.gguf", "A (1) [x]=b,c+d@e~f.gguf"}) {
    EXPECT_TRUE(check_file_path(good)) << good;
  }
  for (const std::string& bad :
       {""s, "/etc/passwd"s, "../x"s, "a/../x"s, "a//b"s, "a/"s, ".hidden"s, "a/.b"s, "."s, "a\\b"s,
        "a\0b"s, "a%2e"s, "a\nb"s, "c:x"s, "a*"s, "~/x"s, std::string(201, 'a'),
        "a/a/a/a/a/a/a/a/a"s}) {
    EXPECT_FALSE(check_file_path(bad)) << bad;
  }
}

TEST(Names, MessagesHoldNoControlCharacters) {
  const auto refusal = check_file_path("../\x1b[2J");
  ASSERT_FALSE(refusal);
  EXPECT_EQ(refusal.error().message().find('\x1b'), std::string::npos);
}

TEST(Digest, TextAndForm) {
  const std::string empty =
      "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  EXPECT_EQ(sha256_text(""), empty);
  EXPECT_EQ(sha256_text("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(parse_digest(empty).value_or(""), empty);
  EXPECT_EQ(
      parse_digest("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855").value_or(""),
      empty);
  for (const char* bad : {"", "sha256:", "sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e"}) {
    EXPECT_FALSE(parse_digest(bad)) << bad;
  }
  EXPECT_FALSE(parse_digest("sha256:../" + std::string(61, 'a')));
}

}  // namespace
}  // namespace sluice::registry
