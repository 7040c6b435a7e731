#include "csrc/engine/spec.h"

#include <algorithm>

#include "csrc/check.h"

namespace r1::engine {
namespace {

class Checker {
 public:
  explicit Checker(const char* caller) : function(caller) {}

  void vector(const char* name, const at::Tensor& tensor, std::int64_t size) const {
    require(tensor.defined() && tensor.scalar_type() == at::kFloat, name, "float32", tensor,
            {size});
  }
  void matrix(const char* name, const at::Tensor& tensor, at::IntArrayRef shape) const {
    require(tensor.defined() &&
                (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16),
            name, "float32 or bfloat16", tensor, shape);
  }
  void linear(const char* name, const Linear& linear, std::int64_t out, std::int64_t in) const {
    matrix(name, linear.weight, {out, in});
    if (linear.bias) vector(name, *linear.bias, out);
    if (!linear.low_rank) return;
    const at::Tensor& a = linear.low_rank->a;
    const std::int64_t rank = a.defined() && a.dim() == 2 ? a.size(0) : 0;
    if (rank < 1) reject(function, name, "'s low-rank pair must have a rank of at least 1");
    matrix(name, a, {rank, in});
    matrix(name, linear.low_rank->b, {out, rank});
  }

 private:
  void require(bool dtype, const char* name, const char* dtypes, const at::Tensor& tensor,
               at::IntArrayRef shape) const {
    if (dtype && tensor.is_cpu() && tensor.is_contiguous() && tensor.sizes() == shape) return;
    reject(function, name, " must be a contiguous ", dtypes, " CPU tensor of shape ", shape,
           "; got ", tensor.defined() ? tensor.toString() : "nothing", " ",
           tensor.defined() ? tensor.sizes() : at::IntArrayRef{});
  }

  const char* function;
};

void check_layer(const Checker& check, const DecoderSpec& spec, const LayerSpec& layer) {
  const std::int64_t hidden = spec.hidden();
  const std::int64_t query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  const std::int64_t wide = layer.gate.weight.defined() ? layer.gate.weight.size(0) : 0;
  check.vector("input_norm", layer.input_norm, hidden);
  check.vector("feed_forward_norm", layer.feed_forward_norm, hidden);
  check.linear("query", layer.query, query, hidden);
  check.linear("key", layer.key, key, hidden);
  check.linear("value", layer.value, key, hidden);
  check.linear("output", layer.output, hidden, query);
  check.linear("gate", layer.gate, wide, hidden);
  check.linear("up", layer.up, wide, hidden);
  check.linear("down", layer.down, hidden, wide);
  if (layer.query_norm) check.vector("query_norm", *layer.query_norm, spec.head_dim);
  if (layer.key_norm) check.vector("key_norm", *layer.key_norm, spec.head_dim);
}

}  // namespace

std::int64_t DecoderSpec::max_rank() const {
  std::int64_t rank = 0;
  const auto see = [&](const Linear& linear) {
    if (linear.low_rank) rank = std::max(rank, linear.low_rank->rank());
  };
  see(head);
  for (const LayerSpec& layer : layers)
    for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate,
                                 &layer.up, &layer.down})
      see(*linear);
  return rank;
}

void check_decoder(const char* function, const DecoderSpec& spec) {
  if (!spec.embedding.defined() || spec.embedding.dim() != 2)
    reject(function, "embedding must be [vocab, hidden]");
  if (spec.kv_heads < 1 || spec.heads < 1 || spec.heads % spec.kv_heads != 0)
    reject(function, "heads must be a multiple of kv_heads; got ", spec.heads, " and ",
           spec.kv_heads);
  if (spec.head_dim < 2 || spec.head_dim % 2 != 0)
    reject(function, "head_dim must be even; got ", spec.head_dim);
  const Checker check(function);
  check.vector("inverse_frequencies", spec.inverse_frequencies, spec.head_dim / 2);
  check.matrix("embedding", spec.embedding, {spec.vocab(), spec.hidden()});
  check.vector("final_norm", spec.final_norm, spec.hidden());
  for (const LayerSpec& layer : spec.layers) check_layer(check, spec, layer);
}

void check_spec(const char* function, const DecoderSpec& spec) {
  check_decoder(function, spec);
  Checker(function).linear("head", spec.head, spec.vocab(), spec.hidden());
}

}  // namespace r1::engine
