#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/kv_cache.h"

namespace r1::engine {

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

/// Which rows run when: hands every crew a block of prompts or of completions, and takes the tokens
/// they drew. Only the thread that plans calls it.
class Schedule {
 public:
  /// The arguments must outlive it.
  Schedule(const DecoderSpec& spec, const Prompts& prompts, const GenerateOptions& options,
           const StopCheck& stop_check, Completions& results);

  /// Takes note of the tokens that the blocks drew, then fills the next ones: each slot in turn
  /// once a round; between rounds, free slots take completions that wait, or else prompts run for
  /// more.
  /// @return the blocks with rows; 0 when everything is drawn
  int next(std::vector<Block>& blocks);

  std::int64_t tokens() const { return tokens_; }      // drawn; any thread may ask
  std::int64_t finished() const { return finished_; }  // completions

 private:
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

  int add_prompts(std::vector<Block>& blocks);
  void add_prompt(Block& block);
  int add_slots(std::vector<Block>& blocks);
  void add_slot(Block& block);
  void settle(const Draw& draw);
  bool is_last(const Draw& draw);
  bool ends_with(const Draw& draw, std::int64_t token) const;

  std::size_t prompt_of(std::int64_t row) const {
    return static_cast<std::size_t>(row / options_.n);
  }
  std::size_t free_slots() const {
    return static_cast<std::size_t>(options_.slots) - slots_.size();
  }

  const Prompts& prompts_;
  const GenerateOptions& options_;
  const StopCheck& stop_check_;
  Completions& results_;
  KvPool prompt_caches_, own_caches_;
  std::vector<Prefix> prefixes_;
  std::size_t next_prompt_ = 0;
  std::int64_t prefilled_ = 0;        // tokens of the next prompt that have run
  std::deque<std::int64_t> pending_;  // rows whose first token is drawn, in need of a slot
  std::vector<Slot> slots_;
  std::size_t next_slot_ = 0;  // of this round
  std::atomic<std::int64_t> tokens_ = 0, finished_ = 0;
};

}  // namespace r1::engine
