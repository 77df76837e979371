/*
 * Six threads use events of three bases whose loops run in three more threads, and wait for each callback that must
 * come: a wake-up that was lost would be seen here, and so would a callback that runs after event_del or event_free has
 * returned. The loops are broken and left all the time, and signals go to all bases at once.
 *
 *   wakeups [ROUNDS [SEED]]
 */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BASES 3
#define THREADS 6
#define PATIENCE 30 /* seconds */

struct item {
	struct event *ev;
	struct event memory; /* used for every other one */
	pthread_mutex_t mutex;
	pthread_cond_t called;
	unsigned calls;
	atomic_bool running, gone;
};

enum kind { READER, WRITER, TIMER, SIGNALS, KINDS };

static struct event_base *bases[BASES];
static const struct timeval *common[BASES];
static int pairs[THREADS][2];
static atomic_bool stop;
static atomic_ulong calls, loops, onces, onces_added;
static long rounds;
static unsigned first_seed;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static unsigned rnd(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct item *item = arg;

	(void)fd, (void)what;
	if (atomic_load(&item->gone))
		fail("called after the event has gone");
	atomic_store(&item->running, true);
	atomic_fetch_add(&calls, 1);
	pthread_mutex_lock(&item->mutex);
	item->calls++;
	pthread_cond_broadcast(&item->called);
	pthread_mutex_unlock(&item->mutex);
	atomic_store(&item->running, false);
}

static void on_once(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	atomic_fetch_add(&onces, 1);
}

static unsigned calls_of(struct item *item)
{
	pthread_mutex_lock(&item->mutex);
	unsigned number = item->calls;
	pthread_mutex_unlock(&item->mutex);
	return number;
}

/* Waits until it has been called more often than `before`. */
static void await(struct item *item, unsigned before, const char *what)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE;
	pthread_mutex_lock(&item->mutex);
	while (item->calls == before)
		if (pthread_cond_timedwait(&item->called, &item->mutex, &limit) == ETIMEDOUT)
			fail(what);
	pthread_mutex_unlock(&item->mutex);
}

static void check(int result, const char *what)
{
	if (result != 0)
		fail(what);
}

static struct item *make(struct event_base *base, enum kind kind, int fd, int signal_number, unsigned *seed)
{
	static const short whats[KINDS] = { EV_READ, EV_WRITE, 0, EV_SIGNAL };
	struct item *item = calloc(1, sizeof *item);
	short what = whats[kind] | (rnd(seed) % 2 ? EV_PERSIST : 0);
	int number = kind == SIGNALS ? signal_number : kind == TIMER ? -1 : fd;

	pthread_mutex_init(&item->mutex, NULL);
	pthread_cond_init(&item->called, NULL);
	if (rnd(seed) % 2) {
		item->ev = &item->memory;
		check(event_assign(item->ev, base, number, what, on_event, item), "event_assign");
	} else {
		item->ev = event_new(base, number, what, on_event, item);
		check(item->ev == NULL, "event_new");
	}
	event_priority_set(item->ev, rnd(seed) % 3);
	return item;
}

static void destroy(struct item *item)
{
	if (item->ev == &item->memory)
		event_del(item->ev);
	else
		event_free(item->ev);
	if (atomic_load(&item->running))
		fail("runs after the event has gone");
	atomic_store(&item->gone, true);
	memset(&item->memory, 0x5a, sizeof item->memory);
	pthread_mutex_destroy(&item->mutex);
	pthread_cond_destroy(&item->called);
	free(item);
}

static int count_event(const struct event_base *base, const struct event *ev, void *arg)
{
	(void)base, (void)ev;
	++*(int *)arg;
	return 0;
}

/* Things that must happen, and are waited for. */
static void wait_for_one(struct item *item, enum kind kind, int pair[2], int signal_number, unsigned *seed)
{
	struct timeval tv = { 0, rnd(seed) % 3000 };
	unsigned before = calls_of(item);
	char bytes[64];

	switch (kind) {
	case READER:
		check(event_add(item->ev, NULL), "event_add");
		check(write(pair[1], "x", 1) != 1, "write");
		await(item, before, "readable, and nobody was told");
		event_del(item->ev);
		while (read(pair[0], bytes, sizeof bytes) > 0)
			;
		break;
	case WRITER:
		check(event_add(item->ev, rnd(seed) % 2 ? &tv : NULL), "event_add");
		await(item, before, "writable, and nobody was told");
		event_del(item->ev);
		break;
	case SIGNALS:
		check(event_add(item->ev, NULL), "event_add");
		kill(getpid(), signal_number);
		await(item, before, "a signal has come, and nobody was told");
		event_del(item->ev);
		break;
	default:
		check(event_add(item->ev, &tv), "event_add");
		if (rnd(seed) % 2)
			event_active(item->ev, EV_WRITE, 1);
		await(item, before, "a timer was not told");
	}
}

/* Things that others may notice. */
static void meddle(struct item *item, int b, unsigned *seed)
{
	struct timeval tv = { 0, rnd(seed) % 3000 };
	int count = 0;

	switch (rnd(seed) % 8) {
	case 0:
		check(event_base_loopbreak(bases[b]), "event_base_loopbreak");
		break;
	case 1:
		check(event_base_loopexit(bases[b], rnd(seed) % 2 ? &tv : NULL), "event_base_loopexit");
		break;
	case 2:
		check(event_base_once(bases[b], -1, EV_TIMEOUT, on_once, NULL, &tv), "event_base_once");
		atomic_fetch_add(&onces_added, 1);
		break;
	case 3:
		event_base_foreach_event(bases[b], count_event, &count);
		break;
	case 4:
		event_base_loopcontinue(bases[b]);
		event_remove_timer(item->ev);
		break;
	case 5:
		event_base_active_by_signal(bases[b], SIGUSR1);
		event_base_get_num_events(bases[b], EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE);
		break;
	case 6:
		check(event_add(item->ev, common[b]), "event_add");
		event_del(item->ev);
		if (atomic_load(&item->running))
			fail("runs after event_del");
		break;
	default: {
		unsigned before = calls_of(item);

		event_active(item->ev, EV_READ, 1);
		await(item, before, "activated, and not called");
	}
	}
}

static void *run_thread(void *arg)
{
	intptr_t me = (intptr_t)arg;
	unsigned seed = first_seed + 7919u * (unsigned)(me + 1);

	for (long n = 0; n < rounds; n++) {
		int b = rnd(&seed) % BASES, signal_number = rnd(&seed) % 2 ? SIGUSR1 : SIGUSR2;
		enum kind kind = rnd(&seed) % KINDS;
		struct item *item = make(bases[b], kind, pairs[me][0], signal_number, &seed);

		for (int left = rnd(&seed) % 4; left >= 0; left--) {
			if (rnd(&seed) % 2)
				wait_for_one(item, kind, pairs[me], signal_number, &seed);
			else
				meddle(item, b, &seed);
		}
		destroy(item);
	}
	return NULL;
}

static void *run_loop(void *base)
{
	while (!atomic_load(&stop)) {
		event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
		atomic_fetch_add(&loops, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t loop_threads[BASES], threads[THREADS];
	struct sigaction action;

	rounds = argc > 1 ? atol(argv[1]) : 5000;
	first_seed = argc > 2 ? (unsigned)atol(argv[2]) : 1;
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	evthread_use_pthreads();
	for (intptr_t b = 0; b < BASES; b++) {
		struct timeval tv = { 0, 500 + b };

		bases[b] = event_base_new();
		check(event_base_priority_init(bases[b], 3), "event_base_priority_init");
		common[b] = event_base_init_common_timeout(bases[b], &tv);
		pthread_create(&loop_threads[b], NULL, run_loop, bases[b]);
	}
	for (intptr_t t = 0; t < THREADS; t++) {
		check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[t]), "socketpair");
		pthread_create(&threads[t], NULL, run_thread, (void *)t);
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	/* They have three milliseconds at most. */
	for (int n = 0; n < PATIENCE * 100 && atomic_load(&onces) < atomic_load(&onces_added); n++)
		usleep(10000);
	atomic_store(&stop, true);
	for (int b = 0; b < BASES; b++) {
		event_base_loopexit(bases[b], NULL);
		pthread_join(loop_threads[b], NULL);
		event_base_free(bases[b]);
	}
	check(sigaction(SIGUSR1, NULL, &action) != 0 || action.sa_handler != SIG_IGN, "the handler is not back");
	printf("calls after the end 0\n");
	fprintf(stderr, "%lu calls in %lu loops, %lu of %lu once\n", atomic_load(&calls), atomic_load(&loops),
		atomic_load(&onces), atomic_load(&onces_added));
	return atomic_load(&onces) != atomic_load(&onces_added);
}
