// Executes sequences of instructions on the processor that the tests run on, in 64-bit mode or in compatibility mode, so
// that the interpreter's results can be compared with a real CPU's. Reads requests from standard input, writes an outcome
// for each sequence to standard output.
//
// A sequence starts by a return from a signal handler, which loads all registers, and ends with the next signal, whose
// frame has all of them: there is no code of the runner's around it, and the faults of a sequence are no special case.

#include <asm/prctl.h>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

namespace {

constexpr std::size_t page_size = 0x1000;

struct Page {
  std::uint64_t linear;
  int protection;
};

constexpr int data = PROT_READ | PROT_WRITE;
constexpr int code = PROT_READ | PROT_WRITE | PROT_EXEC;
constexpr std::uint64_t code_at = 0x10000000;
constexpr std::uint64_t low_at = 0x10010000;
constexpr std::uint64_t high_at = 0x23456789a000;
// The image's order: test/differential/address-space.ts has the same list.
constexpr Page pages[] = {
    {code_at, code},           {low_at + page_size, data}, {high_at, data},
    {code_at + page_size, code}, {low_at, data},             {high_at + page_size, data},
    {low_at + 2 * page_size, PROT_READ},
};
constexpr std::size_t page_count = sizeof pages / sizeof pages[0];
constexpr std::size_t cells_a_page = page_size / sizeof(std::uint64_t);

constexpr std::uint32_t request_sequence = 0;
constexpr std::uint32_t request_image = 1;
constexpr std::uint32_t request_flush = 2;

constexpr std::size_t legacy_size = 416;
constexpr std::size_t code_size = 480;
// What surrounds the code of sequences: not an instruction in 64-bit mode.
constexpr std::uint8_t filler = 0x06;

struct Request {
  std::uint32_t kind;
  // Selector of CS, and where in the two pages of code the sequence is.
  std::uint32_t selector;
  std::uint32_t code_offset;
  std::uint32_t code_length;
  std::uint64_t registers[16];
  std::uint64_t instruction_pointer;
  std::uint64_t flags;
  // FXSAVE image without what is reserved.
  std::uint8_t media[legacy_size];
  std::uint8_t code[code_size];
};
static_assert(sizeof(Request) == 1056);

struct Outcome {
  std::uint32_t signal;
  std::uint32_t vector;
  std::uint32_t error_code;
  // How many Difference records follow.
  std::uint32_t differences;
  std::uint64_t registers[16];
  std::uint64_t instruction_pointer;
  std::uint64_t flags;
  std::uint64_t fault_address;
  std::uint8_t media[legacy_size];
};
static_assert(sizeof(Outcome) == 584);

// An eight-byte cell of the image that the sequence changed.
struct Difference {
  std::uint64_t cell;
  std::uint64_t value;
};

constexpr int register_indices[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

// Ticks of the timer after which a sequence counts as endless.
constexpr int most_ticks = 4;
constexpr long tick_microseconds = 10000;

struct Base {
  long which;
  std::uint64_t value;
};

// Base of FS.
std::uint64_t thread_base;
// What memory holds before a sequence, its code included.
std::uint64_t base[page_count * cells_a_page];
std::size_t code_pages[2] = {0, 3};
Request request;
bool executing;
int ticks;

[[noreturn]] void fail(const char *what) {
  std::perror(what);
  _exit(2);
}

std::uint64_t *page_cells(std::size_t page) {
  // SAFETY: main mapped a page at each of these addresses, and nothing unmaps it.
  return reinterpret_cast<std::uint64_t *>(pages[page].linear);
}

void read_whole(void *buffer, std::size_t size) {
  if (std::fread(buffer, size, 1, stdin) != 1) _exit(std::feof(stdin) ? 0 : 2);
}

void write_whole(const void *buffer, std::size_t size) {
  if (std::fwrite(buffer, size, 1, stdout) != 1) fail("write");
}

// Writes the request's code, or what else is to be at its place, both to memory and to base.
void place_code(const std::uint8_t *bytes) {
  for (std::size_t index = 0; index < request.code_length; index++) {
    const std::size_t offset = request.code_offset + index;
    // SAFETY: prepare checked that the request's code lies in the two pages, which follow each other.
    reinterpret_cast<std::uint8_t *>(code_at)[offset] = bytes[index];
    const std::size_t page = code_pages[offset / page_size];
    // SAFETY: base has page_size bytes for each page.
    reinterpret_cast<std::uint8_t *>(base + page * cells_a_page)[offset % page_size] = bytes[index];
  }
}

// Writes the outcome and makes memory what it was before.
void report(int signal, const ucontext_t *context) {
  static Outcome outcome;
  static Difference differences[page_count * cells_a_page];
  const auto &general = context->uc_mcontext.gregs;
  outcome.signal = static_cast<std::uint32_t>(signal);
  outcome.vector = static_cast<std::uint32_t>(general[REG_TRAPNO]);
  outcome.error_code = static_cast<std::uint32_t>(general[REG_ERR]);
  outcome.fault_address = static_cast<std::uint64_t>(general[REG_CR2]);
  for (int index = 0; index < 16; index++) {
    outcome.registers[index] = static_cast<std::uint64_t>(general[register_indices[index]]);
  }
  outcome.instruction_pointer = static_cast<std::uint64_t>(general[REG_RIP]);
  outcome.flags = static_cast<std::uint64_t>(general[REG_EFL]);
  // SAFETY: fpregs points to an FXSAVE image, which is longer than legacy_size.
  std::memcpy(outcome.media, context->uc_mcontext.fpregs, legacy_size);

  std::size_t count = 0;
  for (std::size_t page = 0; page < page_count; page++) {
    if ((pages[page].protection & PROT_WRITE) == 0) continue;
    std::uint64_t *now = page_cells(page);
    const std::uint64_t *before = base + page * cells_a_page;
    // SAFETY: both are page_size bytes long.
    if (std::memcmp(now, before, page_size) == 0) continue;
    for (std::size_t cell = 0; cell < cells_a_page; cell++) {
      if (now[cell] == before[cell]) continue;
      differences[count++] = {page * cells_a_page + cell, now[cell]};
      now[cell] = before[cell];
    }
  }
  outcome.differences = static_cast<std::uint32_t>(count);
  static std::uint8_t filling[code_size];
  std::memset(filling, filler, sizeof filling);
  place_code(filling);
  write_whole(&outcome, sizeof outcome);
  if (count > 0) write_whole(differences, count * sizeof(Difference));
}

// Reads requests up to the next sequence, and loads the context that the handler returns to with it.
void prepare(ucontext_t *context) {
  for (;;) {
    read_whole(&request, sizeof request);
    if (request.kind == request_sequence) break;
    if (request.kind == request_flush) {
      std::fflush(stdout);
      continue;
    }
    read_whole(base, sizeof base);
    for (std::size_t page = 0; page < page_count; page++) {
      const bool writable = (pages[page].protection & PROT_WRITE) != 0;
      if (!writable) mprotect(page_cells(page), page_size, data);
      // SAFETY: base has page_size bytes for each page.
      std::memcpy(page_cells(page), base + page * cells_a_page, page_size);
      if (!writable) mprotect(page_cells(page), page_size, pages[page].protection);
    }
  }
  if (request.code_length > code_size || request.code_offset + request.code_length > 2 * page_size) _exit(3);
  place_code(request.code);

  auto &general = context->uc_mcontext.gregs;
  for (int index = 0; index < 16; index++) {
    general[register_indices[index]] = static_cast<greg_t>(request.registers[index]);
  }
  general[REG_RIP] = static_cast<greg_t>(request.instruction_pointer);
  general[REG_EFL] = static_cast<greg_t>(request.flags);
  // The lowest quarter of this one is CS, the highest SS.
  const auto selectors = static_cast<std::uint64_t>(general[REG_CSGSFS]);
  general[REG_CSGSFS] = static_cast<greg_t>((selectors & 0x0000ffffffff0000) | request.selector | (0x2bULL << 48));
  // SAFETY: the frame has an XSAVE area with at least the legacy region and the header, whose first word tells which
  // components are in it.
  auto *area = reinterpret_cast<std::uint8_t *>(context->uc_mcontext.fpregs);
  std::uint32_t mask;
  std::memcpy(&mask, area + 28, sizeof mask);
  std::memcpy(area, request.media, legacy_size);
  std::memcpy(area + 28, &mask, sizeof mask);
  std::uint64_t components;
  std::memcpy(&components, area + 512, sizeof components);
  components |= 3;
  std::memcpy(area + 512, &components, sizeof components);
  executing = true;
  ticks = 0;
}

// A sequence that jumped into the middle of its instructions may have loaded segment registers. With the base of FS go
// this program's thread-local variables, so that no function of the library may be called before.
void restore_segments() {
  const std::uint16_t user_data = 0x2b;
  asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(user_data));
  for (const auto &[which, base] : {Base{ARCH_SET_FS, thread_base}, Base{ARCH_SET_GS, high_at + page_size}}) {
    long result;
    asm volatile("syscall" : "=a"(result) : "a"(SYS_arch_prctl), "D"(which), "S"(base) : "rcx", "r11", "memory");
  }
}

void on_signal(int signal, siginfo_t *, void *frame) {
  restore_segments();
  // SAFETY: the kernel passes a ucontext_t to a handler that was installed with SA_SIGINFO.
  auto *context = static_cast<ucontext_t *>(frame);
  if (signal == SIGALRM && (!executing || ++ticks < most_ticks)) return;
  if (executing) report(signal, context);
  prepare(context);
}

}  // namespace

int main() {
  for (const Page &page : pages) {
    // SAFETY: a fresh mapping of one page at an address where nothing is; MAP_FIXED_NOREPLACE fails otherwise.
    void *mapped = mmap(reinterpret_cast<void *>(page.linear), page_size, page.protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
    if (mapped == MAP_FAILED) fail("mmap");
  }
  static std::uint8_t stack[256 * 1024];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  if (sigaltstack(&alternate, nullptr) != 0) fail("sigaltstack");
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int signal : {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGALRM, SIGSYS}) sigaddset(&action.sa_mask, signal);
  for (int signal : {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGALRM, SIGSYS}) sigaction(signal, &action, nullptr);

  if (syscall(SYS_arch_prctl, ARCH_GET_FS, &thread_base) != 0) fail("arch_prctl");
  // A sequence that jumps into the middle of its instructions may happen on SYSCALL: then it gets a signal. The libraries
  // and this program are above 4 GiB; kernels before Linux 5.11 cannot do that.
  static char selector = 1;
#ifdef PR_SET_SYSCALL_USER_DISPATCH
  const std::uint64_t limit = 0x100000000;
  prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, limit, 0x7fffffffffff - limit, &selector);
#endif
  itimerval timer = {};
  timer.it_interval.tv_usec = timer.it_value.tv_usec = tick_microseconds;
  setitimer(ITIMER_REAL, &timer, nullptr);
  setvbuf(stdin, nullptr, _IOFBF, 1 << 16);
  setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
  std::raise(SIGILL);
  return 1;
}
