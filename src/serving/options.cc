#include "serving/options.h"

namespace sluice::serving {

std::string_view kv_type_name(model::KvType type) {
  switch (type) {
    case model::KvType::kF32:
      return "f32";
    case model::KvType::kF16:
      return "f16";
    case model::KvType::kBf16:
      return "bf16";
    case model::KvType::kInt8:
      break;
  }
  return "int8";
}

}  // namespace sluice::serving
