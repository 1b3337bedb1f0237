/* Makes N children that do nothing, and says their pids, one a line. Then it does what it is told, a line each, and
 * says "ok":
 *   end PID CODE   the child exits with that code, or is killed if it is negative; it is a zombie then
 *   reap PID       it is reaped
 * At the end of its input, or its own, all are killed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void be(pid_t parent, const sigset_t *told)
{
	siginfo_t what;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(99);
	close(0);
	close(1);
	while (sigwaitinfo(told, &what) < 0)
		;
	_exit(what.si_value.sival_int);
}

int main(int argc, char **argv)
{
	int count = argc == 2 ? atoi(argv[1]) : -1, pid, code;
	char line[64];
	pid_t self = getpid();
	sigset_t told;
	if (count < 0 || setpgid(0, 0))
		return 90;
	sigemptyset(&told);
	sigaddset(&told, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &told, NULL);
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child < 0)
			return 91;
		if (!child)
			be(self, &told);
		/* Not by stdio: what it keeps back a child would have too. */
		dprintf(1, "%d\n", child);
	}
	while (fgets(line, sizeof line, stdin)) {
		siginfo_t how;
		int done;
		if (sscanf(line, "end %d %d", &pid, &code) == 2) {
			union sigval value = { .sival_int = code };
			done = (code < 0 ? kill(pid, SIGKILL) : sigqueue(pid, SIGRTMIN, value)) == 0 &&
				waitid(P_PID, pid, &how, WEXITED | WNOWAIT) == 0;
		} else {
			done = sscanf(line, "reap %d", &pid) == 1 && waitid(P_PID, pid, &how, WEXITED) == 0;
		}
		dprintf(1, "%s\n", done ? "ok" : "no");
	}
	signal(SIGTERM, SIG_IGN);
	/* The group is theirs and ours. */
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return 0;
}
