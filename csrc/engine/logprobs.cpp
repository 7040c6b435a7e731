#include <ATen/ops/empty.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "csrc/engine/decoder.h"
#include "csrc/engine/engine.h"
#include "csrc/engine/inputs.h"
#include "csrc/engine/team.h"
#include "kernels/logprob.h"

namespace r1::engine {
namespace {

/// Tokens to run: the prompt that sequences [first, last) share, or one sequence's completion.
struct Stretch {
  bool prompt;
  std::size_t first, last;
  std::int64_t begin, end;  // positions; a sequence's last token predicts nothing and does not run
};

/// A token to score: by a row of logits, for a position of a sequence.
struct Target {
  std::int64_t logits;  // index into the wanted rows
  std::size_t sequence;
  std::int64_t position;
};

bool same_prompt(const at::Tensor& a, const at::Tensor& b, std::int64_t length) {
  const auto* const left = a.const_data_ptr<std::int64_t>();
  return std::equal(left, left + length, b.const_data_ptr<std::int64_t>());
}

/// Stretches of sequences [begin, end); consecutive ones with the same prompt run it once.
std::vector<Stretch> stretches_of(const std::vector<at::Tensor>& sequences,
                                  const std::vector<std::int64_t>& prompt_lengths,
                                  std::size_t begin, std::size_t end) {
  std::vector<Stretch> stretches;
  for (std::size_t first = begin, last; first < end; first = last) {
    const std::int64_t length = prompt_lengths[first];
    for (last = first + 1; last < end && prompt_lengths[last] == length &&
                           same_prompt(sequences[first], sequences[last], length);)
      ++last;
    stretches.push_back({true, first, last, 0, length});
    for (std::size_t i = first; i < last; ++i)
      if (sequences[i].size(0) - 1 > length)
        stretches.push_back({false, i, i + 1, length, sequences[i].size(0) - 1});
  }
  return stretches;
}

/// The blocks of one crew: the tokens of some sequences in order, packed without gaps. A completion
/// has its own keys, as in sampling, so that attention adds in the same order.
class Stream {
 public:
  Stream(const DecoderSpec& spec, const std::vector<at::Tensor>& sequences,
         const std::vector<std::int64_t>& prompt_lengths, std::vector<Stretch> stretches)
      : sequences_(sequences),
        prompt_lengths_(prompt_lengths),
        stretches_(std::move(stretches)),
        prompt_caches_(spec, longest_of(true)),
        own_caches_(spec, longest_of(false)) {}

  /// Fills the next block. @return false if no tokens are left
  bool compose();

  std::int64_t longest_of(bool prompt) const {
    std::int64_t length = 1;
    for (const Stretch& stretch : stretches_)
      if (stretch.prompt == prompt) length = std::max(length, stretch.end - stretch.begin);
    return length;
  }

  // The block that runs now:
  std::vector<Row> rows;
  std::vector<std::int64_t> wanted;  // rows whose logits are needed
  std::vector<Target> targets;

 private:
  void begin(const Stretch& stretch);
  void add(const Stretch& stretch);
  void end(const Stretch& stretch);

  const std::vector<at::Tensor>& sequences_;
  const std::vector<std::int64_t>& prompt_lengths_;
  const std::vector<Stretch> stretches_;
  KvPool prompt_caches_, own_caches_;
  std::size_t next_ = 0;       // stretch
  bool begun_ = false;         // that stretch, in an earlier block
  std::int64_t position_ = 0;  // of its next token
  std::unique_ptr<KvCache> prompt_, own_;
  // Of stretches that end in the block that runs now:
  std::vector<std::unique_ptr<KvCache>> done_prompts_, done_own_;
};

bool Stream::compose() {
  for (auto& cache : done_prompts_) prompt_caches_.give_back(std::move(cache));
  for (auto& cache : done_own_) own_caches_.give_back(std::move(cache));
  done_prompts_.clear();
  done_own_.clear();
  rows.clear();
  wanted.clear();
  targets.clear();
  while (next_ < stretches_.size() && rows.size() < Decoder::kMaxRows) {
    const Stretch& stretch = stretches_[next_];
    if (!begun_) begin(stretch);
    while (position_ < stretch.end && rows.size() < Decoder::kMaxRows) add(stretch);
    if (position_ == stretch.end) end(stretch);
  }
  return !rows.empty();
}

void Stream::begin(const Stretch& stretch) {
  begun_ = true;
  position_ = stretch.begin;
  if (!stretch.prompt) {
    own_ = own_caches_.take();
    return;
  }
  if (prompt_) done_prompts_.push_back(std::move(prompt_));
  prompt_ = prompt_caches_.take();
}

/// The next token of a stretch, and the tokens that it predicts.
void Stream::add(const Stretch& stretch) {
  const std::int64_t prompt_length = prompt_lengths_[stretch.first];
  const std::int64_t token = sequences_[stretch.first].const_data_ptr<std::int64_t>()[position_];
  ++position_;
  rows.push_back(stretch.prompt ? Row{token, prompt_.get(), position_, nullptr, 0}
                                : Row{token, prompt_.get(), prompt_length, own_.get(),
                                      position_ - prompt_length});
  if (position_ < prompt_length) return;
  for (std::size_t i = stretch.first; i < stretch.last; ++i)
    if (position_ < sequences_[i].size(0))
      targets.push_back({static_cast<std::int64_t>(wanted.size()), i, position_});
  wanted.push_back(static_cast<std::int64_t>(rows.size()) - 1);
}

void Stream::end(const Stretch& stretch) {
  if (!stretch.prompt) done_own_.push_back(std::move(own_));
  begun_ = false;
  ++next_;
}

/// One call: sequences in as many streams as there are crews.
class Scoring {
 public:
  Scoring(const DecoderSpec& spec, const std::vector<at::Tensor>& sequences,
          const std::vector<std::int64_t>& prompt_lengths, float temperature, Team& team,
          std::vector<Scores>& scores)
      : spec_(spec),
        sequences_(sequences),
        prompt_lengths_(prompt_lengths),
        temperature_(temperature),
        team_(team),
        scores_(scores),
        rotary_(spec, longest(sequences)) {
    make_streams();
    std::int64_t prompt = 1, own = 1;
    for (const Stream& stream : streams_) {
      decoders_.emplace_back(spec, rotary_);
      prompt = std::max(prompt, stream.longest_of(true));
      own = std::max(own, stream.longest_of(false));
    }
    for (int i = 0; i < team.size(); ++i) members_.emplace_back(spec, prompt, own);
    team.split(static_cast<int>(streams_.size()));
  }

  void run(int rank) noexcept {
    Member& member = members_[static_cast<std::size_t>(rank)];
    member.crew = team_.crew(rank);
    const auto index = static_cast<std::size_t>(member.crew.index);
    const Stream& stream = streams_[index];
    while (team_.lead(rank, [&] { return compose(); })) {
      decoders_[index].forward(member, stream.rows);
      decoders_[index].head(member, stream.wanted);
      const Range mine = member.crew.share(static_cast<std::int64_t>(stream.targets.size()));
      for (std::int64_t i = mine.begin; i < mine.end; ++i) {
        const Target& target = stream.targets[static_cast<std::size_t>(i)];
        score(target, decoders_[index].logits(member, target.logits));
      }
    }
  }

 private:
  void make_streams();
  bool compose();
  void score(const Target& target, const float* logits) noexcept;

  const DecoderSpec& spec_;
  const std::vector<at::Tensor>& sequences_;
  const std::vector<std::int64_t>& prompt_lengths_;
  const float temperature_;
  Team& team_;
  std::vector<Scores>& scores_;
  RotaryTable rotary_;
  std::deque<Stream> streams_;
  std::deque<Decoder> decoders_;  // of each stream
  std::deque<Member> members_;    // of each thread
};

/// Consecutive sequences with about as many tokens in every stream, each of a full block or more.
void Scoring::make_streams() {
  std::int64_t tokens = 0, seen = 0;
  for (const at::Tensor& sequence : sequences_) tokens += sequence.size(0);
  const std::int64_t streams =
      std::clamp<std::int64_t>(tokens / Decoder::kMaxRows, 1, team_.size());
  for (std::size_t begin = 0, end; streams_.size() < static_cast<std::size_t>(streams);
       begin = end) {
    const auto goal = tokens * static_cast<std::int64_t>(streams_.size() + 1) / streams;
    for (end = begin; end < sequences_.size() && seen < goal; ++end)
      seen += sequences_[end].size(0);
    streams_.emplace_back(spec_, sequences_, prompt_lengths_,
                          stretches_of(sequences_, prompt_lengths_, begin, end));
  }
}

bool Scoring::compose() {
  bool any = false;
  for (Stream& stream : streams_) any |= stream.compose();
  return any;
}

void Scoring::score(const Target& target, const float* logits) noexcept {
  const std::int64_t at = target.position - prompt_lengths_[target.sequence];
  Scores& scores = scores_[target.sequence];
  R1_CPU(token_logprobs_cpu)
  (logits, sequences_[target.sequence].const_data_ptr<std::int64_t>() + target.position, 1,
   spec_.vocab(), temperature_, scores.logprobs.mutable_data_ptr<float>() + at,
   scores.entropies.mutable_data_ptr<float>() + at, nullptr, nullptr);
}

}  // namespace

std::vector<Scores> logprobs(const DecoderSpec& spec, const std::vector<at::Tensor>& sequences,
                             const std::vector<std::int64_t>& prompt_lengths, double temperature,
                             int threads, const std::function<void()>& poll) {
  check_spec(__func__, spec);
  check_tokens(__func__, "sequences", spec, sequences, 0);
  R1_REQUIRE(prompt_lengths.size() == sequences.size(),
             "prompt_lengths must have one per sequence, ", sequences.size(), "; got ",
             prompt_lengths.size());
  R1_REQUIRE(temperature > 0, "temperature must be > 0; got ", temperature);
  R1_REQUIRE(threads >= 1, "threads must be >= 1; got ", threads);
  std::vector<Scores> scores;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t length = sequences[i].size(0);
    R1_REQUIRE(prompt_lengths[i] >= 1 && prompt_lengths[i] <= length, "prompt_lengths[", i,
               "] must be in [1, ", length, "]; got ", prompt_lengths[i]);
    scores.push_back({at::empty({length - prompt_lengths[i]}, at::kFloat),
                      at::empty({length - prompt_lengths[i]}, at::kFloat)});
  }
  Team team(threads);
  Scoring scoring(spec, sequences, prompt_lengths, static_cast<float>(temperature), team, scores);
  team.run([&](int rank) { scoring.run(rank); }, poll);
  return scores;
}

}  // namespace r1::engine
