// The texts of the schemas, by room of the API. Their language is in schema.h.
#pragma once

#include <string_view>
#include <vector>

namespace sluice::control {

std::string_view core_schemas();      // metadata, core/v1, autoscaling/v1 Scale
std::string_view pod_schemas();       // containers and what stands around them
std::string_view serving_schemas();   // serving.kserve.io/v1beta1: InferenceService
std::string_view runtime_schemas();   // v1alpha1: runtimes and graphs
std::string_view sluice_schemas();    // sluice.dev/v1alpha1
std::string_view platform_schemas();  // the same group: what the platform makes

inline std::vector<std::string_view> schema_texts() {
  return {core_schemas(),    pod_schemas(),    serving_schemas(),
          runtime_schemas(), sluice_schemas(), platform_schemas()};
}

}  // namespace sluice::control
