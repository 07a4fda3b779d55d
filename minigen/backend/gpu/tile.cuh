// What a block of threads does with a slab, BK = 32 products deep, of each of two matrices A (rows m) and B (rows n):
// copies it to shared memory, without bank conflicts, and adds the products of its rows to BM x BN sums in registers.
//
// Constants: BM, BN; WM, WN: the share of a warp; A_ALONG_K, B_ALONG_K: whether memory runs along k, else along the
// rows; OPERAND: to what the numbers are rounded, and so what multiplies them.
#include "ptx.cuh"

#define X3 0    // float32: each factor as a sum of two TF32 numbers, of whose four products the smallest is left out
#define TF32 1
#define BF16 2
#define F16 3
#define FMA 4   // float32 by ordinary multiply-adds: before compute capability 8.0 tensor cores know no TF32

constexpr int BK = 32;
constexpr int WARPS_N = BN / WN, THREADS = 32 * (BM / WM) * WARPS_N;
constexpr int TILES_M = WM / 16, TILES_N = WN / 8;                       // a warp's share in units of mma's 16 x 8
constexpr int SLAB_A = BM * BK, SLAB_B = BN * BK;

// ----------------------------------------------------------------------------------------------------- shared memory
// Shared memory has 32 banks of one float; what a warp touches at once must not fall on one bank twice. So each slab
// keeps the direction that its operand has in memory, with some address bits flipped instead of any padding.
// The multiplying thread (group g = lane / 4, t = lane % 4) wants, of row g, the four elements k = 4t ... 4t + 3:
//   along k: one read of 16 bytes, served for 8 threads at a time, which are two rows of 16 floats: 16 banks each if
//            every odd row has its halves exchanged;
//   along rows: four reads; thread (g, t) of a read falls on bank g + 8t if the columns are flipped by 8 (k / 4 % 4).
// For FMA all threads want the same four k: of A in row g, of B in the two columns 2t and 2t + 1 of its results.
//   along k: again one read of 16 bytes; eight threads want two neighbours of A, or four even or odd columns of B, which
//            lie apart if k is flipped by 4 (row % 8);
//   along rows: four reads, each of at most eight neighbours.

template <bool ALONG_K, int ROWS> __device__ inline int place(int row, int k) {
    const int flip = OPERAND == FMA ? (row & 7) * 4 : (row & 1) * 16;
    return ALONG_K ? row * BK + (k ^ flip) : k * ROWS + (row ^ (k & 12) * 2);
}

// k is a multiple of 4: the same bits are flipped for all four.
template <bool ALONG_K, int ROWS> __device__ inline float4 four(const float* slab, int row, int k) {
    const float* p = slab + place<ALONG_K, ROWS>(row, k);
    if constexpr (ALONG_K) return *(const float4*)p;
    else return make_float4(p[0], p[ROWS], p[2 * ROWS], p[3 * ROWS]);
}

// Which elements of a slab this thread copies: COUNT times VEC of them, always the same k, so that one Counter follows
// it from slab to slab. Neighbours in a warp copy neighbours in memory.
template <bool ALONG_K, int ROWS, int VEC> struct Share {
    static constexpr int COUNT = ROWS * BK / VEC / THREADS, LANES = ALONG_K ? BK / VEC : THREADS / BK;
    int lane = threadIdx.x % LANES, line = threadIdx.x / LANES;

    __device__ int k() const { return ALONG_K ? lane * VEC : line; }
    __device__ int row(int i) const { return ALONG_K ? line + i * (THREADS / LANES) : (lane + i * LANES) * VEC; }
    __device__ float* at(float* slab, int i) const { return slab + place<ALONG_K, ROWS>(row(i), k()); }
};

typedef float Sums[TILES_M][TILES_N][4];

#if OPERAND == FMA
// ------------------------------------------------------------------------------------------------------ multiply-adds
// The results of a thread are those that mma would give it: rows g and g + 8, columns 2t and 2t + 1 of each 16 x 8.
// The products of a slab are added up from zero and then to the sums, for a sum of 4608 products one after another is
// off by three times as much.

__device__ inline void multiply_slab(Sums& sums, const float* a, const float* b) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, t = lane % 4;
    const int row = warp / WARPS_N * WM + group, column = warp % WARPS_N * WN + 2 * t;
    Sums slab = {};
#pragma unroll 1
    for (int k = 0; k < BK; k += 4) {
        float4 B[TILES_N][2];
#pragma unroll
        for (int j = 0; j < 2 * TILES_N; j++) B[j / 2][j % 2] = four<B_ALONG_K, BN>(b, column + j / 2 * 8 + j % 2, k);
#pragma unroll
        for (int i = 0; i < 2 * TILES_M; i++) {
            const float4 A = four<A_ALONG_K, BM>(a, row + 8 * i, k);
#pragma unroll
            for (int j = 0; j < 2 * TILES_N; j++) {
                float& sum = slab[i / 2][j / 2][i % 2 * 2 + j % 2];
                const float4 v = B[j / 2][j % 2];
                sum = fmaf(A.w, v.w, fmaf(A.z, v.z, fmaf(A.y, v.y, fmaf(A.x, v.x, sum))));
            }
        }
    }
#pragma unroll
    for (int i = 0; i < TILES_M; i++)
#pragma unroll
        for (int j = 0; j < TILES_N; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[i][j][e] += slab[i][j][e];
}

#else
// ----------------------------------------------------------------------------------------------- rounding, multiplying
// The order of k within a sum is free as long as A and B agree: a thread multiplies the four k it has read, in order.

constexpr int WORDS = OPERAND == BF16 || OPERAND == F16 ? 2 : 4;         // registers for four rounded numbers

template <int ROWS> struct Operand {
    unsigned main[ROWS][WORDS];
#if OPERAND == X3
    unsigned rest[ROWS][WORDS];                                          // what rounding took away, rounded
#endif
    __device__ void set(int i, float4 v) {
#if OPERAND == BF16
        main[i][0] = to_bf16x2(v.x, v.y), main[i][1] = to_bf16x2(v.z, v.w);
#elif OPERAND == F16
        main[i][0] = to_f16x2(v.x, v.y), main[i][1] = to_f16x2(v.z, v.w);
#else
        float x[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            main[i][j] = to_tf32(x[j]);
#if OPERAND == X3
            rest[i][j] = to_tf32(x[j] - __uint_as_float(main[i][j]));
#endif
        }
#endif
    }
};

// sums (16 rows x WN) += A B over 16 k; A as its rows g and g + 8.
__device__ inline void multiply(float (&sums)[TILES_N][4], const unsigned (&top)[WORDS],
                                const unsigned (&bottom)[WORDS], const unsigned (&B)[TILES_N][WORDS]) {
#pragma unroll
    for (int p = 0; p < WORDS; p += 2) {
        unsigned a[4] = {top[p], bottom[p], top[p + 1], bottom[p + 1]};
#pragma unroll
        for (int j = 0; j < TILES_N; j++) {
            unsigned b[2] = {B[j][p], B[j][p + 1]};
#if OPERAND == BF16
            mma_bf16(sums[j], a, b);
#elif OPERAND == F16
            mma_f16(sums[j], a, b);
#else
            mma_tf32(sums[j], a, b);
#endif
        }
    }
}

constexpr int AT_ONCE = (OPERAND == X3 && BM > 64) || WN > 32 ? 1 : 2;  // times 16 k; more would not fit in registers

// Tensor cores cut off what does not fit into a sum, so a long one drifts towards zero: by 4e-5 for 4608 products. That
// is nothing beside the rounding of factors, but much in float32. There they add 16 products from zero, and the rest is
// done by ordinary additions, which round.      Ootomo & Yokota 2022, Recovering single precision accuracy
__device__ inline void multiply_slab(Sums& sums, const float* a, const float* b) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, t = lane % 4;
    const int row = warp / WARPS_N * WM + group, column = warp % WARPS_N * WN + group;
#pragma unroll AT_ONCE
    for (int k = 0; k < BK; k += 16) {
        Operand<TILES_N> B;
#pragma unroll
        for (int j = 0; j < TILES_N; j++) B.set(j, four<B_ALONG_K, BN>(b, column + 8 * j, k + 4 * t));
#pragma unroll
        for (int i = 0; i < TILES_M; i++) {
            Operand<2> A;
            A.set(0, four<A_ALONG_K, BM>(a, row + 16 * i, k + 4 * t));
            A.set(1, four<A_ALONG_K, BM>(a, row + 16 * i + 8, k + 4 * t));
#if OPERAND == X3
            float sixteen[TILES_N][4] = {};
            multiply(sixteen, A.rest[0], A.rest[1], B.main);             // the small ones first
            multiply(sixteen, A.main[0], A.main[1], B.rest);
            multiply(sixteen, A.main[0], A.main[1], B.main);
#pragma unroll
            for (int j = 0; j < TILES_N; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) sums[i][j][e] += sixteen[j][e];
#else
            multiply(sums[i], A.main[0], A.main[1], B.main);
#endif
        }
    }
}
#endif
