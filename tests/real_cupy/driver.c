// A GPU that does nothing, for the real CuPy: NVIDIA's driver (cu...), its runtime library (cuda...), no card.
//
// Memory is malloc's, filled with zeros, and copies are done: an array brought to this GPU comes back as it was.
// Kernels are checked (size of the launch, stream, shared memory) and not run: what they would compute stays what was in
// the memory. A capture records nothing; what may not happen during one is an error, as CUDA's. Streams and events are
// numbers: all is done when it is asked for. So nothing here can tell a wrong value or a race, and nothing takes time.
//
// What happens is written down, one line each, for the tests to read: pretend_log(), pretend_forget(). Lines begin with
// "captured " during a capture. pretend_memory() says how much there is.
//
// Functions that do not look at their arguments take none: the callers of x86-64 Linux need not know.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CUDA
#define CUDA 13000 // the version that the wheel of CuPy was built for
#endif
#define SAYS(name, ...) int name(void) { __VA_ARGS__; return 0; }

enum { INVALID = 1, OUT_OF_MEMORY = 2, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900 };
typedef void *P;

static char *text;
static size_t written;
static FILE *out;
static P captured; // the stream that is being captured
static size_t memory = (size_t)8 << 30, used;

static FILE *line(void) {
    if (!out) out = open_memstream(&text, &written);
    if (captured) fputs("captured ", out);
    return out;
}
#define LOG(...) fprintf(line(), __VA_ARGS__)

const char *pretend_log(void) { return out ? (fflush(out), text) : ""; }
void pretend_forget(void) { if (out) { fclose(out); free(text); out = NULL; } }
void pretend_memory(size_t bytes) { memory = bytes; }

static int handle(P *p) { static intptr_t last = 0x1000; *p = (P)(last += 16); return 0; }

// What the table of functions below has no pretence for: CuPy raises an error with this number.
SAYS(pretend_missing, LOG("missing\n"); return NOT_SUPPORTED)

// ---------------------------------------------------------------------------------------------------------- memory

enum { HEAD = 512 }; // holds the size; keeps what follows aligned as CUDA's memory is

int cudaMalloc(P *p, size_t n) {
    if (used + n > memory) { LOG("out of memory: %zu\n", n); return OUT_OF_MEMORY; }
    char *head = aligned_alloc(HEAD, (HEAD + n + HEAD - 1) / HEAD * HEAD);
    if (!head) return OUT_OF_MEMORY;
    memset(head, 0, HEAD + n);
    *(size_t *)head = n;
    used += n;
    *p = head + HEAD;
    return 0;
}
int cudaFree(P p) {
    if (!p) return 0;
    if (captured) LOG("free\n"); // a graph may go on using it
    char *head = (char *)p - HEAD;
    used -= *(size_t *)head;
    free(head);
    return 0;
}
int cudaMemGetInfo(size_t *free, size_t *total) { *free = memory - used; *total = memory; return 0; }
int cudaHostAlloc(P *p, size_t n, unsigned flags) { *p = calloc(1, n + 1); return 0; }
int cudaFreeHost(P p) { free(p); return 0; }
int cudaPointerGetAttributes(P to, P p) { // type 2: the GPU's
    struct { int type, device; P there, here; } it = {2, 0, p, NULL};
    memcpy(to, &it, sizeof it);
    return 0;
}

static int copy(P to, P from, size_t n, int kind) {
    if (kind == 1) LOG("copy from the host: %zu\n", n);
    if (kind == 2) LOG("copy to the host: %zu\n", n);
    memmove(to, from, n);
    return 0;
}
int cudaMemcpy(P to, P from, size_t n, int kind) { return copy(to, from, n, kind); }
int cudaMemcpyAsync(P to, P from, size_t n, int kind, P stream) {
    if (captured && stream != captured) LOG("wrong stream: copy\n");
    return copy(to, from, n, kind);
}
int cudaMemset(P to, int byte, size_t n) { if (captured) LOG("wrong stream: memset\n"); memset(to, byte, n); return 0; }
int cudaMemsetAsync(P to, int byte, size_t n, P stream) {
    if (captured && stream != captured) LOG("wrong stream: memset\n");
    memset(to, byte, n);
    return 0;
}

// ---------------------------------------------------------------------------------------------------------- device

int cudaGetDevice(int *i) { *i = 0; return 0; }
SAYS(cudaSetDevice)
int cudaGetDeviceCount(int *n) { *n = 1; return 0; }
int cudaDriverGetVersion(int *v) { *v = CUDA; return 0; }
int cudaRuntimeGetVersion(int *v) { *v = CUDA; return 0; }
int cudaDeviceGetAttribute(int *v, int what, int device) {
    switch (what) { // cudaDeviceAttr and CUdevice_attribute have the same numbers
    case 1: *v = 1024; break;      // threads in a block
    case 8: *v = 48 << 10; break;  // shared memory of a block, without asking
    case 97: *v = 99 << 10; break; // on request: the least of the GPUs that have tensor cores of ours (8.6)
    case 10: *v = 32; break;       // threads in a warp
    case 16: *v = 132; break;      // multiprocessors
    case 75: *v = 9; break;        // compute capability
    case 76: *v = 0; break;
    default: *v = 65535;
    }
    return 0;
}
int cudaGetDeviceProperties(char *to, int device) { // only what all versions of the struct have in one place
    memset(to, 0, 312);
    strcpy(to, "a GPU that does nothing");
    *(size_t *)(to + 288) = memory;
    *(int *)(to + 308) = 32; // threads in a warp
    return 0;
}
int cudaGetDeviceProperties_v2(char *to, int device) { return cudaGetDeviceProperties(to, device); }
const char *cudaGetErrorName(int e) { return e == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorPretended"; }
const char *cudaGetErrorString(int e) { return e == OUT_OF_MEMORY ? "out of memory" : "see the log of the pretended GPU"; }
SAYS(cudaGetLastError)
SAYS(cudaPeekAtLastError)

// ----------------------------------------------------------------------------------- streams, events, graphs

static int waits(int forbidden) { LOG("wait\n"); return forbidden ? CAPTURE_UNSUPPORTED : 0; }

int cudaStreamCreate(P *s) { return handle(s); }
int cudaStreamCreateWithFlags(P *s, unsigned flags) { return handle(s); }
int cudaStreamCreateWithPriority(P *s, unsigned flags, int priority) { return handle(s); }
int cudaStreamGetFlags(P s, unsigned *flags) { *flags = 1; return 0; }
int cudaStreamSynchronize(P s) { return waits(captured && s == captured); }
int cudaDeviceSynchronize(void) { return waits(captured != NULL); }
SAYS(cudaStreamDestroy)
SAYS(cudaStreamQuery)
SAYS(cudaStreamWaitEvent)
int cudaEventCreate(P *e) { return handle(e); }
int cudaEventCreateWithFlags(P *e, unsigned flags) { return handle(e); }
int cudaEventSynchronize(P e) { return waits(captured != NULL); }
int cudaEventElapsedTime(float *ms, P a, P b) { *ms = 1; return 0; }
SAYS(cudaEventRecord)
SAYS(cudaEventQuery)
SAYS(cudaEventDestroy)

int cudaStreamBeginCapture(P s, int mode) {
    if (!s || captured) return CAPTURE_UNSUPPORTED; // the default stream cannot be captured
    LOG("capture\n");
    captured = s;
    return 0;
}
int cudaStreamEndCapture(P s, P *graph) { captured = NULL; return handle(graph); }
int cudaStreamIsCapturing(P s, int *status) { *status = captured && s == captured; return 0; }
int cudaGraphInstantiate(P *it, P graph, unsigned long long flags) { return graph ? handle(it) : INVALID; }
int cudaGraphLaunch(P it, P s) { LOG("replay\n"); return captured ? CAPTURE_UNSUPPORTED : 0; }
SAYS(cudaGraphDestroy)
SAYS(cudaGraphExecDestroy)

// ------------------------------------------- kernels: CuPy's own, compiled into it (CUB, Thrust), then NVRTC's

int cudaFuncGetAttributes(char *to, P f) { // maxThreadsPerBlock, numRegs, ptxVersion, binaryVersion
    int it[4] = {1024, 32, 90, 90};
    memset(to, 0, 64);
    memcpy(to + 24, it, sizeof it);
    return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n) { *n = 2; return 0; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n) { *n = 2; return 0; }
SAYS(cudaLaunchKernel)
SAYS(__cudaLaunchKernel)
int cudaGetKernel(P *kernel, P f) { return handle(kernel); }
int __cudaGetKernel(P *kernel, P f) { return handle(kernel); }
SAYS(__cudaPushCallConfiguration)
int __cudaPopCallConfiguration(P grid, P block, size_t *shared, P *stream) {
    if (shared) *shared = 0;
    if (stream) *stream = NULL;
    return 0;
}

typedef struct { char name[200]; unsigned shared; } Kernel;

int cuModuleLoad(P *m) { LOG("module\n"); return handle(m); }
int cuModuleLoadData(P *m) { LOG("module\n"); return handle(m); }
SAYS(cuModuleUnload, if (captured) LOG("module unloaded\n"))
int cuModuleGetFunction(P *f, P m, char *name) {
    Kernel *it = *f = calloc(1, sizeof *it); // never freed: as long as the process
    snprintf(it->name, sizeof it->name, "%s", name);
    it->shared = 48 << 10;
    return 0;
}
int cuFuncSetAttribute(Kernel *f, int what, int value) { // 8: shared memory on request
    if (what == 8 && value > 99 << 10) { LOG("bad launch: %s asks for %d bytes shared\n", f->name, value); return INVALID; }
    if (what == 8) {
        LOG("shared memory on request: %d for %s\n", value, f->name);
        f->shared = value;
    }
    return 0;
}
int cuFuncGetAttribute(int *value, int what, P f) { *value = 0; return 0; }
int cuLaunchKernel(Kernel *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, P stream, P *arguments, P *extra) {
    LOG("launch: %s\n", f->name);
    if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535 || !bx || !by || !bz ||
        (uint64_t)bx * by * bz > 1024 || bz > 64 || shared > f->shared) {
        LOG("bad launch: %s <<<%u %u %u, %u %u %u, %u>>>\n", f->name, gx, gy, gz, bx, by, bz, shared);
        return INVALID;
    }
    if (captured && stream != captured) { LOG("wrong stream: %s\n", f->name); return CAPTURE_UNSUPPORTED; }
    return 0;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n) { *n = 2; return 0; }
int cuOccupancyMaxPotentialBlockSize(int *grid, int *block) { *grid = 132; *block = 256; return 0; }

// ---------------------------------------------------- the rest of the driver, as far as CuPy looks for it by name

int cuGetErrorName(int e, const char **s) { *s = cudaGetErrorName(e); return 0; }
int cuGetErrorString(int e, const char **s) { *s = cudaGetErrorString(e); return 0; }
SAYS(cuInit)
int cuDriverGetVersion(int *v) { *v = CUDA; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDeviceGetName(char *to, int n, int device) { snprintf(to, n, "a GPU that does nothing"); return 0; }
int cuDeviceTotalMem_v2(size_t *n, int device) { *n = memory; return 0; }
int cuDeviceGetAttribute(int *v, int what, int device) { return cudaDeviceGetAttribute(v, what, device); }
int cuCtxGetCurrent(P *c) { *c = (P)1; return 0; }
int cuStreamGetCtx(P s, P *c) { *c = (P)1; return 0; }
int cuCtxGetDevice(int *device) { *device = 0; return 0; }
SAYS(cuCtxSetCurrent)
SAYS(cuDevicePrimaryCtxRelease_v2)
int cuCtxCreate_v2(P *c, unsigned flags, int device) { *c = (P)1; return 0; }
SAYS(cuCtxDestroy_v2)
int cuGetExportTable(P *table, P id) { // NVRTC asks: functions that NVIDIA keeps to itself, the size of the table first
    static size_t nothing_but_the_size = sizeof(size_t);
    *table = &nothing_but_the_size;
    return 0;
}
SAYS(cuModuleGetGlobal_v2, return INVALID)
SAYS(cuLaunchCooperativeKernel, return NOT_SUPPORTED)
SAYS(cuLinkCreate_v2, return NOT_SUPPORTED)
SAYS(cuLinkAddData_v2, return NOT_SUPPORTED)
SAYS(cuLinkAddFile_v2, return NOT_SUPPORTED)
SAYS(cuLinkComplete, return NOT_SUPPORTED)
SAYS(cuLinkDestroy, return NOT_SUPPORTED)
