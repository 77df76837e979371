#include "board.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <string.h>

static struct evconnlistener *listener;

static void on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *peer, int len,
    void *arg)
{
	struct event_base *base = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	(void)lev;
	(void)peer;
	(void)len;
	if (bev)
		session_start(base, bev);
	else
		evutil_closesocket(fd);
}

int server_start(struct event_base *base)
{
	struct sockaddr_in address;
	socklen_t len = sizeof address;

	memset(&address, 0, sizeof address);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, on_accept, base,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1,
	    (struct sockaddr *)&address, sizeof address);
	if (!listener ||
	    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &len))
		return -1;
	return ntohs(address.sin_port);
}

void server_stop(struct event_base *base)
{
	(void)base;
	if (listener)
		evconnlistener_free(listener);
	listener = NULL;
}
