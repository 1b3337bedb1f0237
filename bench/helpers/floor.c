/* The smallest parent that a container can have: nothing but what it takes to see it end.
 *
 * floor PIDFILE ID COMMAND...: becomes a subreaper, runs COMMAND, which starts a container and writes its init's pid
 * into PIDFILE, and waits until init is dead. Then says so on standard output, one line in one write: ID, the instant
 * when waitid returned (CLOCK_MONOTONIC, nanoseconds), and the exit code as a shell has it. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 4 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return 64;
    pid_t command = fork();
    if (command == 0) {
        /* Ours is for one line only. */
        dup2(0, 1);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    int status;
    if (command < 0 || waitpid(command, &status, 0) < 0 || status != 0) return 65;
    FILE *file = fopen(argv[1], "re");
    int init = 0;
    if (!file || fscanf(file, "%d", &init) != 1) return 66;
    fclose(file);
    /* It is ours now: whoever waits for that sees it. */
    prctl(PR_SET_NAME, "floor");
    siginfo_t died;
    for (;;) {
        memset(&died, 0, sizeof died);
        if (waitid(P_ALL, 0, &died, WEXITED) != 0) return 67;
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        if (died.si_pid != init) continue;
        int code = died.si_status + (died.si_code == CLD_EXITED ? 0 : 128);
        uint64_t now = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
        return dprintf(1, "%s %llu %d\n", argv[2], (unsigned long long)now, code) > 0 ? 0 : 68;
    }
}
