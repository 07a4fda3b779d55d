// Numbers loaded and stored several at a time.
// -DREAL: float or double.  -DWIDTH: how many, those in 16 bytes where the memory allows it, else 1.
#define T REAL
constexpr int V = WIDTH;
#define FOR_V for (int k = 0; k < V; ++k)

struct alignas(sizeof(T) * V) Pack { T v[V]; };

__device__ inline const Pack& pack(const T* x, long long at) { return *(const Pack*)(x + at); }
__device__ inline Pack& pack(T* x, long long at) { return *(Pack*)(x + at); }
