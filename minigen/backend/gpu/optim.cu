// Updates of the optimisers over flat vectors: each number is read and written once, where a chain of elementwise
// kernels would go over the memory ten times. Formulas: backend/optim_kernels.py.
//
// numbers: what changes from step to step, in memory, so that a captured launch can be repeated.
#define EACH(i, n) \
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; \
    if (i >= n) return;

#define ALL(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)

// Numbers of the host into a small array: arguments of a launch, where a copy would wait.
#define NUMBER(k) , float x##k
#define PUT(k) \
    if (k < count) out[k] = x##k;

extern "C" __global__ void store(float* out, int count ALL(NUMBER)) { ALL(PUT) }

// rate, small = eps/r, shrink = 1 - lr * weight_decay: see `adam_numbers`.
extern "C" __global__ void adam(float* p, const float* g, float* m, float* v, const float* numbers, float beta1,
                                float beta2, float weight_decay, int decoupled, long long n) {
    EACH(i, n)
    float weight = p[i], gradient = g[i];
    if (decoupled) weight *= numbers[2];
    else gradient += weight_decay * weight;
    float mean = m[i] = beta1 * m[i] + gradient;
    float square = v[i] = beta2 * v[i] + gradient * gradient;
    p[i] = weight - numbers[0] * mean / (sqrtf(square) + numbers[1]);
}

// lr, keep, take: see `sgd_numbers`.  velocity: null without momentum.
extern "C" __global__ void sgd(float* p, const float* g, float* velocity, const float* numbers, float momentum,
                               int nesterov, float weight_decay, long long n) {
    EACH(i, n)
    float gradient = g[i] + weight_decay * p[i];
    if (velocity) {
        float b = velocity[i] = numbers[1] * velocity[i] + numbers[2] * gradient;
        gradient = nesterov ? gradient + momentum * b : b;
    }
    p[i] -= numbers[0] * gradient;
}

// numbers: lr.  velocity: null without momentum.
extern "C" __global__ void rmsprop(float* p, const float* g, float* squares, float* velocity, const float* numbers,
                                   float alpha, float eps, float momentum, float weight_decay, long long n) {
    EACH(i, n)
    float gradient = g[i] + weight_decay * p[i];
    float square = squares[i] = alpha * squares[i] + (1 - alpha) * gradient * gradient;
    float step = gradient / (sqrtf(square) + eps);
    if (velocity) step = velocity[i] = momentum * velocity[i] + step;
    p[i] -= numbers[0] * step;
}

// numbers: 1 - decay.
extern "C" __global__ void ema(float* average, const float* p, const float* numbers, long long n) {
    EACH(i, n)
    average[i] += numbers[0] * (p[i] - average[i]);
}

// Up to 16 vectors end to end in `out`; blockIdx.y says which of them. Their addresses are arguments: no table has to
// be copied to the GPU.
#define PARAMETERS(k) , const float* x##k, int n##k
#define CHOOSE(k) \
    if (blockIdx.y == k) x = x##k, n = n##k; \
    if (blockIdx.y > k) out += n##k;

extern "C" __global__ void gather(float* out ALL(PARAMETERS)) {
    const float* x = 0;
    int n = 0;
    ALL(CHOOSE)
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) out[i] = x[i];
}
