// Memory of the emulator between pages that fault: an access before the first byte or after the last is noticed.
#pragma once
#include "emu.h"

#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <vector>

namespace emu {

const int PAGE = 4096;

// One array of the caller's. The kernel sees a copy whose end touches a page that faults.
struct Region { char* host; int64_t bytes; int64_t writable; const char* name; char* copy; };

static std::vector<char*> maps[1 << 12];                                    // free ones, by their number of pages

// Pages between two that fault.
static char* map_pages(size_t pages) {
    if (pages < sizeof maps / sizeof *maps && maps[pages].size()) {
        char* p = maps[pages].back();
        maps[pages].pop_back();
        return p;
    }
    char* p = (char*)mmap(nullptr, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages) mprotect(p + PAGE, pages * PAGE, PROT_READ | PROT_WRITE);
    return p + PAGE;
}

struct Guarded { char* map; size_t pages; int64_t before, after; };          // slack that nobody may write

// Before a launch: the copy that the kernel sees.
static Guarded guard(Region& r) {
    int64_t offset = (uintptr_t)r.host % 16, size = (offset + r.bytes + 15) / 16 * 16;  // aligned as the original
    size_t pages = (size + PAGE - 1) / PAGE;
    Guarded g = {map_pages(pages), pages, int64_t(pages * PAGE) - size + offset, size - offset - r.bytes};
    memset(g.map, 0xff, pages * PAGE);
    r.copy = g.map + g.before;
    memcpy(r.copy, r.host, r.bytes);
    return g;
}

// After it: did somebody write beside it? Then what was written goes to the caller.
static void release(const Guarded& g, const Region& r) {
    for (int64_t i = 0; i < g.before + g.after; i++) {
        int64_t at = i < g.before ? i - g.before : r.bytes + i - g.before;
        if ((unsigned char)r.copy[at] == 0xff) continue;
        fail("%s: a write at byte %ld, and it has %ld", r.name, (long)at, (long)r.bytes);
        break;
    }
    if (r.writable) memcpy(r.host, r.copy, r.bytes);
    if (g.pages < sizeof maps / sizeof *maps) maps[g.pages].push_back(g.map);
    else munmap(g.map - PAGE, (g.pages + 2) * PAGE);
}

}  // namespace emu
