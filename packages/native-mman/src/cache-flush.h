// Writing a processor's cached lines back to memory.

#pragma once

#include <cstddef>
#include <cstdint>

// The best instruction that this processor has for it: "clwb", which keeps the line in the cache, "clflushopt", which need not wait for
// others, or "clflush".
const char* cacheFlushInstruction();

// Writes the cached lines of a range back, in whatever processor's cache they are, and waits for the writes.
void flushCache(const std::uint8_t* data, std::size_t length);
