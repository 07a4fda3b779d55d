// Sums per channel and batch normalisation, over rows (M, C): M = N*H*W positions of channels-last memory.
//
// A block has blockDim.x lanes side by side, each with V channels of its own, times blockDim.y rows, a power of 2, so
// that neighbouring threads read neighbouring memory. blockIdx.y says which channels, blockIdx.x which *chunk* of the
// rows. There are no atomics: each chunk leaves its result in `part`, and a second kernel takes the chunks together in
// their order, so that equal inputs give equal bits. A grid of one chunk (few rows) needs no second kernel.
#include "leaky.cuh"
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

// This thread's channels of a vector (C,), aligned or not; null, or a thread that has none: a constant.
__device__ inline Pack load(const Work& w, const T* vector, T otherwise) {
    Pack p;
    FOR_V p.v[k] = w.active && vector ? vector[w.c + k] : otherwise;
    return p;
}

__device__ inline void store(T* vector, int c, Pack p) {
    FOR_V vector[c + k] = p.v[k];
}

__device__ inline bool one_of_column(const Work& w) { return w.active && threadIdx.y == 0; }

// ---------------------------------------------------------------------------------------------- forward

// z = (x - mean) * scale + shift, with scale = weight * rstd. The mean goes first: folded into the shift, large means
// would drown z. Forward and backward must agree on the sign of z to the last bit, and so the one operation that a
// compiler may fuse here and not there is written out.
struct Norm {
    Pack mean, rstd, scale, shift;

    __device__ Norm(const Work& w, Pack mean, Pack var, const T* weight, const T* bias, T eps) : mean(mean) {
        scale = load(w, weight, 1), shift = load(w, bias, 0);
        FOR_V rstd.v[k] = 1 / sqrt(var.v[k] + eps), scale.v[k] *= rstd.v[k];
    }
    __device__ T z(T x, int k) const { return fma(x - mean.v[k], scale.v[k], shift.v[k]); }
};

// y = leaky(z)
__device__ inline void normalise(const Work& w, const Norm& norm, const T* __restrict__ x, T* __restrict__ y, T slope) {
    w.rows([&](long long at) {
        Pack t = pack(x, at);
        FOR_V t.v[k] = leaky(norm.z(t.v[k], k), slope);
        pack(y, at) = t;
    });
}

// What is kept of channel c: its moments, and their running averages with the unbiased variance (null: none), which
// move by `momentum` times their distance. count: of all batches so far.
struct Statistics {
    T *mean, *var, *running_mean, *running_var;
    long long* count;
    T momentum;

    __device__ void set(int c, T new_mean, T new_var, long long M) const {
        mean[c] = new_mean, var[c] = new_var;
        if (!running_mean) return;
        running_mean[c] += momentum * (new_mean - running_mean[c]);
        running_var[c] += momentum * (new_var * (T(M) / T(M - 1)) - running_var[c]);
        if (c == 0 && count) ++*count;
    }
};

// Mean and sum of squared distances from it, of each chunk: part[chunk][2][C]. The squares are taken in a second pass
// over the chunk, which then lies in the cache, because E[x^2] - mean^2 cancels in float32. Means are distances from
// the first row: numbers as small as the deviation, which keep their digits where x is far from 0.
// One chunk only: statistics and y at once.
extern "C" __global__ void batch_norm(const T* __restrict__ x, const T* weight, const T* bias, T* __restrict__ y,
                                      T* part, T* mean_out, T* var_out, T* running_mean, T* running_var,
                                      long long* count, T momentum, long long M, int C, T eps, T slope) {
    Work w(M, C);
    Pack first = load(w, x, 0), mean = {}, squares = {};
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
        Statistics kept = {mean_out, var_out, running_mean, running_var, count, momentum};
        if (one_of_column(w)) FOR_V kept.set(w.c + k, mean.v[k], squares.v[k], M);
        normalise(w, Norm(w, mean, squares, weight, bias, eps), x, y, slope);
    } else if (one_of_column(w)) {
        T* mine = part + blockIdx.x * 2LL * C;
        store(mine, w.c, mean), store(mine + C, w.c, squares);
    }
}

// The chunks of `batch_norm` taken together: mean = sum n_i m_i / M, and each chunk's squares move to the common mean,
// s_i + n_i (m_i - mean)^2 (Chan, Golub and LeVeque 1979). One lane a channel; -DWIDTH=1.
extern "C" __global__ void merge_moments(const T* __restrict__ x, const T* part, T* mean_out, T* var_out,
                                         T* running_mean, T* running_var, long long* count, T momentum, int chunks,
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
    Statistics kept = {mean_out, var_out, running_mean, running_var, count, momentum};
    if (c < C && threadIdx.y == 0) kept.set(c, x[c] + mean, squares / M, M);
}

extern "C" __global__ void apply_batch_norm(const T* __restrict__ x, const T* weight, const T* bias, T* __restrict__ y,
                                            const T* mean, const T* var, long long M, int C, T eps, T slope) {
    Work w(M, C);
    normalise(w, Norm(w, load(w, mean, 0), load(w, var, 1), weight, bias, eps), x, y, slope);
}

// ---------------------------------------------------------------------------------------------- backward

// The cotangent g of y, and x, as those of z and as xhat: what both passes over them need.
struct Pulled {
    Pack g, xhat;
    __device__ Pulled(const Norm& norm, Pack g_of_y, Pack x, T slope) {
        FOR_V {
            g.v[k] = leaky_pulled(g_of_y.v[k], norm.z(x.v[k], k), slope);
            xhat.v[k] = (x.v[k] - norm.mean.v[k]) * norm.rstd.v[k];
        }
    }
};

// dx = weight * rstd * (g - mean(g) - xhat * mean(g * xhat)), g being that of z; sums: of g and g * xhat over all rows.
__device__ inline void pull(const Work& w, const Norm& norm, const T* __restrict__ g, const T* __restrict__ x,
                            T* __restrict__ dx, Pack sum_g, Pack sum_gx, long long M, T slope) {
    FOR_V sum_g.v[k] /= M, sum_gx.v[k] /= M;
    w.rows([&](long long at) {
        Pulled p(norm, pack(g, at), pack(x, at), slope);
        FOR_V p.g.v[k] = norm.scale.v[k] * (p.g.v[k] - sum_g.v[k] - p.xhat.v[k] * sum_gx.v[k]);
        pack(dx, at) = p.g;
    });
}

// Sums of g and of g * xhat over each chunk: part[chunk][2][C]. One chunk only: dx at once, part[0] being the sums.
extern "C" __global__ void batch_norm_grad(const T* __restrict__ g, const T* __restrict__ x, const T* weight,
                                           const T* bias, const T* mean, const T* var, T* __restrict__ dx, T* part,
                                           long long M, int C, T eps, T slope) {
    Work w(M, C);
    Norm norm(w, load(w, mean, 0), load(w, var, 1), weight, bias, eps);
    Pack sum_g = {}, sum_gx = {};
    w.rows([&](long long at) {
        Pulled p(norm, pack(g, at), pack(x, at), slope);
        FOR_V sum_g.v[k] += p.g.v[k], sum_gx.v[k] += p.g.v[k] * p.xhat.v[k];
    });
    sum_g = over_block(sum_g), sum_gx = over_block(sum_gx);
    T* mine = part + blockIdx.x * 2LL * C;
    if (one_of_column(w)) store(mine, w.c, sum_g), store(mine + C, w.c, sum_gx);
    if (gridDim.x == 1) pull(w, norm, g, x, dx, sum_g, sum_gx, M, slope);
}

extern "C" __global__ void apply_batch_norm_grad(const T* __restrict__ g, const T* __restrict__ x, const T* weight,
                                                 const T* bias, const T* mean, const T* var, const T* sums,
                                                 T* __restrict__ dx, long long M, int C, T eps, T slope) {
    Work w(M, C);
    Norm norm(w, load(w, mean, 0), load(w, var, 1), weight, bias, eps);
    pull(w, norm, g, x, dx, load(w, sums, 0), load(w, sums + C, 0), M, slope);
}

// ---------------------------------------------------------------------------------------------- sums

// part[chunk][C] = the sums over each chunk of what `numbers(at)` gives of each row.
template <class Numbers> __device__ inline void sum_rows(T* part, long long M, int C, Numbers numbers) {
    Work w(M, C);
    Pack sum = {};
    w.rows([&](long long at) {
        Pack t = numbers(at);
        FOR_V sum.v[k] += t.v[k];
    });
    sum = over_block(sum);
    if (one_of_column(w)) store(part + blockIdx.x * (long long)C, w.c, sum);
}

extern "C" __global__ void channel_sum(const T* __restrict__ x, T* part, long long M, int C) {
    sum_rows(part, M, C, [&](long long at) { return pack(x, at); });
}

// dz = g where the result of leaky ReLU is positive, slope * g elsewhere; and its sums.
extern "C" __global__ void leaky_relu_bias_grad(const T* __restrict__ g, const T* __restrict__ out, T* __restrict__ dz,
                                                T* part, long long M, int C, T slope) {
    sum_rows(part, M, C, [&](long long at) {
        Pack t = pack(g, at), o = pack(out, at);
        FOR_V t.v[k] = leaky_pulled(t.v[k], o.v[k], slope);
        return pack(dz, at) = t;
    });
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
