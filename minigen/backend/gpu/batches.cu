// A batch out of a data set of bytes: images chosen, brought into the range of the model and written in one pass.
// The formulas: backend/batches.py.

// The same bits as on the CPU: intrinsics that round are never contracted into an fma, as v * scale + low would be.
__device__ inline float in_range(unsigned char v, float scale, float low) {
    return __fadd_rn(__fmul_rn((float)v, scale), low);
}

// blockIdx.x: the image within the batch.  order: null for 0, 1, 2, ...  size: bytes of an image.  wide: whether size
// and addresses allow 4 bytes, 4 floats at once.
extern "C" __global__ void deal_images(float* out, const unsigned char* pixels, const long long* order, long long first,
                                       int size, float scale, float low, int wide) {
    long long from = first + blockIdx.x;
    const unsigned char* image = pixels + (order ? order[from] : from) * size;
    out += (long long)blockIdx.x * size;
    int start = blockIdx.y * blockDim.x + threadIdx.x, step = gridDim.y * blockDim.x;
    if (wide) {
        for (int i = start; i < size / 4; i += step) {
            uchar4 v = ((const uchar4*)image)[i];
            ((float4*)out)[i] = make_float4(in_range(v.x, scale, low), in_range(v.y, scale, low),
                                            in_range(v.z, scale, low), in_range(v.w, scale, low));
        }
    } else {
        for (int i = start; i < size; i += step) out[i] = in_range(image[i], scale, low);
    }
}

extern "C" __global__ void deal_labels(long long* out, const long long* labels, const long long* order, long long first,
                                       int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = labels[order[first + i]];
}
