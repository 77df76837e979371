/*
 * An evhttp server that answers a client in a process of its own, with 64 bytes, on one connection. The client sends depth=N
 * requests at once (by default one) and then takes the answers: two system calls.
 *
 *   http_pair [msgs=N] [depth=N] [cpu=N] [life=SECONDS]
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

static const char request_text[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/* The bytes of an answer, which are as many each time. */
static size_t answer_length(const char *answer, size_t got)
{
	const char *end = memmem(answer, got, "\r\n\r\n", 4);

	return end ? (size_t)(end - answer) + 4 + BODY : 0;
}

static int ask(const struct sockaddr_in *address, long messages, long depth)
{
	static char requests[100 * sizeof request_text], answers[65536];
	size_t length = 0, each = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address))
		die("connect");
	no_delay(fd);
	for (long i = 0; i < depth && i < 100; i++, length += sizeof request_text - 1)
		memcpy(requests + length, request_text, sizeof request_text - 1);
	for (; messages > 0; messages -= depth) {
		size_t got = 0;

		if (send(fd, requests, length, 0) != (ssize_t)length)
			die("send");
		do {
			ssize_t n = recv(fd, answers + got, sizeof answers - got, 0);

			if (n <= 0)
				die("recv");
			got += n;
			if (!each)
				each = answer_length(answers, got);
		} while (!each || got < each * depth);
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
		_exit(ask(&address, argument(argc, argv, "msgs", 1000), argument(argc, argv, "depth", 1)));
	event_base_dispatch(base);
	evhttp_free(http);
	event_base_free(base);
	waitpid(client, &status, 0);
	return status != 0;
}
