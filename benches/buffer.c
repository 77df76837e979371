/* What operations on evbuffers cost: CPU time, instructions under callgrind, heap.
 *
 *   buffer list              the names of all rows
 *   buffer all               "ROW OPERATIONS NANOSECONDS" for each
 *   buffer ROW [divisor=N]   one of them, with so many times fewer operations
 *   buffer heap              "ROW BYTES"
 *
 * Only the operations themselves count: what a row prepares or clears away does not. */
#define _GNU_SOURCE
#include "bench.h"

#include <event2/buffer.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef WITH_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT ((void)0)
#endif

#define KIB 1024
#define MIB (1024 * 1024)

/* No line end, and of the word that is searched for only single letters. */
static char text[64 * KIB];
static uint64_t began, taken;

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void start(void)
{
	began = cpu_ns();
	CALLGRIND_TOGGLE_COLLECT;
}

static void stop(void)
{
	CALLGRIND_TOGGLE_COLLECT;
	taken += cpu_ns() - began;
}

static void require(bool holds)
{
	if (!holds)
		die("the library does not do what it should");
}

/* An evbuffer of `total` bytes, added in pieces. */
static struct evbuffer *full(size_t total, size_t piece)
{
	struct evbuffer *buffer = evbuffer_new();

	for (size_t done = 0; done < total; done += piece)
		require(!evbuffer_add(buffer, text, piece));
	return buffer;
}

static void in_and_out(size_t size, long count)
{
	struct evbuffer *buffer = evbuffer_new();

	start();
	while (count--) {
		evbuffer_add(buffer, text, size);
		evbuffer_drain(buffer, size);
	}
	stop();
	evbuffer_free(buffer);
}

static void add_16(long count) { in_and_out(16, count); }
static void add_512(long count) { in_and_out(512, count); }
static void add_4k(long count) { in_and_out(4 * KIB, count); }
static void add_64k(long count) { in_and_out(64 * KIB, count); }

/* Everything is added before anything is drained. */
static void first_in(size_t size, long count, bool adding)
{
	struct evbuffer *buffer = evbuffer_new();

	if (adding)
		start();
	for (long i = 0; i < count; i++)
		evbuffer_add(buffer, text, size);
	if (adding)
		stop();
	else
		start();
	for (long i = 0; i < count; i++)
		evbuffer_drain(buffer, size);
	if (!adding)
		stop();
	evbuffer_free(buffer);
}

static void fill_16(long count) { first_in(16, count, true); }
static void empty_16(long count) { first_in(16, count, false); }
static void fill_4k(long count) { first_in(4 * KIB, count, true); }
static void empty_4k(long count) { first_in(4 * KIB, count, false); }

static void new_free(long count)
{
	start();
	while (count--)
		evbuffer_free(evbuffer_new());
	stop();
}

static void new_add_free(long count)
{
	start();
	while (count--) {
		struct evbuffer *buffer = evbuffer_new();

		evbuffer_add(buffer, text, 16);
		evbuffer_free(buffer);
	}
	stop();
}

static void move_whole(long count)
{
	struct evbuffer *one = full(512, 512), *other = evbuffer_new();

	start();
	for (long i = 0; i < count; i += 2) {
		evbuffer_add_buffer(other, one);
		evbuffer_add_buffer(one, other);
	}
	stop();
	evbuffer_free(one);
	evbuffer_free(other);
}

static void move_part(long count)
{
	struct evbuffer *one = full(256 * KIB, KIB), *other = evbuffer_new();

	start();
	for (long i = 0; i < count; i++) {
		evbuffer_remove_buffer(one, other, 4000);
		if (i % 64 == 63)
			evbuffer_add_buffer(one, other);
	}
	stop();
	evbuffer_free(one);
	evbuffer_free(other);
}

static void reference(long count)
{
	struct evbuffer *buffer = evbuffer_new();

	start();
	for (long i = 0; i < count; i++) {
		evbuffer_add_reference(buffer, text, 4 * KIB, NULL, NULL);
		if (i % 16 == 15)
			evbuffer_drain(buffer, 64 * KIB);
	}
	stop();
	evbuffer_free(buffer);
}

static void multicast(long count)
{
	struct evbuffer *source = full(64 * KIB, 4 * KIB), *buffer = evbuffer_new();

	start();
	while (count--) {
		evbuffer_add_buffer_reference(buffer, source);
		evbuffer_drain(buffer, 64 * KIB);
	}
	stop();
	evbuffer_free(source);
	evbuffer_free(buffer);
}

static void lines(long count, enum evbuffer_eol_style style)
{
	struct evbuffer *buffer = evbuffer_new();
	long found = 0;
	char *line;

	for (long i = 0; i < count; i++)
		evbuffer_add_printf(buffer, "%ld: a line as they come in a protocol\r\n", i);
	start();
	while ((line = evbuffer_readln(buffer, NULL, style))) {
		free(line);
		found++;
	}
	stop();
	require(found == count);
	evbuffer_free(buffer);
}

static void readln_crlf(long count) { lines(count, EVBUFFER_EOL_CRLF); }
static void readln_strict(long count) { lines(count, EVBUFFER_EOL_CRLF_STRICT); }
static void readln_lf(long count) { lines(count, EVBUFFER_EOL_LF); }

/* An operation is a MiB here. */
static void search(long count)
{
	struct evbuffer *buffer = full((size_t)count * MIB, 4 * KIB);

	start();
	struct evbuffer_ptr found = evbuffer_search(buffer, "pattern", 7, NULL);
	stop();
	require(found.pos == -1);
	evbuffer_free(buffer);
}

static void search_eol(long count)
{
	struct evbuffer *buffer = full((size_t)count * MIB, 4 * KIB);

	start();
	struct evbuffer_ptr found =
	    evbuffer_search_eol(buffer, NULL, NULL, EVBUFFER_EOL_CRLF_STRICT);
	stop();
	require(found.pos == -1);
	evbuffer_free(buffer);
}

static void pullup(long count)
{
	while (count--) {
		struct evbuffer *buffer = full(64 * KIB, KIB);

		start();
		unsigned char *front = evbuffer_pullup(buffer, -1);
		stop();
		require(front != NULL);
		evbuffer_free(buffer);
	}
}

static void taken_out(size_t size, long count)
{
	static char out[4 * KIB];
	struct evbuffer *buffer = full(count * size, 4 * KIB);

	start();
	while (count--)
		evbuffer_remove(buffer, out, size);
	stop();
	require(evbuffer_get_length(buffer) < 4 * KIB);
	evbuffer_free(buffer);
}

static void remove_64(long count) { taken_out(64, count); }
static void remove_4k(long count) { taken_out(4 * KIB, count); }

static void reserve(long count)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_iovec piece;

	start();
	while (count--) {
		evbuffer_reserve_space(buffer, 512, &piece, 1);
		piece.iov_len = 512;
		evbuffer_commit_space(buffer, &piece, 1);
		evbuffer_drain(buffer, 512);
	}
	stop();
	evbuffer_free(buffer);
}

static void formatted(long count)
{
	struct evbuffer *buffer = evbuffer_new();

	start();
	while (count--) {
		evbuffer_add_printf(buffer, "%s %d\r\n", "Content-Length:", 4711);
		evbuffer_drain(buffer, evbuffer_get_length(buffer));
	}
	stop();
	evbuffer_free(buffer);
}

static void prepend(long count)
{
	struct evbuffer *buffer = full(4 * KIB, 4 * KIB);

	start();
	while (count--) {
		evbuffer_prepend(buffer, text, 16);
		evbuffer_drain(buffer, 16);
	}
	stop();
	evbuffer_free(buffer);
}

static void peek(long count)
{
	struct evbuffer *buffer = full(4 * KIB, 4 * KIB);
	struct evbuffer_iovec pieces[2];

	start();
	while (count--)
		evbuffer_peek(buffer, -1, NULL, pieces, 2);
	stop();
	evbuffer_free(buffer);
}

static void copyout(long count)
{
	struct evbuffer *buffer = full(4 * KIB, 4 * KIB);
	char out[64];

	start();
	while (count--)
		evbuffer_copyout(buffer, out, sizeof out);
	stop();
	evbuffer_free(buffer);
}

static const struct row {
	const char *name;
	long count;
	void (*run)(long count);
} rows[] = {
	{"add_16", 2000000, add_16},
	{"add_512", 2000000, add_512},
	{"add_4k", 500000, add_4k},
	{"add_64k", 40000, add_64k},
	{"fill_16", 2000000, fill_16},
	{"empty_16", 2000000, empty_16},
	{"fill_4k", 16384, fill_4k},
	{"empty_4k", 16384, empty_4k},
	{"new_free", 1000000, new_free},
	{"new_add_free", 1000000, new_add_free},
	{"move_whole", 2000000, move_whole},
	{"move_part", 1000000, move_part},
	{"reference", 1000000, reference},
	{"multicast", 100000, multicast},
	{"readln_crlf", 1000000, readln_crlf},
	{"readln_strict", 1000000, readln_strict},
	{"readln_lf", 1000000, readln_lf},
	{"search", 64, search},
	{"search_eol", 64, search_eol},
	{"pullup", 4000, pullup},
	{"remove_64", 1000000, remove_64},
	{"remove_4k", 16384, remove_4k},
	{"reserve", 1000000, reserve},
	{"printf", 500000, formatted},
	{"prepend", 1000000, prepend},
	{"peek", 5000000, peek},
	{"copyout", 3000000, copyout},
};
enum { ROWS = sizeof rows / sizeof *rows };

static double heap(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)(info.uordblks + info.hblkhd);
}

static void say_heap(const char *name, double before, double units)
{
	printf("%s %.3f\n", name, (heap() - before) / units);
}

static void heap_rows(void)
{
	enum { SMALL = 1000000, BUFFERS = 10000, REFERENCES = 10000 };
	static struct evbuffer *many[BUFFERS];
	double before = heap();
	struct evbuffer *buffer = evbuffer_new();

	for (int i = 0; i < SMALL; i++)
		evbuffer_add(buffer, text, 16);
	say_heap("stored_byte", before, 16.0 * SMALL);
	evbuffer_free(buffer);

	before = heap();
	for (int i = 0; i < BUFFERS; i++)
		many[i] = evbuffer_new();
	say_heap("empty_evbuffer", before, BUFFERS);
	for (int i = 0; i < BUFFERS; i++)
		evbuffer_add(many[i], text, 16);
	say_heap("evbuffer_with_16_bytes", before, BUFFERS);
	for (int i = 0; i < BUFFERS; i++)
		evbuffer_free(many[i]);

	buffer = evbuffer_new();
	before = heap();
	for (int i = 0; i < REFERENCES; i++)
		evbuffer_add_reference(buffer, text, 100, NULL, NULL);
	say_heap("reference", before, REFERENCES);
	evbuffer_free(buffer);
}

static void run(const struct row *row, long divisor)
{
	long count = row->count / divisor;

	taken = 0;
	row->run(count);
	printf("%s %ld %llu\n", row->name, count, (unsigned long long)taken);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "all";
	long divisor = argument(argc, argv, "divisor", 1);
	bool known = false;

	settle(argc, argv);
	memset(text, 'x', sizeof text);
	for (size_t i = 0; i < sizeof text; i += 7)
		text[i] = "pater"[i % 5];
	if (!strcmp(what, "heap")) {
		heap_rows();
		return 0;
	}
	for (int i = 0; i < ROWS; i++) {
		if (!strcmp(what, "list"))
			puts(rows[i].name);
		else if (!strcmp(what, "all") || !strcmp(what, rows[i].name))
			run(&rows[i], divisor);
		else
			continue;
		known = true;
	}
	return known ? 0 : 2;
}
