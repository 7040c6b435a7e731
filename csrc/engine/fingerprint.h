#pragma once
#include <cstdint>

#include "csrc/engine/spec.h"

namespace r1::engine {

/// A number that the values of a model's table below its head give, every weight among them: tables
/// of one number compute the same. Reads the weights once.
std::uint64_t fingerprint(const DecoderSpec& spec);

}  // namespace r1::engine
