/*
 * A load for a Linux guest that finds out whether anything of its state was lost: it hashes memory, computes with SSE and
 * x87 while signals interrupt it, forks, sends data through pipes and watches the clock. It tells each round that
 * begins. The last line has a hash that depends on everything that was computed and on nothing else, so it is the
 * same on every machine.
 *
 * Usage: self-check ROUNDS
 */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 256 * 1024 };

static uint64_t memory[WORDS];
static volatile sig_atomic_t alarms;
static volatile double disturbed = 1.0;

/* Uses the same registers as the computation that it interrupts. */
static void on_alarm(int number)
{
    (void)number;
    long double sum = 0;
    for (int i = 1; i < 20; i++)
        sum += 1.0L / i;
    disturbed = (double)sum * sqrt(disturbed);
    alarms++;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value;
    hash *= 0x100000001b3ull;
    return hash ^ (hash >> 29);
}

static uint64_t bits(double value)
{
    uint64_t result;
    memcpy(&result, &value, sizeof result);
    return result;
}

static uint64_t shuffle_memory(uint64_t seed)
{
    uint64_t hash = seed;
    for (int i = 0; i < WORDS; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        uint64_t other = memory[seed % WORDS];
        memory[seed % WORDS] = memory[i] + i;
        memory[i] = other ^ seed;
        hash = mix(hash, memory[i]);
    }
    char text[4096];
    memmove(text, memory, sizeof text);
    text[4095] = 0;
    return mix(hash, strlen(text) + (uint64_t)(memchr(text, 0x41, sizeof text) != NULL));
}

static uint64_t compute(uint64_t hash)
{
    double x = 0.5, y = 1.5;
    float f = 1.25f;
    long double extended = 1.0L;
    for (int i = 1; i <= 2000; i++) {
        x = x * 3.7 * (1 - x);
        y = sqrt(y * y + 1.0 / i);
        f = f * 1.0001f + 0.125f;
        extended = extended / 3.0L + (long double)i / 7.0L;
        hash = mix(hash, (uint64_t)(int64_t)(x * 1e15) + (uint64_t)(uint32_t)(int32_t)(f * 1000));
    }
    hash = mix(hash, bits(y));
    unsigned char raw[16] = {0};
    memcpy(raw, &extended, 10);
    for (int i = 0; i < 10; i++)
        hash = mix(hash, raw[i]);
    return hash;
}

static uint64_t ask_child(uint64_t hash)
{
    int to[2], from[2];
    if (pipe(to) != 0 || pipe(from) != 0)
        return 0;
    pid_t child = fork();
    if (child == 0) {
        uint64_t value;
        if (read(to[0], &value, sizeof value) != sizeof value)
            _exit(1);
        value = mix(value, memory[value % WORDS]);
        memory[0] = value; /* copy on write: the parent must not see it */
        _exit(write(from[1], &value, sizeof value) == sizeof value ? 42 : 1);
    }
    uint64_t before = memory[0], answer = 0;
    int status = 0;
    ssize_t sent = write(to[1], &hash, sizeof hash);
    ssize_t got;
    do
        got = read(from[0], &answer, sizeof answer);
    while (got < 0);
    while (waitpid(child, &status, 0) < 0)
        ;
    close(to[0]), close(to[1]), close(from[0]), close(from[1]);
    if (sent != sizeof hash || got != sizeof answer || WEXITSTATUS(status) != 42 || memory[0] != before)
        return 0;
    return mix(hash, answer);
}

int main(int count, char **words)
{
    int rounds = count > 1 ? atoi(words[1]) : 10;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval interval = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    uint64_t hash = 0xcbf29ce484222325ull;
    struct timespec last = {0, 0}, now;
    for (int round = 0; round < rounds; round++) {
        printf("round %d\n", round);
        fflush(stdout);
        hash = mix(hash, shuffle_memory(0x9e3779b97f4a7c15ull + round));
        hash = compute(hash);
        uint64_t answer = ask_child(hash);
        if (answer == 0) {
            printf("self-check failed: child in round %d\n", round);
            return 1;
        }
        hash = answer;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec < last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec)) {
            printf("self-check failed: the clock went back in round %d\n", round);
            return 1;
        }
        last = now;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    if (alarms == 0)
        printf("self-check failed: no timer signal came\n");
    else
        printf("self-check passed %016llx\n", (unsigned long long)hash);
    return alarms == 0;
}
