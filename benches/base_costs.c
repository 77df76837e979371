/* What plain events, timers and idle bufferevents cost. Each group of rows runs in a process of its
 * own:
 *
 *   base_costs descriptors n=1000     events on descriptors, 100 of them ready
 *   base_costs calls                  event_active, event_base_once, a pass with nothing to do
 *   base_costs timers n=100000        timers, each with a timeout of its own
 *   base_costs common n=100000        timers that share a common timeout
 *   base_costs streams n=100000       messages of 64 bytes through a pair, and through a filter
 *   base_costs memory n=10000         bytes of the heap for each
 *
 * The first line of output is the library in use; each other one is a row's name, how many
 * operations, and their nanoseconds (or bytes) altogether. What is measured is in functions of their
 * own, row_NAME, so that a profiler can count their instructions; passes=20 makes the runs short
 * enough for that. */
#define _GNU_SOURCE

#include "bench.h"

#include <dlfcn.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <malloc.h>
#include <sys/eventfd.h>

#define ROW static __attribute__((noinline)) void

/* Events of the short rows, and how many are ready at a time. */
#define EVENTS 1000
#define READY 100
#define ROUNDS 20

static struct event_base *base;
static long passes;
static struct event **events;
static int *order;
static long n, fired;
static const struct timeval *common;
static uint32_t seed = 2463534242u;

static uint32_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void shuffle(void)
{
	for (long i = n - 1; i > 0; i--) {
		long j = draw() % (i + 1);
		int other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

/* Which file the functions come from. */
static void tell_library(void)
{
	Dl_info info;

	if (!dladdr((void *)event_base_new, &info))
		die("dladdr");
	printf("%s\n", info.dli_fname);
}

static void count(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	fired++;
}

static void tell(const char *row, long operations, uint64_t amount)
{
	printf("%s %ld %llu\n", row, operations, (unsigned long long)amount);
}

#define MEASURE(row, operations)                                                                  \
	do {                                                                                      \
		uint64_t began = now_ns();                                                        \
		row_##row();                                                                      \
		tell(#row, operations, now_ns() - began);                                         \
	} while (0)

/* Has `work` run inside a callback, where servers do most of theirs. */
static void in_a_pass(event_callback_fn work)
{
	struct timeval zero = { 0, 0 };

	event_base_once(base, -1, EV_TIMEOUT, work, NULL, &zero);
	event_base_loop(base, EVLOOP_ONCE);
}

static void new_events(const int *fds, short what)
{
	events = calloc(n, sizeof *events);
	order = calloc(n, sizeof *order);
	for (long i = 0; i < n; i++) {
		events[i] = event_new(base, fds ? fds[i] : -1, what, count, NULL);
		order[i] = i;
	}
	shuffle();
}

/* ---- descriptors ---- */

ROW row_add_del(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		for (long i = 0; i < n; i++)
			event_add(events[i], NULL);
		for (long i = 0; i < n; i++)
			event_del(events[i]);
	}
}

ROW row_re_add(void)
{
	for (int round = 0; round < 5 * ROUNDS; round++)
		for (long i = 0; i < n; i++)
			event_add(events[i], NULL);
}

ROW row_dispatch(void)
{
	/* Not EVLOOP_NONBLOCK, which goes on for as long as there is something to run. */
	for (long pass = 0; pass < passes; pass++)
		event_base_loop(base, EVLOOP_ONCE);
}

static void add_and_delete(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	MEASURE(add_del, ROUNDS * n);
}

static void add_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	MEASURE(re_add, 5 * ROUNDS * n);
}

static void descriptors(void)
{
	int *fds = calloc(n, sizeof *fds);

	for (long i = 0; i < n; i++)
		if ((fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
			die("eventfd");
	new_events(fds, EV_READ | EV_PERSIST);
	in_a_pass(add_and_delete);
	for (long i = 0; i < n; i++)
		event_add(events[i], NULL);
	in_a_pass(add_again);
	/* They stay readable: nothing but the dispatch is measured. */
	for (int i = 0; i < READY; i++)
		if (eventfd_write(fds[i * (n / READY)], 1))
			die("eventfd_write");
	/* A wait may report few at first. */
	for (int pass = 0; pass < 10; pass++)
		event_base_loop(base, EVLOOP_ONCE);
	fired = 0;
	MEASURE(dispatch, passes * READY);
	if (fired != passes * READY)
		die("not every event was dispatched");
}

/* ---- calls ---- */

ROW row_active(void)
{
	for (long pass = 0; pass < passes; pass++) {
		for (int i = 0; i < EVENTS; i++)
			event_active(events[i], EV_READ, 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
}

ROW row_once(void)
{
	struct timeval zero = { 0, 0 };

	for (long pass = 0; pass < passes; pass++) {
		for (int i = 0; i < EVENTS; i++)
			event_base_once(base, -1, EV_TIMEOUT, count, NULL, &zero);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
}

ROW row_new_free(void)
{
	for (long pass = 0; pass < passes; pass++)
		for (int i = 0; i < EVENTS; i++)
			event_free(event_new(base, -1, EV_READ, count, NULL));
}

ROW row_idle_pass(void)
{
	for (long pass = 0; pass < 100 * passes; pass++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void calls(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct event *waits = event_new(base, fd, EV_READ | EV_PERSIST, count, NULL);

	n = EVENTS;
	new_events(NULL, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	MEASURE(active, passes * EVENTS);
	MEASURE(once, passes * EVENTS);
	if (fired != 2 * passes * EVENTS)
		die("not every event was called");
	MEASURE(new_free, passes * EVENTS);
	event_add(waits, NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	MEASURE(idle_pass, 100 * passes);
}

/* ---- timers ---- */

static inline void start(struct event *event)
{
	struct timeval timeout = { 10 + draw() % 100, draw() % 1000000 };

	event_add(event, common ? common : &timeout);
}

ROW row_timer_add(void)
{
	for (long i = 0; i < n; i++)
		start(events[i]);
}

ROW row_timer_re_add(void)
{
	for (long i = 0; i < n; i++)
		start(events[order[i]]);
}

/* What a connection does with its idle timeout whenever something has come: always later. */
ROW row_timer_push_back(void)
{
	struct timeval idle = { 120, 0 };

	for (long i = 0; i < n; i++)
		event_add(events[order[i]], common ? common : &idle);
}

ROW row_timer_del(void)
{
	for (long i = 0; i < n; i++)
		event_del(events[order[i]]);
}

/* All deadlines are in the order in which they were set, which is when libevent's heap is at its best.
 * Backwards: two functions that are the same would become one. */
ROW row_timer_del_pushed(void)
{
	for (long i = n; i-- > 0;)
		event_del(events[order[i]]);
}

ROW row_timer_fire(void)
{
	while (fired < n)
		event_base_loop(base, EVLOOP_ONCE);
}

static void add_move_delete(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	MEASURE(timer_add, n);
	MEASURE(timer_re_add, n);
	shuffle();
	MEASURE(timer_del, n);
	for (long i = 0; i < n; i++)
		start(events[i]);
	shuffle();
	MEASURE(timer_push_back, n);
	shuffle();
	MEASURE(timer_del_pushed, n);
}

static void timers(void)
{
	struct timespec until_all_are_due = { 0, 20000000 };

	new_events(NULL, 0);
	in_a_pass(add_move_delete);
	if (common)
		return;
	for (long i = 0; i < n; i++) {
		struct timeval soon = { 0, draw() % 1000 };

		event_add(events[i], &soon);
	}
	nanosleep(&until_all_are_due, NULL);
	fired = 0;
	MEASURE(timer_fire, n);
}

static void common_timeout(void)
{
	struct timeval duration = { 60, 0 };

	common = event_base_init_common_timeout(base, &duration);
	timers();
}

/* ---- bufferevents without descriptors ---- */

/* What is on its way at a time. */
#define WINDOW 4
#define MESSAGE 64

static struct bufferevent *ends[2];
static const char message[MESSAGE];

static void on_message(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t length = evbuffer_get_length(input);

	(void)arg;
	evbuffer_drain(input, length);
	fired += length / MESSAGE;
	if (fired >= n)
		event_base_loopbreak(base);
	else
		for (; length >= MESSAGE; length -= MESSAGE)
			bufferevent_write(ends[0], message, MESSAGE);
}

static enum bufferevent_filter_result pass_on(struct evbuffer *src, struct evbuffer *dst,
    ev_ssize_t limit, enum bufferevent_flush_mode mode, void *context)
{
	(void)limit, (void)mode, (void)context;
	if (!evbuffer_get_length(src))
		return BEV_NEED_MORE;
	evbuffer_add_buffer(dst, src);
	return BEV_OK;
}

static void make_ends(int filtered)
{
	if (bufferevent_pair_new(base, BEV_OPT_CLOSE_ON_FREE, ends))
		die("bufferevent_pair_new");
	if (filtered)
		ends[1] = bufferevent_filter_new(ends[1], pass_on, pass_on, BEV_OPT_CLOSE_ON_FREE,
		    NULL, NULL);
	bufferevent_setcb(ends[1], on_message, NULL, NULL, NULL);
	for (int i = 0; i < 2; i++)
		bufferevent_enable(ends[i], EV_READ | EV_WRITE);
	fired = 0;
	for (int i = 0; i < WINDOW; i++)
		bufferevent_write(ends[0], message, MESSAGE);
}

static void free_ends(void)
{
	bufferevent_free(ends[0]);
	bufferevent_free(ends[1]);
}

ROW row_pair(void)
{
	event_base_dispatch(base);
}

/* Not by event_base_dispatch: two functions that are the same would become one. */
ROW row_filter(void)
{
	event_base_loop(base, 0);
}

static void streams(void)
{
	make_ends(0);
	MEASURE(pair, n);
	free_ends();
	make_ends(1);
	MEASURE(filter, n);
	free_ends();
}

/* ---- memory ---- */

static uint64_t heap(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void memory(void)
{
	struct timeval far = { 1000, 0 };
	struct bufferevent **bevs = calloc(n, sizeof *bevs);
	int *fds = calloc(n, sizeof *fds);
	uint64_t before;

	for (long i = 0; i < n; i++)
		if ((fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
			die("eventfd");
	events = calloc(n, sizeof *events);
	before = heap();
	for (long i = 0; i < n; i++) {
		events[i] = event_new(base, fds[i], EV_READ | EV_PERSIST, count, NULL);
		event_add(events[i], NULL);
	}
	tell("descriptor_event", n, heap() - before);
	for (long i = 0; i < n; i++)
		event_free(events[i]);
	event_base_free(base);

	base = event_base_new();
	before = heap();
	for (long i = 0; i < n; i++) {
		events[i] = event_new(base, -1, 0, count, NULL);
		event_add(events[i], &far);
	}
	tell("timer_event", n, heap() - before);
	for (long i = 0; i < n; i++)
		event_free(events[i]);
	event_base_free(base);

	for (long i = 0; i < n; i++)
		close(fds[i]);
	base = event_base_new();
	for (long i = 0; i + 1 < n; i += 2)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, &fds[i]))
			die("socketpair");
	before = heap();
	for (long i = 0; i < n; i++) {
		bevs[i] = bufferevent_socket_new(base, fds[i], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_enable(bevs[i], EV_READ | EV_WRITE);
	}
	tell("idle_bufferevent", n, heap() - before);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} groups[] = {
		{ "descriptors", descriptors },
		{ "calls", calls },
		{ "timers", timers },
		{ "common", common_timeout },
		{ "streams", streams },
		{ "memory", memory },
	};

	settle(argc, argv);
	n = argument(argc, argv, "n", EVENTS);
	if (n < READY)
		n = READY;
	n -= n % 2;
	passes = argument(argc, argv, "passes", 2000);
	tell_library();
	base = event_base_new();
	if (!base)
		die("event_base_new");
	for (size_t i = 0; argc > 1 && i < sizeof groups / sizeof *groups; i++)
		if (!strcmp(argv[1], groups[i].name)) {
			groups[i].run();
			return 0;
		}
	fprintf(stderr, "usage: base_costs GROUP [n=N] [cpu=N]\n");
	return 2;
}
