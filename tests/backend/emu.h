// CUDA C++ as a C++ compiler takes it: the types, variables and functions that a kernel finds on the GPU, and those of
// ptx.cuh. It includes no header of a library, which every kernel would have to read. The machine is emu.cpp.
#pragma once
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
extern int current, threads;                                                // the running one; of a block
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

#include "emu_math.h"
#include "emu_ptx.h"
