/*
 * Serves a name by DNS (127.0.0.1, port 53), and a page at the name's address (port 80), while a
 * command runs. Ends with the command's status.
 *
 *   serve_name NAME ADDRESS PAGE COMMAND...
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *the_name, *the_page;
static struct in_addr the_address;
static struct event_base *base;
static int status = 1;

static struct sockaddr_in at(struct in_addr address, int port)
{
	struct sockaddr_in sin;

	memset(&sin, 0, sizeof(sin));
	sin.sin_family = AF_INET;
	sin.sin_addr = address;
	sin.sin_port = htons(port);
	return sin;
}

/* Somebody asks for a name. */
static void asked(struct evdns_server_request *request, void *ctx)
{
	int error = DNS_ERR_NOTEXIST;
	int i;

	(void)ctx;
	for (i = 0; i < request->nquestions; i++) {
		const struct evdns_server_question *question = request->questions[i];

		if (strcasecmp(question->name, the_name))
			continue;
		error = DNS_ERR_NONE;
		if (question->type == EVDNS_TYPE_A)
			evdns_server_request_add_a_reply(request, question->name, 1, &the_address, 60);
	}
	evdns_server_request_respond(request, error);
}

/* The page has been sent. */
static void sent(struct bufferevent *bev, void *ctx)
{
	(void)ctx;
	bufferevent_free(bev);
}

/* A request: what it says does not matter once it is whole. */
static void requested(struct bufferevent *bev, void *ctx)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);

	(void)ctx;
	if (end.pos < 0)
		return;
	bufferevent_setcb(bev, NULL, sent, NULL, NULL);
	evbuffer_add_printf(bufferevent_get_output(bev), "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
	    strlen(the_page), the_page);
}

static void gone(struct bufferevent *bev, short events, void *ctx)
{
	(void)events;
	(void)ctx;
	bufferevent_free(bev);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len,
    void *ctx)
{
	struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)listener;
	(void)sa;
	(void)len;
	(void)ctx;
	bufferevent_setcb(bev, requested, NULL, gone, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* The command has ended. */
static void ended(evutil_socket_t signal, short what, void *ctx)
{
	int code;

	(void)signal;
	(void)what;
	(void)ctx;
	if (waitpid(-1, &code, WNOHANG) > 0 && WIFEXITED(code))
		status = WEXITSTATUS(code);
	event_base_loopexit(base, NULL);
}

int main(int argc, char **argv)
{
	struct in_addr here;
	struct sockaddr_in dns_at, page_at;
	struct evdns_server_port *port;
	struct evconnlistener *listener;
	struct event *child;
	int socket_fd;

	if (argc < 5 || inet_pton(AF_INET, argv[2], &the_address) != 1) {
		fprintf(stderr, "Usage: %s NAME ADDRESS PAGE COMMAND...\n", argv[0]);
		return 2;
	}
	the_name = argv[1];
	the_page = argv[3];
	base = event_base_new();

	here.s_addr = htonl(INADDR_LOOPBACK);
	dns_at = at(here, 53);
	socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (bind(socket_fd, (struct sockaddr *)&dns_at, sizeof(dns_at))) {
		perror("port 53");
		return 1;
	}
	port = evdns_add_server_port_with_base(base, socket_fd, 0, asked, NULL);
	page_at = at(the_address, 80);
	listener = evconnlistener_new_bind(base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
	    -1, (struct sockaddr *)&page_at, sizeof(page_at));
	if (!listener) {
		perror("port 80");
		return 1;
	}
	child = evsignal_new(base, SIGCHLD, ended, NULL);
	event_add(child, NULL);
	if (fork() == 0) {
		execvp(argv[4], argv + 4);
		perror(argv[4]);
		_exit(127);
	}
	event_base_dispatch(base);
	event_free(child);
	evconnlistener_free(listener);
	evdns_close_server_port(port);
	event_base_free(base);
	return status;
}
