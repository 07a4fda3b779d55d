// Philox4x32-10: four random words from a counter and a key, with no state between calls.
// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
struct Words { unsigned int v[4]; };

__device__ inline Words philox(unsigned long long counter, unsigned long long key) {
    unsigned int c0 = (unsigned int)counter, c1 = (unsigned int)(counter >> 32), c2 = 0, c3 = 0;
    unsigned int k0 = (unsigned int)key, k1 = (unsigned int)(key >> 32);
    for (int round = 0; round < 10; ++round) {
        unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        unsigned int n0 = (unsigned int)(p1 >> 32) ^ c1 ^ k0, n2 = (unsigned int)(p0 >> 32) ^ c3 ^ k1;
        c1 = (unsigned int)p1; c3 = (unsigned int)p0; c0 = n0; c2 = n2;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;      // the golden ratio and sqrt(3) - 1, as 32-bit fractions
    }
    return Words{{c0, c1, c2, c3}};
}

// Element i takes word i % 4 of counter first + i / 4: each thread recomputes its block, none waits for another.
__device__ inline unsigned int word(unsigned long long first, unsigned long long key, unsigned long long i) {
    return philox(first + i / 4, key).v[i % 4];
}

__device__ inline float uniform(unsigned int w) { return (w >> 8) * 5.9604644775390625e-8f; }   // [0, 1): 24 bits

// Box and Muller 1958: an even and an odd neighbour share one radius and one angle.
__device__ inline float normal(unsigned long long first, unsigned long long key, unsigned long long i) {
    Words w = philox(first + i / 4, key);
    int pair = (i % 4) / 2 * 2;
    float radius = sqrtf(-2.0f * logf(((w.v[pair] >> 8) + 1) * 5.9604644775390625e-8f));        // (0, 1]: no log 0
    float angle = 6.283185307179586f * uniform(w.v[pair + 1]);
    return i % 2 ? radius * sinf(angle) : radius * cosf(angle);
}
