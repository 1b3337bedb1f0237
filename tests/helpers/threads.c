// An init whose threads end in an order of their own.
//   exec N         another thread executes a shell that exits with N
//   group N        main ends first; then another thread ends the process with N
//   last N         main ends first, having said N; then the last thread ends
//   linger         main ends first; another thread stays until it is killed
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *mode;
static const char *number;

// Wait until the main thread is a zombie, so that the order is certain.
static void wait_for_main(void) {
    char state = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    while (state != 'Z') {
        FILE *stat = fopen(path, "r");
        if (!stat || fscanf(stat, "%*d %*s %c", &state) != 1) _exit(99);
        fclose(stat);
        usleep(1000);
    }
}

static void *other(void *unused) {
    (void)unused;
    if (!strcmp(mode, "exec")) {
        char script[32];
        snprintf(script, sizeof script, "exit %s", number);
        execl("/bin/sh", "sh", "-c", script, (char *)0);
        _exit(98);
    }
    wait_for_main();
    usleep(100000);
    if (!strcmp(mode, "group")) _exit(atoi(number));
    if (!strcmp(mode, "last")) syscall(SYS_exit, 55);
    for (;;) pause();
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc < 2) return 97;
    mode = argv[1];
    number = argc > 2 ? argv[2] : "0";
    if (pthread_create(&thread, 0, other, 0)) return 96;
    if (!strcmp(mode, "exec")) {
        for (;;) pause();
    }
    // Not pthread_exit: that would run the C library's way out with its own code.
    syscall(SYS_exit, !strcmp(mode, "last") ? atoi(number) : 44);
}
