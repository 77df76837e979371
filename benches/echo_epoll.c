/*
 * The same echo server with nothing between it and the kernel: level-triggered epoll, one read and
 * one write a message. It is the measure for the others.
 *
 *   echo_epoll [cpu=N] [life=SECONDS] [closes=N]
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sys/epoll.h>

enum { BATCH = 256, CHUNK = 64 * 1024 };

struct connection {
	int fd;
	/* What was read and not taken by the socket yet. While there is some, nothing is read. */
	char *owed;
	size_t start, end;
};

static char chunk[CHUNK];
static long closes;

static void watch(int epoll, struct connection *c, uint32_t events, int operation)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll, operation, c->fd, &event))
		die("epoll_ctl");
}

static void end(struct connection *c)
{
	close(c->fd);
	free(c->owed);
	free(c);
	if (closes && !--closes)
		exit(0);
}

static void keep(int epoll, struct connection *c, const char *bytes, size_t length)
{
	if (!c->owed && !(c->owed = malloc(CHUNK)))
		die("malloc");
	memcpy(c->owed, bytes, length);
	c->start = 0;
	c->end = length;
	watch(epoll, c, EPOLLOUT, EPOLL_CTL_MOD);
}

static void on_readable(int epoll, struct connection *c)
{
	ssize_t got = read(c->fd, chunk, CHUNK);
	ssize_t put;

	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			end(c);
		return;
	}
	put = write(c->fd, chunk, got);
	if (put < 0 && errno != EAGAIN) {
		end(c);
		return;
	}
	if (put < got)
		keep(epoll, c, chunk + (put < 0 ? 0 : put), got - (put < 0 ? 0 : put));
}

static void on_writable(int epoll, struct connection *c)
{
	ssize_t put = write(c->fd, c->owed + c->start, c->end - c->start);

	if (put < 0) {
		if (errno != EAGAIN)
			end(c);
		return;
	}
	c->start += put;
	if (c->start == c->end)
		watch(epoll, c, EPOLLIN, EPOLL_CTL_MOD);
}

static void on_connection(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = calloc(1, sizeof *c);

		if (!c)
			die("calloc");
		c->fd = fd;
		no_delay(fd);
		watch(epoll, c, EPOLLIN, EPOLL_CTL_ADD);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ready[BATCH];
	struct connection listener = { 0 };
	int epoll, n;

	settle(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	closes = argument(argc, argv, "closes", 0);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	listener.fd = listen_and_tell();
	watch(epoll, &listener, EPOLLIN, EPOLL_CTL_ADD);
	for (;;) {
		n = epoll_wait(epoll, ready, BATCH, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct connection *c = ready[i].data.ptr;

			if (c == &listener)
				on_connection(epoll, listener.fd);
			else if (ready[i].events & EPOLLOUT)
				on_writable(epoll, c);
			else
				on_readable(epoll, c);
		}
	}
}
