/* A runtime that is no script. NAME adds its arguments to NAME.calls and becomes NAME.real; after a `create` that
   succeeded it first has NAME.after run, a shell script, if there is one, with the process' pid. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4096];

static const char *beside(const char *name, const char *what)
{
	snprintf(path, sizeof path, "%s.%s", name, what);
	return path;
}

int main(int argc, char **argv)
{
	const char *name = argv[0];
	const char *pid_file = NULL;
	int create = 0, status;
	pid_t child;
	FILE *calls = fopen(beside(name, "calls"), "ae");

	for (int i = 1; i < argc; i++) {
		if (calls)
			fprintf(calls, "%s%s", argv[i], i + 1 < argc ? " " : "\n");
		create |= !strcmp(argv[i], "create");
		if (!strcmp(argv[i], "--pid-file") && i + 1 < argc)
			pid_file = argv[i + 1];
	}
	if (calls)
		fclose(calls);
	child = create && !access(beside(name, "after"), R_OK) ? fork() : 0;
	if (child < 0)
		return 1;
	if (child == 0) {
		execv(beside(name, "real"), argv);
		return 127;
	}
	if (waitpid(child, &status, 0) < 0 || status != 0)
		return 1;
	if (pid_file) {
		char command[9000];
		snprintf(command, sizeof command, "sh '%s' $(cat '%s')", beside(name, "after"), pid_file);
		return system(command) != 0;
	}
	return 1;
}
