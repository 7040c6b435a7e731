#include "csrc/engine/trace.h"

#include <utility>

#include "csrc/check.h"
#include "csrc/engine/fingerprint.h"

namespace r1::engine {
namespace {

/// Rows of each prompt's first token, then of the first completion's.
std::vector<std::int64_t> starts_of(const std::vector<at::Tensor>& prompts) {
  std::vector<std::int64_t> starts{0};
  for (const at::Tensor& prompt : prompts) starts.push_back(starts.back() + prompt.numel());
  return starts;
}

std::int64_t rows_of(const std::vector<at::Tensor>& prompts, std::int64_t n,
                     std::int64_t max_new_tokens) {
  return starts_of(prompts).back() + std::ssize(prompts) * n * max_new_tokens;
}

std::int64_t floats_of(const DecoderSpec& spec, std::int64_t rows) {
  return std::ssize(spec.layers) * rows * (spec.heads * spec.head_dim + spec.hidden());
}

}  // namespace

Trace::Trace(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts, std::int64_t n,
             std::int64_t max_new_tokens)
    : fingerprint_(engine::fingerprint(spec)),
      prompts_(prompts),
      n_(n),
      longest_(max_new_tokens),
      attention_(spec.heads * spec.head_dim),
      hidden_(spec.hidden()),
      starts_(starts_of(prompts)),
      rows_(rows_of(prompts, n, max_new_tokens)),
      floats_(floats_of(spec, rows_)) {}

std::int64_t Trace::bytes(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts,
                          std::int64_t n, std::int64_t max_new_tokens) {
  return floats_of(spec, rows_of(prompts, n, max_new_tokens)) *
         static_cast<std::int64_t>(sizeof(float));
}

void Trace::note(const at::Tensor& tokens, const at::Tensor& lengths) {
  for (std::int64_t row = 0; row < lengths.numel(); ++row) {
    const at::Tensor& prompt = prompts_[static_cast<std::size_t>(row / n_)];
    const std::int64_t* const head = prompt.const_data_ptr<std::int64_t>();
    const std::int64_t* const tail = tokens.const_data_ptr<std::int64_t>() + row * longest_;
    std::vector<std::int64_t> key{prompt.numel()};
    key.insert(key.end(), head, head + prompt.numel());
    key.insert(key.end(), tail, tail + lengths.const_data_ptr<std::int64_t>()[row]);
    found_.emplace(std::move(key), row);
  }
}

std::optional<std::int64_t> Trace::find(const at::Tensor& sequence,
                                        std::int64_t prompt_length) const {
  const std::int64_t* const tokens = sequence.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> key{prompt_length};
  key.insert(key.end(), tokens, tokens + sequence.numel());
  const auto found = found_.find(key);
  return found == found_.end() ? std::nullopt : std::optional(found->second);
}

void Trace::check(const char* function, const DecoderSpec& spec) const {
  const std::int64_t size = floats_of(spec, rows_);
  if (spec.heads * spec.head_dim != attention_ || size != floats_.size())
    reject(function, "trace must be of a model of these sizes; it has ", floats_.size(),
           " floats, the model's would have ", size);
}

}  // namespace r1::engine
