// Sums per channel and batch normalisation, over rows (M, C): M = N*H*W positions of channels-last memory.
//
// A block has blockDim.x lanes side by side, each with V channels of its own, times blockDim.y rows, a power of 2, so
// that neighbouring threads read neighbouring memory. blockIdx.y says which channels, blockIdx.x which *chunk* of the
// rows. There are no atomics: each chunk leaves its result in `part`, and a second kernel takes the chunks together in
// their order, so that equal inputs give equal bits. A grid of one chunk (few rows) needs no second kernel.
#include "pack.cuh"

constexpr int THREADS = 256;

// What a thread works on: channels c .. c+V-1, and every blockDim.y-th row of its chunk.
struct Work {
    int c, C;
    bool active;
    long long begin, end, count;

    __device__ Work(long long M, int C) : C(C) {
        c = (blockIdx.y * blockDim.x + threadIdx.x) * V;
        active = c < C;
        long long size = (M + gridDim.x - 1) / gridDim.x;
        begin = min(M, (long long)blockIdx.x * size);
        end = min(M, begin + size);
        count = end - begin;
        begin += threadIdx.y;
    }
    template <class Body> __device__ void rows(Body body) const {
        if (!active) return;
#pragma unroll 4  // several loads under way
        for (long long r = begin; r < end; r += blockDim.y) body(r * C + c);
    }
};

// The sum of v over those threads of the block that share channels; all of them get it.
__device__ inline Pack over_block(Pack v) {
    __shared__ Pack part[THREADS];
    int me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();  // the result of the last call has been read by all
    part[me] = v;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) FOR_V part[me].v[k] += part[me + half * blockDim.x].v[k];
    }
    __syncthreads();
    return part[threadIdx.x];
}

__device__ inline Pack load(const T* vector, int c, T otherwise) {  // (C,), aligned or not; null: a constant
    Pack p;
    FOR_V p.v[k] = vector ? vector[c + k] : otherwise;
    return p;
}

__device__ inline void store(T* vector, int c, Pack p) {
    FOR_V vector[c + k] = p.v[k];
}

__device__ inline bool one_of_column(const Work& w) { return w.active && threadIdx.y == 0; }

// ---------------------------------------------------------------------------------------------- forward

// y = (x - mean) * rstd * weight + bias. The mean goes first: folded into the bias, large means would drown y.
__device__ inline void normalise(const Work& w, const T* __restrict__ x, T* __restrict__ y, Pack mean, Pack var,
                                 const T* weight, const T* bias, T eps) {
    if (!w.active) return;
    Pack scale = load(weight, w.c, 1), shift = load(bias, w.c, 0);
    FOR_V scale.v[k] /= sqrt(var.v[k] + eps);
    w.rows([&](long long at) {
        Pack t = pack(x, at);
        FOR_V t.v[k] = (t.v[k] - mean.v[k]) * scale.v[k] + shift.v[k];
        pack(y, at) = t;
    });
}

// Mean and sum of squared distances from it, of each chunk: part[chunk][2][C]. The squares are taken in a second pass
// over the chunk, which then lies in the cache, because E[x^2] - mean^2 cancels in float32. Means are distances from
// the first row: numbers as small as the deviation, which keep their digits where x is far from 0.
// One chunk only: mean, variance and y at once.
extern "C" __global__ void batch_norm(const T* __restrict__ x, const T* weight, const T* bias, T* __restrict__ y,
                                      T* mean_out, T* var_out, T* part, long long M, int C, T eps) {
    Work w(M, C);
    Pack first = load(w.active ? x + w.c : nullptr, 0, 0), mean = {}, squares = {};
    w.rows([&](long long at) {
        Pack t = pack(x, at);
        FOR_V mean.v[k] += t.v[k] - first.v[k];
    });
    mean = over_block(mean);
    FOR_V mean.v[k] /= max(w.count, 1LL);
    w.rows([&](long long at) {
        Pack t = pack(x, at);
        FOR_V {
            T d = t.v[k] - first.v[k] - mean.v[k];
            squares.v[k] += d * d;
        }
    });
    squares = over_block(squares);
    if (gridDim.x == 1) {
        FOR_V mean.v[k] += first.v[k], squares.v[k] /= M;
        if (one_of_column(w)) store(mean_out, w.c, mean), store(var_out, w.c, squares);
        normalise(w, x, y, mean, squares, weight, bias, eps);
    } else if (one_of_column(w)) {
        T* mine = part + blockIdx.x * 2LL * C;
        store(mine, w.c, mean), store(mine + C, w.c, squares);
    }
}

// The chunks of `batch_norm` taken together: mean = sum n_i m_i / M, and each chunk's squares move to the common mean,
// s_i + n_i (m_i - mean)^2 (Chan, Golub and LeVeque 1979). One lane a channel; -DWIDTH=1.
extern "C" __global__ void merge_moments(const T* __restrict__ x, const T* part, T* mean_out, T* var_out, int chunks,
                                         long long M, int C) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    long long size = (M + chunks - 1) / chunks;
    auto over_chunks = [&](auto term) {
        Pack sum = {};
        if (c < C)
            for (int i = threadIdx.y; i < chunks; i += blockDim.y)
                sum.v[0] += term(part + i * 2LL * C + c, T(max(0LL, min(size, M - i * size))));
        return over_block(sum).v[0];
    };
    T mean = over_chunks([&](const T* p, T n) { return n * p[0]; }) / M;
    T squares = over_chunks([&](const T* p, T n) { return p[C] + n * (p[0] - mean) * (p[0] - mean); });
    if (c < C && threadIdx.y == 0) mean_out[c] = x[c] + mean, var_out[c] = squares / M;
}

extern "C" __global__ void apply_batch_norm(const T* __restrict__ x, const T* weight, const T* bias, T* __restrict__ y,
                                            const T* mean, const T* var, long long M, int C, T eps) {
    Work w(M, C);
    if (w.active) normalise(w, x, y, load(mean, w.c, 0), load(var, w.c, 1), weight, bias, eps);
}

// ---------------------------------------------------------------------------------------------- backward

// dx = weight * rstd * (g - mean(g) - xhat * mean(g * xhat));  sums: of g and of g * xhat over all rows.
__device__ inline void pull(const Work& w, const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ dx,
                            Pack mean, Pack rstd, Pack sum_g, Pack sum_gx, const T* weight, long long M) {
    if (!w.active) return;
    Pack scale = load(weight, w.c, 1);
    FOR_V scale.v[k] *= rstd.v[k], sum_g.v[k] /= M, sum_gx.v[k] /= M;
    w.rows([&](long long at) {
        Pack t = pack(x, at), d = pack(g, at);
        FOR_V {
            T xhat = (t.v[k] - mean.v[k]) * rstd.v[k];
            t.v[k] = scale.v[k] * (d.v[k] - sum_g.v[k] - xhat * sum_gx.v[k]);
        }
        pack(dx, at) = t;
    });
}

__device__ inline Pack rstd_of(const Work& w, const T* var, T eps) {
    Pack p = load(w.active ? var + w.c : nullptr, 0, 1);
    FOR_V p.v[k] = 1 / sqrt(p.v[k] + eps);
    return p;
}

// Sums of g and of g * xhat over each chunk: part[chunk][2][C]. One chunk only: dx at once, part[0] being the sums.
extern "C" __global__ void batch_norm_grad(const T* __restrict__ g, const T* __restrict__ x, const T* weight,
                                           const T* mean_of, const T* var_of, T* __restrict__ dx, T* part, long long M,
                                           int C, T eps) {
    Work w(M, C);
    Pack mean = load(w.active ? mean_of + w.c : nullptr, 0, 0), rstd = rstd_of(w, var_of, eps);
    Pack sum_g = {}, sum_gx = {};
    w.rows([&](long long at) {
        Pack t = pack(x, at), d = pack(g, at);
        FOR_V {
            sum_g.v[k] += d.v[k];
            sum_gx.v[k] += d.v[k] * (t.v[k] - mean.v[k]) * rstd.v[k];
        }
    });
    sum_g = over_block(sum_g), sum_gx = over_block(sum_gx);
    T* mine = part + blockIdx.x * 2LL * C;
    if (one_of_column(w)) store(mine, w.c, sum_g), store(mine + C, w.c, sum_gx);
    if (gridDim.x == 1) pull(w, g, x, dx, mean, rstd, sum_g, sum_gx, weight, M);
}

extern "C" __global__ void apply_batch_norm_grad(const T* __restrict__ g, const T* __restrict__ x, const T* weight,
                                                 const T* mean, const T* var, const T* sums, T* __restrict__ dx,
                                                 long long M, int C, T eps) {
    Work w(M, C);
    if (!w.active) return;
    pull(w, g, x, dx, load(mean, w.c, 0), rstd_of(w, var, eps), load(sums, w.c, 0), load(sums + C, w.c, 0), weight, M);
}

// ---------------------------------------------------------------------------------------------- sums

extern "C" __global__ void channel_sum(const T* __restrict__ x, T* part, long long M, int C) {  // part[chunk][C]
    Work w(M, C);
    Pack sum = {};
    w.rows([&](long long at) {
        Pack t = pack(x, at);
        FOR_V sum.v[k] += t.v[k];
    });
    sum = over_block(sum);
    if (one_of_column(w)) store(part + blockIdx.x * (long long)C, w.c, sum);
}

// out[i] = sum of part[chunk][i] over the chunks. One lane a number; -DWIDTH=1.
extern "C" __global__ void add_chunks(const T* part, T* out, int chunks, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    Pack sum = {};
    if (i < n)
        for (long long chunk = threadIdx.y; chunk < chunks; chunk += blockDim.y) sum.v[0] += part[chunk * n + i];
    sum = over_block(sum);
    if (i < n && threadIdx.y == 0) out[i] = sum.v[0];
}
