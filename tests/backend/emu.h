// CUDA C++ on the CPU: what a kernel finds on the GPU, as ordinary C++, with each CUDA thread on a stack of its own
// (a fiber). It is meaner than a GPU: threads and warps run in random order between barriers, shared memory and the
// targets of cp_async are NaN until written, and what a GPU leaves undefined ends the launch with a sentence.
// What it cannot tell: speed, races between blocks, the rounding of a tensor core's sums.
#pragma once
#define PTX_CUH                      // the functions of ptx.cuh are those at the end of this file
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <sys/mman.h>
#include <type_traits>
#include <vector>
#include <cmath>
#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ __attribute__((section("emu_static"))) static     // one place, so that it can be poisoned

struct dim3 { unsigned x, y, z; };
typedef dim3 uint3;
#define EMU_VECTORS(T, name)                                                                                          \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                                \
    struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; };                                     \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                                        \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(float, float) EMU_VECTORS(int, int) EMU_VECTORS(unsigned, uint) EMU_VECTORS(double, double)
EMU_VECTORS(short, short) EMU_VECTORS(unsigned short, ushort) EMU_VECTORS(unsigned char, uchar)
EMU_VECTORS(long long, longlong) EMU_VECTORS(unsigned long long, ulonglong)

static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace emu {

const int WARP = 32, THREADS = 1024, STACK = 128 << 10, SHARED = 228 << 10, PAGE = 4096;
enum State { RUNNING, AT_BARRIER, AT_WARP, DONE };

struct Copy { void* to; const void* from; int bytes; bool valid; int group; };

struct Fiber {
    void* stack_pointer;
    char* stack;
    State state;
    const char* what;                // the collective at which it waits
    unsigned mask;
    int groups;                      // committed so far
    std::vector<Copy> copies;        // under way
};

struct Mail { alignas(16) unsigned char bytes[32]; };                      // what a lane gives to a collective

static Fiber fibers[THREADS];
static Mail posted[THREADS], delivered[THREADS];
static int votes[THREADS];
static int current, threads;
static void* scheduler;              // its stack pointer while a fiber runs
static void (*body)(void**);
static void** arguments;
static char message[600];
static char *arena, *dynamic_shared;
static int dynamic_bytes;
static uint64_t seed;
__attribute__((section("emu_static"), used)) static char anchor[16];  // so that the section exists
extern "C" char __start_emu_static[] __attribute__((visibility("hidden")));
extern "C" char __stop_emu_static[] __attribute__((visibility("hidden")));

// Saves the registers that a function must preserve, and goes on where the other stack left off (System V, x86-64).
extern "C" void emu_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.hidden emu_switch
.globl emu_switch
emu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

inline uint64_t draw() { seed ^= seed << 13; seed ^= seed >> 7; return seed ^= seed << 17; }
inline int draw(int n) { return (draw() >> 33) % n; }

inline void to_scheduler() { emu_switch(&fibers[current].stack_pointer, scheduler); }

// End the launch: the sentence becomes the exception. From a fiber it does not come back.
inline void fail(const char* format, ...) {
    if (!*message) {
        va_list list;
        va_start(list, format);
        vsnprintf(message, 400, format, list);
        va_end(list);
        if (current >= 0)
            sprintf(message + strlen(message), " (thread %u, %u, %u of block %u, %u, %u)", threadIdx.x, threadIdx.y,
                    threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    }
    if (current >= 0) to_scheduler();
}

inline void run(int i) {
    current = i;
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    emu_switch(&scheduler, fibers[i].stack_pointer);
    current = -1;
}

inline void wait(State state) {
    fibers[current].state = state;
    to_scheduler();
}

static void entry() {
    body(arguments);
    wait(DONE);
}

inline void start(Fiber& fiber) {
    void** top = (void**)(fiber.stack + STACK - 64);
    *--top = nullptr;                // entry's return address: the stack is aligned as after a call
    *--top = (void*)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
    fiber.state = RUNNING;
    fiber.groups = 0;
    fiber.copies.clear();
}

// A collective of the warp: leave a letter, wait for the lanes of the mask, read the letters by `letter`.
template <class T> void post(const char* what, unsigned mask, T value) {
    Fiber& f = fibers[current];
    if (!(mask >> current % WARP & 1)) fail("%s: the mask %08x lacks the calling lane", what, mask);
    static_assert(sizeof value <= sizeof(Mail));
    memcpy(&posted[current], &value, sizeof value);
    f.what = what;
    f.mask = mask;
    wait(AT_WARP);
}

template <class T> T letter(int lane) {
    int i = current / WARP * WARP + lane;
    T value;
    if (i < threads && fibers[current].mask >> lane & 1) memcpy(&value, &delivered[i], sizeof value);
    else memset(&value, 0xff, sizeof value);                                // undefined on the GPU: NaN
    return value;
}

inline void whole_warp(const char* what) {
    if (current / WARP * WARP + WARP > threads) fail("%s: needs a warp of 32 threads", what);
}

// Run the lanes of a warp until each waits; let those go on whose collective is complete. Is there more to do?
inline bool advance(int warp) {
    int first = warp * WARP, lanes = threads - first < WARP ? threads - first : WARP;
    int order[WARP];
    for (int i = 0; i < lanes; i++) {
        int j = draw(i + 1);
        order[i] = order[j];
        order[j] = first + i;
    }
    for (int i = 0; i < lanes && !*message; i++)
        if (fibers[order[i]].state == RUNNING) run(order[i]);
    if (*message) return false;
    unsigned exist = lanes == WARP ? ~0u : (1u << lanes) - 1, go = 0;
    bool waiting = false;
    for (int i = 0; i < lanes; i++) {
        Fiber& f = fibers[first + i];
        if (f.state != AT_WARP) continue;
        waiting = true;
        bool complete = true;
        for (int j = 0; j < lanes; j++) {
            Fiber& other = fibers[first + j];
            if (f.mask & exist & 1u << j)
                complete &= other.state == AT_WARP && other.what == f.what && other.mask == f.mask;
        }
        if (complete) go |= 1u << i;
    }
    for (int i = 0; i < lanes; i++)
        if (go >> i & 1) {
            fibers[first + i].state = RUNNING;
            delivered[first + i] = posted[first + i];                       // nobody posts anew before all have read
        }
    if (waiting && !go)
        for (int i = 0; i < lanes; i++)
            if (fibers[first + i].state == AT_WARP) {
                fail("%s: divergent, not every lane of the mask %08x came", fibers[first + i].what, fibers[first + i].mask);
                return false;
            }
    return go;
}

// One block: warps take turns of random length until all threads are at a barrier, then cross it together.
inline void run_block() {
    memset(__start_emu_static, 0xff, __stop_emu_static - __start_emu_static);
    memset(dynamic_shared, 0xff, dynamic_bytes);
    for (int i = 0; i < threads; i++) start(fibers[i]);
    int warps = (threads + WARP - 1) / WARP, busy[THREADS / WARP];
    while (!*message) {
        for (int w = 0; w < warps; w++) busy[w] = w;
        for (int left = warps; left && !*message;) {
            int i = draw(left), patience = 1 << draw(8) * 2;
            while (advance(busy[i]))
                if (!--patience) break;
            if (patience) busy[i] = busy[--left];
        }
        int done = 0;
        for (int i = 0; i < threads; i++) done += fibers[i].state == DONE;
        if (done == threads || *message) return;
        if (done) return fail("__syncthreads: %d of %d threads had returned (block %u, %u, %u)", done, threads,
                              blockIdx.x, blockIdx.y, blockIdx.z);
        for (int i = 0; i < threads; i++) fibers[i].state = RUNNING;
    }
}

static void on_signal(int number, siginfo_t* info, void*) {
    if (current < 0) { signal(number, SIG_DFL); return; }
    fail(number == SIGSEGV || number == SIGBUS ? "access out of bounds at %p" : "a trap at %p", info->si_addr);
}

// Run the grid. Null, or what went wrong.
inline const char* launch(const unsigned* size, int shared, uint64_t random, void (*kernel)(void**), void** args) {
    if (!arena) {
        arena = (char*)mmap(nullptr, SHARED + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(arena + SHARED, PAGE, PROT_NONE);
    }
    gridDim = {size[0], size[1], size[2]};
    blockDim = {size[3], size[4], size[5]};
    threads = size[3] * size[4] * size[5];
    dynamic_bytes = (shared + 15) & ~15;
    dynamic_shared = arena + SHARED - dynamic_bytes;                  // one float too far is a fault
    body = kernel;
    arguments = args;
    seed = random * 2 + 1;
    current = -1;
    *message = 0;
    for (int i = 0; i < threads; i++)
        if (!fibers[i].stack)
            fibers[i].stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct sigaction action = {}, before[4];
    int signals[4] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 4; i++) sigaction(signals[i], &action, &before[i]);
    uint64_t blocks = (uint64_t)size[0] * size[1] * size[2], stride = draw() % blocks | 1, b = draw() % blocks;
    auto gcd = [](uint64_t x, uint64_t y) { while (y) { uint64_t r = x % y; x = y; y = r; } return x; };
    while (gcd(stride, blocks) != 1) stride++;
    for (uint64_t i = 0; i < blocks && !*message; i++, b = (b + stride) % blocks) {  // every block, in random order
        blockIdx = {unsigned(b % size[0]), unsigned(b / size[0] % size[1]), unsigned(b / size[0] / size[1])};
        run_block();
    }
    for (int i = 0; i < 4; i++) sigaction(signals[i], &before[i], nullptr);
    return *message ? message : nullptr;
}

inline bool is_shared(const void* p, int bytes) {
    const char* c = (const char*)p;
    return (c >= dynamic_shared && c + bytes <= dynamic_shared + dynamic_bytes) ||
           (c >= __start_emu_static && c + bytes <= __stop_emu_static);
}

}  // namespace emu

// -fsanitize=alignment,bounds calls these; the first field of `data` is the place in the source.
struct EmuPlace { const char* file; unsigned line, column; };
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1_abort(void* data, uintptr_t p) {
    EmuPlace* at = (EmuPlace*)data;
    emu::fail("%s:%u: misaligned address %p", at->file, at->line, (void*)p);
}
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds_abort(void* data, uintptr_t index) {
    EmuPlace* at = (EmuPlace*)data;
    emu::fail("%s:%u: index %ld out of bounds", at->file, at->line, (long)index);
}

#include "emu_cuda.h"

extern "C" __attribute__((visibility("default"))) int emu_static_bytes = 0;
static int emu_measured = emu_static_bytes = emu::__stop_emu_static - emu::__start_emu_static - 16;
