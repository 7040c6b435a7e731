#include "kernels/norm.h"

#include <cmath>

#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

constexpr double kEps = 1e-6;

/// [rows, heads, width] at strides, in a buffer that may begin at an odd place.
struct Shape {
  std::int64_t rows, heads, width, row_stride, head_stride, offset;

  Shape(std::int64_t rows, std::int64_t width)
      : rows(rows), heads(1), width(width), row_stride(width), head_stride(0), offset(0) {}
  Shape(std::int64_t rows, std::int64_t heads, std::int64_t width, std::int64_t row_stride,
        std::int64_t head_stride, std::int64_t offset)
      : rows(rows),
        heads(heads),
        width(width),
        row_stride(row_stride),
        head_stride(head_stride),
        offset(offset) {}

  std::int64_t size() const { return offset + rows * row_stride + heads * head_stride + width; }
  std::size_t index(std::int64_t row, std::int64_t head, std::int64_t k) const {
    return static_cast<std::size_t>(offset + row * row_stride + head * head_stride + k);
  }
  template <class Element>
  Heads<Element> of(std::vector<std::remove_const_t<Element>>& values) const {
    return {values.data() + offset, row_stride, head_stride};
  }
  template <class Body>
  void for_rows(const Body& body) const {
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t head = 0; head < heads; ++head) body(row, head);
  }
};

// Widths of one lane to a whole block, of vectors cut by the end, and beyond what a block holds;
// rows none, one, and a prime; then heads side by side in a wider buffer, and an odd beginning.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const std::int64_t width : {1, 7, 64, 128, 1037, 4096}) all.emplace_back(3, width);
  all.emplace_back(0, 64);
  all.emplace_back(1, 1536);
  all.emplace_back(307, 16);
  all.emplace_back(2, 8192 + 1024);
  all.emplace_back(2, 8192 + 13);
  all.emplace_back(13, 3, 128, 640, 128, 0);
  all.emplace_back(5, 2, 40, 200, 48, 8);
  all.emplace_back(5, 2, 128, 300, 128, 3);
  return all;
}

struct Data {
  Shape shape;
  std::vector<float> x, residual, dy, dh, weight;

  explicit Data(const Shape& shape)
      : shape(shape),
        x(random_floats(shape.size(), 1, 2)),
        residual(random_floats(shape.size(), 2)),
        dy(random_floats(shape.size(), 3)),
        dh(random_floats(shape.size(), 4)),
        weight(random_floats(shape.width, 5)) {}
};

std::vector<float> narrow(const std::vector<float>& values, float) { return values; }
std::vector<bf16> narrow(const std::vector<float>& values, bf16) { return to_bf16(values); }

/// The formulas in double, of what `x` and the others are after they were narrowed.
struct Exact {
  std::vector<double> y, dx, dweight;

  Exact(const Shape& shape, const std::vector<float>& h, const std::vector<float>& weight,
        const std::vector<float>& dy, const std::vector<float>& dh)
      : y(h.size()), dx(h.size()), dweight(weight.size()) {
    shape.for_rows([&](std::int64_t row, std::int64_t head) {
      double squares = 0, products = 0;
      const auto width = static_cast<double>(shape.width);
      for (std::int64_t k = 0; k < shape.width; ++k) {
        const std::size_t i = shape.index(row, head, k);
        squares += double{h[i]} * double{h[i]};
        products += double{weight[static_cast<std::size_t>(k)]} * double{dy[i]} * double{h[i]};
      }
      const double scale = 1 / std::sqrt(squares / width + kEps);
      for (std::int64_t k = 0; k < shape.width; ++k) {
        const std::size_t i = shape.index(row, head, k), at = static_cast<std::size_t>(k);
        y[i] = double{weight[at]} * double{h[i]} * scale;
        dx[i] = double{dh[i]} + scale * (double{weight[at]} * double{dy[i]} -
                                         double{h[i]} * scale * scale * products / width);
        dweight[at] += double{dy[i]} * double{h[i]} * scale;
      }
    });
  }
};

/// Only the rows of the matrix, so that what lies between them is not compared.
template <class T>
std::vector<T> rows_of(const Shape& shape, const std::vector<T>& values) {
  std::vector<T> rows;
  shape.for_rows([&](std::int64_t row, std::int64_t head) {
    for (std::int64_t k = 0; k < shape.width; ++k)
      rows.push_back(values[shape.index(row, head, k)]);
  });
  return rows;
}

/// What lies between the rows is as it was.
template <class Element>
void expect_untouched(const Shape& shape, std::vector<Element> actual,
                      std::vector<Element> before) {
  shape.for_rows([&](std::int64_t row, std::int64_t head) {
    for (std::int64_t k = 0; k < shape.width; ++k)
      actual[shape.index(row, head, k)] = before[shape.index(row, head, k)] = {};
  });
  EXPECT_EQ(std::memcmp(actual.data(), before.data(), actual.size() * sizeof(Element)), 0);
}

/// h over the residual, y over x.
template <class Element, class Weight, class Launcher>
std::vector<Element> forward_in_place(Launcher launcher, const Shape& shape,
                                      const std::vector<Element>& x,
                                      const std::vector<Element>& residual,
                                      const std::vector<Weight>& weight, std::vector<Element>& h) {
  return in_both_orders([&] {
    std::vector<Element> y = x;
    h = residual;
    EXPECT_EQ(launcher(shape.of<const Element>(y), shape.of<const Element>(h), shape.rows,
                       shape.heads, shape.width, weight.data(), static_cast<float>(kEps),
                       shape.of<Element>(h), shape.of<Element>(y), nullptr),
              0);
    expect_untouched(shape, y, x);
    expect_untouched(shape, h, residual);
    return y;
  });
}

/// dx over dy, then the weight's gradient.
template <class Element, class Weight, class Launcher>
std::vector<Element> backward_in_place(Launcher launcher, const Shape& shape,
                                       std::vector<Element> h, const std::vector<Element>& dy,
                                       std::vector<Element> dh, const std::vector<Weight>& weight,
                                       std::vector<Weight>& dweight) {
  dweight = in_both_orders([&] {
    std::vector<Element> dx = dy;
    std::vector<Weight> result(weight.size());
    std::vector<float> workspace(
        static_cast<std::size_t>(rms_norm_parts_cuda(shape.width) * shape.width), std::nanf(""));
    EXPECT_EQ(launcher(shape.of<const Element>(h), shape.of<const Element>(dx),
                       shape.of<const Element>(dh), shape.rows, shape.heads, shape.width,
                       weight.data(), static_cast<float>(kEps), shape.of<Element>(dx),
                       workspace.data(), result.data(), nullptr),
              0);
    return result;
  });
  return in_both_orders([&] {
    std::vector<Element> dx = dy;
    EXPECT_EQ(
        launcher(shape.of<const Element>(h), shape.of<const Element>(dx),
                 shape.of<const Element>(dh), shape.rows, shape.heads, shape.width, weight.data(),
                 static_cast<float>(kEps), shape.of<Element>(dx), nullptr, nullptr, nullptr),
        0);
    expect_untouched(shape, dx, dy);
    return dx;
  });
}

/// @param rounding  of what is stored, relative
template <class Element, class Weight, class Forward, class Backward>
void expect_agreement(Forward forward, Backward backward, double rounding, double of_weight) {
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(testing::Message() << shape.rows << " rows of " << shape.width);
    const Data data(shape);
    const auto x = narrow(data.x, Element{}), residual = narrow(data.residual, Element{});
    const auto dy = narrow(data.dy, Element{}), dh = narrow(data.dh, Element{});
    const auto weight = narrow(data.weight, Weight{});
    std::vector<Element> h;
    std::vector<Weight> dweight;
    const auto y = forward_in_place(forward, shape, x, residual, weight, h);
    const auto dx = backward_in_place(backward, shape, h, dy, dh, weight, dweight);

    const std::vector<float> wide_x = to_floats(x), wide_residual = to_floats(residual);
    std::vector<double> sum(wide_x.begin(), wide_x.end());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += double{wide_residual[i]};
    expect_near(rows_of(shape, to_floats(h)), rows_of(shape, sum), 1e-6, rounding);
    const Exact exact(shape, to_floats(h), to_floats(weight), to_floats(dy), to_floats(dh));
    expect_near(rows_of(shape, to_floats(y)), rows_of(shape, exact.y), 3e-6, rounding);
    expect_near(rows_of(shape, to_floats(dx)), rows_of(shape, exact.dx), 5e-6, rounding);
    expect_near(to_floats(dweight), exact.dweight, 3e-5, of_weight);
  }
}

TEST(CudaNorm, FloatAgreesWithDouble) {
  expect_agreement<float, float>(rms_norm_cuda, rms_norm_backward_cuda, 2e-6, 2e-6);
}

TEST(CudaNorm, Bfloat16IsRoundedOnce) {
  expect_agreement<bf16, bf16>(rms_norm_bf16_cuda, rms_norm_backward_bf16_cuda, 1. / 256, 1. / 256);
}

TEST(CudaNorm, Float32WeightsAreNotRounded) {
  expect_agreement<bf16, float>(rms_norm_wide_weight_cuda, rms_norm_backward_wide_weight_cuda,
                                1. / 256, 2e-6);
}

TEST(CudaNorm, BitsDependNeitherOnAlignmentNorOnRowsBeside) {
  for (const std::int64_t width : {64, 4096}) {
    const std::vector<float> weight = random_floats(width, 5);
    const auto row_at = [&](std::int64_t offset, std::int64_t rows) {
      const Shape shape(rows, 1, width, width, 0, offset);
      std::vector<float> x(static_cast<std::size_t>(shape.size())), y = x;
      const std::vector<float> row = random_floats(width, 7);
      for (std::int64_t k = 0; k < width; ++k)
        x[shape.index(rows - 1, 0, k)] = row[static_cast<std::size_t>(k)];
      EXPECT_EQ(rms_norm_cuda(shape.of<const float>(x), {}, rows, 1, width, weight.data(), 1e-6f,
                              {}, shape.of<float>(y), nullptr),
                0);
      const auto from = y.begin() + static_cast<std::ptrdiff_t>(shape.index(rows - 1, 0, 0));
      return std::vector<float>(from, from + width);
    };
    EXPECT_EQ(row_at(0, 1), row_at(3, 1));
    EXPECT_EQ(row_at(0, 1), row_at(0, 5));
  }
}

TEST(CudaNorm, ManyPartsAddUp) {  // more rows than parts of one row each
  const Shape shape(401, 4096);
  std::vector<float> x(static_cast<std::size_t>(shape.size()), 1.f), dx = x;
  const std::vector<float> weight(4096, 1.f);
  std::vector<float> dweight(4096), workspace(396 * 4096);
  EXPECT_EQ(rms_norm_backward_cuda(shape.of<const float>(x), shape.of<const float>(x), {}, 401, 1,
                                   4096, weight.data(), 1e-6f, shape.of<float>(dx),
                                   workspace.data(), dweight.data(), nullptr),
            0);
  expect_near(dweight, std::vector<double>(4096, 401 / std::sqrt(1 + kEps)), 0, 1e-6);
}

TEST(CudaNorm, NoRowsGiveTheWeightZero) {
  std::vector<float> x(8), weight(8, 1.f), dweight(8, 3.f), workspace(396 * 8);
  EXPECT_EQ(
      rms_norm_backward_cuda({x.data(), 8, 0}, {x.data(), 8, 0}, {}, 0, 1, 8, weight.data(), 1e-6f,
                             {x.data(), 8, 0}, workspace.data(), dweight.data(), nullptr),
      0);
  EXPECT_EQ(dweight, std::vector<float>(8, 0.f));
}

}  // namespace
}  // namespace r1::kernels
