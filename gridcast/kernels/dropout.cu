// Dropout whose mask is drawn anew where it is needed: the way back asks for no memory of it.
//
// The random numbers are Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
// 2, 3"): what they are depends on the key (a network's own) and the counter (which numbers of which
// layer and step) alone.
//
// Compiled at run time with BF16 (0: fp16).

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 low_x = counter.x * 0xD2511F53u, high_x = __umulhi(counter.x, 0xD2511F53u);
    const u32 low_z = counter.z * 0xCD9E8D57u, high_z = __umulhi(counter.z, 0xCD9E8D57u);
    counter = make_uint4(high_z ^ counter.y ^ key.x, low_z, high_x ^ counter.w ^ key.y, low_x);
    key.x += 0x9E3779B9u, key.y += 0xBB67AE85u;
  }
  return counter;
}

// A pair of 16-bit numbers times `factor`, or zero where the random number's upper 24 bits are not
// below `kept`.
__device__ __forceinline__ u32 drop_pair(u32 pair, u32 random_low, u32 random_high, u32 kept,
                                         float factor) {
  float low, high;
#if BF16
  low = __uint_as_float(pair << 16), high = __uint_as_float(pair & 0xffff0000u);
#else
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(low), "=f"(high) : "r"(pair));
#endif
  low = random_low >> 8 < kept ? low * factor : 0.0f;
  high = random_high >> 8 < kept ? high * factor : 0.0f;
#if BF16
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#else
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
  return pair;
}

// values, dropped: (S, count) of 16 bits, count a multiple of 8; keys: (S,); step: one number. Grid:
// (blocks, S).
extern "C" __global__ void drop(const uint4* __restrict__ values, uint4* __restrict__ dropped,
                                const u64* __restrict__ keys, const u64* __restrict__ step,
                                int count, int layer, int kept, float factor) {
  const int pieces = count / 8;
  const long long first = (long long)blockIdx.y * pieces;
  const u64 key = keys[blockIdx.y];
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += gridDim.x * blockDim.x) {
    const uint2 words = make_uint2((u32)key, (u32)(key >> 32));
    const uint4 a = philox(make_uint4(2 * i, 0, layer, (u32)*step), words);
    const uint4 b = philox(make_uint4(2 * i + 1, 0, layer, (u32)*step), words);
    uint4 v = values[first + i];
    v.x = drop_pair(v.x, a.x, a.y, kept, factor);
    v.y = drop_pair(v.y, a.z, a.w, kept, factor);
    v.z = drop_pair(v.z, b.x, b.y, kept, factor);
    v.w = drop_pair(v.w, b.z, b.w, kept, factor);
    dropped[first + i] = v;
  }
}
