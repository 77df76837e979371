/*
 * An echo server on bufferevents, as a user of libevent writes it. The same binary is measured on
 * every library.
 *
 *   echo_bufferevent [cpu=N] [life=SECONDS] [closes=N]
 *
 * Prints its port. Ends after closes=N connections have ended, and never by default.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

static long closes;

static void on_read(struct bufferevent *bev, void *base)
{
	(void)base;
	bufferevent_write_buffer(bev, bufferevent_get_input(bev));
}

static void on_event(struct bufferevent *bev, short what, void *base)
{
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	bufferevent_free(bev);
	if (closes && !--closes)
		event_base_loopbreak(base);
}

static void on_connection(evutil_socket_t listener, short what, void *base)
{
	int fd;

	(void)what;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

		if (!bev)
			die("bufferevent_socket_new");
		no_delay(fd);
		bufferevent_setcb(bev, on_read, NULL, on_event, base);
		bufferevent_enable(bev, EV_READ | EV_WRITE);
	}
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct event *listener;

	settle(argc, argv);
	closes = argument(argc, argv, "closes", 0);
	base = event_base_new();
	if (!base)
		die("event_base_new");
	listener = event_new(base, listen_and_tell(), EV_READ | EV_PERSIST, on_connection, base);
	if (!listener || event_add(listener, NULL))
		die("event_add");
	event_base_dispatch(base);
	event_free(listener);
	event_base_free(base);
	return 0;
}
