// Instructions of the GPU for which CUDA C++ has no name (without headers): PTX, each in one function.
// The tests emulate these functions on the CPU, so kernels keep all their PTX here. What older GPUs have instead is plain
// CUDA C++, at the end of the file, and the tests run it as it stands.
// Source: PTX ISA 8, "cp.async", "Matrix fragments for mma.m16n8k8 / m16n8k16", "cvt". All need sm_80, but to_f16x2
// (sm_60) and mma_f16 (sm_75).
#ifndef PTX_CUH
#define PTX_CUH

__device__ inline unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

#if __CUDA_ARCH__ >= 800
// Copy BYTES (4, 8 or 16, both addresses aligned to that) from global to shared memory in the background; where not
// valid, write zeros and read nothing. This thread sees them after cp_wait, the others after a barrier on top of that.
template <int BYTES> __device__ inline void cp_async(void* shared, const void* global, bool valid = true) {
    int bytes = valid ? BYTES : 0;
    if constexpr (BYTES == 16)                                              // cg: past the L1 cache, 16 bytes only
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :: "r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                     :: "r"(shared_address(shared)), "l"(global), "n"(BYTES), "r"(bytes) : "memory");
}

// All copies of this thread since its last commit become one group.
__device__ inline void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most N groups of this thread, the newest, are still under way.
template <int N> __device__ inline void cp_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

// Rounded to TF32 (8 bits of exponent, 10 of fraction), to nearest, ties away from zero; as the bits of a float.
__device__ inline unsigned to_tf32(float x) {
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

// Two floats rounded (to nearest, ties to even) and packed: the first in the low half. Of float16: infinity beyond 65504.
__device__ inline unsigned to_bf16x2(float low, float high) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

__device__ inline unsigned to_f16x2(float low, float high) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
#else
__device__ inline unsigned to_f16x2(float low, float high) {
    unsigned r;
    asm("{.reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(r) : "f"(low), "f"(high));
    return r;
}
#endif

// D += A B by one warp on the tensor cores; D is 16 x 8, float32. With group = lane / 4 and t = lane % 4, a thread has
//   d[i]: row group + 8 (i / 2), column 2 t + i % 2
// TF32: A is 16 x 8, a[i]: row group + 8 (i % 2), column t + 4 (i / 2); B is 8 x 8, b[i]: row t + 4 i, column group.
// The lower 13 bits of each operand are ignored: truncated, unless to_tf32 rounded before.
// bfloat16 and float16: A is 16 x 16, a[i]: row group + 8 (i % 2), columns 2 t + 8 (i / 2) (low half) and the next;
// B is 16 x 8, b[i]: rows 2 t + 8 i (low half) and the next, column group.
#define MMA(name, shape, type)                                                                                        \
    __device__ inline void name(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {                      \
        asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32"                                   \
                     " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                         \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                 \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                             \
    }
#if __CUDA_ARCH__ >= 800
MMA(mma_tf32, "m16n8k8", "tf32")
MMA(mma_bf16, "m16n8k16", "bf16")
MMA(mma_f16, "m16n8k16", "f16")
#endif
#undef MMA

// float16 at half the depth: A is 16 x 8, a0: row group, a1: row group + 8, of each columns 2 t and the next; B is 8 x 8,
// b: rows 2 t and the next, column group.
__device__ inline void mma_f16_k8(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b));
}

#endif

// ------------------------------------------------------------------------------------------ in their place below sm_80
#if __CUDA_ARCH__ < 800 && !defined(BEFORE_SM_80)
#define BEFORE_SM_80

template <int BYTES> struct Piece { float v[BYTES / 4]; };
template <> struct Piece<16> { float4 v; };                                 // one load, one store
template <> struct Piece<8> { float2 v; };

// The copy is there when the call returns, for this thread; for the others after a barrier, as with cp.async.
template <int BYTES> __device__ inline void cp_async(void* shared, const void* global, bool valid = true) {
    Piece<BYTES> piece = {};
    if (valid) piece = *(const Piece<BYTES>*)global;
    *(Piece<BYTES>*)shared = piece;
}
__device__ inline void cp_commit() {}
template <int N> __device__ inline void cp_wait() {}

#if __CUDA_ARCH__ >= 750
// As m16n8k16: the first half of k lies in a[0], a[1] and b[0], the second in the others.
__device__ inline void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_f16_k8(d, a[0], a[1], b[0]);
    mma_f16_k8(d, a[2], a[3], b[1]);
}
#endif

#endif
