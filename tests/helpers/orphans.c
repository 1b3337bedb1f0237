// Makes N orphans by forking twice. They all end at once, when SIGUSR1 comes.
//   orphans N stay   then sleeps until SIGUSR2, and exits with 7
//   orphans N leave  exits with 7 at the same moment as they do
// Says that all is ready by making /gate/ready.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) return 90;
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigaddset(&wanted, SIGUSR2);
    sigprocmask(SIG_BLOCK, &wanted, 0);
    int gate[2];
    if (pipe(gate)) return 91;
    for (int i = atoi(argv[1]); i > 0; i--) {
        pid_t child = fork();
        if (child < 0) return 92;
        if (!child) {
            pid_t orphan = fork();
            if (orphan < 0) _exit(93);
            if (!orphan) {
                char byte;
                close(gate[1]);
                _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
            }
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status) return 94;
    }
    if (creat("/gate/ready", 0600) < 0) return 95;
    int signal;
    sigwait(&wanted, &signal);
    close(gate[1]);
    if (!strcmp(argv[2], "leave")) _exit(7);
    while (signal != SIGUSR2) sigwait(&wanted, &signal);
    _exit(7);
}
