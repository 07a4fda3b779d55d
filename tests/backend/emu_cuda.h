// The functions that CUDA C++ and ptx.cuh give to a kernel, on the fibers of emu.h.
#pragma once

// ---------------------------------------------------------------------------------------------- barriers and warps
inline void __syncthreads() { emu::wait(emu::AT_BARRIER); }
inline int __syncthreads_count(int predicate) {
    int n = 0;
    emu::votes[emu::current] = predicate != 0;
    __syncthreads();
    for (int i = 0; i < emu::threads; i++) n += emu::votes[i];
    __syncthreads();
    return n;
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) > 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate) == emu::threads; }
inline void __syncwarp(unsigned mask = ~0u) { emu::post("__syncwarp", mask, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace emu {
// The value of lane `from`, if it lies in the calling lane's segment of `width` lanes; else its own.
template <class T> T shuffle(const char* what, unsigned mask, T value, int from, int width) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "CUDA shuffles numbers of 4 and 8 bytes");
    int lane = current % WARP, first = lane / width * width;
    post(what, mask, value);
    return letter<T>(from >= first && from < first + width ? from : lane);
}
inline int lane() { return current % WARP; }
}  // namespace emu
template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
    return emu::shuffle("__shfl_sync", mask, v, emu::lane() / width * width + source % width, width);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
    return emu::shuffle("__shfl_xor_sync", mask, v, emu::lane() ^ bits, width);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned n, int width = 32) {
    return emu::shuffle("__shfl_down_sync", mask, v, emu::lane() + n, width);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned n, int width = 32) {
    return emu::shuffle("__shfl_up_sync", mask, v, emu::lane() - n, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emu::post("__ballot_sync", mask, predicate);
    unsigned votes = 0;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1 && emu::current / 32 * 32 + i < emu::threads) votes |= (emu::letter<int>(i) != 0) << i;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// ------------------------------------------------------------------------------------------ atomics: one thread runs
template <class T> T emu_exchange(T* p, T v) { T old = *p; *p = v; return old; }
#define EMU_ATOMICS(T)                                                                                                \
    inline T atomicAdd(T* p, T v) { return emu_exchange<T>(p, *p + v); }                                              \
    inline T atomicExch(T* p, T v) { return emu_exchange(p, v); }
#define EMU_INTEGER_ATOMICS(T)                                                                                        \
    inline T atomicMax(T* p, T v) { return emu_exchange(p, *p > v ? *p : v); }                                        \
    inline T atomicMin(T* p, T v) { return emu_exchange(p, *p < v ? *p : v); }                                        \
    inline T atomicOr(T* p, T v) { return emu_exchange<T>(p, *p | v); }                                               \
    inline T atomicCAS(T* p, T expected, T v) { return emu_exchange(p, *p == expected ? v : *p); }
EMU_ATOMICS(float) EMU_ATOMICS(double) EMU_ATOMICS(int) EMU_ATOMICS(unsigned) EMU_ATOMICS(unsigned long long)
EMU_INTEGER_ATOMICS(int) EMU_INTEGER_ATOMICS(unsigned) EMU_INTEGER_ATOMICS(unsigned long long)
inline unsigned atomicInc(unsigned* p, unsigned limit) { return emu_exchange(p, *p >= limit ? 0u : *p + 1); }

// -------------------------------------------------------------------------------------------------- numbers and bits
template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return std::fmin(a, b);
    else { using T = std::common_type_t<A, B>; return T(a) < T(b) ? T(a) : T(b); }
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return std::fmax(a, b);
    else { using T = std::common_type_t<A, B>; return T(a) > T(b) ? T(a) : T(b); }
}
template <class To, class From> To emu_bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __uint2float_rn(unsigned x) { return x; }
inline float __int2float_rn(int x) { return x; }
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }                  // never fused with another operation
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __frsqrt_rn(float x) { return 1 / sqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
inline float __expf(float x) { return expf(x); }                            // on a GPU a few units in the last place off
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __tanf(float x) { return tanf(x); }
inline float exp10f(float x) { return powf(10, x); }
inline void sincospif(float x, float* s, float* c) { *s = sin(x * M_PI); *c = cos(x * M_PI); }
inline float sinpif(float x) { return sin(x * M_PI); }
inline float cospif(float x) { return cos(x * M_PI); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x); *c = cosf(x); }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline void __trap() { emu::fail("__trap"); }

// ------------------------------------------------------------------------------------------------------------ ptx.cuh
// The worst that the hardware may do: the target is destroyed at once, the data come only at the wait.
template <int BYTES> void cp_async(void* shared, const void* global, bool valid = true) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16);
    if ((uintptr_t)shared % BYTES || (uintptr_t)global % BYTES)
        emu::fail("cp_async<%d>: misaligned: to %p, from %p", BYTES, shared, global);
    if (!emu::is_shared(shared, BYTES)) emu::fail("cp_async: the target %p is not in shared memory", shared);
    if (valid && emu::is_shared(global, 1)) emu::fail("cp_async: the source %p is in shared memory", global);
    emu::Fiber& f = emu::fibers[emu::current];
    memset(shared, 0xff, BYTES);
    if (valid) { volatile char touch = ((const char*)global)[BYTES - 1]; (void)touch; }  // out of bounds? Say so here.
    f.copies.push_back({shared, global, BYTES, valid, f.groups});
}
inline void cp_commit() { emu::fibers[emu::current].groups++; }
template <int N> void cp_wait() {
    emu::Fiber& f = emu::fibers[emu::current];
    size_t kept = 0;
    for (emu::Copy& c : f.copies) {
        if (c.group >= f.groups - N) f.copies[kept++] = c;
        else if (c.valid) memcpy(c.to, c.from, c.bytes);
        else memset(c.to, 0, c.bytes);
    }
    f.copies.resize(kept);
}

namespace emu {
inline float low_bf16(unsigned x) { return __uint_as_float(x << 16); }
inline float high_bf16(unsigned x) { return __uint_as_float(x & 0xffff0000u); }
inline float f16(unsigned x) {
    int exponent = x >> 10 & 31, fraction = x & 1023;
    float size = exponent == 31 ? fraction ? NAN : INFINITY
               : exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
    return x & 0x8000 ? -size : size;
}
inline unsigned bits_f16(float x) {                                         // to nearest, ties to even
    float size = fabsf(x);
    unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    if (x != x) return 0x7fff;
    if (size >= 65520) return sign | 0x7c00;
    int exponent = size < 6.103515625e-05f ? -14 : ilogbf(size);            // below 2^-14 the steps stay 2^-24
    int steps = (int)nearbyintf(ldexpf(size, 10 - exponent));
    return sign | ((exponent + 14 << 10) + steps);                          // 1024 steps: the exponent's lowest bit
}
inline unsigned bits_bf16(float x) {
    unsigned u = __float_as_uint(x);
    return x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;            // to nearest, ties to even
}

struct Fragments { unsigned a[4], b[2]; };

// The element (row, k) of A and (k, column) of B lie, PACKED to a register, where the PTX manual says.
template <int PACKED, class Part> void mma(const char* what, float* d, const unsigned* a, const unsigned* b, Part part) {
    whole_warp(what);
    Fragments mine;
    memcpy(mine.a, a, sizeof mine.a);
    memcpy(mine.b, b, sizeof mine.b);
    post(what, ~0u, mine);
    const Mail* box = &delivered[current / WARP * WARP];
    for (int i = 0; i < 4; i++) {
        int row = lane() / 4 + 8 * (i / 2), column = 2 * (lane() % 4) + i % 2;
        float sum = 0;
        for (int k = 0; k < 8 * PACKED; k++) {
            int t = k / PACKED % 4, half = k / (4 * PACKED);
            const Fragments& x = *(const Fragments*)&box[row % 8 * 4 + t];
            const Fragments& y = *(const Fragments*)&box[column * 4 + t];
            sum += part(x.a[row / 8 + 2 * half], k % PACKED) * part(y.b[half], k % PACKED);
        }
        d[i] += sum;
    }
}
struct Row { unsigned short element[8]; };

inline void ldmatrix(const char* what, unsigned* r, const void* row, bool transposed) {
    whole_warp(what);
    if ((uintptr_t)row % 16 || !is_shared(row, 16)) fail("%s: the row %p: not in shared memory or misaligned", what, row);
    post(what, ~0u, *(const Row*)row);
    int group = lane() / 4, t = lane() % 4;
    for (int m = 0; m < 4; m++) {
        auto element = [&](int i, int j) -> unsigned { return letter<Row>(8 * m + i).element[j]; };
        r[m] = transposed ? element(2 * t, group) | element(2 * t + 1, group) << 16
                          : element(group, 2 * t) | element(group, 2 * t + 1) << 16;
    }
}
}  // namespace emu

inline unsigned to_tf32(float x) {
    unsigned u = __float_as_uint(x);
    return x != x ? 0x7fffffff : (u + 0x1000u) & 0xffffe000u;
}
inline unsigned to_bf16x2(float low, float high) { return emu::bits_bf16(low) | emu::bits_bf16(high) << 16; }
inline unsigned to_f16x2(float low, float high) { return emu::bits_f16(low) | emu::bits_f16(high) << 16; }
inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<1>("mma_tf32", d, a, b, [](unsigned x, int) { return __uint_as_float(x & 0xffffe000u); });
}
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<2>("mma_bf16", d, a, b, [](unsigned x, int i) { return i ? emu::high_bf16(x) : emu::low_bf16(x); });
}
inline void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emu::mma<2>("mma_f16", d, a, b, [](unsigned x, int i) { return emu::f16(i ? x >> 16 : x & 0xffff); });
}
inline void ldmatrix(unsigned (&r)[4], const void* row) { emu::ldmatrix("ldmatrix", r, row, false); }
inline void ldmatrix_transposed(unsigned (&r)[4], const void* row) { emu::ldmatrix("ldmatrix_transposed", r, row, true); }
