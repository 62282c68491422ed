// One update of Adam or AdamW for S networks of P weights each: what adam.py says in PyTorch, in three
// kernels instead of some forty.

// The sum of a block's numbers, the same in all its threads and in each run. Threads: a power of two.
__device__ __forceinline__ float sum_of_block(float own) {
  __shared__ float parts[256];
  __syncthreads();  // an earlier sum was read
  parts[threadIdx.x] = own;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  return parts[0];
}

// grad: (S, P); sums: (S, blocks), of its squares. Grid: (blocks, S).
extern "C" __global__ void square_sums(const float* __restrict__ grad, float* __restrict__ sums,
                                       int P) {
  float sum = 0.0f;
  grad += (long long)blockIdx.y * P;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < P; i += gridDim.x * blockDim.x)
    sum += grad[i] * grad[i];
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) sums[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// weights, mean, square, grad: (S, P); sums, blocks: of square_sums, with as many blocks as this has
// (256 at most); rate: one number; scale, count, is_used: (S,). A network whose gradient overflowed is
// left as it is, if has_scale. Clips of infinity do nothing. A gain is 1 less its beta.
extern "C" __global__ void update(
    float* __restrict__ weights, float* __restrict__ mean, float* __restrict__ square,
    const float* __restrict__ grad, const float* __restrict__ sums, const float* __restrict__ rate,
    const float* __restrict__ scale, const float* __restrict__ count, float* __restrict__ is_used,
    int P, int has_scale, int is_decoupled, float decay, float clip_norm, float clip_value,
    float beta_1, float beta_2, float gain_1, float gain_2, float epsilon, float clip_epsilon) {
  const int network = blockIdx.y;
  const float norm =
      sqrtf(sum_of_block(threadIdx.x < gridDim.x ? sums[network * gridDim.x + threadIdx.x] : 0.0f));
  const bool used = isfinite(norm) || !has_scale;
  if (blockIdx.x == 0 && threadIdx.x == 0) is_used[network] = used ? 1.0f : 0.0f;
  if (!used) return;
  float factor = 1.0f / scale[network];
  if (isfinite(clip_norm)) {  // comparisons that keep what is not a number
    const float most = clip_norm / (norm * factor + clip_epsilon);
    factor *= most > 1.0f ? 1.0f : most;
  }
  const float steps = count[network] + 1.0f;
  const float size = -*rate / (1.0f - powf(beta_1, steps));
  const float root = sqrtf(1.0f - powf(beta_2, steps));
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < P; i += gridDim.x * blockDim.x) {
    const long long place = (long long)network * P + i;
    float w = weights[place];
    float g = grad[place] * factor;
    g = g > clip_value ? clip_value : g < -clip_value ? -clip_value : g;
    if (is_decoupled) w *= 1.0f - *rate * decay;
    else g += decay * w;
    const float m = mean[place] + gain_1 * (g - mean[place]);
    const float v = square[place] + gain_2 * (g * g - square[place]);
    mean[place] = m, square[place] = v;
    weights[place] = w + m / (sqrtf(v) / root + epsilon) * size;
  }
}

// What an update leaves for the next one, a thread a network: how many there were, and the loss scale,
// halved after an overflow, doubled after `to_grow` steps without one.
extern "C" __global__ void account(float* __restrict__ count, float* __restrict__ scale,
                                   float* __restrict__ good, const float* __restrict__ is_used,
                                   int S, int has_scale, float to_grow) {
  const int network = threadIdx.x;
  if (network >= S) return;
  const bool used = is_used[network] != 0.0f;
  if (used) count[network] += 1.0f;
  if (!has_scale) return;
  const float steps = used ? good[network] + 1.0f : 0.0f;
  const bool grows = steps >= to_grow;
  scale[network] *= !used ? 0.5f : grows ? 2.0f : 1.0f;
  good[network] = grows ? 0.0f : steps;
}
