/* board JOURNAL: a notice board on a port of its own, until SIGTERM. */
#include "board.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

static void on_term(evutil_socket_t sig, short what, void *arg)
{
	struct event_base *base = arg;
	(void)sig;
	(void)what;
	server_stop(base);
	session_stop(base);
	event_base_loopexit(base, NULL);
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	journal_line(arg, "hup");
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct event *term = base ? evsignal_new(base, SIGTERM, on_term, base) : NULL;
	struct event *hup = base ? evsignal_new(base, SIGHUP, on_hup, base) : NULL;
	int port;

	/* Who has gone does not end all others. */
	signal(SIGPIPE, SIG_IGN);
	if (argc != 2 || !term || !hup || event_add(term, NULL) || event_add(hup, NULL)) {
		fprintf(stderr, "usage: board JOURNAL\n");
		return 2;
	}
	if (journal_start(base, argv[1])) {
		fprintf(stderr, "board: cannot write %s\n", argv[1]);
		return 1;
	}
	store_start(base, session_changed);
	port = server_start(base);
	if (port < 0) {
		fprintf(stderr, "board: cannot listen\n");
		return 1;
	}
	printf("listening on 127.0.0.1:%d\n", port);
	fflush(stdout);

	event_base_dispatch(base);

	store_stop(base);
	journal_stop(base);
	event_free(term);
	event_free(hup);
	event_base_free(base);
	return 0;
}
