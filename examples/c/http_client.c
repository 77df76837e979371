/*
 * A trivial HTTP/1.0 client: prints what the server answers. Without a DNS base, the host name is
 * looked up by the system, and the call waits for it.
 *
 *   http_client HOST PORT PATH
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void readcb(struct bufferevent *bev, void *ctx)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	char buf[1024];
	int n;

	(void)ctx;
	while ((n = evbuffer_remove(input, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, n, stdout);
}

static void eventcb(struct bufferevent *bev, short events, void *ctx)
{
	struct event_base *base = ctx;

	if (events & BEV_EVENT_CONNECTED) {
		fprintf(stderr, "connect okay\n");
	} else if (events & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) {
		if (events & BEV_EVENT_ERROR) {
			int err = bufferevent_socket_get_dns_error(bev);

			if (err)
				printf("DNS error %d\n", err);
		}
		fprintf(stderr, "closing\n");
		bufferevent_free(bev);
		event_base_loopexit(base, NULL);
	}
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct bufferevent *bev;

	if (argc != 4) {
		fprintf(stderr, "Usage: %s HOST PORT PATH\n", argv[0]);
		return 2;
	}
	base = event_base_new();
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, readcb, NULL, eventcb, base);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	evbuffer_add_printf(bufferevent_get_output(bev), "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[3],
	    argv[1]);
	bufferevent_socket_connect_hostname(bev, NULL, AF_UNSPEC, argv[1], atoi(argv[2]));
	event_base_dispatch(base);
	event_base_free(base);
	return 0;
}
