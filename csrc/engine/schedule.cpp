#include "csrc/engine/schedule.h"

#include <algorithm>
#include <utility>

#include "csrc/engine/inputs.h"

namespace r1::engine {

Schedule::Schedule(const DecoderSpec& spec, const Prompts& prompts, const GenerateOptions& options,
                   const StopCheck& stop_check, Completions& results)
    : prompts_(prompts),
      options_(options),
      stop_check_(stop_check),
      results_(results),
      prompt_caches_(spec, longest(prompts.tokens)),
      own_caches_(spec, options.max_new_tokens),
      prefixes_(prompts.tokens.size()) {}

int Schedule::next(std::vector<Block>& blocks) {
  for (Block& block : blocks) {
    for (const Draw& draw : block.draws) settle(draw);
    block.clear();
  }
  int crews = 0;
  if (next_slot_ == slots_.size()) {
    next_slot_ = 0;
    std::erase_if(slots_, [](const Slot& slot) { return slot.own == nullptr; });
    for (; free_slots() > 0 && !pending_.empty(); pending_.pop_front())
      slots_.push_back({pending_.front(), 1, own_caches_.take()});
    crews = add_prompts(blocks);
  }
  return crews > 0 ? crews : add_slots(blocks);
}

/// Whole prompts, until enough completions will wait for the free slots; one longer than a block
/// goes on in the next round. @return the blocks with a prompt
int Schedule::add_prompts(std::vector<Block>& blocks) {
  auto needed = static_cast<std::int64_t>(free_slots());
  int used = 0;
  for (Block& block : blocks) {
    if (needed <= 0 || next_prompt_ == prompts_.tokens.size()) break;
    ++used;
    while (needed > 0 && next_prompt_ < prompts_.tokens.size()) {
      const std::int64_t left = prompts_.tokens[next_prompt_].size(0) - prefilled_;
      const std::int64_t room = Decoder::kMaxRows - static_cast<std::int64_t>(block.rows.size());
      if (left > room && !block.rows.empty()) break;
      add_prompt(block);
      if (prefilled_ > 0) return used;
      needed -= options_.n;
    }
  }
  return used;
}

void Schedule::add_prompt(Block& block) {
  const at::Tensor& prompt = prompts_.tokens[next_prompt_];
  Prefix& prefix = prefixes_[next_prompt_];
  if (prefilled_ == 0) prefix = {prompt_caches_.take(), options_.n};
  for (; prefilled_ < prompt.size(0); ++prefilled_) {
    if (block.full()) return;
    const std::int64_t token = prompt.const_data_ptr<std::int64_t>()[prefilled_];
    const auto p = static_cast<std::int64_t>(next_prompt_);
    const std::int64_t traced = results_.trace ? results_.trace->prompt(p) + prefilled_ : 0;
    block.rows.push_back({token, prefix.cache.get(), prefilled_ + 1, nullptr, 0, traced});
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
int Schedule::add_slots(std::vector<Block>& blocks) {
  const std::size_t first = next_slot_;
  const std::size_t count = std::min(slots_.size() - first, blocks.size() * Decoder::kMaxRows);
  const std::size_t panels = (count + 15) / 16, crews = std::min(panels, blocks.size());
  for (std::size_t crew = 0; crew < crews; ++crew) {
    const std::size_t end = first + std::min(count, panels * (crew + 1) / crews * 16);
    for (; next_slot_ < end; ++next_slot_) add_slot(blocks[crew]);
  }
  return static_cast<int>(crews);
}

/// The last token of the next slot.
void Schedule::add_slot(Block& block) {
  const Slot& slot = slots_[next_slot_];
  const auto prompt = prompt_of(slot.row);
  const auto index = static_cast<std::int64_t>(block.rows.size());
  const std::int64_t last = slot.row * options_.max_new_tokens + slot.length - 1;
  block.rows.push_back(
      {results_.tokens.const_data_ptr<std::int64_t>()[last], prefixes_[prompt].cache.get(),
       prompts_.tokens[prompt].size(0), slot.own.get(), slot.length,
       results_.trace ? results_.trace->completion(slot.row) + slot.length - 1 : 0});
  block.wanted.push_back(index);
  block.draws.push_back({index, slot.row, slot.length, next_slot_});
}

void Schedule::settle(const Draw& draw) {
  const bool last = is_last(draw);
  if (draw.slot == kNoSlot) {
    if (!last) pending_.push_back(draw.row);
  } else {
    Slot& slot = slots_[draw.slot];
    ++slot.length;
    if (last) own_caches_.give_back(std::move(slot.own));
  }
  Prefix& prefix = prefixes_[prompt_of(draw.row)];
  if (last && --prefix.unfinished == 0) prompt_caches_.give_back(std::move(prefix.cache));
  tokens_ += 1;
  finished_ += last;
}

/// Whether a completion ends with the token just drawn; if so, says so in the results.
bool Schedule::is_last(const Draw& draw) {
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
bool Schedule::ends_with(const Draw& draw, std::int64_t token) const {
  if (!stop_check_.may_end.defined() || !stop_check_.may_end.const_data_ptr<bool>()[token])
    return false;
  return stop_check_.ends(results_.tokens.select(0, draw.row).narrow(0, 0, draw.position + 1));
}

}  // namespace r1::engine
