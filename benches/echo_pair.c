/*
 * Two bufferevents of one process, at the two ends of a socket pair, send one message to and fro.
 *
 *   echo_pair msgs=N [size=BYTES]
 *
 * Counting its system calls for two values of N tells what one round trip costs.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

static long left, size;
static char *message;

static void on_echo(struct bufferevent *bev, void *base)
{
	(void)base;
	bufferevent_write_buffer(bev, bufferevent_get_input(bev));
}

static void on_reply(struct bufferevent *bev, void *base)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	if (evbuffer_get_length(input) < (size_t)size)
		return;
	evbuffer_drain(input, size);
	if (--left)
		bufferevent_write(bev, message, size);
	else
		event_base_loopexit(base, NULL);
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct bufferevent *client, *server;
	int fds[2];

	settle(argc, argv);
	left = argument(argc, argv, "msgs", 1000);
	size = argument(argc, argv, "size", 512);
	message = calloc(1, size);
	base = event_base_new();
	if (!message || !base)
		die("event_base_new");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		die("socketpair");
	client = bufferevent_socket_new(base, fds[0], BEV_OPT_CLOSE_ON_FREE);
	server = bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE);
	if (!client || !server)
		die("bufferevent_socket_new");
	bufferevent_setcb(client, on_reply, NULL, NULL, base);
	bufferevent_setcb(server, on_echo, NULL, NULL, base);
	bufferevent_enable(client, EV_READ | EV_WRITE);
	bufferevent_enable(server, EV_READ | EV_WRITE);
	bufferevent_write(client, message, size);
	event_base_dispatch(base);
	bufferevent_free(client);
	bufferevent_free(server);
	event_base_free(base);
	free(message);
	return left != 0;
}
