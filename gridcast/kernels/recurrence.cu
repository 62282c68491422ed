// One recurrent layer (GRU or LSTM) over all steps in one kernel, forward and backward.
//
// A cluster of UNITS / 64 thread blocks owns some windows from the first step to the last. Each block
// owns 64 units and keeps their recurrent weights in its registers the whole time; the state stays in
// registers too (32 bits), and what the blocks tell each other at each step goes through distributed
// shared memory: forward the new hidden state, backward partial sums of its gradient (16 bits each).
// The idea of keeping the weights on the chip is Diamos et al. 2016, "Persistent RNNs".
//
// A cluster's windows are tiles of 16 that go through the steps by themselves, in turn: while what the
// blocks say of one tile is on its way, they work on the next. Why it is as it is, and what was tried
// besides: docs/adr/0010 and 0015.
//
// Equations (PyTorch's): GRU  r, z = sigmoid(a_r, a_z); n = tanh(a_n + r * q); h' = (1 - z) n + z h,
// with q the hidden side of n; LSTM  i, f, o = sigmoid, g = tanh; c' = f c + i g; h' = o tanh(c').
//
// Compiled at run time, one direction at a time (BACKWARD: 0 or 1), with: LSTM (0 or 1), UNITS (64, 128
// or 256), TILES (1 to 3), BF16 (0: fp16), INSIDE (so many times 16 features are multiplied with their
// weights here; 0: outside). Legend: S models, T steps, B windows, U units, G gates.
//
// Fragments are those of mma.m16n8k16: thread (group = lane / 4, pair = lane % 4) holds the rows
// group and group + 8 of a tile and the columns 2 pair, 2 pair + 1.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define GATES (LSTM ? 4 : 3)
#define BLOCKS (UNITS / 64)    // of a cluster
#define OWN 64                 // units of a block
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

// Two barriers of a tile, for two buffers in turn: a phase ends when all expected bytes have come.
struct Arrivals {
  u32 barriers;  // shared address of two u64

  __device__ __forceinline__ void begin() const {
    for (int buffer = 0; buffer < 2; buffer++)
      asm volatile("mbarrier.init.shared.b64 [%0], 1;" :: "r"(of(buffer)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }

  __device__ __forceinline__ u32 of(int buffer) const { return barriers + 8 * buffer; }

  __device__ __forceinline__ void expect(int buffer, int bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;"
        :: "r"(of(buffer)), "r"(bytes) : "memory");
  }

  __device__ __forceinline__ void wait(int buffer, int phase) const {
    asm volatile(
        "{.reg .pred come;\n"
        "again: mbarrier.try_wait.parity.shared::cta.b64 come, [%0], %1;\n"
        "@!come bra again;}" :: "r"(of(buffer)), "r"(phase & 1) : "memory");
  }
};

__device__ __forceinline__ void wait_for_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The four threads of a group hold a pair of columns each, of two rows; afterwards each has all four
// pairs of one row: 16 bytes. Even threads have the first row.
__device__ __forceinline__ void gather_row(u32 (&v)[4], u32 first, u32 second, int pair) {
  const bool odd = pair & 1, upper = pair & 2;
  const u32 own = odd ? second : first;
  const u32 near = __shfl_xor_sync(~0u, odd ? first : second, 1);
  const u32 low = odd ? near : own, high = odd ? own : near;
  const u32 far_low = __shfl_xor_sync(~0u, low, 2), far_high = __shfl_xor_sync(~0u, high, 2);
  v[0] = upper ? far_low : low, v[1] = upper ? far_high : high;
  v[2] = upper ? low : far_low, v[3] = upper ? high : far_high;
}

struct Place {
  int lane, warp, group, pair, block, cluster, model, first, row, end, unit;

  // Each cluster has `rows` windows of one model, the last cluster of a model what remains.
  __device__ __forceinline__ Place(int B, int rows) {
    const int clusters = (B + rows - 1) / rows;
    first = blockIdx.x / BLOCKS % clusters * rows;
    lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = lane >> 2, pair = lane & 3;
    block = blockIdx.x % BLOCKS, cluster = blockIdx.x / BLOCKS;
    model = cluster / clusters;
    row = first + group;                       // the thread's first window
    end = min(B, first + rows);                // of the cluster's windows
    unit = block * OWN + warp * 8 + 2 * pair;  // the thread's first unit
  }

  // Of a tile; none may be left for the last tiles.
  __device__ __forceinline__ int num_rows(int tile) const {
    return min(16, end - first - 16 * tile);
  }

  __device__ __forceinline__ bool has(int ahead) const { return row + ahead < end; }
};

// What is kept for the way back, fp16: (T, blocks, tiles) of what the threads keep of their four
// places, first two quantities, then two more, then the last.
__device__ __forceinline__ uint2* kept_at(uint2* kept, int t, int tile) {
  const u64 block = (u64)t * gridDim.x + blockIdx.x;
  return kept + (block * TILES + tile) * KEPT * blockDim.x;
}

__device__ __forceinline__ void keep(uint2* place, const float (&a)[4], const float (&b)[4],
                                     const float (&c)[4], const float (&d)[4], const float (&e)[4]) {
  uint4* const pairs = reinterpret_cast<uint4*>(place) + threadIdx.x;
  __stcs(pairs, make_uint4(pack_f16(a[0], a[1]), pack_f16(a[2], a[3]),
                           pack_f16(b[0], b[1]), pack_f16(b[2], b[3])));
  __stcs(pairs + blockDim.x, make_uint4(pack_f16(c[0], c[1]), pack_f16(c[2], c[3]),
                                        pack_f16(d[0], d[1]), pack_f16(d[2], d[3])));
  __stcs(place + 4 * blockDim.x + threadIdx.x,
         make_uint2(pack_f16(e[0], e[1]), pack_f16(e[2], e[3])));
}

// What keep kept, by quantity and row.
__device__ __forceinline__ void recall(u32 (&v)[KEPT][2], const uint2* place) {
  const uint4* const pairs = reinterpret_cast<const uint4*>(place) + threadIdx.x;
  const uint4 ab = __ldcs(pairs), cd = __ldcs(pairs + 256);
  const uint2 e = __ldcs(place + 4 * 256 + threadIdx.x);
  v[0][0] = ab.x, v[0][1] = ab.y, v[1][0] = ab.z, v[1][1] = ab.w;
  v[2][0] = cd.x, v[2][1] = cd.y, v[3][0] = cd.z, v[3][1] = cd.w;
  v[4][0] = e.x, v[4][1] = e.y;
}

// Shared memory that no one writes before it is read: windows that are not there count as zeros.
__device__ __forceinline__ void clear(u16* place, int length) {
  for (int i = threadIdx.x; i < length / 2; i += blockDim.x) reinterpret_cast<u32*>(place)[i] = 0;
}

#if !BACKWARD

// -- forward ---------------------------------------------------------------------------------------

// The thread's part of the weights of its warp's units: (S, G U, 16 K) of 16 bits.
template <int K>
__device__ __forceinline__ void load_weights(u32 (&w)[GATES][K][2], const u16* weights,
                                             const Place& at) {
#pragma unroll
  for (int q = 0; q < GATES; q++)
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const u64 row = ((u64)at.model * GATES + q) * UNITS + at.block * OWN + at.warp * 8 + at.group;
        w[q][k][half] = *reinterpret_cast<const u32*>(
            weights + row * 16 * K + 16 * k + 8 * half + 2 * at.pair);
      }
}

// input: with INSIDE the features, (S, T, B, 16 INSIDE) 16 bits, and of_input their weights, (S, G U,
// 16 INSIDE) 16 bits; else the input side of the gates of each pair of units without biases, (S, T, B,
// U / 2, 4, 2) 16 bits, GRU r, z, n and zeros, and of_input null. weights: (S, G U, U) 16 bits; biases:
// (S, 4, U) fp32, GRU r, z, n, q, LSTM i, f, g, o; begin_h, begin_c: (S, B, U) fp32, or null for zeros.
// hidden: (S, T, B, U) 16 bits; end_h, end_c: as begin_h; kept: see kept_at.
extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(256, 1)
forward(const u16* __restrict__ input, const u16* __restrict__ of_input,
        const u16* __restrict__ weights, const float* __restrict__ biases,
        const float* __restrict__ begin_h, const float* __restrict__ begin_c,
        u16* __restrict__ hidden, float* __restrict__ end_h, float* __restrict__ end_c,
        uint2* __restrict__ kept, int T, int B, int rows) {
  // (tiles, 2 steps, UNITS / 8, 16, 8): what a warp sends at once lies together, no banks conflict
  extern __shared__ __align__(16) u16 state[];
  constexpr int STATE = 16 * UNITS;
  __shared__ u64 barriers[TILES][2];
  const Place at(B, rows);
  input += (u64)at.model * T * B * (INSIDE ? 16 * INSIDE : 4 * UNITS);
  hidden += (u64)at.model * T * B * UNITS;

  u32 w[GATES][UNITS / 16][2];
  load_weights(w, weights, at);
#if INSIDE
  u32 w_input[GATES][INSIDE][2];
  load_weights(w_input, of_input, at);
#endif
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

  const auto arrivals = [&](int m) { return Arrivals{shared_address(barriers[m])}; };
  const auto expect = [&](int m, int t) {  // a tile's state before a step, from all blocks
    if (threadIdx.x == 0) arrivals(m).expect(t & 1, at.num_rows(m) * UNITS * 2);
  };
#if INSIDE
  u32 next[TILES][INSIDE][4] = {};  // the features of the thread's two rows
  const auto fetch = [&](int m, int t) {
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int k = 0; k < 2 * INSIDE; k++)
        if (at.has(16 * m + 8 * r))
          next[m][k / 2][k % 2 * 2 + r] = __ldg(reinterpret_cast<const u32*>(
              input + ((u64)t * B + at.row + 16 * m + 8 * r) * 16 * INSIDE + 8 * k + 2 * at.pair));
  };
#else
  uint4 next[TILES][2] = {};  // the inputs of the thread's two rows
  const auto fetch = [&](int m, int t) {
#pragma unroll
    for (int r = 0; r < 2; r++)
      if (at.has(16 * m + 8 * r))
        next[m][r] = __ldcs(reinterpret_cast<const uint4*>(input)
                            + ((u64)t * B + at.row + 16 * m + 8 * r) * (UNITS / 2) + at.unit / 2);
  };
#endif

  // The new hidden state of a tile: 16 bytes of a row a thread, the first two threads of a group to
  // half of the cluster's blocks, the others to the other half. That of the last step goes too, for
  // no block may end while another still sends to it.
  u32 own_row[4];
  const int own_ahead = 8 * (at.pair & 1);
  auto publish = [&](int m, int buffer) {
    gather_row(own_row, pack(h[m][0], h[m][1]), pack(h[m][2], h[m][3]), at.pair);
    if (at.group + own_ahead >= at.num_rows(m)) return;
    const u32 own = shared_address(
        state + (m * 2 + buffer) * STATE
        + ((at.block * 8 + at.warp) * 16 + at.group + own_ahead) * 8);
#pragma unroll
    for (int i = 0; i < (BLOCKS + 1) / 2; i++) {
      const int block = 2 * i + (at.pair >> 1);
      if (BLOCKS > 1 || block == 0)
        send(in_block(own, block), in_block(arrivals(m).of(buffer), block),
             own_row[0], own_row[1], own_row[2], own_row[3]);
    }
  };
  auto write = [&](int m, int t) {
    const int ahead = 16 * m + own_ahead, half = at.pair >> 1;
    if (at.has(ahead))
      *reinterpret_cast<uint2*>(hidden + ((u64)t * B + at.row + ahead) * UNITS + at.block * OWN
                                + at.warp * 8 + 4 * half) =
          half ? make_uint2(own_row[2], own_row[3]) : make_uint2(own_row[0], own_row[1]);
  };

  clear(state, 2 * TILES * STATE);
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    if (at.num_rows(m) <= 0) break;
    fetch(m, 0);
    if (threadIdx.x == 0) arrivals(m).begin();
    expect(m, 0);
    expect(m, 1);
  }
  wait_for_cluster();
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    if (at.num_rows(m) <= 0) break;
    publish(m, 0);
  }
  const u32 lane_offset = 16 * ((at.lane & 15) + 16 * (at.lane >> 4));
  for (int t = 0; t < T; t++) {
#pragma unroll
    for (int m = 0; m < TILES; m++) {
      if (at.num_rows(m) <= 0) break;
      float acc[GATES][4], fresh[4], before[4];
      // GRU: r multiplies the hidden side of n alone, the input side waits in `fresh`.
      const auto of_gate = [&](int q) -> float(&)[4] {
        return LSTM || q < 2 ? acc[q % GATES] : q == 2 ? fresh : acc[2];
      };
#pragma unroll
      for (int q = 0; q < 4; q++)
#pragma unroll
        for (int e = 0; e < 4; e++) of_gate(q)[e] = bias[q][e & 1];
#if INSIDE
#pragma unroll
      for (int k = 0; k < INSIDE; k++)
#pragma unroll
        for (int q = 0; q < GATES; q++)
          multiply_add(of_gate(q), next[m][k], w_input[q][k][0], w_input[q][k][1]);
#else
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const u32 inputs[4] = {next[m][r].x, next[m][r].y, next[m][r].z, next[m][r].w};
#pragma unroll
        for (int q = 0; q < 4; q++) {
          float low, high;
          unpack(inputs[q], low, high);
          of_gate(q)[2 * r] += low, of_gate(q)[2 * r + 1] += high;
        }
      }
#endif
      if (t + 1 < T) fetch(m, t + 1);
      // All have sent their parts of this state only after reading the one before: its room is free.
      arrivals(m).wait(t & 1, t / 2);
      expect(m, t + 2);
      const u32 tile = shared_address(state + (m * 2 + (t & 1)) * STATE) + lane_offset;
#pragma unroll
      for (int k = 0; k < UNITS / 16; k++) {
        u32 a[4];
        load_tile(a, tile + 16 * 2 * k * 16);
#pragma unroll
        for (int q = 0; q < GATES; q++) multiply_add(acc[q], a, w[q][k][0], w[q][k][1]);
      }
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (LSTM) {
          const float i = sigmoid_fast(acc[0][e]), f = sigmoid_fast(acc[1][e]);
          const float g = tanh_fast(acc[2][e]), o = sigmoid_fast(acc[3 % GATES][e]);
          before[e] = cell[m][e];
          cell[m][e] = f * cell[m][e] + i * g;
          h[m][e] = o * tanh_fast(cell[m][e]);
          acc[0][e] = i, acc[1][e] = f, acc[2][e] = g, acc[3 % GATES][e] = o;
        } else {
          const float r = sigmoid_fast(acc[0][e]), z = sigmoid_fast(acc[1][e]);
          const float q = acc[2][e], n = tanh_fast(fresh[e] + r * q);
          before[e] = h[m][e];
          h[m][e] = n + z * (h[m][e] - n);
          acc[0][e] = r, acc[1][e] = z, fresh[e] = n;
        }
      }
      publish(m, (t + 1) & 1);
      write(m, t);
      keep(kept_at(kept, t, m), acc[0], acc[1], LSTM ? acc[2] : fresh,
           LSTM ? acc[3 % GATES] : acc[2], before);
    }
  }
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    if (at.num_rows(m) <= 0) break;
    arrivals(m).wait(T & 1, T / 2);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int ahead = 16 * m + 8 * (e >> 1);
      const u64 place = ((u64)at.model * B + at.row + ahead) * UNITS + at.unit + (e & 1);
      if (at.has(ahead)) end_h[place] = h[m][e];
      if (LSTM && at.has(ahead)) end_c[place] = cell[m][e];
    }
  }
}

#else

// -- backward --------------------------------------------------------------------------------------

// What each block adds to the gradient of another one's state before: of a tile 8 columns of 8 units,
// two places of each of two rows a thread. A block alone keeps 32 bits, between blocks go 16.
#if UNITS == OWN

#define SUMS (8 * 32 * 8)  // of 16 bits

__device__ __forceinline__ void send_sums(const float (&acc)[BLOCKS][4], const u16* sums, u32 barrier,
                                          const Place& at) {
  send(shared_address(sums + (at.warp * 32 + at.lane) * 8), barrier, __float_as_uint(acc[0][0]),
       __float_as_uint(acc[0][1]), __float_as_uint(acc[0][2]), __float_as_uint(acc[0][3]));
}

__device__ __forceinline__ void read_sums(float (&v)[4], const u16* sums, int block, const Place& at) {
  const float4 found = reinterpret_cast<const float4*>(sums)[at.warp * 32 + at.lane];
  v[0] = found.x, v[1] = found.y, v[2] = found.z, v[3] = found.w;
}

#else

#define SUMS (BLOCKS * 4 * 32 * 8)

// A warp has BLOCKS columns next to each other, all for one block: two at once.
__device__ __forceinline__ void send_sums(const float (&acc)[BLOCKS][4], const u16* sums, u32 barrier,
                                          const Place& at) {
  const int column = at.warp * BLOCKS, to = column / 8;
  const u32 place = in_block(
      shared_address(sums + ((at.block * 4 + column % 8 / 2) * 32 + at.lane) * 8), to);
#pragma unroll
  for (int n = 0; n < BLOCKS; n += 2)
    send(place + n / 2 * 32 * 16, in_block(barrier, to), pack(acc[n][0], acc[n][1]),
         pack(acc[n][2], acc[n][3]), pack(acc[n + 1][0], acc[n + 1][1]),
         pack(acc[n + 1][2], acc[n + 1][3]));
}

__device__ __forceinline__ void read_sums(float (&v)[4], const u16* sums, int block, const Place& at) {
  const u16* const pairs = sums + ((block * 4 + at.warp / 2) * 32 + at.lane) * 8 + at.warp % 2 * 4;
  const uint2 found = *reinterpret_cast<const uint2*>(pairs);
  unpack(found.x, v[0], v[1]);
  unpack(found.y, v[2], v[3]);
}

#endif

// hidden_grad: (S, T - first, B, U) 16 bits, of the hidden states from step first on; kept: of forward;
// weights: (S, U, G U) 16 bits, transposed. gates_grad: (S, T, B, 4, U) 16 bits, of the gates before
// their functions, GRU n, r, z, q, LSTM i, f, g, o; biases_grad: (clusters, 4, U) fp32, its sum over the
// cluster's steps and windows. The gradient of the beginning state is not given: what training carries
// is detached.
extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(256, 1)
backward(const u16* __restrict__ hidden_grad, uint2* __restrict__ kept,
         const u16* __restrict__ weights, u16* __restrict__ gates_grad,
         float* __restrict__ biases_grad, int T, int B, int rows, int first) {
  extern __shared__ __align__(16) u16 shared[];
  // (tiles, 2, SUMS) what each block adds to the gradient of this one's state; then
  // (2, 16, GRAD_STRIDE), this block's gates of a tile, GRU r, z, q, n.
  u16* const sums = shared;
  u16* const grads = sums + 2 * TILES * SUMS;
  __shared__ u64 barriers[TILES][2];
  const Place at(B, rows);
  const auto arrivals = [&](int m) { return Arrivals{shared_address(barriers[m])}; };
  // The sums of a tile for a step, if the tile has the thread's first row.
  const auto expect = [&](int m, int t) {
    if (threadIdx.x == 0) arrivals(m).expect(t & 1, SUMS / 4 * min(8, at.num_rows(m)));
  };
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
  u32 next[TILES][KEPT][2], next_dh[TILES][2];
  const auto fetch = [&](int m, int t) {
    recall(next[m], kept_at(kept, t, m));
    if (t >= first)
#pragma unroll
      for (int r = 0; r < 2; r++)
        next_dh[m][r] = !at.has(16 * m + 8 * r) ? 0 : __ldg(reinterpret_cast<const u32*>(
            hidden_grad + ((u64)(t - first) * B + at.row + 16 * m + 8 * r) * UNITS + at.unit));
  };

#pragma unroll
  for (int m = 0; m < TILES; m++) {
    if (at.num_rows(m) <= 0) break;
    fetch(m, T - 1);
    if (threadIdx.x == 0) arrivals(m).begin();
    expect(m, T - 2);
    expect(m, T - 3);
  }
  wait_for_cluster();
  const u32 lane_offset = 2 * ((at.lane & 15) * GRAD_STRIDE + 8 * (at.lane >> 4));
  int turn = 0;
  for (int t = T - 1; t >= 0; t--) {
#pragma unroll
    for (int m = 0; m < TILES; m++) {
      if (at.num_rows(m) <= 0) break;
      if (t < T - 1) {  // what the step after this one says of its state before
        arrivals(m).wait(t & 1, (T - 2 - t) / 2);
        expect(m, t - 2);
        if (at.has(16 * m))
#pragma unroll
          for (int block = 0; block < BLOCKS; block++) {
            float more[4];
            read_sums(more, sums + (m * 2 + (t & 1)) * SUMS, block, at);
#pragma unroll
            for (int e = 0; e < 4; e++) dh[m][e] += more[e];
          }
      }
      // All read a buffer before they are next together: with two in turn, it is free again.
      u16* const grad = grads + turn * 16 * GRAD_STRIDE;
      turn ^= 1;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float v[KEPT][2], d[PARTS][2], more[2] = {0.0f, 0.0f};
#pragma unroll
        for (int q = 0; q < KEPT; q++) unpack_f16(next[m][q][r], v[q][0], v[q][1]);
        if (t >= first) unpack(next_dh[m][r], more[0], more[1]);
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
#pragma unroll
        for (int q = 0; q < PARTS; q++) {
          bias[q][0] += d[q][0], bias[q][1] += d[q][1];
          *reinterpret_cast<u32*>(grad + (at.group + 8 * r) * GRAD_STRIDE + q * OWN + at.warp * 8
                                  + 2 * at.pair) = pack(d[q][0], d[q][1]);
        }
      }
      if (t > 0) fetch(m, t - 1);
      __syncthreads();

      if (t > 0) {  // times the weights: this block's share of the gradient of the state before
        const u32 tile = shared_address(grad) + lane_offset;
        float acc[BLOCKS][4] = {};
#pragma unroll
        for (int k = 0; k < INNER / 16; k++) {
          u32 a[4];
          load_tile(a, tile + 2 * 16 * k);
#pragma unroll
          for (int n = 0; n < BLOCKS; n++) multiply_add(acc[n], a, w[k][n][0], w[k][n][1]);
        }
        if (at.has(16 * m))
          send_sums(acc, sums + (m * 2 + ((t - 1) & 1)) * SUMS, arrivals(m).of((t - 1) & 1), at);
      }
#pragma unroll
      for (int i = 0; i < 16 * PARTS * OWN / 8 / 256; i++) {
        const int piece = threadIdx.x + 256 * i, row = piece / (PARTS * 8);
        const int column = piece % (PARTS * 8), part = column / 8;
        const int place = LSTM ? part : (part + 1) % PARTS;
        if (row < at.num_rows(m))
          *reinterpret_cast<uint4*>(
              gates_grad + (((u64)t * B + at.row - at.group + 16 * m + row) * PARTS + place) * UNITS
              + at.block * OWN + column % 8 * 8) =
              *reinterpret_cast<const uint4*>(grad + row * GRAD_STRIDE + 8 * column);
      }
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

#endif
