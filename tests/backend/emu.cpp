// The machine under emulated CUDA kernels: each CUDA thread has a stack of its own (a fiber), blocks run one by one.
// It is meaner than a GPU: blocks, warps and threads take turns in random order, shared memory is NaN until written,
// arrays lie between pages that fault, and what a GPU leaves undefined ends the launch with a sentence.
#include "emu.h"
#include "emu_memory.h"

#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emu {

const int MAX_THREADS = 1024, STACK = 128 << 10, SHARED = 228 << 10;
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

struct Launch {
    unsigned grid[3], block[3];
    int64_t shared_bytes;
    char *static_begin, *static_end;
    uint64_t seed;
    void (*kernel)(void**);
    void** arguments;                // where each lies
    int64_t n_arguments, n_regions;
    int64_t* region_of;              // each argument's: -1 if it is no pointer into one
    Region* region;
};

int current = -1, threads;
Mail posted[MAX_THREADS], delivered[MAX_THREADS];
char* dynamic_shared;
static Fiber fibers[MAX_THREADS];
static void* scheduler;              // its stack pointer while a fiber runs
static Launch* launch;
static char message[800];
static uint64_t seed;

// Saves the registers that a function must preserve, and goes on where the other stack left off (System V, x86-64).
extern "C" void emu_switch(void** from, void* to);
asm(R"(
.globl emu_switch
emu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

static int draw(int n) {             // xorshift64, Marsaglia 2003
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 33) % n;
}

static void shuffle(int* order, int n, int first) {
    for (int i = 0; i < n; i++) {
        int j = draw(i + 1);
        order[i] = order[j];
        order[j] = first + i;
    }
}

static void to_scheduler() { emu_switch(&fibers[current].stack_pointer, scheduler); }

// End the launch: the sentence becomes the exception. From a fiber it does not come back.
void fail(const char* format, ...) {
    if (!*message) {
        va_list list;
        va_start(list, format);
        int n = vsnprintf(message, 600, format, list);
        va_end(list);
        if (current >= 0)
            sprintf(message + (n < 600 ? n : 599), "; thread (%u, %u, %u) of block (%u, %u, %u)", threadIdx.x,
                    threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    }
    if (current >= 0) to_scheduler();
}

static void wait(State state) {
    fibers[current].state = state;
    to_scheduler();
}

void barrier() { wait(AT_BARRIER); }

void collective(const char* what, unsigned mask) {
    if (!(mask >> current % WARP & 1)) fail("%s: the mask %08x lacks the calling lane", what, mask);
    fibers[current].what = what;
    fibers[current].mask = mask;
    wait(AT_WARP);
}

bool takes_part(int lane) { return fibers[current].mask >> lane & 1 && current / WARP * WARP + lane < threads; }

bool is_shared(const void* p, int bytes) {
    const char* c = (const char*)p;
    return (c >= dynamic_shared && c + bytes <= dynamic_shared + launch->shared_bytes) ||
           (c >= launch->static_begin && c + bytes <= launch->static_end);
}

// ---------------------------------------------------------------------------------------- cp.async: as late as allowed
void copy_async(void* to, const void* from, int bytes, bool valid) {
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes)
        fail("cp_async<%d>: misaligned, to %p from %p", bytes, to, from);
    if (!is_shared(to, bytes)) fail("cp_async: the target %p is not in shared memory", to);
    if (valid && is_shared(from, 1)) fail("cp_async: the source %p is in shared memory", from);
    if (valid) (void)*(const volatile char*)from;                           // out of bounds? Then say so here
    memset(to, 0xff, bytes);                                                // the old value is gone, the new not there
    fibers[current].copies.push_back({to, from, bytes, valid, fibers[current].groups});
}

void copy_commit() { fibers[current].groups++; }

void copy_wait(int newest) {
    Fiber& f = fibers[current];
    size_t kept = 0;
    for (Copy& c : f.copies) {
        if (c.group >= f.groups - newest) f.copies[kept++] = c;
        else if (c.valid) memcpy(c.to, c.from, c.bytes);
        else memset(c.to, 0, c.bytes);
    }
    f.copies.resize(kept);
}

// --------------------------------------------------------------------------------------------------- taking turns
static void entry() {
    launch->kernel(launch->arguments);
    wait(DONE);
}

static void start(Fiber& fiber) {
    void** top = (void**)(fiber.stack + STACK - 64);
    *--top = nullptr;                // entry's return address: the stack is aligned as after a call
    *--top = (void*)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
    fiber.state = RUNNING;
    fiber.groups = 0;
    fiber.copies.clear();
}

static void run(int i) {
    current = i;
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    emu_switch(&scheduler, fibers[i].stack_pointer);
    current = -1;
}

// Is every lane of the mask of lane i at the same collective, with the same mask?
static bool complete(int first, int lanes, int i) {
    const Fiber& f = fibers[first + i];
    for (int j = 0; j < lanes; j++) {
        const Fiber& other = fibers[first + j];
        if (f.mask >> j & 1 && (other.state != AT_WARP || other.what != f.what || other.mask != f.mask)) return false;
    }
    return true;
}

// Run the lanes of a warp until each waits; let those go on whose collective is complete. Is there more to do?
static bool advance(int warp) {
    int first = warp * WARP, lanes = threads - first < WARP ? threads - first : WARP, order[WARP], waiting = -1;
    shuffle(order, lanes, first);
    for (int i = 0; i < lanes && !*message; i++)
        if (fibers[order[i]].state == RUNNING) run(order[i]);
    if (*message) return false;
    unsigned go = 0;
    for (int i = 0; i < lanes; i++)
        if (fibers[first + i].state == AT_WARP) {
            waiting = first + i;
            if (complete(first, lanes, i)) go |= 1u << i;
        }
    for (int i = 0; i < lanes; i++)
        if (go >> i & 1) {
            fibers[first + i].state = RUNNING;
            delivered[first + i] = posted[first + i];                       // nobody posts anew before all have read
        }
    if (waiting >= 0 && !go)
        fail("%s: not every lane of the mask %08x came; warp %d of block (%u, %u, %u)", fibers[waiting].what,
             fibers[waiting].mask, warp, blockIdx.x, blockIdx.y, blockIdx.z);
    return go;
}

// One block: warps take turns of random length until all threads are at a barrier, then cross it together.
static void run_block() {
    memset(launch->static_begin, 0xff, launch->static_end - launch->static_begin);
    memset(dynamic_shared, 0xff, launch->shared_bytes);
    for (int i = 0; i < threads; i++) start(fibers[i]);
    int warps = (threads + WARP - 1) / WARP, busy[MAX_THREADS / WARP];
    while (!*message) {
        for (int w = 0; w < warps; w++) busy[w] = w;
        for (int left = warps; left && !*message;) {
            int i = draw(left), patience = 1 << draw(8) * 2;
            bool more = true;
            while (more && patience--) more = advance(busy[i]);
            if (!more) busy[i] = busy[--left];
        }
        int done = 0;
        for (int i = 0; i < threads; i++) done += fibers[i].state == DONE;
        if (done == threads || *message) return;
        if (done)
            return fail("__syncthreads: %d of %d threads had returned; block (%u, %u, %u)", done, threads, blockIdx.x,
                        blockIdx.y, blockIdx.z);
        for (int i = 0; i < threads; i++) fibers[i].state = RUNNING;
    }
}

// ------------------------------------------------------------------------------------------------------- a launch
static void on_signal(int number, siginfo_t* info, void*) {
    if (current < 0) { signal(number, SIG_DFL); return; }
    if (number == SIGFPE) return fail("an integer division by zero");       // on a GPU: some number
    char* p = (char*)info->si_addr;
    for (int i = 0; i < launch->n_regions; i++) {
        Region& r = launch->region[i];
        if (p >= r.copy - 2 * PAGE && p < r.copy + r.bytes + 2 * PAGE)
            fail("%s: an access at byte %ld, and it has %ld", r.name, long(p - r.copy), (long)r.bytes);
    }
    if (p >= dynamic_shared && p <= dynamic_shared + launch->shared_bytes + PAGE)
        fail("dynamic shared memory: an access at byte %ld, and it has %ld", long(p - dynamic_shared),
             (long)launch->shared_bytes);
    fail("an access at %p, far from every array", p);
}

static void run_grid() {
    int64_t n = (int64_t)gridDim.x * gridDim.y * gridDim.z;
    std::vector<int> order(n);
    shuffle(order.data(), n, 0);
    for (int64_t i = 0; i < n && !*message; i++) {
        unsigned b = order[i];
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        run_block();
    }
}

// Run the grid. Null, or what went wrong.
extern "C" const char* emu_launch(Launch* l) {
    static char* arena = map_pages(SHARED / PAGE);
    launch = l;
    gridDim = {l->grid[0], l->grid[1], l->grid[2]};
    blockDim = {l->block[0], l->block[1], l->block[2]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    dynamic_shared = arena + SHARED - (l->shared_bytes + 15) / 16 * 16;
    seed = l->seed * 2 + 1;
    current = -1;
    *message = 0;
    for (int i = 0; i < threads; i++)
        if (!fibers[i].stack) fibers[i].stack = map_pages(STACK / PAGE);
    std::vector<Guarded> guarded;
    for (int i = 0; i < l->n_regions; i++) guarded.push_back(guard(l->region[i]));
    struct sigaction action = {}, before[3];
    int signals[3] = {SIGSEGV, SIGBUS, SIGFPE};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(signals[i], &action, &before[i]);
    for (int i = 0; i < 8 * 3; i++) draw(2);                                // small seeds start alike
    for (int i = 0; i < l->n_arguments; i++)                                // into an array: into its guarded copy
        if (l->region_of[i] >= 0) {
            Region& r = l->region[l->region_of[i]];
            *(char**)l->arguments[i] += r.copy - r.host;
        }
    run_grid();
    for (int i = 0; i < 3; i++) sigaction(signals[i], &before[i], nullptr);
    for (int i = 0; i < l->n_regions; i++) release(guarded[i], l->region[i]);
    return *message ? message : nullptr;
}

}  // namespace emu

// -fsanitize=alignment,bounds calls these; the first field of `data` is the place in the source.
struct Place { const char* file; unsigned line, column; };
extern "C" void __ubsan_handle_type_mismatch_v1_abort(void* data, uintptr_t p) {
    Place* at = (Place*)data;
    emu::fail("%s:%u: misaligned address %p", at->file, at->line, (void*)p);
}
extern "C" void __ubsan_handle_out_of_bounds_abort(void* data, uintptr_t index) {
    Place* at = (Place*)data;
    emu::fail("%s:%u: index %ld out of bounds", at->file, at->line, (long)index);
}
