/*
 * A guest's /init that notices whether something of it was lost: it fills memory, as many MiB as `mebibytes=` on the kernel's
 * command line says, and a file that has no name any more with random words, prints their sums, and goes on for ever printing the
 * time, ten times a second, and the sums, taken anew in steps.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { file_words = 32 << 10, steps = 16 };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* xorshift64 */
static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* FNV-1a, word by word. */
static uint64_t add(uint64_t sum, const uint64_t *words, size_t count) {
  for (size_t index = 0; index < count; index++) sum = (sum ^ words[index]) * 0x100000001b3;
  return sum;
}

static uint64_t sum_of_file(int file, uint64_t *buffer) {
  ssize_t size = file_words * sizeof *buffer;
  if (pread(file, buffer, size, 0) != size) fail("pread");
  return add(0, buffer, file_words);
}

static void print_sums(const char *what, uint64_t memory, uint64_t file) {
  printf("%s memory %016llx file %016llx\n", what, (unsigned long long)memory, (unsigned long long)file);
}

static void print_time(unsigned tick) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  double uptime = 0;
  FILE *stream = fopen("/proc/uptime", "r");
  if (stream == NULL || fscanf(stream, "%lf", &uptime) != 1) fail("/proc/uptime");
  fclose(stream);
  printf("tick %u monotonic %ld.%03ld uptime %.2f\n", tick, now.tv_sec, now.tv_nsec / 1000000, uptime);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("cpr guest: userspace is up");
  if (mount("proc", "/proc", "proc", 0, NULL) != 0) fail("mount");

  /* The kernel makes what it does not know of its command line /init's environment. */
  const char *mebibytes = getenv("mebibytes");
  size_t size = (size_t)(mebibytes == NULL ? 64 : atoi(mebibytes)) << 20;
  size_t words = size / sizeof(uint64_t), words_per_step = words / steps;
  uint64_t state;
  if (getrandom(&state, sizeof state, GRND_INSECURE) != sizeof state) fail("getrandom");
  state |= 1;
  uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t *buffer = malloc(file_words * sizeof *buffer);
  if (memory == MAP_FAILED || buffer == NULL) fail("memory");
  for (size_t index = 0; index < words; index++) memory[index] = next_random(&state);
  for (size_t index = 0; index < file_words; index++) buffer[index] = next_random(&state);

  int file = open("/held-open", O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0 || write(file, buffer, file_words * sizeof *buffer) < 0 || unlink("/held-open") != 0) fail("/held-open");
  print_sums("filled", add(0, memory, words), sum_of_file(file, buffer));

  uint64_t sum = 0;
  for (unsigned tick = 0;; tick++) {
    print_time(tick);
    unsigned step = tick % steps;
    sum = add(step == 0 ? 0 : sum, memory + step * words_per_step, words_per_step);
    if (step == steps - 1) print_sums("again", sum, sum_of_file(file, buffer));
    usleep(100000);
  }
}
