/*
 * Eight threads add, delete, activate, free and make anew events on four bases whose loops run in four more threads.
 * Every event belongs to one thread, but is called back in its base's. After event_free has returned its argument is
 * poisoned and freed: a callback that still ran would be seen here, and by valgrind.
 *
 *   events [OPERATIONS [SEED]]
 */
#include <event2/event.h>
#include <event2/thread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BASES 4
#define THREADS 8
#define EVENTS 16 /* of each thread */
#define ALIVE 0x616c697665u
#define DEAD 0x64656164u

struct item {
	struct event *ev;
	uint64_t state;
};

static struct event_base *bases[BASES];
static int readable[BASES]; /* always readable */
static int quiet[BASES]; /* never readable */
static atomic_ulong calls, poisoned;
static long operations;
static unsigned first_seed;

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
	if (item->state != ALIVE)
		atomic_fetch_add(&poisoned, 1);
	atomic_fetch_add(&calls, 1);
}

static struct item *make(unsigned *seed)
{
	struct item *item = malloc(sizeof *item);
	int b = rnd(seed) % BASES;
	short persist = rnd(seed) % 2 ? EV_PERSIST : 0;

	item->state = ALIVE;
	switch (rnd(seed) % 4) {
	case 0: /* an always readable descriptor, once: a persistent one would keep its loop busy with itself */
		item->ev = event_new(bases[b], readable[b], EV_READ, on_event, item);
		break;
	case 1:
		item->ev = event_new(bases[b], quiet[b], EV_READ | persist, on_event, item);
		break;
	case 2:
		item->ev = event_new(bases[b], readable[b], EV_WRITE, on_event, item);
		break;
	default:
		item->ev = event_new(bases[b], -1, persist, on_event, item);
	}
	if (!item->ev) {
		fprintf(stderr, "event_new failed\n");
		exit(1);
	}
	return item;
}

static void destroy(struct item *item)
{
	event_free(item->ev); /* waits for a callback that runs */
	item->state = DEAD;
	free(item);
}

static void *run_thread(void *arg)
{
	struct item *items[EVENTS];
	unsigned seed = first_seed + 7919u * (unsigned)(intptr_t)arg;

	for (int i = 0; i < EVENTS; i++)
		items[i] = make(&seed);
	for (long n = 0; n < operations / THREADS; n++) {
		struct item **item = &items[rnd(&seed) % EVENTS];
		struct timeval tv = { 0, rnd(&seed) % 2000 };

		switch (rnd(&seed) % 8) {
		case 0:
		case 1:
			event_add((*item)->ev, rnd(&seed) % 2 ? &tv : NULL);
			break;
		case 2:
		case 3:
			event_del((*item)->ev);
			break;
		case 4:
			event_active((*item)->ev, EV_READ, 1);
			break;
		case 5:
			event_pending((*item)->ev, EV_READ | EV_WRITE | EV_TIMEOUT, NULL);
			break;
		default:
			destroy(*item);
			*item = make(&seed);
		}
	}
	for (int i = 0; i < EVENTS; i++)
		destroy(items[i]);
	return NULL;
}

static void *run_loop(void *base)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t loops[BASES], threads[THREADS];
	int pair[BASES][2];

	operations = argc > 1 ? atol(argv[1]) : 1000000;
	first_seed = argc > 2 ? (unsigned)atol(argv[2]) : 1;
	evthread_use_pthreads();
	for (int b = 0; b < BASES; b++) {
		bases[b] = event_base_new();
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair[b]) || write(pair[b][1], "x", 1) != 1) {
			perror("socketpair");
			return 1;
		}
		readable[b] = pair[b][0];
		quiet[b] = pair[b][1];
		pthread_create(&loops[b], NULL, run_loop, bases[b]);
	}
	for (intptr_t t = 0; t < THREADS; t++)
		pthread_create(&threads[t], NULL, run_thread, (void *)(t + 1));
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int b = 0; b < BASES; b++) {
		event_base_loopbreak(bases[b]);
		pthread_join(loops[b], NULL);
		event_base_free(bases[b]);
		close(pair[b][0]);
		close(pair[b][1]);
	}
	printf("calls after the end %lu\n", atomic_load(&poisoned));
	fprintf(stderr, "%ld operations, %lu calls\n", operations, atomic_load(&calls));
	return atomic_load(&poisoned) != 0;
}
