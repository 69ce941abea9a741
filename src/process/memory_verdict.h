// Whether a program ended for want of memory, by what its keeper has seen of it. Pure.
//
// The kernel tells nobody whom it killed and why: it counts, for each control group. What it counts
// in the replica's own group is proof. What it counts in the group that the keeper stands in is
// none, since others run there too: it is told for people to judge, and the end is not named so.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::process {

struct MemoryFacts {
  bool killed = false;        // it ended by SIGKILL
  bool asked = false;         // it had been asked to end before
  bool over_limit = false;    // the keeper saw more than the limit, and killed it
  bool watched = false;       // the keeper looks at its memory
  uint64_t limit = 0;         // bytes; 0: none
  uint64_t memory = 0;        // bytes at the last look
  uint64_t growth = 0;        // since the look before
  uint64_t own_kills = 0;     // of the kernel in its own control group
  uint64_t kills_around = 0;  // of the kernel, meanwhile, in the group around
};

struct MemoryVerdict {
  bool out_of_memory = false;
  std::string why = {};  // for people; may tell of what proves nothing; empty: nothing to say
};

MemoryVerdict judge_memory(const MemoryFacts& facts);

}  // namespace sluice::process
