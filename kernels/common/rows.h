#pragma once
#include <cstdint>

/// Where the rows of a matrix lie. Channels lie together; strides are in elements, of any size: a
/// part of the columns of a wider matrix is a matrix too.
namespace r1::kernels {

/// [rows, width]
template <class Element>
struct Rows {
  Element* data;  // null: none
  std::int64_t stride;
};

/// [tokens, heads, width]; a hidden state is a token of one head.
template <class Element>
struct Heads {
  Element* data;  // null: none
  std::int64_t token_stride, head_stride;
};

}  // namespace r1::kernels
