#pragma once
/// Stands for CUDA's header: a block's threads are fibers of one thread of the operating system.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>

#include "tests/emulation/fibers.h"

#define R1_EMULATION
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __align__(bytes) alignas(bytes)
/// One block runs on one thread at a time, so its shared memory is that thread's own.
#define __shared__ static thread_local
#define R1_DYNAMIC_SHARED(name) unsigned char* const name = emulation::dynamic_shared()

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
using emulation::blockDim;
using emulation::blockIdx;
using emulation::gridDim;
using emulation::threadIdx;

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// Barriers and what lanes tell each other --------------------------------------------------------

inline void __syncthreads() { emulation::meet(emulation::Scope::block); }
inline void __syncwarp(unsigned = ~0u) { emulation::meet(emulation::Scope::warp); }

template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return emulation::exchange(value, lane & 31);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulation::exchange(value, emulation::lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int distance) {
  const int from = emulation::lane() - distance;
  return emulation::exchange(value, from < 0 ? emulation::lane() : from);
}
inline unsigned __ballot_sync(unsigned, bool holds) {
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane)
    bits |= static_cast<unsigned>(emulation::exchange(static_cast<int>(holds), lane)) << lane;
  return bits & emulation::lanes();
}
inline int __reduce_max_sync(unsigned, int value) {
  for (int mask = 16; mask > 0; mask /= 2)
    value = std::max(value, emulation::exchange(value, emulation::lane() ^ mask));
  return value;
}

// Fibers change at barriers alone, so these need be no more than they are; blocks of a cluster run
// at the same time, hence the builtin for whole numbers.
template <class T, class U>
T atomicAdd(T* address, U value) {
  if constexpr (std::is_integral_v<T>)
    return __atomic_fetch_add(address, static_cast<T>(value), __ATOMIC_RELAXED);
  const T old = *address;
  *address += static_cast<T>(value);
  return old;
}

// Arithmetic --------------------------------------------------------------------------------------

inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline int __clz(int bits) { return bits ? __builtin_clz(static_cast<unsigned>(bits)) : 32; }
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}
using std::isfinite;

// Launches and what the host asks -----------------------------------------------------------------

enum cudaLaunchAttributeID { cudaLaunchAttributeClusterDimension };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    dim3 clusterDim;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaFuncAttributeNonPortableClusterSizeAllowed
};
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int) {
  return cudaSuccess;
}

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...),
                               A&&... args) {
  unsigned cluster = 1;
  for (unsigned i = 0; i < config->numAttrs; ++i) cluster = config->attrs[i].val.clusterDim.x;
  return emulation::run({config->gridDim.x, config->gridDim.y, config->gridDim.z},
                        {config->blockDim.x, config->blockDim.y, config->blockDim.z}, cluster,
                        config->dynamicSmemBytes, [&] { kernel(P(args)...); });
}

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
/// A Hopper of three multiprocessors, so that loops over a grid go round.
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = 3;
  if (attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin) *value = emulation::kMostShared;
  return cudaSuccess;
}
struct cudaFuncAttributes {
  int ptxVersion;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel) {
  attributes->ptxVersion = emulation::ptx_version;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel, const cudaLaunchConfig_t*) {
  *clusters = 2;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int, std::size_t) {
  *blocks = 1;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) { return *device = 0; }
