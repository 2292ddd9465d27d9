/* Prints the TSC and the nanoseconds of CLOCK_MONOTONIC at the same moment: the former goes on when a kernel is replaced by kexec. */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

int main(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  unsigned long long tsc = __rdtsc();
  printf("%llu %llu\n", tsc, now.tv_sec * 1000000000ull + now.tv_nsec);
  return 0;
}
