/*
 * Asks /dev/kvm what it can do and runs two small guests in 64-bit mode: one that counts, one that leaves to the host again
 * and again. Prints a line `NAME VALUE` for each answer; ends with status 1 when something that every KVM can do fails.
 * The sections named are those of Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { memory_size = 2 << 20, code_at = 0x8000, loop_iterations = 50000000, exit_count = 20000 };

static void fail(const char *what) {
  fprintf(stderr, "kvm-probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int request(int descriptor, const char *what, unsigned long number, unsigned long argument) {
  int result = ioctl(descriptor, number, argument);
  if (result < 0) fail(what);
  return result;
}

#define REQUEST(descriptor, name, argument) request(descriptor, #name, name, (unsigned long)(argument))

/* 4.4 KVM_CHECK_EXTENSION */
static void print_capabilities(int kvm) {
#define CAPABILITY(name) printf("%s %d\n", #name, ioctl(kvm, KVM_CHECK_EXTENSION, name))
  CAPABILITY(KVM_CAP_NR_VCPUS);
  CAPABILITY(KVM_CAP_MAX_VCPUS);
  CAPABILITY(KVM_CAP_NR_MEMSLOTS);
  CAPABILITY(KVM_CAP_IRQCHIP);
  CAPABILITY(KVM_CAP_SPLIT_IRQCHIP);
  CAPABILITY(KVM_CAP_PIT2);
  CAPABILITY(KVM_CAP_TSC_CONTROL);
  CAPABILITY(KVM_CAP_GET_TSC_KHZ);
  CAPABILITY(KVM_CAP_TSC_DEADLINE_TIMER);
  CAPABILITY(KVM_CAP_ADJUST_CLOCK);
  CAPABILITY(KVM_CAP_KVMCLOCK_CTRL);
  CAPABILITY(KVM_CAP_IMMEDIATE_EXIT);
  CAPABILITY(KVM_CAP_SYNC_REGS);
  CAPABILITY(KVM_CAP_XSAVE);
  CAPABILITY(KVM_CAP_XSAVE2);
  CAPABILITY(KVM_CAP_XCRS);
  CAPABILITY(KVM_CAP_DEBUGREGS);
  CAPABILITY(KVM_CAP_VCPU_EVENTS);
  CAPABILITY(KVM_CAP_EXCEPTION_PAYLOAD);
  CAPABILITY(KVM_CAP_NESTED_STATE);
  CAPABILITY(KVM_CAP_X2APIC_API);
  CAPABILITY(KVM_CAP_SIGNAL_MSI);
  CAPABILITY(KVM_CAP_IRQFD);
  CAPABILITY(KVM_CAP_IOEVENTFD);
  CAPABILITY(KVM_CAP_READONLY_MEM);
  CAPABILITY(KVM_CAP_DIRTY_LOG_RING);
  CAPABILITY(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
  CAPABILITY(KVM_CAP_X86_USER_SPACE_MSR);
#undef CAPABILITY
}

struct feature {
  const char *name;
  uint32_t leaf, subleaf;
  enum { eax, ebx, ecx, edx } where;
  int bit;
};

static const struct feature features[] = {
    {"sse2", 1, 0, edx, 26},          {"sse3", 1, 0, ecx, 0},         {"ssse3", 1, 0, ecx, 9},
    {"cx16", 1, 0, ecx, 13},          {"sse4_1", 1, 0, ecx, 19},      {"sse4_2", 1, 0, ecx, 20},
    {"x2apic", 1, 0, ecx, 21},        {"movbe", 1, 0, ecx, 22},       {"popcnt", 1, 0, ecx, 23},
    {"tsc_deadline", 1, 0, ecx, 24},  {"aes", 1, 0, ecx, 25},         {"xsave", 1, 0, ecx, 26},
    {"avx", 1, 0, ecx, 28},           {"rdrand", 1, 0, ecx, 30},      {"fsgsbase", 7, 0, ebx, 0},
    {"bmi1", 7, 0, ebx, 3},           {"avx2", 7, 0, ebx, 5},         {"smep", 7, 0, ebx, 7},
    {"bmi2", 7, 0, ebx, 8},           {"erms", 7, 0, ebx, 9},         {"invpcid", 7, 0, ebx, 10},
    {"rdseed", 7, 0, ebx, 18},        {"smap", 7, 0, ebx, 20},        {"clflushopt", 7, 0, ebx, 23},
    {"umip", 7, 0, ecx, 2},           {"xsaveopt", 13, 1, eax, 0},    {"xsavec", 13, 1, eax, 1},
    {"syscall", 0x80000001, 0, edx, 11}, {"nx", 0x80000001, 0, edx, 20},
    {"pdpe1gb", 0x80000001, 0, edx, 26}, {"rdtscp", 0x80000001, 0, edx, 27},
    {"lm", 0x80000001, 0, edx, 29},   {"lahf_lm", 0x80000001, 0, ecx, 0},
    {"svm", 0x80000001, 0, ecx, 2},   {"invariant_tsc", 0x80000007, 0, edx, 8},
};

/* 4.46 KVM_GET_SUPPORTED_CPUID */
static struct kvm_cpuid2 *supported_cpuid(int kvm) {
  enum { entries = 256 };
  struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + entries * sizeof cpuid->entries[0]);
  cpuid->nent = entries;
  REQUEST(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
  return cpuid;
}

static void print_features(const struct kvm_cpuid2 *cpuid) {
  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
    const struct feature *each = &features[i];
    int present = 0;
    for (uint32_t j = 0; j < cpuid->nent; j++) {
      const struct kvm_cpuid_entry2 *entry = &cpuid->entries[j];
      if (entry->function != each->leaf || entry->index != each->subleaf) continue;
      const uint32_t registers[] = {entry->eax, entry->ebx, entry->ecx, entry->edx};
      present = registers[each->where] >> each->bit & 1;
    }
    printf("%s %d\n", each->name, present);
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Puts the vCPU in 64-bit mode at `code_at`, the first 2 MiB mapped to themselves. */
static void enter_long_mode(int vcpu, uint8_t *memory) {
  enum { pml4_at = 0x1000, pdpt_at = 0x2000, directory_at = 0x3000 };
  *(uint64_t *)(memory + pml4_at) = pdpt_at | 3;
  *(uint64_t *)(memory + pdpt_at) = directory_at | 3;
  *(uint64_t *)(memory + directory_at) = 0x83;
  struct kvm_sregs system;
  REQUEST(vcpu, KVM_GET_SREGS, &system);
  system.cr0 = 0x80050033;
  system.cr3 = pml4_at;
  system.cr4 = 0x20;
  system.efer = 0x500;
  struct kvm_segment segment = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
  system.cs = segment;
  segment.selector = 16, segment.type = 3, segment.l = 0, segment.db = 1;
  system.ds = system.es = system.fs = system.gs = system.ss = segment;
  REQUEST(vcpu, KVM_SET_SREGS, &system);
}

/* Runs code from the start until it halts; returns how often it left to the host before that. */
static int run(int vcpu, struct kvm_run *shared, uint8_t *memory, const uint8_t *code, size_t length, uint64_t rcx) {
  memcpy(memory + code_at, code, length);
  struct kvm_regs registers = {.rip = code_at, .rcx = rcx, .rflags = 2};
  REQUEST(vcpu, KVM_SET_REGS, &registers);
  for (int exits = 0;; exits++) {
    REQUEST(vcpu, KVM_RUN, 0);
    if (shared->exit_reason == KVM_EXIT_HLT) return exits;
    if (shared->exit_reason != KVM_EXIT_IO) {
      fprintf(stderr, "kvm-probe: the guest left for reason %u\n", shared->exit_reason);
      exit(1);
    }
  }
}

int main(void) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail("/dev/kvm");
  printf("api_version %d\n", REQUEST(kvm, KVM_GET_API_VERSION, 0));
  print_capabilities(kvm);
  struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);
  print_features(cpuid);

  int vm = REQUEST(kvm, KVM_CREATE_VM, 0);
  uint8_t *memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  struct kvm_userspace_memory_region region = {.memory_size = memory_size, .userspace_addr = (uintptr_t)memory};
  REQUEST(vm, KVM_SET_USER_MEMORY_REGION, &region);
  int vcpu = REQUEST(vm, KVM_CREATE_VCPU, 0);
  REQUEST(vcpu, KVM_SET_CPUID2, cpuid);
  printf("tsc_khz %d\n", ioctl(vcpu, KVM_GET_TSC_KHZ, 0));
  size_t shared_size = (size_t)REQUEST(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run *shared = mmap(NULL, shared_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (shared == MAP_FAILED) fail("mmap of a vCPU");
  enter_long_mode(vcpu, memory);

  /* dec rcx; jnz; hlt */
  static const uint8_t counting[] = {0x48, 0xff, 0xc9, 0x75, 0xfb, 0xf4};
  double started = now();
  run(vcpu, shared, memory, counting, sizeof counting, loop_iterations);
  printf("instructions_per_second %.0f\n", 2.0 * loop_iterations / (now() - started));

  /* out 0x80, al; dec rcx; jnz; hlt */
  static const uint8_t leaving[] = {0xe6, 0x80, 0x48, 0xff, 0xc9, 0x75, 0xf9, 0xf4};
  started = now();
  int exits = run(vcpu, shared, memory, leaving, sizeof leaving, exit_count);
  printf("exits %d\n", exits);
  printf("exits_per_second %.0f\n", exits / (now() - started));
  return 0;
}
