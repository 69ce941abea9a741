#include "serving/loaded_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/build_info.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "base/prefix_hash.h"
#include "serving/tokenizer_setup.h"

namespace sluice::serving {
namespace {

constexpr size_t kMostOfName = 128;  // of a model's name in that of a file

std::string piece_text(const text::Tokenizer& tokenizer, std::optional<int32_t> id) {
  return id ? std::string(tokenizer.token_piece(*id)) : std::string();
}

// What a model's files say of sampling: it decides tokens where a request leaves it open.
std::string sampling_defaults(const formats::GenerationDefaults& defaults,
                              const std::vector<int32_t>& end_tokens) {
  const auto number = [](const auto& value) {
    return value ? fmt::format("{}", *value) : std::string("-");
  };
  return fmt::format("{} {} {} {} {} [{}]", number(defaults.temperature), number(defaults.top_k),
                     number(defaults.top_p), number(defaults.min_p),
                     number(defaults.repetition_penalty), fmt::join(end_tokens, ","));
}

std::string draft_name(const ModelSettings& settings) {
  return fmt::format("draft model {}", settings.draft_model.string());
}

model::KvType kv_type_of(const ModelSettings& settings, const formats::ModelSource& source) {
  return settings.kv_type ? *settings.kv_type : model::default_kv_type(source, settings.isa);
}

// The cache of the model's repacked weights; nullptr where none is wanted.
std::unique_ptr<model::WeightsCache> open_weights_cache(const ModelPath& path,
                                                        const ModelSettings& settings,
                                                        const formats::ModelSource& source,
                                                        ThreadTeam& team) {
  if (settings.weights_cache_dir.empty()) return nullptr;
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path.path, ignored);
  const fs::path beside = is_folder ? path.path : path.path.parent_path();
  const fs::path folder =
      settings.weights_cache_dir == kBesideModel ? beside : settings.weights_cache_dir;
  const fs::path stem = path.path.has_filename() ? path.path.filename() : beside.filename();
  return model::WeightsCache::open(source, settings.isa, folder,
                                   stem.string().substr(0, kMostOfName), team);
}

}  // namespace

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(const ModelPath& path,
                                                       const ModelSettings& settings,
                                                       ThreadTeam& team) {
  std::unique_ptr<LoadedModel> loaded(new LoadedModel());
  SLUICE_ASSIGN_OR_RETURN(loaded->source_, formats::open_model(path.path));
  SLUICE_RETURN_IF_ERROR(loaded->set_up_text(path, settings));
  SLUICE_RETURN_IF_ERROR(loaded->set_up_model(path, settings, team));
  loaded->start_digest();
  loaded->start_caching();
  return loaded;
}

Result<std::unique_ptr<LoadedModel>> LoadedModel::load_text(const ModelPath& path,
                                                            const ModelSettings& settings) {
  std::unique_ptr<LoadedModel> loaded(new LoadedModel());
  SLUICE_ASSIGN_OR_RETURN(loaded->source_, formats::open_model(path.path));
  SLUICE_RETURN_IF_ERROR(loaded->set_up_text(path, settings));
  return loaded;
}

Result<LoadedModel::MemoryPlan> LoadedModel::plan_memory(const ModelPath& path,
                                                         const ModelSettings& settings) {
  SLUICE_ASSIGN_OR_RETURN(const auto source, formats::open_model(path.path));
  const model::KvType kv_type = kv_type_of(settings, *source);
  MemoryPlan plan{.weights = model::weight_memory_bytes(*source, settings.isa), .kv = {}};
  SLUICE_ASSIGN_OR_RETURN(
      plan.kv, plan_kv(source->config(), settings,
                       {.available = available_memory_bytes(),
                        .weights = plan.weights,
                        .promised = settings.promised_bytes},
                       model::kv_block_bytes(source->config(), kv_type, settings.block_size)));
  return plan;
}

Outcome LoadedModel::set_up_text(const ModelPath& path, const ModelSettings& settings) {
  SLUICE_ASSIGN_OR_RETURN(tokenizer_, load_tokenizer(*source_));
  if (tokenizer_->vocab_size() < source_->config().vocab) {
    log_debug("{} of {} output rows have no token",
              source_->config().vocab - tokenizer_->vocab_size(), source_->config().vocab);
  }
  std::string_view chosen = source_->chat_template();
  if (settings.chat_template) chosen = *settings.chat_template;
  if (chosen.empty()) {
    log_warn(
        "{} brings no chat template: chats use the plain one (docs/models.md); give one with "
        "--chat-template",
        path.path.filename().string());
    chosen = text::plain_chat_template();
  }
  auto parsed = text::ChatTemplate::parse(chosen);
  if (!parsed && settings.chat_template)
    return std::unexpected(parsed.error().at("--chat-template"));
  if (!parsed) {
    log_warn("{}: its chat template is not understood, chats use the plain one: {}",
             path.path.filename().string(), parsed.error().message());
    parsed = text::ChatTemplate::parse(text::plain_chat_template());
  }
  SLUICE_ASSIGN_OR_RETURN(chat_template_, std::move(parsed));
  end_tokens_ = serving::end_tokens(*source_, *tokenizer_);
  const text::TokenizerSpec& spec = tokenizer_->spec();
  text_ = {.tokenizer = tokenizer_.get(),
           .chat_template = &chat_template_,
           .bos_text = piece_text(*tokenizer_, spec.bos),
           .eos_text = piece_text(*tokenizer_, spec.eos)};
  return {};
}

// A cache that was used knows the digest: the weights need not be read for it.
void LoadedModel::start_digest() {
  if (const auto known = weights_cache_ ? weights_cache_->digest() : std::nullopt) {
    std::promise<uint64_t> promise;
    promise.set_value(*known);
    digest_ = promise.get_future();
    return;
  }
  const formats::ModelSource* source = source_.get();
  digest_ = std::async(std::launch::async, [source] { return source->weights_digest(); });
}

void LoadedModel::start_caching() {
  if (!weights_cache_ || weights_cache_->is_complete()) return;
  cache_writer_ = std::jthread([this](const std::stop_token& stop) {
    const Outcome written = weights_cache_->write(digest_.get(), stop);
    if (written) {
      log_info("repacked weights are kept for the next start: {}", weights_cache_->path().string());
    } else if (written.error().code() != Code::kCancelled) {
      log_warn("repacked weights are not kept for the next start: {}", written.error().message());
    }
  });
}

void LoadedModel::wait_until_cached() {
  if (cache_writer_.joinable()) cache_writer_.join();
}

Outcome LoadedModel::set_up_model(const ModelPath& path, const ModelSettings& settings,
                                  ThreadTeam& team) {
  int64_t weights = model::weight_memory_bytes(*source_, settings.isa);
  kv_type_ = kv_type_of(settings, *source_);
  int64_t block_bytes = model::kv_block_bytes(source_->config(), kv_type_, settings.block_size);
  if (settings.speculation.method == engine::DraftMethod::kModel) {
    auto draft = DraftModel::open(settings.draft_model, *tokenizer_);
    if (!draft) return std::unexpected(draft.error().at(draft_name(settings)));
    draft_ = *std::move(draft);
    weights += draft_->weight_bytes(settings.isa);
    block_bytes += draft_->kv_block_bytes(kv_type_, settings.block_size);
  }
  SLUICE_ASSIGN_OR_RETURN(const KvPlan plan, plan_kv(source_->config(), settings,
                                                     {.available = available_memory_bytes(),
                                                      .weights = weights,
                                                      .promised = settings.promised_bytes},
                                                     block_bytes));
  kv_blocks_ = plan.blocks;
  kv_bytes_ = plan.bytes;
  weight_bytes_ = weights;
  max_model_len_ = plan.max_model_len;
  const model::ModelOptions options{.isa = settings.isa,
                                    .kv_type = kv_type_,
                                    .block_size = settings.block_size,
                                    .kv_blocks = plan.blocks,
                                    .max_batch_rows = settings.max_num_batched_tokens,
                                    .max_context = max_model_len_};
  weights_cache_ = open_weights_cache(path, settings, *source_, team);
  SLUICE_ASSIGN_OR_RETURN(model_, model::load_model(*source_, options, team, weights_cache_.get()));
  if (draft_) {
    const Outcome loaded = draft_->load(options, settings.speculation.max_streams, team);
    if (!loaded) return std::unexpected(loaded.error().at(draft_name(settings)));
  }
  numeric_flags_ = fmt::format("{}|{}|{}", build_description(), kernels::isa_name(settings.isa),
                               kv_type_name(kv_type_));
  numeric_flags_ += "|" + sampling_defaults(source_->generation(), end_tokens_);
  // The length served chooses between longrope's two sets of factors.
  const formats::RopeConfig& rope = source_->config().rope;
  if (rope.scaling == formats::RopeScaling::kLongRope) {
    numeric_flags_ += max_model_len_ > rope.original_context ? "|long" : "|short";
  }
  return {};
}

std::string LoadedModel::fingerprint() const {
  const PrefixHash id = prefix_salt(fmt::format("{:016x}|{}", digest_.get(), numeric_flags_));
  return fmt::format("fp_{:016x}", id.low);
}

}  // namespace sluice::serving
