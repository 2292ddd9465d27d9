#pragma once

#include <cstddef>
#include <cstdint>

// A page of the guest.
constexpr std::size_t guestPage = 4096;

// Whether this processor has the instructions that the functions below use.
bool canChecksum();

// The CRC-32 of what came before and of some bytes.
std::uint32_t checksumBytes(const std::uint8_t* bytes, std::size_t length, std::uint32_t before);

// The CRC-32 of what came before and of the pages that a bitmap has, each behind its index in one byte.
//
// `bytes` are at most 256 pages, `bitmap` has a bit for each, the lowest first. Pages that are zero are left out, and removed from the
// bitmap, if `removeZeroPages`.
std::uint32_t checksumPages(const std::uint8_t* bytes, std::size_t pages, std::uint8_t* bitmap, std::uint32_t before,
                            bool removeZeroPages);
