// Leaky ReLU on the way through another kernel: slope 0 is ReLU, slope 1 changes nothing.
// Where the slope is 0, the negative side is not 0 * x, which would be NaN at infinity; what is NaN stays so.
template <class Real> __device__ inline Real leaky(Real z, Real slope) {
    return z > 0 ? z : slope == 0 && z <= 0 ? Real(0) : slope * z;
}

// The cotangent of z from that of leaky(z); z or leaky(z): they have the same sign.
template <class Real> __device__ inline Real leaky_pulled(Real g, Real z, Real slope) { return z > 0 ? g : slope * g; }
