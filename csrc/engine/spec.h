#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace r1::engine {

/// A projection, y = weight x + bias, read from the module's own parameters.
struct Linear {
  at::Tensor weight;               // [out, in]
  std::optional<at::Tensor> bias;  // [out]
};

/// One decoder layer: grouped-query attention, then SwiGLU, each after an RMSNorm and on a
/// residual.
struct LayerSpec {
  at::Tensor input_norm;  // [hidden]
  Linear query, key, value, output;
  std::optional<at::Tensor> query_norm, key_norm;  // [head_dim], as in Qwen3
  at::Tensor feed_forward_norm;                    // [hidden]
  Linear gate, up, down;
  std::int64_t window = 0;  // positions that a query sees, its own included; 0 sees all
};

/// A model as a table. The tensors are the module's parameters themselves, float32 on the CPU; they
/// must not change while a call runs.
struct DecoderSpec {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t max_positions = 0;
  double norm_eps = 0;
  at::Tensor inverse_frequencies;  // [head_dim / 2], of the rotary embedding
  at::Tensor embedding;            // [vocab, hidden]
  std::vector<LayerSpec> layers;
  at::Tensor final_norm;  // [hidden]
  Linear head;            // [vocab, hidden]

  std::int64_t vocab() const { return embedding.size(0); }
  std::int64_t hidden() const { return embedding.size(1); }
};

/// Throws std::invalid_argument unless every tensor is float32, contiguous, on the CPU and of the
/// shape that the others imply.
void check_spec(const char* function, const DecoderSpec& spec);

}  // namespace r1::engine
