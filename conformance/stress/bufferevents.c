/*
 * Four threads write to bufferevents, set their callbacks, enable and disable them, and two threads free them and make
 * new ones, while the loop runs in one more: sockets, pairs, and filters over both, all of them thread-safe, half of
 * them with unlocked callbacks. Nothing may hang, and no callback may run with an argument that is gone: that goes by a
 * finalizer of the loop's, which runs after all that the freed bufferevent could have called.
 *
 *   bufferevents [OPERATIONS [SEED]]
 *
 * Compiled with WITH_TLS, all of them have TLS: on the sockets, or over the others, and under the filters.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/thread.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <dlfcn.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#include "../../crates/capi/include/event2/ferrevent.h"

/* Handshakes take their time, under helgrind above all: microseconds between two operations of a thread. */
#define PLACES 8
#define PAUSE 300
#define PAUSE_OF_FREERS 20000
#else
#define PLACES 32
#define PAUSE 0
#define PAUSE_OF_FREERS 200
#endif

#define WRITERS 4
#define FREERS 2

/* Two ends that are connected. */
struct place {
	pthread_rwlock_t alive; /* writers hold it for reading, who frees for writing */
	struct bufferevent *end[2];
};

static struct event_base *base;
static struct place places[PLACES];
static atomic_ulong calls, done;
static unsigned long operations;
static unsigned first_seed;

static unsigned rnd(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t length;

	(void)arg;
	atomic_fetch_add(&calls, 1);
	/* An answer now and then; otherwise it only takes what has come. */
	length = evbuffer_get_length(input);
	if (length > 64 && length < 4096)
		bufferevent_write(bev, "answer", 6);
	evbuffer_drain(input, length);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	(void)bev, (void)arg;
	atomic_fetch_add(&calls, 1);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what, (void)arg;
	atomic_fetch_add(&calls, 1);
}

static enum bufferevent_filter_result pass_on(struct evbuffer *src, struct evbuffer *dst,
    ev_ssize_t limit, enum bufferevent_flush_mode mode, void *context)
{
	(void)limit, (void)mode, (void)context;
	return evbuffer_remove_buffer(src, dst, evbuffer_get_length(src)) > 0 ? BEV_OK : BEV_NEED_MORE;
}

#ifdef WITH_TLS
static SSL_CTX *contexts[2];

/* A key that both have: without certificates and key exchange a handshake is cheap even under helgrind. */
static unsigned client_key(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
    unsigned char *key, unsigned max_key)
{
	(void)ssl, (void)hint, (void)max_key;
	snprintf(identity, max_identity, "stress");
	memset(key, 7, 16);
	return 16;
}

static unsigned server_key(SSL *ssl, const char *identity, unsigned char *key, unsigned max_key)
{
	(void)ssl, (void)identity, (void)max_key;
	memset(key, 7, 16);
	return 16;
}

static SSL_CTX *context(int server)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (!context || SSL_CTX_set_cipher_list(context, "PSK-AES128-GCM-SHA256") != 1)
		abort();
	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_psk_client_callback(context, server ? NULL : client_key);
	SSL_CTX_set_psk_server_callback(context, server ? server_key : NULL);
	return context;
}

/* The program is linked to libevent, which does not have it. */
static __typeof__(ferrevent_bufferevent_finish) *finish;

/* TLS on a socket, or over a bufferevent. */
static struct bufferevent *secure(struct bufferevent *below, int fd, int side, int options)
{
	enum bufferevent_ssl_state state = side ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
	SSL *ssl = SSL_new(contexts[side]);

	return below ? bufferevent_openssl_filter_new(base, below, ssl, state, options)
	             : bufferevent_openssl_socket_new(base, fd, ssl, state, options);
}
#endif

static void make(struct place *place, unsigned *seed)
{
	int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE;
	int i, fd[2];
#ifdef WITH_TLS
	int secured = 0;
#endif

	if (rnd(seed) % 2)
		options |= BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS;
	if (rnd(seed) % 2) {
		if (bufferevent_pair_new(base, options, place->end) != 0)
			abort();
	} else {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
			abort();
#ifdef WITH_TLS
		if (rnd(seed) % 2) {
			for (i = 0; i < 2; i++)
				place->end[i] = secure(NULL, fd[i], i, options);
			secured = 1;
		} else
#endif
			for (i = 0; i < 2; i++)
				place->end[i] = bufferevent_socket_new(base, fd[i], options);
	}
	for (i = 0; i < 2; i++) {
#ifdef WITH_TLS
		if (!secured)
			place->end[i] = secure(place->end[i], -1, i, options);
#endif
		if (rnd(seed) % 2)
			place->end[i] = bufferevent_filter_new(place->end[i], pass_on, pass_on,
			    options, NULL, NULL);
		if (!place->end[i])
			abort();
		bufferevent_setcb(place->end[i], on_read, on_write, on_event, NULL);
		bufferevent_enable(place->end[i], EV_READ | EV_WRITE);
	}
}

static void unmake(struct place *place, unsigned *seed)
{
	int first = rnd(seed) % 2;

	bufferevent_free(place->end[first]);
	bufferevent_free(place->end[!first]);
}

static void one_operation(struct bufferevent *bev, unsigned *seed)
{
	static const char data[200];

	switch (rnd(seed) % 12) {
	case 0:
		bufferevent_disable(bev, EV_READ);
		break;
	case 1:
		bufferevent_enable(bev, EV_READ | EV_WRITE);
		break;
	case 2:
		bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
		break;
	case 3:
		bufferevent_setcb(bev, on_read, on_write, on_event, NULL);
		break;
	case 4:
		bufferevent_flush(bev, EV_WRITE, BEV_FLUSH);
		break;
	case 5:
		bufferevent_setwatermark(bev, EV_READ, 0, rnd(seed) % 2 ? 300 : 0);
		break;
#ifdef WITH_TLS
	case 11:
		if (rnd(seed) % 64 == 0)
			finish(bev, NULL);
		break;
#endif
	case 6:
		bufferevent_lock(bev);
		evbuffer_drain(bufferevent_get_input(bev), 50);
		bufferevent_unlock(bev);
		break;
	default:
		bufferevent_write(bev, data, 1 + rnd(seed) % sizeof data);
		break;
	}
}

static void *write_some(void *arg)
{
	unsigned seed = first_seed * 7919 + (unsigned)(uintptr_t)arg * 104729 + 1;

	while (atomic_fetch_add(&done, 1) < operations) {
		struct place *place = &places[rnd(&seed) % PLACES];
		pthread_rwlock_rdlock(&place->alive);
		one_operation(place->end[rnd(&seed) % 2], &seed);
		pthread_rwlock_unlock(&place->alive);
		if (PAUSE > 0)
			usleep(PAUSE);
	}
	return NULL;
}

static void *free_some(void *arg)
{
	unsigned seed = first_seed * 7919 + (unsigned)(uintptr_t)arg * 104729 + 99;

	while (atomic_load(&done) < operations) {
		struct place *place = &places[rnd(&seed) % PLACES];
		pthread_rwlock_wrlock(&place->alive);
		unmake(place, &seed);
		make(place, &seed);
		pthread_rwlock_unlock(&place->alive);
		usleep(PAUSE_OF_FREERS);
	}
	return NULL;
}

static void *run(void *arg)
{
	(void)arg;
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t looper, threads[WRITERS + FREERS];
	unsigned long before;
	unsigned seed;
	int i;

	operations = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	first_seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	seed = first_seed;
	/* One end of a connection may go before the other. */
	signal(SIGPIPE, SIG_IGN);
#ifdef WITH_TLS
	for (i = 0; i < 2; i++)
		contexts[i] = context(i);
	*(void **)&finish = dlsym(RTLD_DEFAULT, "ferrevent_bufferevent_finish");
	if (!finish)
		abort();
#endif
	if (evthread_use_pthreads() != 0 || !(base = event_base_new()))
		abort();
	for (i = 0; i < PLACES; i++) {
		pthread_rwlock_init(&places[i].alive, NULL);
		make(&places[i], &seed);
	}
	pthread_create(&looper, NULL, run, NULL);
	for (i = 0; i < WRITERS + FREERS; i++)
		pthread_create(&threads[i], NULL, i < WRITERS ? write_some : free_some,
		    (void *)(uintptr_t)i);
	for (i = 0; i < WRITERS + FREERS; i++)
		pthread_join(threads[i], NULL);
	event_base_loopbreak(base);
	pthread_join(looper, NULL);
	for (i = 0; i < PLACES; i++)
		unmake(&places[i], &seed);
	before = atomic_load(&calls);
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (before == 0)
		printf("nothing was called\n");
	printf("calls after the end %lu\n", atomic_load(&calls) - before);
	event_base_free(base);
#ifdef WITH_TLS
	for (i = 0; i < 2; i++)
		SSL_CTX_free(contexts[i]);
#endif
	for (i = 0; i < PLACES; i++)
		pthread_rwlock_destroy(&places[i].alive);
	return 0;
}
