/*
 * Starts a connection to a port of this machine and reports what came of it.
 *
 *   connect PORT
 */
#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void event_cb(struct bufferevent *bev, short events, void *ptr)
{
	(void)bev;
	(void)ptr;
	if (events & BEV_EVENT_CONNECTED)
		printf("connected\n");
	else if (events & BEV_EVENT_ERROR)
		printf("error: %s\n", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct bufferevent *bev;
	struct sockaddr_in sin;

	if (argc != 2) {
		fprintf(stderr, "Usage: %s PORT\n", argv[0]);
		return 2;
	}
	base = event_base_new();
	memset(&sin, 0, sizeof(sin));
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = htons(atoi(argv[1]));

	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, NULL, NULL, event_cb, NULL);
	if (bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		/* It could not even be started. */
		bufferevent_free(bev);
		return 1;
	}
	event_base_dispatch(base);

	bufferevent_free(bev);
	event_base_free(base);
	return 0;
}
