#include "cli/client_commands.h"

#include <memory>

#include "cli/client/apply.h"
#include "cli/client/change.h"
#include "cli/client/get.h"
#include "cli/client/logs.h"
#include "cli/client/rollout.h"
#include "cli/client/wait.h"
#include "cli/doctor/doctor.h"
#include "cli/top/top.h"

namespace sluice::cli {
namespace {

void add_api_options(CLI::App& app, ApiOptions& o) {
  app.add_option("--kubeconfig", o.kubeconfig,
                 "Address and token of the API (default: $KUBECONFIG, else what `sluice up` "
                 "wrote, else ~/.kube/config)");
  app.add_option("--context", o.context, "Context of the kubeconfig (default: its current one)");
  app.add_option("-n,--namespace", o.ns, "Namespace (default: the context's)");
}

void add_files_option(CLI::App& app, std::vector<std::string>& files, bool& recursive) {
  app.add_option("-f,--filename", files,
                 "Manifest, folder of manifests, or - for standard input; repeat it for several");
  app.add_flag("-R,--recursive", recursive, "Folders with what lies below them");
}

// Runs with options that live as long as the command.
template <typename Options>
std::shared_ptr<Options> add_command(CLI::App& app, std::vector<Command>& commands,
                                     const char* name, const char* description,
                                     int (*run)(const Options&)) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(name, description);
  add_api_options(*command, options->api);
  commands.emplace_back(command, [options, run] { return run(*options); });
  return options;
}

constexpr const char* kTargets = "TYPE[,TYPE] [NAME…] or TYPE/NAME…, such as isvc or isvc/llama";

void add_get(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<GetOptions>(app, commands, "get", "Show objects", run_get);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, kTargets);
  add_files_option(command, o->files, o->recursive);
  command.add_option("-o,--output", o->output, "wide, json, yaml or name (default: a table)")
      ->check(CLI::IsMember({"wide", "json", "yaml", "name"}));
  command.add_flag("-A,--all-namespaces", o->all_namespaces, "Of all namespaces");
  command.add_option("-l,--selector", o->selector, "Labels, such as team=search,tier!=gold");
  command.add_option("--field-selector", o->field_selector, "Fields, such as metadata.name=llama");
  command.add_flag("-w,--watch", o->watch, "Go on with the changes");
  command.add_flag("--no-headers", o->no_head, "Without the table's head");
  command.add_flag("--show-labels", o->show_labels, "With the labels");
  command.add_flag("--show-managed-fields", o->managed_fields, "With metadata.managedFields");
  command.add_flag("--ignore-not-found", o->ignore_not_found, "What is not there is no error");
}

void add_describe(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<GetOptions>(app, commands, "describe", "Tell objects in full", run_describe);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, kTargets);
  add_files_option(command, o->files, o->recursive);
  command.add_flag("-A,--all-namespaces", o->all_namespaces, "Of all namespaces");
  command.add_option("-l,--selector", o->selector, "Labels, such as team=search,tier!=gold");
}

void add_apply(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<ApplyOptions>(
      app, commands, "apply", "Make objects as manifests say (server-side apply)", run_apply);
  CLI::App& command = *commands.back().first;
  command
      .add_option("-f,--filename", o->files,
                  "Manifest, folder of manifests, or - for standard input; repeat it for several")
      ->required();
  command.add_flag("-R,--recursive", o->recursive, "Folders with what lies below them");
  command.add_option("--field-manager", o->manager, "Who owns the fields")->capture_default_str();
  command.add_flag("--force-conflicts", o->force_conflicts, "Take fields from other managers");
  command.add_option("--dry-run", o->dry_run, "server: check, and change nothing")
      ->check(CLI::IsMember({"none", "server"}))
      ->capture_default_str();
  command.add_flag("--wait", o->wait, "Until all that can be ready are");
  command.add_option("--timeout", o->timeout, "Longest wait, such as 90s or 5m (0: for ever)")
      ->capture_default_str();
  command.add_option("-o,--output", o->output, "json, yaml or name (default: a line for each)")
      ->check(CLI::IsMember({"json", "yaml", "name"}));
}

void add_delete(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<DeleteOptions>(app, commands, "delete", "Delete objects", run_delete);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, kTargets);
  add_files_option(command, o->files, o->recursive);
  command.add_flag("--all", o->all, "All of the type");
  command.add_flag("-A,--all-namespaces", o->all_namespaces, "Of all namespaces");
  command.add_option("-l,--selector", o->selector, "Labels, such as team=search,tier!=gold");
  command.add_option("--cascade", o->cascade, "What becomes of what the object owns")
      ->check(CLI::IsMember({"background", "foreground", "orphan"}))
      ->capture_default_str();
  command.add_flag("--wait,!--no-wait", o->wait, "Until the objects are gone (default: on)");
  command.add_option("--timeout", o->timeout, "Longest wait, such as 90s (0: for ever)")
      ->capture_default_str();
  command.add_flag("--ignore-not-found", o->ignore_not_found, "What is not there is no error");
}

void add_scale(CLI::App& app, std::vector<Command>& commands) {
  auto o =
      add_command<ScaleOptions>(app, commands, "scale", "Set the number of replicas", run_scale);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, "TYPE/NAME…, such as isvc/llama")->required();
  command.add_option("--replicas", o->replicas, "So many; 0: none while idle")
      ->check(CLI::Range(0, 1000))
      ->required();
  command.add_option("--current-replicas", o->current_replicas, "Only if there are so many now")
      ->check(CLI::Range(0, 1000));
}

void add_wait(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<WaitOptions>(app, commands, "wait", "Wait until something holds of objects",
                                    run_wait);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, kTargets);
  add_files_option(command, o->files, o->recursive);
  command
      .add_option("--for", o->condition,
                  "condition=NAME[=VALUE], delete, or jsonpath={.path}=value")
      ->capture_default_str();
  command.add_option("--timeout", o->timeout, "Longest wait, such as 90s (0: for ever)")
      ->capture_default_str();
  command.add_option("-l,--selector", o->selector, "Labels, such as team=search,tier!=gold");
  command.add_flag("-A,--all-namespaces", o->all_namespaces, "Of all namespaces");
}

void add_rollout(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<RolloutOptions>(app, commands, "rollout",
                                       "Show and steer how a new version takes over", run_rollout);
  CLI::App& command = *commands.back().first;
  command.add_option("ACTION", o->action, "status, history, promote, undo, pause or resume")
      ->check(CLI::IsMember({"status", "history", "promote", "undo", "pause", "resume"}))
      ->required();
  command.add_option("TARGET", o->targets, "isvc/NAME…")->required();
  command.add_option("--revision,--to-revision", o->revision,
                     "Of undo: the one to go back to (default: the one before); of history: shown "
                     "whole. Its name, or the number at its end");
  command.add_flag("--watch,!--no-watch", o->watch, "Of status: until it has ended (default: on)");
  command.add_option("--timeout", o->timeout, "Of status: longest wait, such as 5m (0: for ever)")
      ->capture_default_str();
  command.add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_logs(CLI::App& app, std::vector<Command>& commands) {
  auto o = add_command<LogsOptions>(app, commands, "logs", "Show what replicas write", run_logs);
  CLI::App& command = *commands.back().first;
  command.add_option("TARGET", o->targets, "A replica's name, or isvc/NAME, revision/NAME")
      ->required();
  command.add_flag("-f,--follow", o->follow, "Go on with what comes");
  command.add_option("--tail", o->tail, "Lines from the end (-1: all that is kept)")
      ->check(CLI::Range(-1, 10'000'000))
      ->capture_default_str();
  command.add_flag("--prefix", o->prefix, "The replica's name before each line");
}

void add_top(CLI::App& app, std::vector<Command>& commands) {
  auto o =
      add_command<TopOptions>(app, commands, "top", "Show services and replicas at work", run_top);
  CLI::App& command = *commands.back().first;
  command.add_flag("-A,--all-namespaces", o->all_namespaces, "Of all namespaces");
  command.add_flag("--once", o->once, "Print once and end");
  command.add_option("--interval", o->interval_seconds, "Seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command.add_option("-o,--output", o->output, "text or json (once)")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_doctor(CLI::App& app, std::vector<Command>& commands) {
  auto o = std::make_shared<DoctorOptions>();
  CLI::App& command =
      *app.add_subcommand("doctor", "Look at machine and configuration, and say what to do");
  commands.emplace_back(&command, [o] { return run_doctor(*o); });
  command.add_option("MODEL", o->models, "Models that should be read and have room");
  command.add_option("-f,--filename", o->files, "Manifests that should be good");
  command.add_option("--config", o->config, "Gateway's configuration (default: DATA/gateway.json)");
  command.add_option("--data", o->data, "Folder of `sluice up` (default: its own)")
      ->envname("SLUICE_CONTROL_DATA");
  command.add_option("--host", o->host, "Address to listen on")->capture_default_str();
  command.add_option("--port", o->port, "Port of the data plane")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command.add_option("--control-port", o->control_port, "Port of the control plane")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command.add_option("--grpc-port", o->grpc_port, "Port of gRPC (-1: none)")
      ->check(CLI::Range(-1, 65535))
      ->capture_default_str();
  command.add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

}  // namespace

void add_client_commands(CLI::App& app, std::vector<Command>& commands) {
  add_apply(app, commands);
  add_get(app, commands);
  add_describe(app, commands);
  add_delete(app, commands);
  add_scale(app, commands);
  add_wait(app, commands);
  add_rollout(app, commands);
  add_logs(app, commands);
  add_top(app, commands);
  add_doctor(app, commands);
}

}  // namespace sluice::cli
