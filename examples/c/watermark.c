/*
 * Reads what a server on this machine sends, in helpings of at least 128 bytes: the low watermark
 * keeps the read callback quiet until so many have come.
 *
 *   watermark PORT
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct info {
	const char *name;
	size_t total_drained;
};

static void read_callback(struct bufferevent *bev, void *ctx)
{
	struct info *inf = ctx;
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t len = evbuffer_get_length(input);

	if (len) {
		inf->total_drained += len;
		evbuffer_drain(input, len);
		printf("drained %zu bytes from %s\n", len, inf->name);
	}
}

static void event_callback(struct bufferevent *bev, short events, void *ctx)
{
	struct info *inf = ctx;
	struct evbuffer *input = bufferevent_get_input(bev);
	int finished = 0;

	if (events & BEV_EVENT_EOF) {
		printf("got a close from %s: drained %zu bytes from it, and %zu are left\n", inf->name,
		    inf->total_drained, evbuffer_get_length(input));
		finished = 1;
	}
	if (events & BEV_EVENT_ERROR) {
		printf("got an error from %s: %s\n", inf->name,
		    evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
		finished = 1;
	}
	if (finished) {
		free(ctx);
		bufferevent_free(bev);
	}
}

static struct bufferevent *setup_bufferevent(struct event_base *base, int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct bufferevent *bev;
	struct info *info1;

	info1 = malloc(sizeof(struct info));
	info1->name = "buffer 1";
	info1->total_drained = 0;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = htons(port);
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setwatermark(bev, EV_READ, 128, 0);
	bufferevent_setcb(bev, read_callback, NULL, event_callback, info1);
	bufferevent_enable(bev, EV_READ);
	if (bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		free(info1);
		bufferevent_free(bev);
		return NULL;
	}
	return bev;
}

int main(int argc, char **argv)
{
	struct event_base *base;

	if (argc != 2) {
		fprintf(stderr, "Usage: %s PORT\n", argv[0]);
		return 2;
	}
	base = event_base_new();
	if (!setup_bufferevent(base, atoi(argv[1])))
		return 1;
	event_base_dispatch(base);
	event_base_free(base);
	return 0;
}
