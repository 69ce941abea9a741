#include "formats/gguf_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/check.h"

namespace sluice::formats {
namespace {

constexpr uint64_t kAlignment = 32;
constexpr uint32_t kVersion = 3;

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_string(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out.append(text);
}

uint64_t aligned(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

std::unexpected<Status> os_failure(std::string_view what, const std::filesystem::path& path,
                                   int error) {
  const Code code = error == ENOENT   ? Code::kNotFound
                    : error == EACCES ? Code::kPermissionDenied
                    : error == EEXIST ? Code::kAlreadyExists
                                      : Code::kUnavailable;
  return fail(code, fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

// Renames; with kRefuse a file that came to be there meanwhile stays.
int rename_as(const char* from, const char* to, Existing existing) {
  if (existing == Existing::kRefuse) {
    if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (::access(to, F_OK) == 0) return EEXIST;  // the file system has no such rename
  }
  return ::rename(from, to) == 0 ? 0 : errno;
}

}  // namespace

GgufWriter::~GgufWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void GgufWriter::add(const GgufEntry& entry) {
  if (entry.key == "general.alignment") return;
  put_string(entries_, entry.key);
  if (entry.value.array) {
    put(entries_, static_cast<uint32_t>(GgufType::kArray));
    put(entries_, static_cast<uint32_t>(entry.value.type));
    put(entries_, entry.value.count);
  } else {
    put(entries_, static_cast<uint32_t>(entry.value.type));
  }
  entries_.append(reinterpret_cast<const char*>(entry.value.bytes.data()),
                  entry.value.bytes.size());
  ++entry_count_;
}

void GgufWriter::add_u32(std::string_view key, uint32_t value) {
  put_string(entries_, key);
  put(entries_, static_cast<uint32_t>(GgufType::kU32));
  put(entries_, value);
  ++entry_count_;
}

void GgufWriter::add_tensor(std::string_view name, tensor::DType dtype,
                            const tensor::Shape& shape) {
  const auto bytes = tensor::stored_bytes(dtype, shape);
  SLUICE_CHECK(bytes.has_value(), "a tensor's shape divides into its type's blocks");
  put_string(infos_, name);
  put(infos_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i > 0; --i) put(infos_, static_cast<uint64_t>(shape[i - 1]));
  put(infos_, static_cast<uint32_t>(dtype));
  put(infos_, data_bytes_);
  tensors_.push_back({.offset = data_bytes_, .bytes = *bytes});
  data_bytes_ = aligned(data_bytes_ + *bytes);
}

std::string GgufWriter::header(uint64_t& begin) const {
  std::string out = "GGUF";
  put(out, kVersion);
  put<uint64_t>(out, tensors_.size());
  put(out, entry_count_);
  out += entries_;
  out += infos_;
  begin = aligned(out.size());
  out.resize(begin);
  return out;
}

uint64_t GgufWriter::file_bytes() const {
  return aligned(24 + entries_.size() + infos_.size()) + data_bytes_;
}

Outcome GgufWriter::open(const std::filesystem::path& path, Existing existing) {
  SLUICE_CHECK(fd_ < 0, "a writer writes one file");
  path_ = path;
  existing_ = existing;
  if (existing == Existing::kRefuse && std::filesystem::exists(path)) {
    return fail(Code::kAlreadyExists, fmt::format("{} exists already", path.string()));
  }
  temporary_ = path.string() + fmt::format(".tmp{}", static_cast<int>(::getpid()));
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) return os_failure("cannot create", temporary_, errno);
  const uint64_t bytes = file_bytes();
  if (::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0 && errno == ENOSPC) {
    return fail(Code::kUnavailable,
                fmt::format("the disk has no room for the {} bytes of {}", bytes, path.string()));
  }
  uint64_t begin = 0;
  const std::string head = header(begin);
  return write(std::as_bytes(std::span(head)));
}

Outcome GgufWriter::append(std::span<const std::byte> bytes) {
  SLUICE_CHECK(current_ < tensors_.size(), "no more bytes than the tensors have");
  const Tensor& tensor = tensors_[current_];
  SLUICE_CHECK(bytes.size() <= tensor.bytes - written_, "a piece ends with its tensor");
  SLUICE_RETURN_IF_ERROR(write(bytes));
  written_ += bytes.size();
  if (written_ < tensor.bytes) return {};
  ++current_;
  written_ = 0;
  static constexpr std::byte kPadding[kAlignment] = {};
  return write(std::span(kPadding).first(aligned(tensor.bytes) - tensor.bytes));
}

Outcome GgufWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return os_failure("cannot write", temporary_, errno);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Outcome GgufWriter::commit() {
  SLUICE_CHECK(current_ == tensors_.size(), "every tensor was written");
  if (::fsync(fd_) != 0) return os_failure("cannot sync", temporary_, errno);
  if (const int error = rename_as(temporary_.c_str(), path_.c_str(), existing_); error != 0) {
    return os_failure("cannot rename to", path_, error);
  }
  ::close(fd_);
  fd_ = -1;
  return {};
}

}  // namespace sluice::formats
