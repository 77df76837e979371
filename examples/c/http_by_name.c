/*
 * A trivial HTTP/1.0 client. The host's name is looked up by a DNS base, which asks the servers of
 * /etc/resolv.conf while the loop runs.
 *
 *   http_by_name HOST RESOURCE
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
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
		printf("connect success\n");
	} else if (events & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) {
		if (events & BEV_EVENT_ERROR) {
			int err = bufferevent_socket_get_dns_error(bev);

			if (err)
				printf("DNS error %d: %s\n", err, evutil_gai_strerror(err));
		}
		printf("Closing connection\n");
		bufferevent_free(bev);
		event_base_loopexit(base, NULL);
	}
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct evdns_base *dns_base;
	struct bufferevent *bev;

	if (argc != 3) {
		fprintf(stderr, "Usage: %s HOST RESOURCE\n", argv[0]);
		return 2;
	}
	base = event_base_new();
	dns_base = evdns_base_new(base, 1);
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, readcb, NULL, eventcb, base);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	evbuffer_add_printf(bufferevent_get_output(bev), "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[2],
	    argv[1]);
	bufferevent_socket_connect_hostname(bev, dns_base, AF_UNSPEC, argv[1], 80);
	event_base_dispatch(base);
	evdns_base_free(dns_base, 0);
	event_base_free(base);
	return 0;
}
