#include <cuda_runtime.h>

template <typename T>
__global__ void add_kernel(const T* left, const T* right, T* sum, int n) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < n) {
    sum[at] = left[at] + right[at];
  }
}

__device__ __forceinline__ float clamp_unit(float value) {
  if (value < 0.f) return 0.f;
  return value > 1.f ? 1.f : value;
}

__host__ __device__ int blocks_of(int n) {
  int size = 256;
  return (n + size - 1) / size;
}

__launch_bounds__(256) __global__ void scale_kernel(float* values, int n) {
  __shared__ float tile[256];
  int at = threadIdx.x;
  tile[at] = values[at];
  __syncthreads();
  values[at] = 2.f * tile[at];
}

void launch(const float* left, const float* right, float* sum, int n) {
  add_kernel<float><<<blocks_of(n), 256>>>(left, right, sum, n);
  cudaDeviceSynchronize();
}
