#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/inputs.h"
#include "csrc/engine/work_queue.h"
#include "csrc/engine/workers.h"
#include "kernels/common/philox.h"
#include "kernels/sampling.h"

namespace r1::engine {
namespace {

/// What the threads of one call share.
struct Job {
  const DecoderSpec& spec;
  const std::vector<at::Tensor>& prompts;
  const std::vector<std::int64_t>& prompt_uids;
  const GenerateOptions& options;
  RotaryTable rotary;
  Completions& results;
  WorkQueue queue;
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> tokens = 0, finished = 0;
};

/// A completion being decoded.
struct Slot {
  std::shared_ptr<KvCache> prompt;
  std::unique_ptr<KvCache> own;
  std::int64_t row, prompt_length, length;  // length: tokens drawn
};

/// One thread: its slots, its workspace, and the loop that fills and steps them.
class Worker {
 public:
  Worker(Job& job, std::int64_t slots)
      : job_(job),
        decoder_(job.spec, job.rotary, longest(job.prompts), job.options.max_new_tokens),
        capacity_(static_cast<std::size_t>(slots)),
        workspace_(static_cast<std::size_t>(kernels::sample_workspace(job.spec.vocab()))) {}

  void run() {
    while (!job_.stop) {
      refill();
      if (slots_.empty()) {
        if (!job_.queue.wait()) return;
        continue;
      }
      for (std::size_t begin = 0; begin < slots_.size(); begin += Decoder::kMaxRows)
        step(begin, std::min(begin + Decoder::kMaxRows, slots_.size()));
      std::erase_if(slots_, [](const Slot& slot) { return slot.own == nullptr; });
    }
  }

 private:
  void refill();
  void prefill(std::int64_t prompt);
  void step(std::size_t begin, std::size_t end);
  bool draw(const float* logits, std::int64_t row, std::int64_t position);

  Job& job_;
  Decoder decoder_;
  std::size_t capacity_;
  std::vector<Slot> slots_;
  std::vector<Row> rows_;
  std::vector<float> workspace_;
  std::vector<std::unique_ptr<KvCache>> spare_;  // of finished slots, to be used again
};

void Worker::refill() {
  while (slots_.size() < capacity_ && !job_.stop) {
    if (std::optional<Pending> next = job_.queue.pop_completion()) {
      if (spare_.empty())
        spare_.push_back(std::make_unique<KvCache>(job_.spec, job_.options.max_new_tokens));
      const at::Tensor& prompt = job_.prompts[static_cast<std::size_t>(next->row / job_.options.n)];
      slots_.push_back(
          {std::move(next->prompt), std::move(spare_.back()), next->row, prompt.size(0), 1});
      spare_.pop_back();
    } else if (const std::optional<std::int64_t> prompt = job_.queue.pop_prompt()) {
      prefill(*prompt);
    } else {
      return;
    }
  }
}

/// Runs a prompt through the model and draws the first token of all its completions.
void Worker::prefill(std::int64_t index) {
  const at::Tensor& prompt = job_.prompts[static_cast<std::size_t>(index)];
  const std::int64_t* const tokens = prompt.const_data_ptr<std::int64_t>();
  const std::int64_t length = prompt.size(0);
  const auto cache = std::make_shared<KvCache>(job_.spec, length);
  for (std::int64_t begin = 0; begin < length && !job_.stop; begin += Decoder::kMaxRows) {
    rows_.clear();
    for (std::int64_t t = begin; t < std::min(begin + Decoder::kMaxRows, length); ++t)
      rows_.push_back({tokens[t], cache.get(), t + 1, nullptr, 0});
    decoder_.forward(rows_);
  }
  if (job_.stop) return;
  const auto last = static_cast<std::int64_t>(rows_.size()) - 1;
  const float* const logits = decoder_.logits(last, last + 1);
  std::vector<Pending> pending;
  for (std::int64_t g = 0; g < job_.options.n; ++g) {
    const std::int64_t row = index * job_.options.n + g;
    if (!draw(logits, row, 0)) pending.push_back({cache, row});
  }
  job_.queue.push(std::move(pending));
}

/// One token for slots [begin, end).
void Worker::step(std::size_t begin, std::size_t end) {
  const std::int64_t* const tokens = job_.results.tokens.const_data_ptr<std::int64_t>();
  rows_.clear();
  for (std::size_t s = begin; s < end; ++s) {
    Slot& slot = slots_[s];
    const std::int64_t token = tokens[slot.row * job_.options.max_new_tokens + slot.length - 1];
    rows_.push_back({token, slot.prompt.get(), slot.prompt_length, slot.own.get(), slot.length});
  }
  decoder_.forward(rows_);
  const float* const logits = decoder_.logits(0, static_cast<std::int64_t>(rows_.size()));
  for (std::size_t s = begin; s < end; ++s) {
    Slot& slot = slots_[s];
    const float* const row = logits + static_cast<std::int64_t>(s - begin) * job_.spec.vocab();
    if (draw(row, slot.row, slot.length++)) {
      spare_.push_back(std::move(slot.own));  // marks the slot as free
      slot.prompt.reset();
    }
  }
}

/// Draws the token of one position of one row of the results. @return true if it was the last
bool Worker::draw(const float* logits, std::int64_t row, std::int64_t position) {
  const GenerateOptions& options = job_.options;
  const auto uid = job_.prompt_uids[static_cast<std::size_t>(row / options.n)];
  const double uniform =
      kernels::philox_uniform(options.seed, static_cast<std::uint32_t>(position),
                              static_cast<std::uint32_t>(row % options.n),
                              static_cast<std::uint32_t>(uid), kernels::PhiloxStream::kSampling);
  const kernels::SamplingFilter filter{static_cast<float>(options.temperature), options.top_k,
                                       static_cast<float>(options.top_p),
                                       static_cast<float>(options.min_p)};
  const std::int64_t at = row * options.max_new_tokens + position;
  Completions& results = job_.results;
  std::int64_t* const token = results.tokens.mutable_data_ptr<std::int64_t>() + at;
  R1_CPU(sample_cpu)
  (logits, 1, job_.spec.vocab(), filter, &uniform, workspace_.data(), token,
   results.logprobs.mutable_data_ptr<float>() + at,
   results.truncated_logprobs.mutable_data_ptr<float>() + at,
   results.entropies.mutable_data_ptr<float>() + at);
  const bool stopped =
      std::ranges::find(options.stop_token_ids, *token) != options.stop_token_ids.end();
  const bool last = stopped || position + 1 == options.max_new_tokens;
  ++job_.tokens;
  if (last) {
    results.lengths.mutable_data_ptr<std::int64_t>()[row] = position + 1;
    results.stopped.mutable_data_ptr<bool>()[row] = stopped;
    ++job_.finished;
  }
  return last;
}

Completions empty_results(std::int64_t rows, std::int64_t columns) {
  const auto floats = [&] { return at::zeros({rows, columns}, at::kFloat); };
  return {at::zeros({rows, columns}, at::kLong),
          floats(),
          floats(),
          floats(),
          at::zeros({rows}, at::kLong),
          at::zeros({rows}, at::kBool)};
}

}  // namespace

Completions generate(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts,
                     const std::vector<std::int64_t>& prompt_uids, const GenerateOptions& options,
                     const OnProgress& on_progress) {
  check_spec(__func__, spec);
  R1_REQUIRE(options.n >= 1, "n must be >= 1; got ", options.n);
  R1_REQUIRE(options.max_new_tokens >= 1, "max_new_tokens must be >= 1; got ",
             options.max_new_tokens);
  R1_REQUIRE(options.slots >= 1, "slots must be >= 1; got ", options.slots);
  R1_REQUIRE(options.threads >= 1, "threads must be >= 1; got ", options.threads);
  R1_REQUIRE(prompt_uids.size() == prompts.size(), "prompt_uids must have one per prompt, ",
             prompts.size(), "; got ", prompt_uids.size());
  check_tokens(__func__, "prompts", spec, prompts, options.max_new_tokens);
  const auto P = static_cast<std::int64_t>(prompts.size());
  Completions results = empty_results(P * options.n, options.max_new_tokens);
  Job job{.spec = spec,
          .prompts = prompts,
          .prompt_uids = prompt_uids,
          .options = options,
          .rotary = RotaryTable(spec, longest(prompts) + options.max_new_tokens),
          .results = results,
          .queue = WorkQueue(P)};
  // A thread with fewer than 16 slots would leave lanes of its one panel empty.
  const std::int64_t threads = std::clamp<std::int64_t>(options.slots / 16, 1, options.threads);
  // Whatever throws, threads that wait for work must learn that none will come.
  const auto guarded = [&job](const auto& part) {
    try {
      part();
    } catch (...) {
      job.stop = true;
      job.queue.cancel();
      throw;
    }
  };
  run_workers(
      static_cast<int>(threads), job.stop,
      [&] { guarded([&] { Worker(job, (options.slots + threads - 1) / threads).run(); }); },
      [&] { guarded([&] { on_progress(job.tokens, job.finished); }); });
  return results;
}

}  // namespace r1::engine
