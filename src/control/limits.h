// What the API server holds and accepts at most. Past a limit the caller gets a Status that names
// it.
#pragma once

#include <chrono>
#include <cstddef>

namespace sluice::control::limits {

inline constexpr size_t kMaxBodyBytes = 3u << 20;
inline constexpr size_t kMaxObjectBytes = 1u << 20;
inline constexpr size_t kMaxObjects = 20'000;            // events apart
inline constexpr size_t kMaxStoredBytes = 256u << 20;    // of all objects' JSON together
inline constexpr size_t kMaxEvents = 5'000;              // the oldest goes
inline constexpr std::chrono::seconds kEventLife{3600};  // after it was last seen
inline constexpr size_t kMaxHistory = 8'192;             // changes that a watch can resume from
inline constexpr size_t kMaxHistoryBytes = 8u << 20;     // of their JSON
inline constexpr size_t kMaxWatchers = 512;
inline constexpr size_t kMaxListPage = 5'000;  // `limit` is cut to it
inline constexpr size_t kMaxManagers = 64;     // entries of managedFields
inline constexpr size_t kMaxPatchOperations = 10'000;
inline constexpr size_t kMaxSelectorBytes = 8u << 10;
inline constexpr size_t kMaxSelectorTerms = 64;
inline constexpr size_t kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonNodes = 200'000;
inline constexpr size_t kMaxWarnings = 32;       // of one answer
inline constexpr size_t kMaxWarningBytes = 256;  // of one warning
inline constexpr size_t kMaxLabels = 256;
inline constexpr size_t kMaxAnnotationBytes = 256u << 10;
inline constexpr size_t kMaxFinalizers = 32;
inline constexpr size_t kMaxOwners = 64;
inline constexpr size_t kMaxGraphNodes = 256;
inline constexpr size_t kMaxGraphSteps = 256;          // of one node
inline constexpr size_t kMaxAuditBytes = 32u << 20;    // then the file is put aside
inline constexpr size_t kMaxLogBytes = 4u << 20;       // of a replica's log in one answer
inline constexpr size_t kMaxFollowBytes = 256u << 10;  // written between two looks at a log
inline constexpr size_t kMaxLogFollows = 64;
inline constexpr std::chrono::seconds kBookmarkEvery{60};
inline constexpr std::chrono::seconds kMaxWatchTime{3600};

}  // namespace sluice::control::limits
