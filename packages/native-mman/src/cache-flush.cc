// CLWB, CLFLUSHOPT and CLFLUSH: Intel SDM Vol. 2A; AMD64 Architecture Programmer's Manual Vol. 3.

#include "cache-flush.h"

#include <cpuid.h>
#include <immintrin.h>

namespace {

constexpr std::size_t line = 64;

using Flush = void (*)(const std::uint8_t*, std::size_t);

// SAFETY, of all three: every address is inside the range, which the caller keeps mapped; the instructions change no byte. Nothing orders
// CLWB and CLFLUSHOPT but the SFENCE behind them.
__attribute__((target("clwb"))) void writeBack(const std::uint8_t* data, std::size_t length) {
  for (std::size_t at = 0; at < length; at += line) _mm_clwb(const_cast<std::uint8_t*>(data + at));
  _mm_sfence();
}

__attribute__((target("clflushopt"))) void flushUnordered(const std::uint8_t* data, std::size_t length) {
  for (std::size_t at = 0; at < length; at += line) _mm_clflushopt(const_cast<std::uint8_t*>(data + at));
  _mm_sfence();
}

void flushOrdered(const std::uint8_t* data, std::size_t length) {
  for (std::size_t at = 0; at < length; at += line) _mm_clflush(data + at);
  _mm_sfence();
}

struct Way {
  const char* instruction;
  Flush flush;
};

Way best() {
  unsigned int eax = 0;
  unsigned int features = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &features, &ecx, &edx) != 0) {
    if ((features & bit_CLWB) != 0) return {"clwb", writeBack};
    if ((features & bit_CLFLUSHOPT) != 0) return {"clflushopt", flushUnordered};
  }
  return {"clflush", flushOrdered};
}

const Way way = best();

}  // namespace

const char* cacheFlushInstruction() { return way.instruction; }

void flushCache(const std::uint8_t* data, std::size_t length) { way.flush(data, length); }
