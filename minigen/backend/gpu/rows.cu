// Sums, softmax, its logarithm, normalisation and adjoints, over each row of contiguous (R, n): one block a row.
//
// A row is walked through several times; after the first it lies in the cache. The block's threads, a power of 2, add
// in a fixed order, so that equal inputs give equal bits.
#include "pack.cuh"

struct Row {
    long long begin;
    int n;

    __device__ Row(int n) : begin(blockIdx.x * (long long)n), n(n) {}

    template <class Body> __device__ void each(Body body) const {
#pragma unroll 4  // several loads under way
        for (int i = threadIdx.x * V; i < n; i += blockDim.x * V) body(begin + i);
    }
};

struct Add { __device__ T operator()(T a, T b) const { return a + b; } };
struct Max { __device__ T operator()(T a, T b) const { return max(a, b); } };

// What all threads' v come to under `combine`; all of them get it.
template <class Combine> __device__ T over_block(T v, Combine combine) {
    __shared__ T part[1024];
    __syncthreads();  // the result of the last call has been read by all
    part[threadIdx.x] = v;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] = combine(part[threadIdx.x], part[threadIdx.x + half]);
    }
    __syncthreads();
    return part[0];
}

// The sum of term(i) over the places i of the row, each that of a Pack.
template <class Term> __device__ inline T sum(const Row& row, Term term) {
    T total = 0;
    row.each([&](long long i) { total += term(i); });
    return over_block(total, Add());
}

// y[r] = factor * (sum of row r) of `size` numbers, of which the last row may have fewer than n.
extern "C" __global__ void row_sum(const T* __restrict__ x, T* y, int n, long long size, T factor) {
    Row row(n);
    row.n = min((long long)n, size - row.begin);
    T total = sum(row, [&](long long i) { Pack t = pack(x, i); T s = 0; FOR_V s += t.v[k]; return s; });
    if (threadIdx.x == 0) y[blockIdx.x] = total * factor;
}

// ---------------------------------------------------------------------------------------------- softmax

__device__ inline void softmax_of(const T* __restrict__ x, T* __restrict__ y, int n, bool logarithm) {
    Row row(n);
    T top = x[row.begin];
    row.each([&](long long i) { Pack t = pack(x, i); FOR_V top = max(top, t.v[k]); });
    top = over_block(top, Max());
    T total = sum(row, [&](long long i) { Pack t = pack(x, i); T s = 0; FOR_V s += exp(t.v[k] - top); return s; });
    T rest = logarithm ? log(total) : 1 / total;
    row.each([&](long long i) {
        Pack t = pack(x, i);
        FOR_V t.v[k] = logarithm ? t.v[k] - top - rest : exp(t.v[k] - top) * rest;
        pack(y, i) = t;
    });
}

extern "C" __global__ void softmax(const T* x, T* y, int n) { softmax_of(x, y, n, false); }
extern "C" __global__ void log_softmax(const T* x, T* y, int n) { softmax_of(x, y, n, true); }

extern "C" __global__ void softmax_grad(const T* __restrict__ g, const T* __restrict__ out, T* __restrict__ dx, int n) {
    Row row(n);
    T dot = sum(row, [&](long long i) {
        Pack d = pack(g, i), p = pack(out, i);
        T s = 0;
        FOR_V s += d.v[k] * p.v[k];
        return s;
    });
    row.each([&](long long i) {
        Pack d = pack(g, i), p = pack(out, i);
        FOR_V d.v[k] = p.v[k] * (d.v[k] - dot);
        pack(dx, i) = d;
    });
}

extern "C" __global__ void log_softmax_grad(const T* __restrict__ g, const T* __restrict__ out, T* __restrict__ dx,
                                            int n) {
    Row row(n);
    T total = sum(row, [&](long long i) { Pack d = pack(g, i); T s = 0; FOR_V s += d.v[k]; return s; });
    row.each([&](long long i) {
        Pack d = pack(g, i), l = pack(out, i);
        FOR_V d.v[k] -= exp(l.v[k]) * total;
        pack(dx, i) = d;
    });
}

// ---------------------------------------------------------------------------------------------- normalisation

// Mean and 1/sqrt(variance + eps) of the row. The mean is a distance from the first number, so that it keeps its
// digits where x is far from 0; the variance is taken from centred values: E[x^2] - mean^2 cancels in float32.
struct Moments {
    T first, mean, rstd;

    __device__ Moments(const Row& row, const T* __restrict__ x, T eps) : first(x[row.begin]), mean(0) {
        T off = sum(row, [&](long long i) { Pack t = pack(x, i); T s = 0; FOR_V s += t.v[k] - first; return s; });
        mean = off / row.n;
        T squares = sum(row, [&](long long i) {
            Pack t = pack(x, i);
            T s = 0;
            FOR_V s += centred(t.v[k]) * centred(t.v[k]);
            return s;
        });
        rstd = 1 / sqrt(squares / row.n + eps);
    }
    __device__ T centred(T x) const { return x - first - mean; }
};

extern "C" __global__ void normalize(const T* __restrict__ x, T* __restrict__ y, int n, T eps) {
    Row row(n);
    Moments m(row, x, eps);
    row.each([&](long long i) {
        Pack t = pack(x, i);
        FOR_V t.v[k] = m.centred(t.v[k]) * m.rstd;
        pack(y, i) = t;
    });
}

// dx = (g - mean(g) - xhat * mean(g * xhat)) * rstd; xhat is made again from x.
extern "C" __global__ void normalize_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ dx, int n,
                                          T eps) {
    Row row(n);
    Moments m(row, x, eps);
    T mean_g = sum(row, [&](long long i) { Pack d = pack(g, i); T s = 0; FOR_V s += d.v[k]; return s; }) / n;
    T mean_gx = sum(row, [&](long long i) {
        Pack d = pack(g, i), t = pack(x, i);
        T s = 0;
        FOR_V s += d.v[k] * m.centred(t.v[k]) * m.rstd;
        return s;
    }) / n;
    row.each([&](long long i) {
        Pack d = pack(g, i), t = pack(x, i);
        FOR_V d.v[k] = (d.v[k] - mean_g - m.centred(t.v[k]) * m.rstd * mean_gx) * m.rstd;
        pack(dx, i) = d;
    });
}
