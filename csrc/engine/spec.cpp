#include "csrc/engine/spec.h"

#include "csrc/check.h"

namespace r1::engine {
namespace {

struct Checker {
  const char* function;

  void tensor(const char* name, const at::Tensor& tensor, at::IntArrayRef shape) const {
    if (!tensor.defined() || !tensor.is_cpu() || tensor.scalar_type() != at::kFloat ||
        !tensor.is_contiguous() || tensor.sizes() != shape)
      reject(function, name, " must be a contiguous float32 CPU tensor of shape ", shape, "; got ",
             tensor.defined() ? tensor.toString() : "nothing", " ",
             tensor.defined() ? tensor.sizes() : at::IntArrayRef{});
  }
  void linear(const char* name, const Linear& linear, std::int64_t out, std::int64_t in) const {
    tensor(name, linear.weight, {out, in});
    if (linear.bias) tensor(name, *linear.bias, {out});
  }
};

void check_layer(const Checker& check, const DecoderSpec& spec, const LayerSpec& layer) {
  const std::int64_t hidden = spec.hidden();
  const std::int64_t query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  const std::int64_t wide = layer.gate.weight.defined() ? layer.gate.weight.size(0) : 0;
  check.tensor("input_norm", layer.input_norm, {hidden});
  check.tensor("feed_forward_norm", layer.feed_forward_norm, {hidden});
  check.linear("query", layer.query, query, hidden);
  check.linear("key", layer.key, key, hidden);
  check.linear("value", layer.value, key, hidden);
  check.linear("output", layer.output, hidden, query);
  check.linear("gate", layer.gate, wide, hidden);
  check.linear("up", layer.up, wide, hidden);
  check.linear("down", layer.down, hidden, wide);
  if (layer.query_norm) check.tensor("query_norm", *layer.query_norm, {spec.head_dim});
  if (layer.key_norm) check.tensor("key_norm", *layer.key_norm, {spec.head_dim});
}

}  // namespace

void check_spec(const char* function, const DecoderSpec& spec) {
  if (!spec.embedding.defined() || spec.embedding.dim() != 2)
    reject(function, "embedding must be [vocab, hidden]");
  if (spec.kv_heads < 1 || spec.heads < 1 || spec.heads % spec.kv_heads != 0)
    reject(function, "heads must be a multiple of kv_heads; got ", spec.heads, " and ",
           spec.kv_heads);
  if (spec.head_dim < 2 || spec.head_dim % 2 != 0)
    reject(function, "head_dim must be even; got ", spec.head_dim);
  const Checker check{function};
  check.tensor("inverse_frequencies", spec.inverse_frequencies, {spec.head_dim / 2});
  check.tensor("embedding", spec.embedding, {spec.vocab(), spec.hidden()});
  check.tensor("final_norm", spec.final_norm, {spec.hidden()});
  check.linear("head", spec.head, spec.vocab(), spec.hidden());
  for (const LayerSpec& layer : spec.layers) check_layer(check, spec, layer);
}

}  // namespace r1::engine
