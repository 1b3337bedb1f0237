/* What runs in every contestant's containers: notes its first instant, waits at a gate, notes its last one.
 *
 * guest DIR [CODE]: DIR/times holds two 64-bit numbers, CLOCK_MONOTONIC in nanoseconds: of the first instruction of
 * main, and of the last before the end. DIR/gate is a FIFO: a byte in it is the command to end. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

int main(int argc, char **argv) {
    uint64_t begin = now();
    if (argc < 2 || chdir(argv[1]) != 0) return 64;
    int file = open("times", O_RDWR | O_CLOEXEC);
    if (file < 0) return 65;
    volatile uint64_t *times = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (times == MAP_FAILED) return 66;
    int code = argc > 2 ? atoi(argv[2]) : 0;
    times[0] = begin;
    /* Both directions: nobody waits for anybody to open it. */
    int gate = open("gate", O_RDWR | O_CLOEXEC);
    char byte;
    if (gate < 0 || read(gate, &byte, 1) != 1) return 67;
    times[1] = now();
    _exit(code);
}
