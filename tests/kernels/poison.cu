// Leaves numbers that are none in all shared memory of the processors it runs on.
extern "C" __global__ void poison(unsigned* seen, int length) {
  extern __shared__ unsigned words[];
  for (int i = threadIdx.x; i < length; i += blockDim.x) words[i] = 0x7e007e00u;  // two fp16 NaNs
  __syncthreads();
  if (threadIdx.x == 0) seen[blockIdx.x] = words[blockIdx.x % length];  // so that it is not left out
}
