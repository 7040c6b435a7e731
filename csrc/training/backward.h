#pragma once
#include <atomic>

#include "csrc/training/forward.h"

namespace r1::training {

/// Where the gradients of one layer's parameters go.
struct LayerGradient {
  float *input_norm = nullptr, *feed_forward_norm = nullptr;
  float *query_norm = nullptr, *key_norm = nullptr;
  LinearGradient query, key, value, output, gate, up, down;
};

/// One backward pass. Gradients of activations go by panels, 16 rows in lanes; gradients of
/// parameters by output channels, each summed over all rows in order; gradients of keys and values
/// by group and head, over its completions in order and then its prompt. So no sum depends on the
/// number of threads.
class Backward {
 public:
  Backward(Forward& forward, const float* grad_hidden, const std::vector<bool>& wanted);

  /// One thread's part of it.
  void run(int rank, Team& team) noexcept;
  Gradients take() { return std::move(gradients_); }

 private:
  void allocate_gradients(const std::vector<bool>& wanted);
  void from_targets(Worker& worker) noexcept;
  void feed_forward(Worker& worker, std::size_t layer) noexcept;
  void feed_forward_parameters(Worker& worker, std::size_t layer) noexcept;
  void attention(Worker& worker, std::size_t layer) noexcept;
  void attend_group(Worker& worker, std::size_t layer, const Packing::Group& group,
                    std::int64_t head) noexcept;
  void attend_tile(Worker& worker, std::size_t layer, Range rows, std::int64_t kv_head,
                   const kernels::KvGradients& to_prompt,
                   const kernels::KvGradients& to_own) noexcept;
  void heads(Worker& worker, std::size_t layer) noexcept;
  void unrotate(const std::optional<at::Tensor>& norm, std::int64_t heads, std::int64_t panel,
                const Buffer& raw, Buffer& gradient, Buffer& sums) noexcept;
  void heads_parameters(Worker& worker, std::size_t layer) noexcept;
  void embedding(Worker& worker) noexcept;
  void by_rows(const float* x, Range block, std::int64_t width, Buffer& rows) const noexcept;
  void norm_parameter(const Crew& crew, const Buffer& sums, std::int64_t panels, std::int64_t width,
                      float* to) const noexcept;

  Forward& forward_;
  const DecoderSpec& spec_;
  const float* const grad_hidden_;  // [M, hidden]
  const std::int64_t panels_;
  Gradients gradients_;
  float *embedding_ = nullptr, *final_norm_ = nullptr;
  std::vector<LayerGradient> layers_;
  std::size_t first_layer_;  // the lowest that the gradient must reach, or their number
  // Panels of all rows: gradients of a layer's output, of its middle, and of what lies between.
  Buffer out_, middle_, attention_, query_, key_, value_, gate_, up_;
  // By rows: what went into query, key and value; into gate and up; into down; into output.
  Buffer input_rows_, normed_rows_, mix_rows_, attention_rows_;
  // Of each panel, for a norm's gradient: the layer's input, its middle, and heads.
  Buffer input_sums_, norm_sums_, query_norm_sums_, key_norm_sums_;
  Buffer target_x_, target_gradient_;  // panels of the targets
  LowRankTape low_[7];                 // of query, key, value, output, gate, up, down
  std::atomic<std::size_t> next_unit_ = 0;
};

}  // namespace r1::training
