#include "csrc/bindings/bindings.h"

PYBIND11_MODULE(_C, m) {
  using namespace r1::bindings;
  m.doc() = "The C++ core of r1core; use it through the functions of the r1core package.";
  bind_sampling(m);
  bind_rewards(m);
  bind_choice(m);
  bind_text_rewards(m);
  bind_advantage(m);
  bind_logprob(m);
  bind_grpo_loss(m);
  bind_layers(m);
  bind_engine(m);
  bind_training(m);
  bind_build_info(m);
}
