#include <ATen/ops/zeros.h>

#include <deque>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/inputs.h"
#include "csrc/engine/schedule.h"
#include "csrc/engine/team.h"
#include "kernels/common/philox.h"
#include "kernels/sampling.h"

namespace r1::engine {
namespace {

/// One call: one thread plans a block for each crew, the crews run them and draw their tokens.
class Generation {
 public:
  Generation(const DecoderSpec& spec, const Prompts& prompts, const GenerateOptions& options,
             const StopCheck& stop_check, Team& team, Completions& results)
      : spec_(spec),
        prompts_(prompts),
        options_(options),
        team_(team),
        results_(results),
        schedule_(spec, prompts, options, stop_check, results),
        rotary_(spec, longest(prompts.tokens) + options.max_new_tokens),
        blocks_(static_cast<std::size_t>(team.size())) {
    for (int i = 0; i < team.size(); ++i) {
      decoders_.emplace_back(spec, rotary_, results.trace.get());
      members_.emplace_back(spec, longest(prompts.tokens), options.max_new_tokens);
      workspaces_.emplace_back(kernels::sample_workspace(spec.vocab()));
    }
  }

  void run(int rank) noexcept {
    Member& member = members_[static_cast<std::size_t>(rank)];
    while (team_.lead(rank, [&] { return plan(); })) {
      member.crew = team_.crew(rank);
      const auto index = static_cast<std::size_t>(member.crew.index);
      const Block& block = blocks_[index];
      decoders_[index].forward(member, block.rows);
      decoders_[index].head(member, block.wanted);
      const Range mine = member.crew.share(static_cast<std::int64_t>(block.draws.size()));
      for (std::int64_t i = mine.begin; i < mine.end; ++i) {
        const Draw& draw = block.draws[static_cast<std::size_t>(i)];
        draw_token(draw, decoders_[index].logits(member, draw.logits),
                   workspaces_[static_cast<std::size_t>(rank)]);
      }
    }
  }

  void report(const OnProgress& on_progress) const {
    on_progress(schedule_.tokens(), schedule_.finished());
  }

 private:
  bool plan() {
    const int crews = schedule_.next(blocks_);
    if (crews > 0) team_.split(crews);
    return crews > 0;
  }
  void draw_token(const Draw& draw, const float* logits, Buffer& workspace) noexcept;

  const DecoderSpec& spec_;
  const Prompts& prompts_;
  const GenerateOptions& options_;
  Team& team_;
  Completions& results_;
  Schedule schedule_;
  RotaryTable rotary_;
  std::vector<Block> blocks_;      // of each crew
  std::deque<Decoder> decoders_;   // of each crew
  std::deque<Member> members_;     // of each thread
  std::deque<Buffer> workspaces_;  // of each thread
};

/// Draws the token of one position into its own cell of the results.
void Generation::draw_token(const Draw& draw, const float* logits, Buffer& workspace) noexcept {
  const auto prompt = static_cast<std::size_t>(draw.row / options_.n);
  const double uniform = kernels::philox_uniform(
      prompts_.seeds[prompt], static_cast<std::uint32_t>(draw.position),
      static_cast<std::uint32_t>(draw.row % options_.n),
      static_cast<std::uint32_t>(prompts_.uids[prompt]), kernels::PhiloxStream::kSampling);
  const kernels::SamplingFilter filter{static_cast<float>(options_.temperature), options_.top_k,
                                       options_.top_p, static_cast<float>(options_.min_p)};
  const std::int64_t at = draw.row * options_.max_new_tokens + draw.position;
  R1_CPU(sample_cpu)
  (logits, 1, spec_.vocab(), filter, &uniform, workspace.data(),
   results_.tokens.mutable_data_ptr<std::int64_t>() + at,
   results_.logprobs.mutable_data_ptr<float>() + at,
   results_.truncated_logprobs.mutable_data_ptr<float>() + at,
   results_.entropies.mutable_data_ptr<float>() + at);
}

Completions empty_results(std::int64_t rows, std::int64_t columns) {
  const auto floats = [&] { return at::zeros({rows, columns}, at::kFloat); };
  return {at::zeros({rows, columns}, at::kLong),
          floats(),
          floats(),
          floats(),
          at::zeros({rows}, at::kLong),
          at::zeros({rows}, at::kBool),
          nullptr};
}

}  // namespace

Completions generate(const DecoderSpec& spec, const Prompts& prompts,
                     const GenerateOptions& options, const StopCheck& stop_check,
                     const OnProgress& on_progress) {
  check_spec(__func__, spec);
  R1_REQUIRE(options.n >= 1, "n must be >= 1; got ", options.n);
  R1_REQUIRE(options.max_new_tokens >= 1, "max_new_tokens must be >= 1; got ",
             options.max_new_tokens);
  R1_REQUIRE(options.slots >= 1, "slots must be >= 1; got ", options.slots);
  R1_REQUIRE(options.threads >= 1, "threads must be >= 1; got ", options.threads);
  R1_REQUIRE(prompts.uids.size() == prompts.tokens.size(), "uids must have one per prompt, ",
             prompts.tokens.size(), "; got ", prompts.uids.size());
  R1_REQUIRE(prompts.seeds.size() == prompts.tokens.size(), "seeds must have one per prompt, ",
             prompts.tokens.size(), "; got ", prompts.seeds.size());
  const at::Tensor& may_end = stop_check.may_end;
  R1_REQUIRE(!may_end.defined() || (may_end.scalar_type() == at::kBool && may_end.is_contiguous() &&
                                    may_end.sizes() == at::IntArrayRef{spec.vocab()}),
             "may_end must be contiguous bool [", spec.vocab(), "]; got ", may_end.toString(), " ",
             may_end.sizes());
  check_tokens(__func__, "prompts", spec, prompts.tokens, options.max_new_tokens);
  const auto P = static_cast<std::int64_t>(prompts.tokens.size());
  Completions results = empty_results(P * options.n, options.max_new_tokens);
  if (options.trace_bytes > 0 &&
      Trace::bytes(spec, prompts.tokens, options.n, options.max_new_tokens) <= options.trace_bytes)
    results.trace =
        std::make_shared<Trace>(spec, prompts.tokens, options.n, options.max_new_tokens);
  Team team(options.threads);
  Generation generation(spec, prompts, options, stop_check, team, results);
  team.run([&](int rank) { generation.run(rank); }, [&] { generation.report(on_progress); });
  if (results.trace) results.trace->note(results.tokens, results.lengths);
  return results;
}

}  // namespace r1::engine
