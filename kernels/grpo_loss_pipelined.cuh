#pragma once
#include "kernels/common/mail.cuh"
#include "kernels/grpo_loss_row.cuh"

/// One read of the logits, one write of their gradient. The blocks of a cluster hold a row between
/// them and go from row to row, several rows at a time: in turn k each worker, a warp, writes the
/// gradient of row k, starts copying row k + 3 in its place and sums row k + 2, while one more warp
/// of each block, the scorer, finds the loss of row k + 1 in the sums, which all blocks send to
/// all. So no worker waits for the chain of sums, logarithm and loss, which takes longer than the
/// memory does for a row, nor for another worker.
///
/// A worker that sends what it summed of row k + 2 has the loss of row k, so all others have summed
/// that row, so they have the loss of row k - 2: no more than four rows' sums are under way or in
/// use, of two rows the loss. That holds of those who send, so warps and blocks that have no slice
/// take no part. A row that does not count is as if it were not there.
namespace r1::kernels {

constexpr int kSummedRows = 4, kScoredRows = 2;

/// What the warps of a block tell each other: the sums come from every block.
struct Mail {
  Arrivals summed[kSummedRows], scored[kScoredRows];
  Found found[kScoredRows];
};

/// A block's part of rows, of which the n-th that counts has number n. A thread waits where it uses
/// what it loads, so rows' tokens are read a turn ahead.
template <class Element, class Gradient, bool Clustered>
struct PipelinedLoss {
  static constexpr int kMostWorkers = 19, kOtherWarps = 1, kBlocksPerProcessor = 1;
  static constexpr int kHeldRows = 3;
  /// Of a row, in a block, as far as clusters allow: a slice of bfloat16 for each worker.
  static constexpr std::int64_t kRowBytes = 38 * 1024;

  /// Bytes of shared memory before the rows: the sums of all slices of some rows.
  R1_HOST_DEVICE static std::int64_t sums_bytes(std::int64_t slices, std::int64_t) {
    return kSummedRows * slices * static_cast<std::int64_t>(sizeof(float4));
  }

  __device__ static void run(const Call<Element, Gradient>& call, int cluster,
                             unsigned char* memory) {
    __shared__ Mail mail;
    const PipelinedLoss block(call, cluster, mail, memory);
    const int warp = warp_of_thread();
    if (threadIdx.x == 0) block.start_mail();
    Blocks<Clustered>::meet();
    if (block.part.first < block.part.end) {
      if (warp == block.part.workers)
        block.score();
      else if (block.part.first + warp < block.part.end)
        block.work();
    }
    Blocks<Clustered>::meet();  // nobody leaves while others send
  }

  const Call<Element, Gradient>& call;
  const Part part;
  const int senders;  // blocks that have slices
  Mail& mail;
  float4* const sums;  // [kSummedRows, slices]: three sums and the token's logit, if there
  const HeldRows<Element> rows;
  const std::int64_t first, step;

  __device__ PipelinedLoss(const Call<Element, Gradient>& call, int cluster, Mail& mail,
                           unsigned char* memory)
      : call(call),
        part(call.vocab, warps_of_block() - 1, cluster, Blocks<Clustered>::rank()),
        senders((part.slices + part.most - 1) / part.most),
        mail(mail),
        sums(reinterpret_cast<float4*>(memory)),
        rows(part, memory + sums_bytes(part.slices, part.most)),
        first(blockIdx.x / static_cast<unsigned>(cluster)),
        step(gridDim.x / static_cast<unsigned>(cluster)) {}

  __device__ void start_mail() const {
    for (Arrivals& it : mail.summed) it.start(Blocks<Clustered>::each_phase(part.slices));
    for (Arrivals& it : mail.scored) it.start(1);
  }

  /// Sums this worker's slices of a row and sends them to all blocks.
  __device__ void sum(std::int64_t id, int place, int number) const {
    const int box = number % kSummedRows;
    rows.for_sums(place, call.scale, [&](int s, const SliceSums& all) {
      const std::int64_t own = id - std::int64_t{s} * kSlice;
      const bool here = own >= 0 && own < part.count(s);
      const float logit = here ? to_float(rows.slice(place, s)[own]) : 0.f;
      Blocks<Clustered>::send(make_float4(all.max, all.weights, all.products, logit),
                              sums + box * part.slices + s, &mail.summed[box], senders);
    });
  }

  __device__ void work() const {
    double weights[4] = {0, 0, call.weight(first), call.weight(first + step)};  // of k to k + 3
    int place[kHeldRows] = {0, 1, 2};                                           // of k to k + 2
    int summed = 0, finished = 0;
    rows.fetch(call, first, weights[2] != 0, place[2]);
    for (std::int64_t k = first - 2 * step; k < call.rows; k += step) {
      const double later = call.weight(k + 4 * step);
      const std::int64_t id = k + 2 * step < call.rows ? call.ids[k + 2 * step] : -1;
      if (weights[0] != 0) {
        const int box = finished % kScoredRows;
        mail.scored[box].wait(finished / kScoredRows % 2);
        rows.differentiate(call, k, mail.found[box], place[0]);
        ++finished;
      } else if (k >= first) {
        call.clear(k, part);
      }
      rows.fetch(call, k + 3 * step, weights[3] != 0, place[0]);
      if (weights[2] != 0) sum(id, place[2], summed++);
      weights[0] = weights[1], weights[1] = weights[2], weights[2] = weights[3], weights[3] = later;
      const int free = place[0];
      place[0] = place[1], place[1] = place[2], place[2] = free;
    }
  }

  __device__ void score() const {
    const bool notes = Blocks<Clustered>::rank() == 0;
    const auto inputs_of = [&](std::int64_t row) {
      return row < call.rows ? token_inputs(call.tokens, row) : TokenInputs{};
    };
    const auto id_of = [&](std::int64_t row) { return row < call.rows ? call.ids[row] : -1; };
    TokenInputs token = inputs_of(first);
    std::int64_t id = id_of(first);
    int number = 0;
    for (std::int64_t row = first; row < call.rows; row += step) {
      const TokenInputs next = inputs_of(row + step);
      const std::int64_t next_id = id_of(row + step);
      if (token.weight != 0)
        score_row(row, token, id, number++, notes);
      else if (notes)
        call.note_nothing(row);
      token = next;
      id = next_id;
    }
  }

  __device__ void score_row(std::int64_t row, const TokenInputs& token, std::int64_t id, int number,
                            bool notes) const {
    const int box = number % kSummedRows;
    const float4* const of_row = sums + box * part.slices;
    Blocks<Clustered>::receive(&mail.summed[box], part.slices, number / kSummedRows % 2);
    const bool exists = id >= 0 && id < call.vocab;
    const float logit = exists ? of_row[id / kSlice].w : __builtin_nanf("");
    const auto slice = [&](std::int64_t s) {
      return SliceSums{of_row[s].x, of_row[s].y, of_row[s].z};
    };
    const Found found = call.score(row, token, id, slice, logit, notes);
    if (lane_of_thread() != 0) return;
    mail.found[number % kScoredRows] = found;
    mail.scored[number % kScoredRows].arrive();
  }
};

}  // namespace r1::kernels
