#pragma once
#include "tests/emulation/fibers.h"

/// Stands for CUDA's header: as much of clusters as our kernels use.
namespace cooperative_groups {

struct cluster_group {
  void sync() const { emulation::meet(emulation::Scope::cluster); }
  unsigned block_rank() const { return emulation::block_rank(); }
  template <class T>
  T* map_shared_rank(T* shared, unsigned rank) const {
    using Plain = std::remove_const_t<T>;
    return static_cast<T*>(emulation::in_block(const_cast<Plain*>(shared), rank));
  }
};
inline cluster_group this_cluster() { return {}; }

}  // namespace cooperative_groups
