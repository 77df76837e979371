/*
 * Three threads look names up, change the resolver, and free bufferevents that wait for a name,
 * while the loop runs in another thread, where the name server is, too. Every callback is called
 * once, those of look-ups that the resolver's end cuts off included.
 *
 *   names [OPERATIONS [SEED]]
 */
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <event2/util.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 3
/* Look-ups that wait at most, so that the queue does not only grow. */
#define WAITING 64

static struct event_base *base;
static struct evdns_base *dns;
static struct sockaddr_in server;
static atomic_ulong begun, called, after;
static atomic_bool over;
static unsigned long operations = 20000;
static unsigned first_seed = 1;

static unsigned rnd(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void note(void)
{
	atomic_fetch_add(&called, 1);
	if (atomic_load(&over))
		atomic_fetch_add(&after, 1);
}

static void on_records(int result, char type, int count, int ttl, void *addresses, void *arg)
{
	(void)result, (void)type, (void)count, (void)ttl, (void)addresses, (void)arg;
	note();
}

static void on_list(int result, struct evutil_addrinfo *list, void *arg)
{
	(void)result, (void)arg;
	if (list)
		evutil_freeaddrinfo(list);
	note();
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what, (void)arg;
}

static void on_request(struct evdns_server_request *request, void *arg)
{
	const struct evdns_server_question *question = request->questions[0];
	struct in_addr address = {htonl(INADDR_LOOPBACK)};

	(void)arg;
	if (question->name[0] == 's') {
		evdns_server_request_drop(request);
		return;
	}
	if (question->type == EVDNS_TYPE_A)
		evdns_server_request_add_a_reply(request, question->name, 1, &address, 60);
	evdns_server_request_respond(request, question->name[0] == 'n' ? DNS_ERR_NOTEXIST : 0);
}

static void one(unsigned *state)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	unsigned choice = rnd(state) % 64;
	char name[32];

	snprintf(name, sizeof(name), "%c%u.test", choice == 0 ? 's' : choice < 8 ? 'n' : 'y', rnd(state) % 1000);
	while (atomic_load(&begun) - atomic_load(&called) > WAITING)
		sched_yield();
	switch (rnd(state) % 6) {
	case 0:
		atomic_fetch_add(&begun, 1);
		evdns_base_resolve_ipv4(dns, name, 0, on_records, NULL);
		break;
	case 1:
		atomic_fetch_add(&begun, 1);
		evdns_base_resolve_ipv6(dns, name, 0, on_records, NULL);
		break;
	case 2:
		atomic_fetch_add(&begun, 1);
		evdns_getaddrinfo(dns, name, "80", &hints, on_list, NULL);
		break;
	case 3:
		evdns_base_set_option(dns, "ndots:", "2");
		evdns_base_count_nameservers(dns);
		break;
	case 4:
		evdns_base_search_add(dns, "more.test");
		evdns_base_search_clear(dns);
		break;
	default: {
		struct bufferevent *bev =
		    bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);

		bufferevent_setcb(bev, NULL, NULL, on_event, NULL);
		/* Nobody listens there. */
		bufferevent_socket_connect_hostname(bev, dns, AF_INET, name, 1);
		if (rnd(state) % 2)
			usleep(rnd(state) % 200);
		bufferevent_free(bev);
	}
	}
}

static void *work(void *arg)
{
	unsigned state = first_seed * 7919 + (unsigned)(size_t)arg + 1;

	for (unsigned long i = 0; i < operations / THREADS; i++)
		one(&state);
	return NULL;
}

static void *loop(void *arg)
{
	(void)arg;
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int main(int argc, char **argv)
{
	struct evdns_server_port *port;
	pthread_t threads[THREADS], looper;
	socklen_t length = sizeof(server);
	int fd;

	if (argc > 1)
		operations = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = (unsigned)atoi(argv[2]);
	evthread_use_pthreads();
	base = event_base_new();
	dns = evdns_base_new(base, 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&server, length) || getsockname(fd, (struct sockaddr *)&server, &length))
		return 1;
	port = evdns_add_server_port_with_base(base, fd, 0, on_request, NULL);
	evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&server, length, 0);
	evdns_base_set_option(dns, "timeout:", "0.2");
	evdns_base_set_option(dns, "attempts:", "1");
	/* Silent names are the test's, the server is never down. */
	evdns_base_set_option(dns, "max-timeouts:", "255");

	pthread_create(&looper, NULL, loop, NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	evdns_base_free(dns, 1);
	for (int tries = 0; tries < 2000 && atomic_load(&called) < atomic_load(&begun); tries++)
		usleep(10000);
	atomic_store(&over, true);
	event_base_loopbreak(base);
	pthread_join(looper, NULL);
	evdns_close_server_port(port);
	/* What is left of bufferevents ends in here. */
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	if (atomic_load(&called) != atomic_load(&begun)) {
		printf("%lu of %lu were called\n", atomic_load(&called), atomic_load(&begun));
		return 1;
	}
	printf("calls after the end %lu\n", atomic_load(&after));
	return 0;
}
