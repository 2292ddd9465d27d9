// System calls on memory and descriptors that Node does not offer. No policy here: each function is one system call (or few
// instructions in a loop), takes what the caller decided, and returns 0 or more, or the negated errno as the kernel itself does.
// The TypeScript side turns that into errors.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <napi.h>

#include "cache-flush.h"
#include "page-checksum.h"

namespace {

// The bytes that a Uint8Array shows.
struct Span {
  std::uint8_t* data;
  std::size_t length;
};

// Napi::TypedArray wants an ArrayBuffer; the typed array's own information is also there for a SharedArrayBuffer, which is what a
// shared WebAssembly.Memory has.
Span spanOf(const Napi::Value& value) {
  napi_typedarray_type type = napi_int8_array;
  std::size_t length = 0;
  void* data = nullptr;
  const napi_status status =
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), "expected a Uint8Array");
  }
  // SAFETY: the pointer is the first byte of the view and stays valid for `length` bytes while the JavaScript value is alive, which
  // it is during the call that received it; no caller keeps the span for longer.
  return {static_cast<std::uint8_t*>(data), length};
}

// A span that consists of whole pages.
Span pagesOf(const Napi::Value& value) {
  const Span span = spanOf(value);
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  // SAFETY: the pointer is only looked at as a number.
  const auto address = reinterpret_cast<std::uintptr_t>(span.data);
  if (span.length == 0 || address % page != 0 || span.length % page != 0) {
    throw Napi::RangeError::New(value.Env(), "the view does not consist of whole pages");
  }
  return span;
}

int intOf(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

off_t offsetOf(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].As<Napi::Number>().Int64Value();
}

Napi::Value result(const Napi::CallbackInfo& info, std::int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value < 0 ? -errno : value));
}

// addressOf(view): bigint
Napi::Value addressOf(const Napi::CallbackInfo& info) {
  // SAFETY: the pointer is only looked at as a number.
  return Napi::BigInt::New(info.Env(), static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(spanOf(info[0]).data)));
}

// Address ranges that were reserved, by their first address, and how many buffers show each.
struct Reservation {
  std::size_t length;
  int buffers;
};
std::mutex reservationsLock;
std::map<std::uintptr_t, Reservation> reservations;

// The last buffer that goes gives the range back, whatever is mapped there by then.
void release(void* data) {
  const std::lock_guard<std::mutex> guard(reservationsLock);
  const auto found = reservations.find(reinterpret_cast<std::uintptr_t>(data));
  if (found == reservations.end() || --found->second.buffers > 0) return;
  // SAFETY: no buffer shows the range any more, and it was mapped by reserve().
  munmap(data, found->second.length);
  reservations.erase(found);
}

Napi::Value show(Napi::Env env, void* data, std::size_t length) {
  // SAFETY: the range stays mapped until release() is called for each of its buffers.
  return Napi::ArrayBuffer::New(env, data, length, [](Napi::Env, void* pointer) { release(pointer); });
}

// reserve(length, alignment): anonymous memory of whole pages that begins at a multiple of the alignment, as an ArrayBuffer; or a negated
// errno
Napi::Value reserve(const Napi::CallbackInfo& info) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto length = (static_cast<std::size_t>(info[0].As<Napi::Number>().Int64Value()) + page - 1) / page * page;
  const auto alignment = static_cast<std::size_t>(info[1].As<Napi::Number>().Int64Value());
  const std::size_t all = length + alignment;
  void* mapped = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return result(info, -1);
  auto* first = static_cast<std::uint8_t*>(mapped);
  const std::size_t before = (alignment - reinterpret_cast<std::uintptr_t>(mapped) % alignment) % alignment;
  // SAFETY: what is unmapped is the start and the end of the mapping that was just made; neither can be longer than it.
  if (before > 0) munmap(first, before);
  if (all - before > length) munmap(first + before + length, all - before - length);
  {
    const std::lock_guard<std::mutex> guard(reservationsLock);
    reservations[reinterpret_cast<std::uintptr_t>(first + before)] = {length, 1};
  }
  return show(info.Env(), first + before, static_cast<std::size_t>(info[0].As<Napi::Number>().Int64Value()));
}

// attach(address, length): a further buffer, in any thread, that shows what reserve() gave
Napi::Value attach(const Napi::CallbackInfo& info) {
  bool lossless = false;
  const auto address = static_cast<std::uintptr_t>(info[0].As<Napi::BigInt>().Uint64Value(&lossless));
  const auto length = static_cast<std::size_t>(info[1].As<Napi::Number>().Int64Value());
  {
    const std::lock_guard<std::mutex> guard(reservationsLock);
    const auto found = reservations.find(address);
    if (found == reservations.end() || length > found->second.length) {
      throw Napi::RangeError::New(info.Env(), "there is no reserved memory of that length at that address");
    }
    ++found->second.buffers;
  }
  // SAFETY: the range is mapped, and stays so as long as this buffer counts.
  return show(info.Env(), reinterpret_cast<void*>(address), length);
}

// mmap(view, protection, flags, descriptor, offset): mmap(2) with MAP_FIXED
Napi::Value map(const Napi::CallbackInfo& info) {
  const Span target = pagesOf(info[0]);
  // SAFETY: MAP_FIXED replaces what is mapped at the target, which is exactly the pages of the view: memory that the caller owns.
  // The engine neither moves nor grows the buffer behind it (the memory's initial size is its maximum), and gives the whole address
  // range back with munmap when the buffer is collected, whatever is mapped there then.
  void* mapped =
      mmap(target.data, target.length, intOf(info, 1), intOf(info, 2) | MAP_FIXED, intOf(info, 3), offsetOf(info, 4));
  return result(info, mapped == MAP_FAILED ? -1 : 0);
}

// probeMap(flags, descriptor): whether mmap(2) takes these flags for an open file of a page or more; nothing stays mapped, which would keep
// locks on the file
Napi::Value probeMap(const Napi::CallbackInfo& info) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, page, PROT_READ | PROT_WRITE, intOf(info, 0), intOf(info, 1), 0);
  if (mapped == MAP_FAILED) return result(info, -1);
  // SAFETY: this is the mapping that was just made, and nobody else knows of it.
  return result(info, munmap(mapped, page));
}

// madvise(view, advice): madvise(2)
Napi::Value advise(const Napi::CallbackInfo& info) {
  const Span target = pagesOf(info[0]);
  // SAFETY: the range is the pages of the view. Advice that drops contents (MADV_DONTNEED) is the caller's decision.
  return result(info, madvise(target.data, target.length, intOf(info, 1)));
}

class CacheFlush : public Napi::AsyncWorker {
 public:
  CacheFlush(Napi::Env env, const Napi::Object& view, std::vector<Span> spans)
      : AsyncWorker(env, "flushCache"),
        done(Napi::Promise::Deferred::New(env)),
        view_(Napi::Persistent(view)),
        spans_(std::move(spans)) {}

  const Napi::Promise::Deferred done;

 protected:
  void Execute() override {
    // SAFETY: the view, and so what it shows, lives as long as this object refers to it.
    for (const Span& span : spans_) flushCache(span.data, span.length);
  }
  void OnOK() override { done.Resolve(Env().Undefined()); }

 private:
  const Napi::ObjectReference view_;
  const std::vector<Span> spans_;
};

// flushCache(view, pairs): see cache-flush.h; for parts of the view, whose starts and ends are in a Float64Array, by turns. Gives a promise:
// a thread of the pool does it, so that several can be at it.
Napi::Value flush(const Napi::CallbackInfo& info) {
  const Span whole = spanOf(info[0]);
  const auto pairs = info[1].As<Napi::Float64Array>();
  std::vector<Span> spans;
  for (std::size_t index = 0; index + 1 < pairs.ElementLength(); index += 2) {
    const double start = pairs[index];
    const double end = pairs[index + 1];
    if (!(start >= 0 && start <= end && end <= static_cast<double>(whole.length))) {
      throw Napi::RangeError::New(info.Env(), "a part is not inside the view");
    }
    spans.push_back({whole.data + static_cast<std::size_t>(start), static_cast<std::size_t>(end - start)});
  }
  auto* work = new CacheFlush(info.Env(), info[0].As<Napi::Object>(), std::move(spans));
  const Napi::Promise promise = work->done.Promise();
  work->Queue();
  return promise;
}

// Of Linux 6.7 and later (linux/fs.h; Linux Documentation/admin-guide/mm/pagemap.rst), which headers may not have yet.
struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
struct ScanArgument {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walkEnd;
  std::uint64_t regions;
  std::uint64_t regionCount;
  std::uint64_t maximumPages;
  std::uint64_t invertedCategories;
  std::uint64_t allCategories;
  std::uint64_t anyCategories;
  std::uint64_t returnedCategories;
};
constexpr unsigned long pagemapScan = _IOWR('f', 16, ScanArgument);

// scanPagemap(descriptor, view, offset, pairs, all, inverted, any): ioctl(2) PAGEMAP_SCAN of the pages of a view from a byte offset on.
// Puts the offsets at which regions begin and end into a Float64Array, by turns, and gives how many regions there are; they go on behind
// the last of them if as many fit. Or a negated errno.
Napi::Value scanPagemap(const Napi::CallbackInfo& info) {
  const Span target = pagesOf(info[1]);
  // SAFETY: the pointer is only looked at as a number, here and by the kernel, which reads none of the memory.
  const auto address = reinterpret_cast<std::uint64_t>(target.data);
  std::array<PageRegion, 512> regions;
  auto pairs = info[3].As<Napi::Float64Array>();
  ScanArgument argument = {};
  argument.size = sizeof argument;
  argument.start = address + static_cast<std::uint64_t>(offsetOf(info, 2));
  argument.end = address + target.length;
  argument.regions = reinterpret_cast<std::uint64_t>(regions.data());
  argument.regionCount = std::min(regions.size(), pairs.ElementLength() / 2);
  argument.allCategories = info[4].As<Napi::Number>().Uint32Value();
  argument.invertedCategories = info[5].As<Napi::Number>().Uint32Value();
  argument.anyCategories = info[6].As<Napi::Number>().Uint32Value();
  // SAFETY: the kernel writes to the argument and to as many regions as it is told that there are; both live until the call returns.
  const int count = ioctl(intOf(info, 0), pagemapScan, &argument);
  for (int index = 0; index < count; ++index) {
    const PageRegion& region = regions[static_cast<std::size_t>(index)];
    pairs[static_cast<std::size_t>(2 * index)] = static_cast<double>(region.start - address);
    pairs[static_cast<std::size_t>(2 * index + 1)] = static_cast<double>(region.end - address);
  }
  return result(info, count);
}

// memfdCreate(name, flags): memfd_create(2), gives the descriptor
Napi::Value memfdCreate(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  // SAFETY: the string outlives the call, which copies the name.
  return result(info, memfd_create(name.c_str(), static_cast<unsigned>(intOf(info, 1))));
}

// fallocate(descriptor, mode, offset, length): fallocate(2)
Napi::Value allocate(const Napi::CallbackInfo& info) {
  return result(info, fallocate(intOf(info, 0), intOf(info, 1), offsetOf(info, 2), offsetOf(info, 3)));
}

class RangeAllocation : public Napi::AsyncWorker {
 public:
  RangeAllocation(Napi::Env env, int descriptor, int mode, off_t offset, off_t length)
      : AsyncWorker(env, "allocateRange"),
        done(Napi::Promise::Deferred::New(env)),
        descriptor_(descriptor),
        mode_(mode),
        offset_(offset),
        length_(length) {}

  const Napi::Promise::Deferred done;

 protected:
  void Execute() override {
    result_ = fallocate(descriptor_, mode_, offset_, length_) == 0 ? 0 : -errno;
  }
  void OnOK() override { done.Resolve(Napi::Number::New(Env(), result_)); }

 private:
  const int descriptor_;
  const int mode_;
  const off_t offset_;
  const off_t length_;
  int result_ = 0;
};

// allocateRange(descriptor, mode, offset, length): fallocate(2), by a thread of the pool. Gives a promise; the descriptor stays open until
// it is fulfilled, which is up to the caller.
Napi::Value allocateRange(const Napi::CallbackInfo& info) {
  auto* work = new RangeAllocation(info.Env(), intOf(info, 0), intOf(info, 1), offsetOf(info, 2), offsetOf(info, 3));
  const Napi::Promise promise = work->done.Promise();
  work->Queue();
  return promise;
}

// logicalBlockSize(descriptor): ioctl(2) BLKSSZGET of a block device
Napi::Value logicalBlockSize(const Napi::CallbackInfo& info) {
  int size = 0;
  // SAFETY: the kernel writes an int, which lives until the call returns.
  const int status = ioctl(intOf(info, 0), BLKSSZGET, &size);
  return result(info, status == 0 ? size : -1);
}

// lseek(descriptor, offset, whence): lseek(2), gives the offset
Napi::Value seek(const Napi::CallbackInfo& info) {
  return result(info, lseek(intOf(info, 0), offsetOf(info, 1), intOf(info, 2)));
}

// The range that a call names by its type, start and length. F_OFD_SETLK demands that l_pid is 0; l_len 0 means up to the end of the
// file, wherever that moves to.
struct flock lockRange(const Napi::CallbackInfo& info) {
  struct flock range = {};
  range.l_type = static_cast<short>(intOf(info, 1));
  range.l_whence = SEEK_SET;
  range.l_start = offsetOf(info, 2);
  range.l_len = offsetOf(info, 3);
  return range;
}

// lock(descriptor, type, start, length): fcntl(2) F_OFD_SETLK
Napi::Value lock(const Napi::CallbackInfo& info) {
  struct flock range = lockRange(info);
  // SAFETY: `range` lives until the call returns.
  return result(info, fcntl(intOf(info, 0), F_OFD_SETLK, &range));
}

// findLock(descriptor, type, start, length): fcntl(2) F_OFD_GETLK; 1 if another open file has a lock that conflicts, else 0
Napi::Value findLock(const Napi::CallbackInfo& info) {
  struct flock range = lockRange(info);
  // SAFETY: `range` lives until the call returns.
  const int status = fcntl(intOf(info, 0), F_OFD_GETLK, &range);
  return result(info, status == 0 ? (range.l_type == F_UNLCK ? 0 : 1) : -1);
}

// crc32(bytes, before): the CRC-32 of bytes, see page-checksum.h
Napi::Value bytesChecksum(const Napi::CallbackInfo& info) {
  const Span bytes = spanOf(info[0]);
  const std::uint32_t before = info[1].As<Napi::Number>().Uint32Value();
  // SAFETY: the span is as long as it says.
  return Napi::Number::New(info.Env(), checksumBytes(bytes.data, bytes.length, before));
}

// checksumPages(bytes, bitmap, before, removeZeroPages): the CRC-32 of pages, see page-checksum.h
Napi::Value pagesChecksum(const Napi::CallbackInfo& info) {
  const Span bytes = spanOf(info[0]);
  const Span bitmap = spanOf(info[1]);
  const std::size_t pages = bytes.length / guestPage;
  if (bytes.length % guestPage != 0 || pages > 256 || bitmap.length * 8 < pages) {
    throw Napi::RangeError::New(info.Env(), "the bytes are not whole pages with a bit for each");
  }
  // SAFETY: both spans are as long as was checked above.
  const std::uint32_t sum = checksumPages(bytes.data, pages, bitmap.data, info[2].As<Napi::Number>().Uint32Value(),
                                          info[3].As<Napi::Boolean>().Value());
  return Napi::Number::New(info.Env(), sum);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("addressOf", Napi::Function::New(env, addressOf));
  exports.Set("reserve", Napi::Function::New(env, reserve));
  exports.Set("attach", Napi::Function::New(env, attach));
  exports.Set("mmap", Napi::Function::New(env, map));
  exports.Set("probeMap", Napi::Function::New(env, probeMap));
  exports.Set("madvise", Napi::Function::New(env, advise));
  exports.Set("flushCache", Napi::Function::New(env, flush));
  exports.Set("scanPagemap", Napi::Function::New(env, scanPagemap));
  exports.Set("memfdCreate", Napi::Function::New(env, memfdCreate));
  exports.Set("fallocate", Napi::Function::New(env, allocate));
  exports.Set("lseek", Napi::Function::New(env, seek));
  exports.Set("lock", Napi::Function::New(env, lock));
  exports.Set("findLock", Napi::Function::New(env, findLock));
  exports.Set("allocateRange", Napi::Function::New(env, allocateRange));
  exports.Set("logicalBlockSize", Napi::Function::New(env, logicalBlockSize));
  if (canChecksum()) {
    exports.Set("crc32", Napi::Function::New(env, bytesChecksum));
    exports.Set("checksumPages", Napi::Function::New(env, pagesChecksum));
  }
  exports.Set("cacheFlushInstruction", Napi::String::New(env, cacheFlushInstruction()));
  exports.Set("pageSize", Napi::Number::New(env, static_cast<double>(sysconf(_SC_PAGESIZE))));
  return exports;
}

}  // namespace

NODE_API_MODULE(native_mman, init)
