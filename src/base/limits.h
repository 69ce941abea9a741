// Every limit on foreign input and on what the process holds, in one place. What a user may set by
// a flag has its default here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::limits {

// HTTP
inline constexpr size_t kMaxBodyBytes = 8u << 20;
inline constexpr size_t kMaxHeaderBytes = 32u << 10;
inline constexpr size_t kMaxHeaders = 100;
inline constexpr size_t kMaxTargetBytes = 8u << 10;
inline constexpr size_t kMaxConnections = 4096;
inline constexpr size_t kMaxPipelined = 16;
inline constexpr size_t kMaxUnsentBytes = 4u << 20;  // a slow reader of a stream is cut past this
inline constexpr std::chrono::seconds kHeaderTimeout{10};
inline constexpr std::chrono::seconds kBodyTimeout{30};
inline constexpr std::chrono::seconds kIdleTimeout{75};
inline constexpr std::chrono::seconds kWriteTimeout{30};

// Request fields
inline constexpr size_t kMaxMessages = 4096;
inline constexpr size_t kMaxContentParts = 1024;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 1024;
inline constexpr size_t kMaxStopTokens = 256;
inline constexpr size_t kMaxLogitBias = 4096;
inline constexpr size_t kMaxBadWords = 256;
inline constexpr size_t kMaxPrompts = 256;
inline constexpr int kMaxChoices = 64;
inline constexpr int kMaxTopLogprobs = 20;
inline constexpr size_t kMaxUserBytes = 512;
inline constexpr size_t kMaxTokenizeBytes = 4u << 20;

// Templates
inline constexpr size_t kMaxTemplateBytes = 256u << 10;
inline constexpr size_t kMaxTemplateOutput = 16u << 20;
inline constexpr size_t kMaxTemplateSteps = 20'000'000;
inline constexpr int kMaxTemplateDepth = 64;              // macros within macros, nesting
inline constexpr size_t kMaxTemplateMemory = 256u << 20;  // what one render holds at a time
inline constexpr size_t kMaxTemplateSegments = 1u << 20;  // changes of provenance in a string
inline constexpr size_t kMaxTemplateItems = 1u << 20;     // items of one list or dict
inline constexpr size_t kMaxTemplateRange = 100'000;      // as Jinja's sandbox

// Model files
inline constexpr size_t kMaxTensors = 1u << 20;
inline constexpr size_t kMaxMetadataEntries = 1u << 16;
inline constexpr size_t kMaxStringBytes = 16u << 20;
inline constexpr size_t kMaxVocabulary = 4u << 20;
inline constexpr size_t kMaxTokenBytes = 64u << 10;
inline constexpr size_t kMaxShards = 1024;
inline constexpr size_t kMaxSafetensorsHeader = 100'000'000;
inline constexpr size_t kMaxConfigBytes = 4u << 20;
inline constexpr size_t kMaxTokenizerBytes = 128u << 20;

// Engine
inline constexpr size_t kMaxQueuedRequests = 1024;
inline constexpr size_t kMaxQueuedTokens = 4u << 20;
inline constexpr int kMaxSequences = 256;        // default of --max-num-seqs
inline constexpr int kMaxBatchedTokens = 512;    // default of --max-num-batched-tokens
inline constexpr int kBlockSize = 16;            // default of --block-size
inline constexpr double kMaxStepStretch = 1.25;  // default of --max-step-stretch
inline constexpr int kMaxDraft = 8;              // default of num_speculative_tokens

}  // namespace sluice::limits
