// The mathematics of CUDA C++, on floats and on bits. What the C library has is declared here: its headers are long.
#pragma once

#define EMU_MATH(name)                                                                                                \
    extern "C" double name(double) noexcept;                                                                          \
    extern "C" float name##f(float) noexcept;                                                                         \
    inline float name(float x) { return name##f(x); }
#define EMU_MATH2(name)                                                                                               \
    extern "C" double name(double, double) noexcept;                                                                  \
    extern "C" float name##f(float, float) noexcept;                                                                  \
    inline float name(float x, float y) { return name##f(x, y); }
EMU_MATH(sqrt) EMU_MATH(exp) EMU_MATH(exp2) EMU_MATH(expm1) EMU_MATH(log) EMU_MATH(log2) EMU_MATH(log10) EMU_MATH(log1p)
EMU_MATH(sin) EMU_MATH(cos) EMU_MATH(tan) EMU_MATH(asin) EMU_MATH(acos) EMU_MATH(atan) EMU_MATH(tanh) EMU_MATH(sinh)
EMU_MATH(cosh) EMU_MATH(erf) EMU_MATH(erfc) EMU_MATH(lgamma) EMU_MATH(fabs) EMU_MATH(floor) EMU_MATH(ceil)
EMU_MATH(trunc) EMU_MATH(round) EMU_MATH(rint) EMU_MATH(nearbyint) EMU_MATH(cbrt)
EMU_MATH2(pow) EMU_MATH2(fmin) EMU_MATH2(fmax) EMU_MATH2(fmod) EMU_MATH2(atan2) EMU_MATH2(copysign) EMU_MATH2(hypot)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
extern "C" float ldexpf(float, int) noexcept;
extern "C" int ilogbf(float) noexcept;
extern "C" int abs(int) noexcept;
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
#define EMU_MINMAX(T) inline T min(T a, T b) { return b < a ? b : a; } inline T max(T a, T b) { return a < b ? b : a; }
EMU_MINMAX(int) EMU_MINMAX(unsigned) EMU_MINMAX(long) EMU_MINMAX(unsigned long) EMU_MINMAX(long long)
EMU_MINMAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
inline double min(float a, double b) { return min((double)a, b); }
inline double min(double a, float b) { return min(a, (double)b); }
inline double max(float a, double b) { return max((double)a, b); }
inline double max(double a, float b) { return max(a, (double)b); }
template <class To, class From> To emu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    __builtin_memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __uint2float_rn(unsigned x) { return x; }
inline float __int2float_rn(int x) { return x; }
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }                  // never fused with another operation
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __frsqrt_rn(float x) { return 1 / sqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
inline float __expf(float x) { return expf(x); }                            // a few last places off on a GPU
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __tanf(float x) { return tanf(x); }
inline float exp10f(float x) { return powf(10, x); }
inline void sincospif(float x, float* s, float* c) {
    *s = sin(x * 3.14159265358979323846);
    *c = cos(x * 3.14159265358979323846);
}
inline float sinpif(float x) { return sin(x * 3.14159265358979323846); }
inline float cospif(float x) { return cos(x * 3.14159265358979323846); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x); *c = cosf(x); }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline void __trap() { emu::fail("__trap"); }
