/*
 * An evhttp server that answers a client in a process of its own, one request after the other on one connection, with 64
 * bytes. The client makes two system calls for each: it sends, and it receives.
 *
 *   http_pair [msgs=N] [cpu=N] [life=SECONDS]
 */
#define _GNU_SOURCE
#include "bench.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <sys/wait.h>

enum { BODY = 64 };

static void on_close(struct evhttp_connection *connection, void *base)
{
	(void)connection;
	event_base_loopbreak(base);
}

static void on_request(struct evhttp_request *request, void *base)
{
	static const char body[BODY];

	evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_close, base);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
	evbuffer_add(evhttp_request_get_output_buffer(request), body, sizeof body);
	evhttp_send_reply(request, HTTP_OK, "OK", NULL);
}

static int ask(const struct sockaddr_in *address, long messages)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char answer[4096];

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address))
		die("connect");
	no_delay(fd);
	while (messages--) {
		size_t got = 0;
		char *end;

		if (send(fd, request, sizeof request - 1, 0) != sizeof request - 1)
			die("send");
		do {
			ssize_t n = recv(fd, answer + got, sizeof answer - got, 0);

			if (n <= 0)
				die("recv");
			got += n;
			end = memmem(answer, got, "\r\n\r\n", 4);
		} while (!end || answer + got < end + 4 + BODY);
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct evhttp_bound_socket *bound;
	struct event_base *base;
	struct evhttp *http;
	socklen_t length = sizeof address;
	int status = 1;
	pid_t client;

	settle(argc, argv);
	base = event_base_new();
	http = base ? evhttp_new(base) : NULL;
	if (!http)
		die("evhttp_new");
	evhttp_set_gencb(http, on_request, base);
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	if (!bound || getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length))
		die("bind");
	client = fork();
	if (client < 0)
		die("fork");
	if (client == 0)
		_exit(ask(&address, argument(argc, argv, "msgs", 1000)));
	event_base_dispatch(base);
	evhttp_free(http);
	event_base_free(base);
	waitpid(client, &status, 0);
	return status != 0;
}
