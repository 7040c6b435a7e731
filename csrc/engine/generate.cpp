#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <deque>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/inputs.h"
#include "csrc/engine/team.h"
#include "kernels/common/philox.h"
#include "kernels/sampling.h"

namespace r1::engine {
namespace {

/// A completion being decoded.
struct Slot {
  std::int64_t row, length;      // of the results; tokens drawn
  std::unique_ptr<KvCache> own;  // none once it is finished
};

/// A prompt's keys and values while completions that read them are unfinished.
struct Prefix {
  std::unique_ptr<KvCache> cache;
  std::int64_t unfinished;
};

/// A token to draw: from a row of logits, for a position of a completion.
struct Draw {
  std::int64_t logits;  // index into the wanted rows
  std::int64_t row, position;
  std::size_t slot;  // kNoSlot for first tokens
};

constexpr std::size_t kNoSlot = ~std::size_t{0};

/// What one crew runs next.
struct Block {
  std::vector<Row> rows;
  std::vector<std::int64_t> wanted;  // rows whose logits are needed
  std::vector<Draw> draws;

  bool full() const { return rows.size() == Decoder::kMaxRows; }
  void clear() {
    rows.clear();
    wanted.clear();
    draws.clear();
  }
};

/// One call: one thread plans a block for each crew, the crews run them and draw their tokens.
class Generation {
 public:
  Generation(const DecoderSpec& spec, const Prompts& prompts, const GenerateOptions& options,
             const StopCheck& stop_check, Team& team, Completions& results)
      : spec_(spec),
        prompts_(prompts),
        options_(options),
        stop_check_(stop_check),
        team_(team),
        results_(results),
        rotary_(spec, longest(prompts.tokens) + options.max_new_tokens),
        prompt_caches_(spec, longest(prompts.tokens)),
        own_caches_(spec, options.max_new_tokens),
        prefixes_(prompts.tokens.size()),
        blocks_(static_cast<std::size_t>(team.size())) {
    for (int i = 0; i < team.size(); ++i) {
      decoders_.emplace_back(spec, rotary_);
      members_.emplace_back(spec, longest(prompts.tokens), options.max_new_tokens);
      workspaces_.emplace_back(kernels::sample_workspace(spec.vocab()));
    }
  }

  void run(int rank) noexcept {
    Member& member = members_[static_cast<std::size_t>(rank)];
    const auto plan = [&] {
      settle();
      return compose();
    };
    while (team_.lead(rank, plan)) {
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

  void report(const OnProgress& on_progress) const { on_progress(tokens_, finished_); }

 private:
  bool compose();
  int add_prompts();
  void add_prompt(Block& block);
  int add_slots();
  void add_slot(Block& block);
  void settle();
  bool is_last(const Draw& draw);
  bool ends_with(const Draw& draw, std::int64_t token) const;
  void draw_token(const Draw& draw, const float* logits, Buffer& workspace) noexcept;

  std::int64_t prompt_of(std::int64_t row) const { return row / options_.n; }
  std::size_t free_slots() const {
    return static_cast<std::size_t>(options_.slots) - slots_.size();
  }

  const DecoderSpec& spec_;
  const Prompts& prompts_;
  const GenerateOptions& options_;
  const StopCheck& stop_check_;
  Team& team_;
  Completions& results_;
  RotaryTable rotary_;
  KvPool prompt_caches_, own_caches_;
  std::vector<Prefix> prefixes_;
  std::size_t next_prompt_ = 0;
  std::int64_t prefilled_ = 0;        // tokens of the next prompt that have run
  std::deque<std::int64_t> pending_;  // rows whose first token is drawn, in need of a slot
  std::vector<Slot> slots_;
  std::size_t next_slot_ = 0;      // of this round
  std::vector<Block> blocks_;      // of each crew
  std::deque<Decoder> decoders_;   // of each crew
  std::deque<Member> members_;     // of each thread
  std::deque<Buffer> workspaces_;  // of each thread
  std::atomic<std::int64_t> tokens_ = 0, finished_ = 0;
};

/// Chooses the next blocks: each slot in turn once a round; between rounds, slots that are free
/// take waiting completions, or else prompts run for more of them. @return false if nothing is left
bool Generation::compose() {
  for (Block& block : blocks_) block.clear();
  int crews = 0;
  if (next_slot_ == slots_.size()) {
    next_slot_ = 0;
    std::erase_if(slots_, [](const Slot& slot) { return slot.own == nullptr; });
    for (; free_slots() > 0 && !pending_.empty(); pending_.pop_front())
      slots_.push_back({pending_.front(), 1, own_caches_.take()});
    crews = add_prompts();
  }
  if (crews == 0) crews = add_slots();
  if (crews > 0) team_.split(crews);
  return crews > 0;
}

/// Whole prompts, until enough completions will wait for the free slots; one longer than a block
/// goes on in the next round. @return the blocks with a prompt
int Generation::add_prompts() {
  auto needed = static_cast<std::int64_t>(free_slots());
  int crew = 0;
  for (; crew < team_.size() && needed > 0 && next_prompt_ < prompts_.tokens.size(); ++crew) {
    Block& block = blocks_[static_cast<std::size_t>(crew)];
    while (needed > 0 && next_prompt_ < prompts_.tokens.size()) {
      const std::int64_t left = prompts_.tokens[next_prompt_].size(0) - prefilled_;
      const std::int64_t room = Decoder::kMaxRows - static_cast<std::int64_t>(block.rows.size());
      if (left > room && !block.rows.empty()) break;
      add_prompt(block);
      if (prefilled_ > 0) return crew + 1;
      needed -= options_.n;
    }
  }
  return crew;
}

void Generation::add_prompt(Block& block) {
  const at::Tensor& prompt = prompts_.tokens[next_prompt_];
  Prefix& prefix = prefixes_[next_prompt_];
  if (prefilled_ == 0) prefix = {prompt_caches_.take(), options_.n};
  for (; prefilled_ < prompt.size(0); ++prefilled_) {
    if (block.full()) return;
    const std::int64_t token = prompt.const_data_ptr<std::int64_t>()[prefilled_];
    block.rows.push_back({token, prefix.cache.get(), prefilled_ + 1, nullptr, 0});
  }
  const std::int64_t first = static_cast<std::int64_t>(next_prompt_) * options_.n;
  for (std::int64_t row = first; row < first + options_.n; ++row)
    block.draws.push_back({static_cast<std::int64_t>(block.wanted.size()), row, 0, kNoSlot});
  block.wanted.push_back(static_cast<std::int64_t>(block.rows.size()) - 1);
  prefilled_ = 0;
  ++next_prompt_;
}

/// The next slots in panels of 16, spread over as many crews as there are panels.
/// @return the blocks with a slot
int Generation::add_slots() {
  const std::size_t first = next_slot_;
  const std::size_t count = std::min(slots_.size() - first, blocks_.size() * Decoder::kMaxRows);
  const std::size_t panels = (count + 15) / 16, crews = std::min(panels, blocks_.size());
  for (std::size_t crew = 0; crew < crews; ++crew) {
    const std::size_t end = first + std::min(count, panels * (crew + 1) / crews * 16);
    for (; next_slot_ < end; ++next_slot_) add_slot(blocks_[crew]);
  }
  return static_cast<int>(crews);
}

/// The last token of the next slot.
void Generation::add_slot(Block& block) {
  const Slot& slot = slots_[next_slot_];
  const auto prompt = static_cast<std::size_t>(prompt_of(slot.row));
  const auto index = static_cast<std::int64_t>(block.rows.size());
  const std::int64_t last = slot.row * options_.max_new_tokens + slot.length - 1;
  block.rows.push_back({results_.tokens.const_data_ptr<std::int64_t>()[last],
                        prefixes_[prompt].cache.get(), prompts_.tokens[prompt].size(0),
                        slot.own.get(), slot.length});
  block.wanted.push_back(index);
  block.draws.push_back({index, slot.row, slot.length, next_slot_});
}

/// Draws the token of one position into its own cell of the results.
void Generation::draw_token(const Draw& draw, const float* logits, Buffer& workspace) noexcept {
  const auto prompt = static_cast<std::size_t>(prompt_of(draw.row));
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

/// Takes note of the tokens that the last blocks drew.
void Generation::settle() {
  for (const Block& block : blocks_)
    for (const Draw& draw : block.draws) {
      const bool last = is_last(draw);
      if (draw.slot == kNoSlot) {
        if (!last) pending_.push_back(draw.row);
      } else {
        Slot& slot = slots_[draw.slot];
        ++slot.length;
        if (last) own_caches_.give_back(std::move(slot.own));
      }
      Prefix& prefix = prefixes_[static_cast<std::size_t>(prompt_of(draw.row))];
      if (last && --prefix.unfinished == 0) prompt_caches_.give_back(std::move(prefix.cache));
      tokens_ += 1;
      finished_ += last;
    }
}

/// Whether a completion ends with the token just drawn; if so, says so in the results.
bool Generation::is_last(const Draw& draw) {
  const std::int64_t token =
      results_.tokens
          .const_data_ptr<std::int64_t>()[draw.row * options_.max_new_tokens + draw.position];
  const bool stopped =
      std::ranges::find(options_.stop_token_ids, token) != options_.stop_token_ids.end() ||
      ends_with(draw, token);
  if (!stopped && draw.position + 1 < options_.max_new_tokens) return false;
  results_.lengths.mutable_data_ptr<std::int64_t>()[draw.row] = draw.position + 1;
  results_.stopped.mutable_data_ptr<bool>()[draw.row] = stopped;
  return true;
}

/// Asks the caller, who knows the text, where the token may complete a stop string.
bool Generation::ends_with(const Draw& draw, std::int64_t token) const {
  if (!stop_check_.may_end.defined() || !stop_check_.may_end.const_data_ptr<bool>()[token])
    return false;
  return stop_check_.ends(results_.tokens.select(0, draw.row).narrow(0, 0, draw.position + 1));
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
  Team team(options.threads);
  Generation generation(spec, prompts, options, stop_check, team, results);
  team.run([&](int rank) { generation.run(rank); }, [&] { generation.report(on_progress); });
  return results;
}

}  // namespace r1::engine
