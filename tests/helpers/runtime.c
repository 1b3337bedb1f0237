// A runtime with runc's command line whose containers are single processes: forked, and left to whoever is the
// subreaper. Cheap, so that there can be thousands of them.
//   [--root DIR] [OPTION VALUE]... create --bundle DIR --pid-file FILE ID
//   ... start|delete|state [--force] ID
// A container exits with the code that its bundle's name ends in when SIGTERM comes; nothing else has a
// handler. Delete forgets it, and kills nobody.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int code;
static void leave(int signal) { (void)signal; _exit(code); }

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static int put(const char *path, int pid) {
    char text[16];
    int length = snprintf(text, sizeof text, "%d", pid);
    int file = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, text, length) != length) return -1;
    return close(file);
}

static int create(const char *dir, const char *bundle, const char *pid_file) {
    if (!bundle || !pid_file) { errno = EINVAL; return fail("create"); }
    if (mkdir(dir, 0700)) return fail(dir);
    const char *end = strrchr(bundle, '-');
    code = end ? atoi(end + 1) : 0;
    // Before the fork: no signal finds the child without it.
    signal(SIGTERM, leave);
    int pid = fork();
    if (pid < 0) return fail("fork");
    if (!pid) {
        setsid();
        for (;;) pause();
    }
    if (put(pid_file, pid)) {
        kill(pid, SIGKILL);
        return fail(pid_file);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *root = "/run/sexton-fake", *verb = 0, *bundle = 0, *pid_file = 0, *id = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "--force")) continue;
        if (!strncmp(word, "--", 2) && i + 1 < argc) {
            const char *value = argv[++i];
            if (!strcmp(word, "--root")) root = value;
            if (!strcmp(word, "--bundle")) bundle = value;
            if (!strcmp(word, "--pid-file")) pid_file = value;
        } else if (!verb) verb = word;
        else id = word;
    }
    if (!verb || !id) { fprintf(stderr, "a verb and an id are needed\n"); return 1; }
    char dir[PATH_MAX];
    mkdir(root, 0700);
    snprintf(dir, sizeof dir, "%s/%s", root, id);
    if (!strcmp(verb, "create")) return create(dir, bundle, pid_file);
    if (!strcmp(verb, "delete")) return rmdir(dir) && errno != ENOENT ? fail(dir) : 0;
    if (access(dir, F_OK)) return fail(dir);
    return 0;
}
