#include "board.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <unistd.h>

static struct evbuffer *lines;
static struct event *timer;
static int file = -1;

static void flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	while (evbuffer_get_length(lines) && evbuffer_write(lines, file) > 0)
		;
}

int journal_start(struct event_base *base, const char *path)
{
	file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	lines = evbuffer_new();
	timer = evtimer_new(base, flush, NULL);
	return file < 0 || !lines || !timer ? -1 : 0;
}

void journal_line(struct event_base *base, const char *text)
{
	const struct timeval soon = {0, 20000};
	(void)base;
	evbuffer_add_printf(lines, "%s\n", text);
	if (!event_pending(timer, EV_TIMEOUT, NULL))
		event_add(timer, &soon);
}

void journal_stop(struct event_base *base)
{
	journal_line(base, "end");
	flush(-1, 0, NULL);
	event_free(timer);
	evbuffer_free(lines);
	close(file);
}
