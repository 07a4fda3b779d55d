// What is PTX in ptx.cuh: asynchronous copies, roundings and the tensor cores, as far as the architecture has them.
#pragma once
#define PTX_CUH                      // so that of ptx.cuh only plain CUDA C++ is left
#include "emu.h"

#if __CUDA_ARCH__ >= 800
template <int BYTES> void cp_async(void* shared, const void* global, bool valid = true) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16);
    emu::copy_async(shared, global, BYTES, valid);
}
inline void cp_commit() { emu::copy_commit(); }
template <int N> void cp_wait() { emu::copy_wait(N); }
#endif

namespace emu {
inline float low_bf16(unsigned x) { return __uint_as_float(x << 16); }
inline float high_bf16(unsigned x) { return __uint_as_float(x & 0xffff0000u); }
inline float f16(unsigned x) {
    int exponent = x >> 10 & 31, fraction = x & 1023;
    float size = exponent == 31 ? fraction ? NAN : INFINITY
               : exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
    return x & 0x8000 ? -size : size;
}
inline float part_f16(unsigned x, int i) { return f16(i ? x >> 16 : x & 0xffff); }
inline unsigned bits_f16(float x) {                                         // to nearest, ties to even
    float size = fabsf(x);
    unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    if (x != x) return 0x7fff;
    if (size >= 65520) return sign | 0x7c00;
    int exponent = size < 6.103515625e-05f ? -14 : ilogbf(size);            // below 2^-14 the steps stay 2^-24
    int steps = (int)nearbyintf(ldexpf(size, 10 - exponent));
    return sign | (((exponent + 14) << 10) + steps);                          // 1024 steps: the exponent's lowest bit
}
inline unsigned bits_bf16(float x) {
    unsigned u = __float_as_uint(x);
    return x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;            // to nearest, ties to even
}

// Tensor cores cut off what does not fit into a sum: Fasi et al. 2021, Numerical behavior of NVIDIA tensor cores.
inline float toward_zero(double x) {
    float y = x;
    bool above = y > 0 ? y > x : y < x;
    return above ? __uint_as_float(__float_as_uint(y) - 1) : y;
}

struct Fragments { unsigned a[4], b[2]; };

// The element (row, k) of A and (k, column) of B lie, PACKED to a register, where the PTX manual says. HALVES of k: the
// second in a[2], a[3] and b[1].
template <int PACKED, int HALVES, class Part>
void mma(const char* what, float* d, const unsigned* a, const unsigned* b, Part part) {
    whole_warp(what);
    Fragments mine;
    __builtin_memcpy(mine.a, a, HALVES * 2 * sizeof *a);
    __builtin_memcpy(mine.b, b, HALVES * sizeof *b);
    post(what, ~0u, mine);
    const Mail* box = &delivered[current / WARP * WARP];
    for (int i = 0; i < 4; i++) {
        int row = lane() / 4 + 8 * (i / 2), column = 2 * (lane() % 4) + i % 2;
        double sum = d[i];
        for (int k = 0; k < 4 * PACKED * HALVES; k++) {
            int t = k / PACKED % 4, half = k / (4 * PACKED);
            const Fragments& x = *(const Fragments*)&box[row % 8 * 4 + t];
            const Fragments& y = *(const Fragments*)&box[column * 4 + t];
            sum += (double)part(x.a[row / 8 + 2 * half], k % PACKED) * part(y.b[half], k % PACKED);
        }
        d[i] = toward_zero(sum);
    }
}
}  // namespace emu

inline unsigned to_f16x2(float low, float high) { return emu::bits_f16(low) | emu::bits_f16(high) << 16; }

#if __CUDA_ARCH__ >= 800
inline unsigned to_tf32(float x) {
    unsigned u = __float_as_uint(x);
    return x != x ? 0x7fffffff : (u + 0x1000u) & 0xffffe000u;
}
inline unsigned to_bf16x2(float low, float high) { return emu::bits_bf16(low) | emu::bits_bf16(high) << 16; }
inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<1, 2>("mma_tf32", d, a, b, [](unsigned x, int) { return __uint_as_float(x & 0xffffe000u); });
}
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<2, 2>("mma_bf16", d, a, b, [](unsigned x, int i) { return i ? emu::high_bf16(x) : emu::low_bf16(x); });
}
inline void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<2, 2>("mma_f16", d, a, b, emu::part_f16);
}
#endif
#if __CUDA_ARCH__ >= 750
inline void mma_f16_k8(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
    const unsigned a[2] = {a0, a1};
    emu::mma<2, 1>("mma_f16_k8", d, a, &b, emu::part_f16);
}
#endif
