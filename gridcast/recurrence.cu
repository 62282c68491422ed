// One recurrent layer (GRU or LSTM) over all steps in one kernel, forward and backward.
//
// A cluster of UNITS / 64 thread blocks owns ROWS windows from the first step to the last. Each block
// owns 64 units and keeps their recurrent weights in its registers the whole time; the state stays in
// registers too (32 bits), and what the blocks tell each other at each step goes through distributed
// shared memory: forward the new hidden state (16 bits), backward partial sums of its gradient (32
// bits). The idea of keeping the weights on the chip is Diamos et al. 2016, "Persistent RNNs".
//
// Equations (PyTorch's): GRU  r, z = sigmoid(a_r, a_z); n = tanh(a_n + r * q); h' = (1 - z) n + z h,
// with q the hidden side of n; LSTM  i, f, o = sigmoid, g = tanh; c' = f c + i g; h' = o tanh(c').
//
// Compiled at run time with: LSTM (0 or 1), UNITS (64, 128 or 256), TILES (1 to 3: 16 windows each),
// BF16 (0: fp16). Legend: S models, T steps, B windows, U units, G gates, D = 4.
//
// Fragments are those of mma.m16n8k16: thread (group = lane / 4, pair = lane % 4) holds the rows
// group and group + 8 of a tile and the columns 2 pair, 2 pair + 1.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define GATES (LSTM ? 4 : 3)
#define BLOCKS (UNITS / 64)    // of a cluster
#define ROWS (16 * TILES)      // most windows of a cluster
#define OWN 64                 // units of a block
#define ROUNDS ((TILES + 1) / 2)
#define KEPT 5                 // quantities kept for the way back
#define PARTS 4                // gradients given out: GRU n, r, z, q; LSTM i, f, g, o
#define GRAD_STRIDE (PARTS * OWN + 8)  // of 16 bits; + 8: no bank conflicts
#define INNER (GATES * OWN)            // of the product on the way back

// -- numbers ---------------------------------------------------------------------------------------

__device__ __forceinline__ u32 pack_f16(float low, float high) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

__device__ __forceinline__ void unpack_f16(u32 pair, float& low, float& high) {
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(low), "=f"(high) : "r"(pair));
}

#if BF16
__device__ __forceinline__ u32 pack(float low, float high) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ void unpack(u32 pair, float& low, float& high) {
  low = __uint_as_float(pair << 16);
  high = __uint_as_float(pair & 0xffff0000u);
}
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
__device__ __forceinline__ u32 pack(float low, float high) { return pack_f16(low, high); }
__device__ __forceinline__ void unpack(u32 pair, float& low, float& high) {
  unpack_f16(pair, low, high);
}
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#endif

__device__ __forceinline__ float tanh_fast(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float sigmoid_fast(float x) {
  return fmaf(0.5f, tanh_fast(0.5f * x), 0.5f);
}

// -- what the hardware offers ----------------------------------------------------------------------

__device__ __forceinline__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile(MMA "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void load_tile(u32 (&a)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(address) : "memory");
}

__device__ __forceinline__ u32 shared_address(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ u32 in_block(u32 address, u32 block) {
  u32 remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(block));
  return remote;
}

// 16 bytes into another block's shared memory; its barrier there counts them when they have come.
__device__ __forceinline__ void send(u32 address, u32 barrier, u32 x, u32 y, u32 z, u32 w) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];"
      :: "r"(address), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier) : "memory");
}

// Two barriers of a block, for two buffers in turn: each phase ends when `bytes` have come.
struct Arrivals {
  u32 barriers;  // shared address of two u64

  __device__ __forceinline__ void begin(int bytes) const {
    if (threadIdx.x == 0) {
      for (int buffer = 0; buffer < 2; buffer++) {
        asm volatile("mbarrier.init.shared.b64 [%0], 1;" :: "r"(of(buffer)) : "memory");
        expect(buffer, bytes);
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  }

  __device__ __forceinline__ u32 of(int buffer) const { return barriers + 8 * buffer; }

  __device__ __forceinline__ void expect(int buffer, int bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;"
        :: "r"(of(buffer)), "r"(bytes) : "memory");
  }

  // Wait for a buffer's phase number `phase`, then open the next one.
  __device__ __forceinline__ void wait(int buffer, int phase, int bytes) const {
    asm volatile(
        "{.reg .pred come;\n"
        "again: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 come, [%0], %1;\n"
        "@!come bra again;}" :: "r"(of(buffer)), "r"(phase & 1) : "memory");
    if (threadIdx.x == 0) expect(buffer, bytes);
  }
};

// Four threads of a group hold v[row] for a pair of columns each; afterwards each holds one row
// (its own number) of all four pairs: 16 bytes in a row.
__device__ __forceinline__ void transpose(u32 (&v)[4], int pair) {
  const bool odd = pair & 1, upper = pair & 2;
  u32 a = __shfl_xor_sync(~0u, odd ? v[0] : v[1], 1);
  u32 b = __shfl_xor_sync(~0u, odd ? v[2] : v[3], 1);
  if (odd) { v[0] = a; v[2] = b; } else { v[1] = a; v[3] = b; }
  a = __shfl_xor_sync(~0u, upper ? v[0] : v[2], 2);
  b = __shfl_xor_sync(~0u, upper ? v[1] : v[3], 2);
  if (upper) { v[0] = a; v[1] = b; } else { v[2] = a; v[3] = b; }
}

struct Place {
  int lane, warp, group, pair, block, cluster, model, row, end, unit;

  // Each cluster has `rows` windows of one model, the last cluster of a model what remains.
  __device__ __forceinline__ Place(int B, int rows) {
    const int clusters = (B + rows - 1) / rows, first = blockIdx.x / BLOCKS % clusters * rows;
    lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = lane >> 2, pair = lane & 3;
    block = blockIdx.x % BLOCKS, cluster = blockIdx.x / BLOCKS;
    model = cluster / clusters;
    row = first + group;                       // the thread's first window
    end = min(B, first + rows);                // of the cluster's windows
    unit = block * OWN + warp * 8 + 2 * pair;  // the thread's first unit
  }

  __device__ __forceinline__ int num_rows() const { return end - (row - group); }

  __device__ __forceinline__ bool has(int ahead) const { return row + ahead < end; }
};

// The thread's place in what is kept for the way back: (T, blocks, KEPT, TILES, threads) of 2 pairs of
// fp16.
__device__ __forceinline__ uint2* kept_at(uint2* kept, int t, int quantity, int tile) {
  const u64 block = (u64)t * gridDim.x + blockIdx.x;
  return kept + ((block * KEPT + quantity) * TILES + tile) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ void keep(uint2* kept, int t, int quantity, const float (&v)[TILES][4],
                                     const Place& at) {
#pragma unroll
  for (int m = 0; m < TILES; m++)
    if (at.has(16 * m)) __stcs(kept_at(kept, t, quantity, m), make_uint2(pack_f16(v[m][0], v[m][1]), pack_f16(v[m][2], v[m][3])));
}

__device__ __forceinline__ void recall(u32 (&pairs)[2 * TILES], uint2* kept, int t, int quantity,
                                       const Place& at) {
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    const uint2 v = at.has(16 * m) ? __ldcs(kept_at(kept, t, quantity, m)) : make_uint2(0, 0);
    pairs[2 * m] = v.x, pairs[2 * m + 1] = v.y;
  }
}

// -- forward ---------------------------------------------------------------------------------------

// input: (S, T, B, G U) 16 bits, the input side of the gates without biases; weights: (S, G U, U) 16
// bits; biases: (S, 4, U) fp32, GRU r, z, n, q, LSTM i, f, g, o; begin_h, begin_c: (S, B, U) fp32, or
// null for zeros. hidden: (S, T, B, U) 16 bits; end_h, end_c: as begin_h; kept: see kept_at.
extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(256, 1)
forward(const u16* __restrict__ input, const u16* __restrict__ weights,
        const float* __restrict__ biases, const float* __restrict__ begin_h,
        const float* __restrict__ begin_c, u16* __restrict__ hidden, float* __restrict__ end_h,
        float* __restrict__ end_c, uint2* __restrict__ kept, int T, int B, int rows) {
  // (2 steps, UNITS / 8, ROWS, 8): what a warp sends at once lies together, and no banks conflict
  extern __shared__ __align__(16) u16 state[];
  __shared__ u64 barriers[2];
  const Arrivals arrivals{shared_address(barriers)};
  const Place at(B, rows);
  const int bytes = at.num_rows() * UNITS * 2;  // of a state
  input += (u64)at.model * T * B * GATES * UNITS;
  hidden += (u64)at.model * T * B * UNITS;

  u32 w[GATES][UNITS / 16][2];
#pragma unroll
  for (int q = 0; q < GATES; q++)
#pragma unroll
    for (int k = 0; k < UNITS / 16; k++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const u64 row = (u64)at.model * GATES * UNITS + q * UNITS + at.block * OWN + at.warp * 8 + at.group;
        w[q][k][half] = *reinterpret_cast<const u32*>(
            weights + row * UNITS + 16 * k + 8 * half + 2 * at.pair);
      }
  float bias[4][2];
#pragma unroll
  for (int q = 0; q < 4; q++)
#pragma unroll
    for (int c = 0; c < 2; c++) bias[q][c] = biases[((u64)at.model * 4 + q) * UNITS + at.unit + c];

  float h[TILES][4], cell[TILES][4];
#pragma unroll
  for (int m = 0; m < TILES; m++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int ahead = 16 * m + 8 * (e >> 1);
      const u64 place = ((u64)at.model * B + at.row + ahead) * UNITS + at.unit + (e & 1);
      h[m][e] = begin_h && at.has(ahead) ? begin_h[place] : 0.0f;
      cell[m][e] = LSTM && begin_c && at.has(ahead) ? begin_c[place] : 0.0f;
    }

  // The new hidden state, 16 bytes of a row a thread: to all blocks of the cluster, then to memory.
  // That of the last step goes too, for no block may end while another still sends to it.
  u32 row_of_units[ROUNDS][4];
  auto publish = [&](int buffer) {
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
      u32(&v)[4] = row_of_units[round];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int m = 2 * round + i / 2;
        v[i] = m < TILES ? pack(h[m % TILES][2 * (i % 2)], h[m % TILES][2 * (i % 2) + 1]) : 0;
      }
      transpose(v, at.pair);
      const int row = at.group + 8 * (4 * round + at.pair);
      if (row < at.num_rows()) {
        const u32 own = shared_address(
            state + ((buffer * UNITS / 8 + at.block * 8 + at.warp) * ROWS + row) * 8);
#pragma unroll
        for (int block = 0; block < BLOCKS; block++)
          send(in_block(own, block), in_block(arrivals.of(buffer), block), v[0], v[1], v[2], v[3]);
      }
    }
  };
  auto write = [&](int t) {
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
      const u32(&v)[4] = row_of_units[round];
      const int ahead = 8 * (4 * round + at.pair);
      if (at.has(ahead))
        *reinterpret_cast<uint4*>(hidden + ((u64)t * B + at.row + ahead) * UNITS + at.block * OWN + at.warp * 8) =
            make_uint4(v[0], v[1], v[2], v[3]);
    }
  };

  u32 next[GATES][2 * TILES];
  auto fetch = [&](int t) {
#pragma unroll
    for (int q = 0; q < GATES; q++)
#pragma unroll
      for (int r = 0; r < 2 * TILES; r++)
        next[q][r] = !at.has(8 * r) ? 0 : __ldg(reinterpret_cast<const u32*>(
            input + ((u64)t * B + at.row + 8 * r) * GATES * UNITS + q * UNITS + at.unit));
  };

  fetch(0);
  arrivals.begin(bytes);
  publish(0);
  const u32 lane_offset = 16 * ((at.lane & 15) + ROWS * (at.lane >> 4));
  for (int t = 0; t < T; t++) {
    float acc[GATES][TILES][4], fresh[TILES][4];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int q = 0; q < GATES; q++) {
          float low, high;
          unpack(next[q][2 * m + r], low, high);
          acc[q][m][2 * r] = low + bias[q][0], acc[q][m][2 * r + 1] = high + bias[q][1];
        }
        if (!LSTM) {  // the input side of n waits outside: r multiplies the hidden side alone
#pragma unroll
          for (int c = 0; c < 2; c++) {
            fresh[m][2 * r + c] = acc[2][m][2 * r + c];
            acc[2][m][2 * r + c] = bias[3][c];
          }
        }
      }
    if (t + 1 < T) fetch(t + 1);
    // All have sent their parts of this state only after reading the one before: its room is free.
    arrivals.wait(t & 1, t / 2, bytes);
    const u32 tile = shared_address(state + (t & 1) * ROWS * UNITS) + lane_offset;
#pragma unroll
    for (int k = 0; k < UNITS / 16; k++)
#pragma unroll
      for (int m = 0; m < TILES; m++) {
        u32 a[4];
        load_tile(a, tile + 16 * (2 * k * ROWS + 16 * m));
#pragma unroll
        for (int q = 0; q < GATES; q++) multiply_add(acc[q][m], a, w[q][k][0], w[q][k][1]);
      }
    float before[TILES][4];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (LSTM) {
          const float i = sigmoid_fast(acc[0][m][e]), f = sigmoid_fast(acc[1][m][e]);
          const float g = tanh_fast(acc[2][m][e]), o = sigmoid_fast(acc[3 % GATES][m][e]);
          before[m][e] = cell[m][e];
          cell[m][e] = f * cell[m][e] + i * g;
          h[m][e] = o * tanh_fast(cell[m][e]);
          acc[0][m][e] = i, acc[1][m][e] = f, acc[2][m][e] = g, acc[3 % GATES][m][e] = o;
        } else {
          const float r = sigmoid_fast(acc[0][m][e]), z = sigmoid_fast(acc[1][m][e]);
          const float q = acc[2][m][e], n = tanh_fast(fresh[m][e] + r * q);
          before[m][e] = h[m][e];
          h[m][e] = n + z * (h[m][e] - n);
          acc[0][m][e] = r, acc[1][m][e] = z, fresh[m][e] = n;
        }
      }
    publish((t + 1) & 1);
    write(t);
    keep(kept, t, 0, acc[0], at);
    keep(kept, t, 1, acc[1], at);
    keep(kept, t, 2, LSTM ? acc[2] : fresh, at);
    keep(kept, t, 3, LSTM ? acc[3 % GATES] : acc[2], at);
    keep(kept, t, 4, before, at);
  }
  arrivals.wait(T & 1, T / 2, bytes);
#pragma unroll
  for (int m = 0; m < TILES; m++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int ahead = 16 * m + 8 * (e >> 1);
      const u64 place = ((u64)at.model * B + at.row + ahead) * UNITS + at.unit + (e & 1);
      if (at.has(ahead)) end_h[place] = h[m][e];
      if (LSTM && at.has(ahead)) end_c[place] = cell[m][e];
    }
}

// -- backward --------------------------------------------------------------------------------------

// hidden_grad: (S, T - first, B, U) 16 bits, of the hidden states from step first on; kept: of
// forward; weights: (S, U, G U) 16 bits, transposed. gates_grad: (S, T, B, 4, U)
// 16 bits, of the gates before their functions, GRU n, r, z, q, LSTM i, f, g, o; biases_grad:
// (clusters, 4, U) fp32, its sum over the cluster's steps and windows. The gradient of the beginning
// state is not given: what training carries is detached.
extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(256, 1)
backward(const u16* __restrict__ hidden_grad, uint2* __restrict__ kept,
         const u16* __restrict__ weights, u16* __restrict__ gates_grad,
         float* __restrict__ biases_grad, int T, int B,
         int rows, int first) {
  extern __shared__ __align__(16) u16 shared[];
  u16* const grads = shared;  // (2, ROWS, GRAD_STRIDE): this block's gates, GRU r, z, q, n
  // (2, BLOCKS, 8 warps, TILES, 32 lanes, 4) fp32: what each block adds to this one's state gradient
  float* const sums = reinterpret_cast<float*>(shared + 2 * ROWS * GRAD_STRIDE);
  constexpr int SUMS = BLOCKS * 8 * TILES * 32 * 4;
  __shared__ u64 barriers[2];
  const Arrivals arrivals{shared_address(barriers)};
  const Place at(B, rows);
  int bytes = 0;  // of the sums of a step: 16 a thread and column, if the tile has the thread's row
  for (int row = 0; row < at.num_rows(); row++) bytes += row % 16 < 8 ? BLOCKS * 8 * 4 * 16 : 0;
  hidden_grad += (u64)at.model * (T - first) * B * UNITS;
  gates_grad += (u64)at.model * T * B * PARTS * UNITS;

  // This warp's columns of the product: BLOCKS tiles of 8 units, from all blocks' units.
  u32 w[INNER / 16][BLOCKS][2];
#pragma unroll
  for (int k = 0; k < INNER / 16; k++)
#pragma unroll
    for (int n = 0; n < BLOCKS; n++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int unit = (at.warp * BLOCKS + n) * 8 + at.group, gate = 16 * k / OWN;
        const int column = gate * UNITS + at.block * OWN + 16 * k % OWN + 8 * half + 2 * at.pair;
        w[k][n][half] = *reinterpret_cast<const u32*>(
            weights + ((u64)at.model * UNITS + unit) * GATES * UNITS + column);
      }

  float dh[TILES][4] = {}, dc[TILES][4] = {}, bias[PARTS][2] = {};
  u32 next[KEPT][2 * TILES], next_dh[2 * TILES];
  auto fetch = [&](int t) {
#pragma unroll
    for (int q = 0; q < KEPT; q++) recall(next[q], kept, t, q, at);
    if (t >= first)
#pragma unroll
      for (int r = 0; r < 2 * TILES; r++)
        next_dh[r] = !at.has(8 * r) ? 0 : __ldg(reinterpret_cast<const u32*>(
            hidden_grad + ((u64)(t - first) * B + at.row + 8 * r) * UNITS + at.unit));
  };

  fetch(T - 1);
  arrivals.begin(bytes);
  const u32 lane_offset = 2 * ((at.lane & 15) * GRAD_STRIDE + 8 * (at.lane >> 4));
  for (int t = T - 1; t >= 0; t--) {
    u16* const grad = grads + (t & 1) * ROWS * GRAD_STRIDE;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float v[KEPT][2], d[PARTS][2], more[2] = {0.0f, 0.0f};
#pragma unroll
        for (int q = 0; q < KEPT; q++) unpack_f16(next[q][2 * m + r], v[q][0], v[q][1]);
        if (t >= first) unpack(next_dh[2 * m + r], more[0], more[1]);
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float& dh_e = dh[m][2 * r + c];
          dh_e += more[c];
          if (LSTM) {
            const float i = v[0][c], f = v[1][c], g = v[2][c], o = v[3][c], c_before = v[4][c];
            const float tanh_c = tanh_fast(f * c_before + i * g);
            const float dc_e = dc[m][2 * r + c] + dh_e * o * (1.0f - tanh_c * tanh_c);
            d[0][c] = dc_e * g * i * (1.0f - i);
            d[1][c] = dc_e * c_before * f * (1.0f - f);
            d[2][c] = dc_e * i * (1.0f - g * g);
            d[3][c] = dh_e * tanh_c * o * (1.0f - o);
            dc[m][2 * r + c] = dc_e * f;
            dh_e = 0.0f;
          } else {
            const float reset = v[0][c], z = v[1][c], n = v[2][c], q = v[3][c], before = v[4][c];
            const float dn = dh_e * (1.0f - z) * (1.0f - n * n);
            d[0][c] = dn * q * reset * (1.0f - reset);
            d[1][c] = dh_e * (before - n) * z * (1.0f - z);
            d[2][c] = dn * reset;
            d[3][c] = dn;
            dh_e *= z;
          }
        }
        const int row = at.group + 16 * m + 8 * r;
#pragma unroll
        for (int q = 0; q < PARTS; q++) {
          bias[q][0] += d[q][0], bias[q][1] += d[q][1];
          *reinterpret_cast<u32*>(grad + row * GRAD_STRIDE + q * OWN + at.warp * 8 + 2 * at.pair) =
              pack(d[q][0], d[q][1]);
        }
      }
    if (TILES < 3 && t > 0) fetch(t - 1);  // more tiles leave no registers for it
    __syncthreads();

    // times the weights: this block's share of the gradient of the hidden state before
    const u32 tile = shared_address(grad) + lane_offset;
    float acc[BLOCKS][TILES][4] = {};
#pragma unroll
    for (int k = 0; k < INNER / 16; k++)
#pragma unroll
      for (int m = 0; m < TILES; m++) {
        u32 a[4];
        load_tile(a, tile + 2 * (16 * m * GRAD_STRIDE + 16 * k));
#pragma unroll
        for (int n = 0; n < BLOCKS; n++) multiply_add(acc[n][m], a, w[k][n][0], w[k][n][1]);
      }
#pragma unroll
    for (int n = 0; n < BLOCKS; n++) {
      const int column = at.warp * BLOCKS + n;  // of 8 units: block column / 8, its warp column % 8
#pragma unroll
      for (int m = 0; m < TILES; m++) {
        if (!at.has(16 * m)) continue;
        float* own = sums + (t & 1) * SUMS
                     + (((at.block * 8 + column % 8) * TILES + m) * 32 + at.lane) * 4;
        send(in_block(shared_address(own), column / 8), in_block(arrivals.of(t & 1), column / 8),
             __float_as_uint(acc[n][m][0]), __float_as_uint(acc[n][m][1]),
             __float_as_uint(acc[n][m][2]), __float_as_uint(acc[n][m][3]));
      }
    }
    if (TILES == 3 && t > 0) fetch(t - 1);
#pragma unroll
    for (int i = 0; i < ROWS * PARTS * OWN / 8 / 256; i++) {
      const int piece = threadIdx.x + 256 * i, row = piece / (PARTS * 8), column = piece % (PARTS * 8);
      const int part = column / 8, place = LSTM ? part : (part + 1) % PARTS;
      const int window = at.row - at.group + row;
      if (window < at.end)
        *reinterpret_cast<uint4*>(gates_grad + (((u64)t * B + window) * PARTS + place) * UNITS
                                  + at.block * OWN + column % 8 * 8) =
            *reinterpret_cast<const uint4*>(grad + row * GRAD_STRIDE + 8 * column);
    }
    arrivals.wait(t & 1, (T - 1 - t) / 2, bytes);
#pragma unroll
    for (int block = 0; block < BLOCKS; block++)
#pragma unroll
      for (int m = 0; m < TILES; m++) {
        if (!at.has(16 * m)) continue;
        const float4 v = *reinterpret_cast<const float4*>(
            sums + (t & 1) * SUMS + (((block * 8 + at.warp) * TILES + m) * 32 + at.lane) * 4);
        dh[m][0] += v.x, dh[m][1] += v.y, dh[m][2] += v.z, dh[m][3] += v.w;
      }
  }
#pragma unroll
  for (int q = 0; q < PARTS; q++)
#pragma unroll
    for (int c = 0; c < 2; c++) {
      float sum = bias[q][c];
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2) sum += __shfl_xor_sync(~0u, sum, distance);
      const int place = LSTM ? q : (q + 1) % PARTS;
      if (at.group == 0) biases_grad[((u64)at.cluster * PARTS + place) * UNITS + at.unit + c] = sum;
    }
}
