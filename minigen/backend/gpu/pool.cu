// Pooling over channels-last memory: a thread for each number of the result, which *gathers* what it is made of, also
// in the adjoints: adding from many threads into one place needs atomics, which wait for each other where they meet and
// add in another order each time. `scatter` is the exception, for places that lie in no known windows.
//
// -DREAL: float or double.  Images are (H, W), windows stand at (OH, OW) places. KH KW: size, SH SW: stride, PH PW:
// padding, DH DW: dilation. An index into a plane is h * W + w.
#define T REAL
#define INF __int_as_float(0x7f800000)  // the run-time compiler has no math.h
#define GEOMETRY int C, int H, int W, int OH, int OW, int KH, int KW, int SH, int SW, int PH, int PW, int DH, int DW

// The n-th image, row, column and channel of this thread, in an array (N, rows, columns, C).
struct Place {
    long long i;
    int n, h, w, c;

    __device__ Place(int rows, int columns, int C) : i(blockIdx.x * (long long)blockDim.x + threadIdx.x) {
        c = i % C;
        w = i / C % columns;
        h = i / C / columns % rows;
        n = i / C / columns / rows;
    }
    __device__ long long in(int rows, int columns, int C, int h, int w) const {  // same image and channel, elsewhere
        return ((n * (long long)rows + h) * columns + w) * C + c;
    }
};

// body(h, w) for the pixels of the window (p.h, p.w) that lie in the image, in reading order.
template <class Body> __device__ inline void pixels(const Place& p, GEOMETRY, Body body) {
    for (int a = 0, h = p.h * SH - PH; a < KH; a++, h += DH)
        for (int b = 0, w = p.w * SW - PW; b < KW; b++, w += DW)
            if (0 <= h && h < H && 0 <= w && w < W) body(h, w);
}

// body(oh, ow) for the windows in which the pixel (p.h, p.w) stands.
template <class Body> __device__ inline void windows(const Place& p, GEOMETRY, Body body) {
    for (int a = 0, h = p.h + PH; a < KH && h >= 0; a++, h -= DH)
        for (int b = 0, w = p.w + PW; b < KW && w >= 0; b++, w -= DW)
            if (h % SH == 0 && w % SW == 0 && h / SH < OH && w / SW < OW) body(h / SH, w / SW);
}

#define SHAPES C, H, W, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW

// The largest of each window and its index; of equal ones the first, and NaN before all.
extern "C" __global__ void max_pool2d(const T* x, T* y, long long* indices, long long size, GEOMETRY) {
    Place p(OH, OW, C);
    if (p.i >= size) return;
    T best = 0;
    long long index = -1;
    pixels(p, SHAPES, [&](int h, int w) {
        T v = x[p.in(H, W, C, h, w)];
        if (index < 0 || v > best || (v != v && best == best)) best = v, index = h * (long long)W + w;
    });
    y[p.i] = index < 0 ? T(-INF) : best;
    indices[p.i] = index;
}

// The adjoint: each pixel adds the g of those windows of which it was the largest.
extern "C" __global__ void unpool(const T* g, const long long* indices, T* x, long long size, GEOMETRY) {
    Place p(H, W, C);
    if (p.i >= size) return;
    T sum = 0;
    windows(p, SHAPES, [&](int oh, int ow) {
        long long at = p.in(OH, OW, C, oh, ow);
        if (indices[at] == p.h * (long long)W + p.w) sum += g[at];
    });
    x[p.i] = sum;
}

extern "C" __global__ void sum_pool2d(const T* x, T* y, long long size, GEOMETRY) {
    Place p(OH, OW, C);
    if (p.i >= size) return;
    T sum = 0;
    pixels(p, SHAPES, [&](int h, int w) { sum += x[p.in(H, W, C, h, w)]; });
    y[p.i] = sum;
}

extern "C" __global__ void sum_pool2d_x(const T* g, T* x, long long size, GEOMETRY) {
    Place p(H, W, C);
    if (p.i >= size) return;
    T sum = 0;
    windows(p, SHAPES, [&](int oh, int ow) { sum += g[p.in(OH, OW, C, oh, ow)]; });
    x[p.i] = sum;
}

// x (N, H, W, C) at the indices (N, OH, OW, C); NaN where one points outside.
extern "C" __global__ void gather_plane(const T* x, const long long* indices, T* y, long long size, int C, int H, int W,
                                        int OH, int OW) {
    Place p(OH, OW, C);
    if (p.i >= size) return;
    long long index = indices[p.i];
    y[p.i] = 0 <= index && index < H * (long long)W ? x[p.in(H, W, C, 0, 0) + index * C] : T(INF - INF);
}

// Its adjoint: x (N, OH, OW, C) added to zeros (N, H, W, C) at the indices. Where three or more meet, the order in
// which they are added, and with it the last bit, may differ from run to run.
extern "C" __global__ void scatter(const T* x, const long long* indices, T* out, long long size, int C, int H, int W,
                                   int OH, int OW) {
    Place p(OH, OW, C);
    if (p.i >= size) return;
    long long index = indices[p.i];
    if (0 <= index && index < H * (long long)W) atomicAdd(&out[p.in(H, W, C, 0, 0) + index * C], x[p.i]);
}
