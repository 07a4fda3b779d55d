// CUDA C++ as a C++ compiler takes it: the types, variables and functions that a kernel finds on the GPU, and those of
// ptx.cuh. It includes nothing, since every kernel's compilation reads it; emu.cpp is the machine underneath.
#pragma once
#define PTX_CUH                      // the functions of ptx.cuh are those at the end of this file
#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ __attribute__((section("emu_static"))) static     // one place, so that it can be poisoned
__attribute__((section("emu_static"), used)) static char emu_anchor[16];  // so that the place exists
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#define EMU_VECTORS(T, name)                                                                                          \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                                \
    struct name##3 { T x, y, z; };                                                                                    \
    struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; };                                     \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                                        \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                                \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(float, float) EMU_VECTORS(int, int) EMU_VECTORS(unsigned, uint) EMU_VECTORS(double, double)
EMU_VECTORS(short, short) EMU_VECTORS(unsigned short, ushort) EMU_VECTORS(unsigned char, uchar)
EMU_VECTORS(long long, longlong) EMU_VECTORS(unsigned long long, ulonglong)
struct dim3 { unsigned x, y, z; };

#pragma GCC visibility push(default)
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
namespace emu {
const int WARP = 32;
struct alignas(16) Mail { unsigned char bytes[32]; };                       // what a lane gives to a collective
extern int current, threads;                                                // the running thread, and how many a block has
extern Mail posted[], delivered[];
extern char* dynamic_shared;
void fail(const char* format, ...);
void barrier();
void collective(const char* what, unsigned mask);
bool takes_part(int lane);
bool is_shared(const void* p, int bytes);
void copy_async(void* to, const void* from, int bytes, bool valid);
void copy_commit();
void copy_wait(int newest);
}  // namespace emu
#pragma GCC visibility pop

static const int warpSize = 32;

// ---------------------------------------------------------------------------------------------- barriers and warps
namespace emu {
inline int lane() { return current % WARP; }

// Leave a letter, and wait for the other lanes of the mask to leave theirs.
template <class T> void post(const char* what, unsigned mask, T value) {
    static_assert(sizeof value <= sizeof(Mail));
    __builtin_memcpy(&posted[current], &value, sizeof value);
    collective(what, mask);
}

// The letter of a lane; of one that takes no part NaN, where a GPU leaves it undefined.
template <class T> T letter(int lane) {
    T value;
    if (takes_part(lane)) __builtin_memcpy(&value, &delivered[current / WARP * WARP + lane], sizeof value);
    else __builtin_memset(&value, 0xff, sizeof value);
    return value;
}

inline void whole_warp(const char* what) {
    if (current / WARP * WARP + WARP > threads) fail("%s: needs a warp of 32 threads", what);
}

// The value of lane `from`, if it lies in the calling lane's segment of `width` lanes; else its own.
template <class T> T shuffle(const char* what, unsigned mask, T value, int from, int width) {
    static_assert((T)0.5 == (T)0.5 && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles numbers of 4 and 8 bytes");
    int first = lane() / width * width;
    if (from < first || from >= first + width) from = lane();
    post(what, mask, value);
    return letter<T>(from);
}
}  // namespace emu
inline void __syncwarp(unsigned mask = ~0u) { emu::post("__syncwarp", mask, 0); }
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
        if (emu::takes_part(i) && emu::letter<int>(i)) votes |= 1u << i;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline void __syncthreads() { emu::barrier(); }
inline int __syncthreads_count(int predicate) {
    static int votes[1024];
    int n = 0;
    votes[emu::current] = predicate != 0;
    __syncthreads();
    for (int i = 0; i < emu::threads; i++) n += votes[i];
    __syncthreads();
    return n;
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) > 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate) == emu::threads; }
inline void __threadfence() {}
inline void __threadfence_block() {}

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
#define EMU_MATH(name)                                                                                                \
    extern "C" double name(double) noexcept;                                                                          \
    extern "C" float name##f(float) noexcept;                                                                         \
    inline float name(float x) { return name##f(x); }
#define EMU_MATH2(name)                                                                                               \
    extern "C" double name(double, double) noexcept;                                                                  \
    extern "C" float name##f(float, float) noexcept;                                                                  \
    inline float name(float x, float y) { return name##f(x, y); }
EMU_MATH(sqrt) EMU_MATH(exp) EMU_MATH(exp2) EMU_MATH(expm1) EMU_MATH(log) EMU_MATH(log2) EMU_MATH(log10) EMU_MATH(log1p)
EMU_MATH(sin) EMU_MATH(cos) EMU_MATH(tan) EMU_MATH(asin) EMU_MATH(acos) EMU_MATH(atan) EMU_MATH(tanh) EMU_MATH(sinh)
EMU_MATH(cosh) EMU_MATH(erf) EMU_MATH(erfc) EMU_MATH(lgamma) EMU_MATH(fabs) EMU_MATH(floor) EMU_MATH(ceil)
EMU_MATH(trunc) EMU_MATH(round) EMU_MATH(rint) EMU_MATH(nearbyint) EMU_MATH(cbrt)
EMU_MATH2(pow) EMU_MATH2(fmin) EMU_MATH2(fmax) EMU_MATH2(fmod) EMU_MATH2(atan2) EMU_MATH2(copysign) EMU_MATH2(hypot)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" int ilogbf(float) noexcept;
extern "C" int abs(int) noexcept;
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
#define EMU_MINMAX(T) inline T min(T a, T b) { return b < a ? b : a; } inline T max(T a, T b) { return a < b ? b : a; }
EMU_MINMAX(int) EMU_MINMAX(unsigned) EMU_MINMAX(long) EMU_MINMAX(unsigned long) EMU_MINMAX(long long)
EMU_MINMAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
inline double min(float a, double b) { return min((double)a, b); }
inline double min(double a, float b) { return min(a, (double)b); }
inline double max(float a, double b) { return max((double)a, b); }
inline double max(double a, float b) { return max(a, (double)b); }
template <class To, class From> To emu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    __builtin_memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
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
inline void sincospif(float x, float* s, float* c) { *s = sin(x * 3.14159265358979323846); *c = cos(x * 3.14159265358979323846); }
inline float sinpif(float x) { return sin(x * 3.14159265358979323846); }
inline float cospif(float x) { return cos(x * 3.14159265358979323846); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x); *c = cosf(x); }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline void __trap() { emu::fail("__trap"); }

// ------------------------------------------------------------------------------------------------------------ ptx.cuh
template <int BYTES> void cp_async(void* shared, const void* global, bool valid = true) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16);
    emu::copy_async(shared, global, BYTES, valid);
}
inline void cp_commit() { emu::copy_commit(); }
template <int N> void cp_wait() { emu::copy_wait(N); }

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

// The element (row, k) of A and (k, column) of B lie, PACKED to a register, where the PTX manual says.
template <int PACKED, class Part> void mma(const char* what, float* d, const unsigned* a, const unsigned* b, Part part) {
    whole_warp(what);
    Fragments mine;
    __builtin_memcpy(mine.a, a, sizeof mine.a);
    __builtin_memcpy(mine.b, b, sizeof mine.b);
    post(what, ~0u, mine);
    const Mail* box = &delivered[current / WARP * WARP];
    for (int i = 0; i < 4; i++) {
        int row = lane() / 4 + 8 * (i / 2), column = 2 * (lane() % 4) + i % 2;
        double sum = d[i];
        for (int k = 0; k < 8 * PACKED; k++) {
            int t = k / PACKED % 4, half = k / (4 * PACKED);
            const Fragments& x = *(const Fragments*)&box[row % 8 * 4 + t];
            const Fragments& y = *(const Fragments*)&box[column * 4 + t];
            sum += (double)part(x.a[row / 8 + 2 * half], k % PACKED) * part(y.b[half], k % PACKED);
        }
        d[i] = toward_zero(sum);
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
