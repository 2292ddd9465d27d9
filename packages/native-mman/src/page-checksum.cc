// The CRC-32 of bytes with carry-less multiplication: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", Intel, 2009, in its bit-reflected form. Four accumulators of 128 bits take 64 bytes at a time; then they are
// folded into one, that one to 64 bits, and these to 32 by Barrett reduction. The constants are the powers of x modulo the
// polynomial 0x04C11DB7 that the paper gives for it.

#include "page-checksum.h"

#include <immintrin.h>

#include <array>

namespace {

constexpr std::array<std::uint32_t, 256> makeByteTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder & 1 ? remainder >> 1 ^ 0xedb88320 : remainder >> 1;
    table[byte] = remainder;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> byteTable = makeByteTable();

#define WITH_CLMUL __attribute__((target("pclmul,sse4.1")))

WITH_CLMUL inline __m128i load(const std::uint8_t* bytes) {
  // SAFETY: the callers pass addresses that have 16 bytes behind them; the load may be unaligned.
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// What an accumulator is some bytes later: both of its halves times powers of x, and the bytes that come then.
WITH_CLMUL inline __m128i fold(__m128i accumulator, __m128i powers, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(accumulator, powers, 0x00);
  const __m128i high = _mm_clmulepi64_si128(accumulator, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// The remainder of what came before and of one byte.
inline std::uint32_t addByte(std::uint32_t remainder, std::size_t byte) {
  return byteTable[(remainder ^ byte) & 0xff] ^ remainder >> 8;
}

// The remainder of what came before and of a multiple of 16 bytes, at least 64.
WITH_CLMUL inline std::uint32_t addBlocks(std::uint32_t remainder, const std::uint8_t* bytes, std::size_t length) {
  const __m128i by64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i by8 = _mm_set_epi64x(0, 0x0163cd6124);
  const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  const __m128i low32 = _mm_setr_epi32(-1, 0, -1, 0);

  __m128i a = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128(static_cast<int>(remainder)));
  __m128i b = load(bytes + 16);
  __m128i c = load(bytes + 32);
  __m128i d = load(bytes + 48);
  std::size_t at = 64;
  for (; at + 64 <= length; at += 64) {
    a = fold(a, by64, load(bytes + at));
    b = fold(b, by64, load(bytes + at + 16));
    c = fold(c, by64, load(bytes + at + 32));
    d = fold(d, by64, load(bytes + at + 48));
  }
  a = fold(a, by16, b);
  a = fold(a, by16, c);
  a = fold(a, by16, d);
  for (; at < length; at += 16) a = fold(a, by16, load(bytes + at));
  // 128 bits to 64.
  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by16, 0x10));
  a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low32), by8, 0x00));
  // 64 bits to 32.
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(a, low32), barrett, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low32), barrett, 0x00);
  return static_cast<std::uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, quotient), 1));
}

bool isZero(const std::uint8_t* page) {
  for (std::size_t at = 0; at < guestPage; at += 64) {
    // SAFETY: 64 bytes of the page are left at each step; the loads may be unaligned.
    const auto* words = reinterpret_cast<const __m128i*>(page + at);
    const __m128i all = _mm_or_si128(_mm_or_si128(_mm_loadu_si128(words), _mm_loadu_si128(words + 1)),
                                     _mm_or_si128(_mm_loadu_si128(words + 2), _mm_loadu_si128(words + 3)));
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_setzero_si128())) != 0xffff) return false;
  }
  return true;
}

}  // namespace

bool canChecksum() {
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

std::uint32_t checksumBytes(const std::uint8_t* bytes, std::size_t length, std::uint32_t before) {
  std::uint32_t remainder = ~before;
  const std::size_t blocks = length < 64 ? 0 : length & ~std::size_t{15};
  if (blocks > 0) remainder = addBlocks(remainder, bytes, blocks);
  // SAFETY: `at` is below the length that the caller gave.
  for (std::size_t at = blocks; at < length; ++at) remainder = addByte(remainder, bytes[at]);
  return ~remainder;
}

std::uint32_t checksumPages(const std::uint8_t* bytes, std::size_t pages, std::uint8_t* bitmap, std::uint32_t before,
                            bool removeZeroPages) {
  std::uint32_t remainder = ~before;
  for (std::size_t page = 0; page < pages; ++page) {
    const auto bit = static_cast<std::uint8_t>(1u << (page & 7));
    // SAFETY: the caller's bitmap has a bit for each of its pages.
    std::uint8_t& byte = bitmap[page >> 3];
    if ((byte & bit) == 0) continue;
    // SAFETY: `page` is one of the pages that the caller's bytes are.
    const std::uint8_t* contents = bytes + page * guestPage;
    if (removeZeroPages && isZero(contents)) {
      byte = static_cast<std::uint8_t>(byte & ~bit);
      continue;
    }
    remainder = addBlocks(addByte(remainder, page), contents, guestPage);
  }
  return ~remainder;
}
