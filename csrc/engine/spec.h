#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace r1::engine {

/// A LoRA adapter's pair, read from the module's own parameters.
struct LowRank {
  at::Tensor a;      // [rank, in], float32 or bfloat16
  at::Tensor b;      // [out, rank], the same
  double scale = 1;  // s

  std::int64_t rank() const { return a.size(0); }
};

/// A projection, y = weight x + bias + s b(a x), read from the module's own parameters.
struct Linear {
  at::Tensor weight;                // [out, in], float32 or bfloat16
  std::optional<at::Tensor> bias;   // [out]
  std::optional<LowRank> low_rank;  // none: base only
};

/// What the gate of a feed-forward layer goes through.
enum class Activation { silu, gelu_tanh };

/// One decoder layer: grouped-query attention, then a gated feed-forward layer, each after an
/// RMSNorm and on a residual.
struct LayerSpec {
  at::Tensor input_norm;  // [hidden]
  Linear query, key, value, output;
  std::optional<at::Tensor> query_norm, key_norm;  // [head_dim], as in Qwen3
  at::Tensor feed_forward_norm;                    // [hidden]
  Linear gate, up, down;
  std::int64_t window = 0;  // positions that a query sees, its own included; 0 sees all
};

/// A model as a table. The matrices are the module's parameters themselves, on the CPU; they must
/// not change while a call runs. Vectors are float32.
struct DecoderSpec {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t max_positions = 0;
  double norm_eps = 0;
  at::Tensor inverse_frequencies;  // [head_dim / 2], of the rotary embedding
  at::Tensor embedding;            // [vocab, hidden], float32 or bfloat16
  double embedding_scale = 1;      // factor on its rows, as in Gemma
  Activation activation = Activation::silu;
  std::vector<LayerSpec> layers;
  at::Tensor final_norm;  // [hidden]
  Linear head;            // [vocab, hidden]; undefined where nobody needs tokens

  std::int64_t vocab() const { return embedding.size(0); }
  std::int64_t hidden() const { return embedding.size(1); }
  /// The largest rank of any projection's low-rank pair; 0 without any.
  std::int64_t max_rank() const;
};

/// Throws std::invalid_argument unless every tensor but the head's is contiguous, on the CPU and of
/// a dtype and shape that the table allows.
void check_decoder(const char* function, const DecoderSpec& spec);

/// `check_decoder`, and the head, too.
void check_spec(const char* function, const DecoderSpec& spec);

}  // namespace r1::engine
