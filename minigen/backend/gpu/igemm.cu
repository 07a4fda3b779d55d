// Convolution, both its gradients, and dense layers: one matrix product, on tensor cores where the GPU has them,
//
//     out[m][n] = sum over k of A[m][k] B[n][k]
//
// "Implicit" GEMM: one of the two matrices is im2col of an image, and it is never written down. Its element in the row
// of a window and the column of a tap (and channel) is a pixel, found where the copy to shared memory needs it.
//
//   ROLE      m          n          k          A                       B
//   FORWARD   (b, i, j)  o          (u, v, c)  pixels of x (b,h,w,c)   w, as it lies in memory: [n][k]
//   INPUT     (b, h, w)  c          (u, v, o)  pixels of g (b,i,j,o)   w, lying as [k][n] for each tap
//   WEIGHT    o          (u, v, c)  (b, i, j)  g, lying as [k][m]      pixels of x
//
// A dense layer has one pixel and one tap. The geometry is passed at run time, so that few variants are compiled; no
// division is left in the loop over k (see Counter).
//
// A block computes BM x BN results, one slab of A and B after another (tile.cuh). Slabs are copied to shared memory in
// the background (before sm_80 in the foreground), STAGES - 1 ahead of the one that is multiplied.
//
// Constants: ROLE; STAGES; VEC_A, VEC_B: floats in one copy, 4 where memory is aligned and a multiple of 4 long, else
// 1; and those of tile.cuh.

#define FORWARD 0
#define INPUT 1
#define WEIGHT 2

constexpr bool A_ALONG_K = ROLE != WEIGHT, B_ALONG_K = ROLE == FORWARD;
#include "leaky.cuh"
#include "tile.cuh"

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---------------------------------------------------------------------------------------------------------- the image

// One axis of an image: through tap t, result i sees pixel  origin + stride i + step t.
struct Axis { int results, taps, origin, stride, step; };

// The input gradient of a convolution with stride s falls into s phases, one for each residue of h mod s. Only every
// s-th tap reaches such a pixel: s i - p + t = h needs t = (h + p) mod s, and from there i = (h + p - t) / s falls by
// one for each s taps. (With stride 1 there is one phase, and i falls by the dilation.)
__device__ inline int first_tap(int phase, int stride, int padding) { return (phase + padding) % stride; }

__device__ inline Axis axis(int results, int taps, int stride, int padding, int dilation, int phase) {
#if ROLE == INPUT
    int reaching = ceil_div(taps - first_tap(phase, stride, padding), stride);
    return {ceil_div(results - phase, stride), reaching, (phase + padding) / stride, 1, -dilation};
#else
    return {results, taps, -padding, stride, dilation};
#endif
}

// A place in an image, or a way to another one: these add up. The offset counts floats in memory.
struct Place { int y, x, offset; };
constexpr Place NOWHERE = {-(1 << 24), 0, 0};

// A number (a, b, c) of three digits that is counted on in strides of BK. c runs to C - 1, b to B - 1.
struct Counter {
    int a, b, c, B, C;
    int da, db, dc;

    __device__ Counter(int number, int B_, int C_) : B(max(B_, 1)), C(max(C_, 1)) {
        a = number / C / B, b = number / C % B, c = number % C;
        da = BK / C / B, db = BK / C % B, dc = BK % C;
    }
    __device__ void next() {
        a += da, b += db, c += dc;
        if (c >= C) c -= C, b++;
        if (b >= B) b -= B, a++;
    }
};

// --------------------------------------------------------------------------------------------------------- the kernel
// image: (batch, H, W, C), what is gathered: x, or g for INPUT. matrix: w, or g for WEIGHT.
// (RH, RW): INPUT: the size of out, (batch, RH, RW, channels); else the number of windows. channels: O, C, O.
// slope: of the leaky ReLU that the sums, plus bias, go through.
// Each of `parts` blocks adds up `slabs` slabs of the same results and writes to an array of its own, so that the order
// of addition, and with it the last bit, does not depend on which is ready first.

extern "C" __global__ void __launch_bounds__(THREADS)
igemm(const float* __restrict__ image, const float* __restrict__ matrix, const float* __restrict__ bias,
      float* __restrict__ out, int batch, int H, int W, int C, int RH, int RW, int channels, int KH, int KW,
      int SH, int SW, int PH, int PW, int DH, int DW, int slabs, int parts, float slope) {
    extern __shared__ float4 memory[];
    float* slab_a = (float*)memory;                                      // STAGES of A, then STAGES of B
    float* slab_b = slab_a + STAGES * SLAB_A;

    const int part = blockIdx.z % parts, phase = blockIdx.z / parts;     // phases: SH SW of INPUT, else one
    const Axis rows = axis(RH, KH, SH, PH, DH, phase / SW), columns = axis(RW, KW, SW, PW, DW, phase % SW);
    const int windows = batch * rows.results * columns.results, taps = rows.taps * columns.taps * C;
    const int M = ROLE == WEIGHT ? channels : windows, N = ROLE == WEIGHT ? taps : channels;
    const int K = ROLE == WEIGHT ? windows : taps;
    const int blocks_n = ceil_div(N, BN);                                // neighbours share rows of A in the cache
    const int m0 = blockIdx.x / blocks_n * BM, n0 = blockIdx.x % blocks_n * BN;
    if (m0 >= M) return;                                                 // this phase has fewer results than the first
    const int k_begin = part * slabs * BK, k_end = min(K, k_begin + slabs * BK);

    auto window = [&](int b, int i, int j) -> Place {
        int y = rows.origin + rows.stride * i, x = columns.origin + columns.stride * j;
        return {y, x, ((b * H + y) * W + x) * C};
    };
    auto tap = [&](int u, int v, int c) -> Place {
        int y = rows.step * u, x = columns.step * v;
        return {y, x, (y * W + x) * C + c};
    };
    auto inside = [&](Place p, Place q) {                                // also: not negative
        return (unsigned)(p.y + q.y) < (unsigned)H && (unsigned)(p.x + q.x) < (unsigned)W;
    };

    // ---- copying: for each operand the Places that stay, and a Counter for k
    const Share<A_ALONG_K, BM, VEC_A> share_a;
    const Share<B_ALONG_K, BN, VEC_B> share_b;
    int k_a = k_begin + share_a.k(), k_b = k_begin + share_b.k();
#if ROLE == WEIGHT
    Counter count(k_b, rows.results, columns.results);                   // (b, i, j)
    Place stay[share_b.COUNT];
#pragma unroll
    for (int i = 0; i < share_b.COUNT; i++) {
        int n = n0 + share_b.row(i);
        stay[i] = n < N ? tap(n / C / columns.taps, n / C % columns.taps, n % C) : NOWHERE;
    }
#else
    Counter count(k_a, columns.taps, C);                                 // (u, v, channel)
    Place stay[share_a.COUNT];
#pragma unroll
    for (int i = 0; i < share_a.COUNT; i++) {
        int m = m0 + share_a.row(i), line = m / columns.results;
        stay[i] = m < M ? window(line / rows.results, line % rows.results, m % columns.results) : NOWHERE;
    }
#endif
#if ROLE == INPUT
    Counter count_b(k_b, columns.taps, C);
    const int first_u = first_tap(phase / SW, SH, PH), first_v = first_tap(phase % SW, SW, PW);
#endif

    auto copy = [&](int stage) {                                         // the next slab
        float* a = slab_a + stage * SLAB_A;
        float* b = slab_b + stage * SLAB_B;
#if ROLE == WEIGHT
        Place move = window(count.a, count.b, count.c);
#pragma unroll
        for (int i = 0; i < share_b.COUNT; i++) {
            bool valid = k_b < k_end && inside(stay[i], move);
            cp_async<4 * VEC_B>(share_b.at(b, i), valid ? image + stay[i].offset + move.offset : image, valid);
        }
#pragma unroll
        for (int i = 0; i < share_a.COUNT; i++) {
            int m = m0 + share_a.row(i);
            bool valid = k_a < k_end && m < M;
            cp_async<4 * VEC_A>(share_a.at(a, i), valid ? matrix + k_a * M + m : matrix, valid);
        }
#else
        Place move = tap(count.a, count.b, count.c);
#pragma unroll
        for (int i = 0; i < share_a.COUNT; i++) {
            bool valid = k_a < k_end && inside(stay[i], move);
            cp_async<4 * VEC_A>(share_a.at(a, i), valid ? image + stay[i].offset + move.offset : image, valid);
        }
#if ROLE == FORWARD
        const float* w = matrix + k_b;
        const int pitch = K;
#else
        const float* w = matrix + ((count_b.c * KH + first_u + SH * count_b.a) * KW + first_v + SW * count_b.b) * N;
        const int pitch = 1;
        count_b.next();
#endif
#pragma unroll
        for (int i = 0; i < share_b.COUNT; i++) {
            int n = n0 + share_b.row(i);
            bool valid = k_b < k_end && n < N;
            cp_async<4 * VEC_B>(share_b.at(b, i), valid ? w + n * pitch : matrix, valid);
        }
#endif
        count.next();
        k_a += BK, k_b += BK;
    };

    // ---- the pipeline: one commit in every turn, also of nothing, so that "all but the newest" always means one slab.
    // Where a copy does not wait to be waited for (before sm_80), the barrier alone makes it right, with two stages or
    // more: slab s + STAGES - 1 is written, after the barrier of turn s, where slab s - 1 was, which nobody reads after
    // that barrier; it is read in its own turn, which begins with a barrier later than the writing.
    Sums sums = {};
    const int turns = ceil_div(k_end - k_begin, BK);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < turns) copy(s);
        cp_commit();
    }
    for (int s = 0; s < turns; s++) {
        cp_wait<STAGES - 2>();                                           // this thread's copies of slab s are there;
        __syncthreads();                                                 // everybody's are, and slab s - 1 is used up
        if (s + STAGES - 1 < turns) copy((s + STAGES - 1) % STAGES);
        cp_commit();
        multiply_slab(sums, slab_a + s % STAGES * SLAB_A, slab_b + s % STAGES * SLAB_B);
    }

    // ---- the results of a thread: rows group and group + 8, columns 2t and 2t + 1 of each 16 x 8
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    out += part * ((long long)(ROLE == INPUT ? batch * RH * RW : M) * N);
#pragma unroll
    for (int i = 0; i < 2 * TILES_M; i++) {
        const int m = m0 + warp / WARPS_N * WM + lane / 4 + 8 * i;
        if (m >= M) continue;
        int row = m;
#if ROLE == INPUT
        const int line = m / columns.results;
        row = (line / rows.results * RH + phase / SW + SH * (line % rows.results)) * RW
            + phase % SW + SW * (m % columns.results);
#endif
#pragma unroll
        for (int j = 0; j < TILES_N; j++) {
            const int n = n0 + warp % WARPS_N * WN + 8 * j + lane % 4 * 2;
            float x = sums[i / 2][j][i % 2 * 2], y = sums[i / 2][j][i % 2 * 2 + 1];
            if (bias && n < N) x += bias[n];
            if (bias && n + 1 < N) y += bias[n + 1];
            if (slope != 1) x = leaky(x, slope), y = leaky(y, slope);    // without the "if" registers spill
            float* o = out + (long long)row * N + n;
            if (N % 2 == 0 && n < N) *(float2*)o = make_float2(x, y);
            else {
                if (n < N) o[0] = x;
                if (n + 1 < N) o[1] = y;
            }
        }
    }
}

// out = leaky of the sum of all parts, first to last, plus bias (repeated) where there is one.
extern "C" __global__ void add_parts(const float* __restrict__ parts, const float* __restrict__ bias,
                                     float* __restrict__ out, int count, int size, int channels, float slope) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        float sum = 0;
        for (int p = 0; p < count; p++) sum += parts[(long long)p * size + i];
        out[i] = leaky(bias ? sum + bias[i % channels] : sum, slope);
    }
}
