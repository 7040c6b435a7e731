#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"

/// What every .cu file needs: the launch, lanes of a warp, and vectors of eight elements.
#if !defined(R1_DYNAMIC_SHARED)
#define R1_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace r1::kernels {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;
constexpr float kInfinity = __builtin_huge_valf();

/// Blocks, threads of each, bytes of dynamic shared memory, and blocks of a cluster.
struct LaunchShape {
  std::int64_t blocks;
  int threads;
  std::size_t shared = 0;
  int cluster = 1;
};

/// The shape in CUDA's terms.
struct LaunchConfig {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attribute;

  LaunchConfig(const LaunchShape& shape, CudaStream stream) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
    config.gridDim = {static_cast<unsigned>(shape.blocks), 1, 1};
    config.blockDim = {static_cast<unsigned>(shape.threads), 1, 1};
    config.dynamicSmemBytes = shape.shared;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = &attribute;
    config.numAttrs = shape.cluster > 1 ? 1 : 0;
  }
  LaunchConfig(const LaunchConfig&) = delete;  // it points into itself
};

/// Asks for what a kernel is not granted unasked: much shared memory, large clusters.
template <class Kernel>
int ask_for(const LaunchShape& shape, Kernel kernel) {
  constexpr std::size_t kGranted = 48 * 1024;
  constexpr int kPortableCluster = 8;
  if (shape.cluster > kPortableCluster) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (error != cudaSuccess) return error;
  }
  if (shape.shared <= kGranted) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(shape.shared));
}

/// Launches a kernel on a stream. @return a cudaError_t
template <class... Parameters, class... Arguments>
int launch(const LaunchShape& shape, CudaStream stream, void (*kernel)(Parameters...),
           Arguments... arguments) {
  if (shape.blocks == 0) return cudaSuccess;
  if (shape.blocks > 0x7FFFFFFF) return cudaErrorInvalidValue;
  const int error = ask_for(shape, kernel);
  if (error) return error;
  const LaunchConfig it(shape, stream);
  return cudaLaunchKernelEx(&it.config, kernel, static_cast<Parameters>(arguments)...);
}

/// The most bytes of shared memory that a block gets.
inline int most_shared(int& bytes) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  return cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

/// Whether the code that was loaded of a kernel knows clusters, which is not the GPU's to say: a
/// GPU newer than the library may run what its driver made of intermediate code for Ampere.
template <class Kernel>
int knows_clusters(Kernel kernel, bool& knows) {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  knows = error == cudaSuccess && attributes.ptxVersion >= 90;
  return error;
}

/// How many clusters of a shape the GPU holds at a time.
template <class Kernel>
int most_clusters(const LaunchShape& shape, Kernel kernel, int& clusters) {
  const int granted = ask_for(shape, kernel);
  if (granted) return granted;
  const LaunchConfig it(shape, nullptr);
  if (shape.cluster > 1) return cudaOccupancyMaxActiveClusters(&clusters, kernel, &it.config);
  int device = 0, processors = 0, blocks = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess)
    error =
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, shape.threads, shape.shared);
  clusters = processors * blocks;
  return error;
}

R1_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// A warp's lanes ----------------------------------------------------------------------------------

__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp_of_thread() { return static_cast<int>(threadIdx.x / kWarp); }
__device__ inline int warps_of_block() { return static_cast<int>(blockDim.x / kWarp); }

/// The reduction in every lane, with the same bits: lane i with lane i ^ 16, then ^ 8, ^ 4, ^ 2,
/// ^ 1.
template <class T, class Op>
__device__ T warp_reduce(T value, Op op) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2)
    value = op(value, __shfl_xor_sync(kAllLanes, value, mask));
  return value;
}

template <class T>
__device__ T warp_sum(T value) {
  return warp_reduce(value, [](T a, T b) { return a + b; });
}

/// Two sums in the time of one: neither waits for the other's lanes.
template <class T>
__device__ void warp_sums(T& a, T& b) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const T other_a = __shfl_xor_sync(kAllLanes, a, mask);
    const T other_b = __shfl_xor_sync(kAllLanes, b, mask);
    a += other_a;
    b += other_b;
  }
}

/// Of values that are not NaN, by one instruction that compares whole numbers; -0 is below 0.
__device__ inline float warp_max(float value) {
  const int bits = static_cast<int>(__float_as_uint(value));
  const int max = __reduce_max_sync(kAllLanes, bits < 0 ? bits ^ 0x7FFFFFFF : bits);
  return __uint_as_float(static_cast<unsigned>(max < 0 ? max ^ 0x7FFFFFFF : max));
}

/// Sum over the lanes up to this one.
template <class T>
__device__ T warp_inclusive_sum(T value) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T below = __shfl_up_sync(kAllLanes, value, distance);
    if (lane_of_thread() >= distance) value += below;
  }
  return value;
}

// Arithmetic --------------------------------------------------------------------------------------

/// 2^x within 2 ulp; 0 for what has no normal number.
__device__ inline float exp2_fast(float x) {
#if defined(R1_EMULATION)
  return x < -126.f ? 0.f : ::exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

/// NaN where either is.
__device__ inline float max_nan(float a, float b) {
#if defined(R1_EMULATION)
  return a != a || b != b ? __builtin_nanf("") : fmaxf(a, b);
#else
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#endif
}

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(bf16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

/// Two floats to the nearest bfloat16, ties to even, the first in the lower half; NaN stays NaN.
__device__ inline unsigned pack_bf16(float low, float high) {
#if defined(R1_EMULATION)
  const auto round = [](float value) {
    const unsigned bits = __float_as_uint(value);
    return value != value ? 0x7FC0u : (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#else
  unsigned result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#endif
}

template <class Element>
__device__ Element from_float(float value) {
  if constexpr (sizeof(Element) == sizeof(float))
    return value;
  else
    return {static_cast<std::uint16_t>(pack_bf16(value, 0.f) & 0xFFFF)};
}

// Vectors of eight elements, which a lane reads or writes at once ---------------------------------

constexpr int kVector = 8;

/// Whether rows of `stride` elements from `data` on can be read by vectors of 16 bytes.
template <class Element>
__host__ __device__ bool is_aligned(const Element* data, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 &&
         stride * static_cast<std::int64_t>(sizeof(Element)) % 16 == 0;
}

__device__ inline void load_whole(const float* from, float (&x)[kVector]) {
  const float4 a = reinterpret_cast<const float4*>(from)[0];
  const float4 b = reinterpret_cast<const float4*>(from)[1];
  x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
  x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}

__device__ inline void load_whole(const bf16* from, float (&x)[kVector]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  const unsigned pairs[] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = __uint_as_float(pairs[i] << 16);
    x[2 * i + 1] = __uint_as_float(pairs[i] & 0xFFFF0000u);
  }
}

__device__ inline void store_whole(float* to, const float (&x)[kVector]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
}

__device__ inline void store_whole(bf16* to, const float (&x)[kVector]) {
  *reinterpret_cast<uint4*>(to) = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                             pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
}

/// The first `count` of eight elements, `fill` in the place of the others.
template <class Element>
__device__ void load_vector(const Element* from, std::int64_t count, bool aligned, float fill,
                            float (&x)[kVector]) {
  if (aligned && count >= kVector) return load_whole(from, x);
#pragma unroll
  for (int i = 0; i < kVector; ++i) x[i] = i < count ? to_float(from[i]) : fill;
}

template <class Element>
__device__ void store_vector(Element* to, std::int64_t count, bool aligned,
                             const float (&x)[kVector]) {
  if (aligned && count >= kVector) return store_whole(to, x);
#pragma unroll
  for (int i = 0; i < kVector; ++i)
    if (i < count) to[i] = from_float<Element>(x[i]);
}

}  // namespace r1::kernels
