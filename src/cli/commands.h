// The command line: one table of subcommands and options, from which --help, the environment
// variables and docs/configuration.md come.
#pragma once

namespace sluice::cli {

// Parses and runs. Exit status: 0 done, 1 failed, 2 the command line was wrong.
int run(int argc, char** argv);

}  // namespace sluice::cli
