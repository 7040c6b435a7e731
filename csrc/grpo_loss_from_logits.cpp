#include "csrc/grpo_loss_from_logits.h"

#include "csrc/grpo_rows.h"
#include "csrc/grpo_rows_cuda.h"
#include "csrc/tensor_check.h"

namespace r1 {
namespace {

/// With a ratio per token a row is in the GPU's multiprocessors once, for loss and gradient.
at::Tensor from_logits_cuda(CudaGrpoRows loss, const at::Tensor& logits, bool sequence_ratio,
                            bool in_place) {
  if (sequence_ratio)
    loss.score(logits, 0);
  else
    loss.overwrite(logits, in_place ? logits : at::Tensor(), 0);
  const at::Tensor sums = loss.sums();
  if (sequence_ratio && in_place) loss.differentiate(logits, 0);
  return sums;
}

}  // namespace

at::Tensor grpo_loss_from_logits(const at::Tensor& logits, const at::Tensor& ids,
                                 const GrpoTokens& tokens, const kernels::GrpoLossOptions& options,
                                 double temperature, double entropy_weight, bool in_place,
                                 std::int64_t stream) {
  check_token_logits(__func__, logits, ids, temperature);
  R1_REQUIRE(logits.scalar_type() != at::kDouble, "logits must be float32 or bfloat16; got ",
             dtype_name(logits));
  R1_REQUIRE(tokens.size() == logits.size(0), "sequence_starts must end at M = ", logits.size(0),
             "; got ", tokens.size());
  R1_REQUIRE(!in_place || logits.is_contiguous(), "logits must be contiguous; got strides ",
             logits.strides());
  const at::Tensor rows = logits.contiguous();
  if (rows.is_cuda())
    return from_logits_cuda({ids, tokens, options, temperature, entropy_weight, stream}, rows,
                            options.sequence_ratio, in_place);
  GrpoRows loss(ids, tokens, options, temperature, entropy_weight);
  if (in_place && !options.sequence_ratio) {
    loss.overwrite(rows, 0);
    return loss.sums();
  }
  loss.score(rows, 0);
  const at::Tensor sums = loss.sums();
  if (in_place) loss.differentiate(rows, 0);
  return sums;
}

}  // namespace r1
