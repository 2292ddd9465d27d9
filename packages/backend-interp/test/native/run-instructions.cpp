// Executes single instructions on the processor that the tests run on, so that the interpreter's results can be compared
// with a real CPU's. Reads cases from standard input, writes outcomes to standard output; both are fixed-size records.
//
// An instruction finds its memory operand at [rdi]; RAX, RCX, RDX, RBX, the flags and all x87 and XMM registers are those
// of the case.

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

namespace {

constexpr std::size_t memory_size = 128;

struct alignas(16) Case {
  std::uint8_t image[512];
  std::uint8_t memory[memory_size];
  std::uint64_t registers[4];
  std::uint64_t flags;
  std::uint8_t length;
  std::uint8_t code[15];
  std::uint8_t padding[8];
};
static_assert(sizeof(Case) == 704);

struct alignas(16) Outcome {
  std::uint8_t image[512];
  std::uint8_t memory[memory_size];
  std::uint64_t registers[4];
  std::uint64_t flags;
  std::uint64_t signal;
};
static_assert(sizeof(Outcome) == 688);

sigjmp_buf escape;
Outcome *current;

void on_signal(int signal, siginfo_t *, void *context) {
  // SAFETY: the kernel passes a ucontext_t to a handler that was installed with SA_SIGINFO.
  auto *state = static_cast<ucontext_t *>(context);
  current->signal = static_cast<std::uint64_t>(signal);
  if (state->uc_mcontext.fpregs != nullptr) {
    // SAFETY: fpregs points to an FXSAVE image, which is 512 bytes long.
    std::memcpy(current->image, state->uc_mcontext.fpregs, sizeof current->image);
  }
  siglongjmp(escape, 1);
}

}  // namespace

extern "C" void execute(const Case *input, Outcome *output, const void *code);

asm(R"(
.intel_syntax noprefix
.text
.globl execute
.type execute, @function
execute:
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  mov r12, rdi
  mov r13, rsi
  mov r14, rdx
  fxrstor64 [r12]
  lea rdi, [r13 + 512]
  mov rax, [r12 + 640]
  mov rcx, [r12 + 648]
  mov rdx, [r12 + 656]
  mov rbx, [r12 + 664]
  push qword ptr [r12 + 672]
  popfq
  call r14
  pushfq
  pop qword ptr [r13 + 672]
  fxsave64 [r13]
  mov [r13 + 640], rax
  mov [r13 + 648], rcx
  mov [r13 + 656], rdx
  mov [r13 + 664], rbx
  fninit
  cld
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret
.att_syntax prefix
)");

int main() {
  // SAFETY: a fresh private mapping of one page, used only as the buffer for an instruction and a RET.
  auto *code = static_cast<std::uint8_t *>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (code == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  for (int signal : {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP}) sigaction(signal, &action, nullptr);

  static Case input;
  static Outcome output;
  const std::uint32_t default_mxcsr = 0x1f80;
  while (std::fread(&input, sizeof input, 1, stdin) == 1) {
    std::memset(&output, 0, sizeof output);
    std::memcpy(output.memory, input.memory, sizeof output.memory);
    // SAFETY: length is at most 15 and the buffer is a page.
    std::memcpy(code, input.code, input.length);
    code[input.length] = 0xc3;
    current = &output;
    if (sigsetjmp(escape, 1) == 0) {
      execute(&input, &output, code);
    }
    asm volatile("fninit\n\tldmxcsr %0" : : "m"(default_mxcsr));
    if (std::fwrite(&output, sizeof output, 1, stdout) != 1) return 1;
  }
  return 0;
}
