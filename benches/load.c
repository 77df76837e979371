/*
 * Loads an echo server, without any event library.
 *
 *   load port=N pid=N conns=N size=BYTES depth=N ms=MILLISECONDS [warm=MILLISECONDS] [cpu=N]
 *   load port=N conns=N size=BYTES depth=N msgs=N
 *
 * Keeps `depth` messages of `size` bytes under way on each connection and compares every byte that
 * comes back. Prints the messages (with their fractions) and nanoseconds of the measured time, and
 * the nanoseconds of CPU that process `pid` used in it. With msgs=N it sends exactly so many, in
 * all.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

enum { BATCH = 256, CHUNK = 256 * 1024, PERIOD = 251 };

struct connection {
	int fd;
	/* Bytes of the endless stream 0, 1, ... 250, 0, 1, ... */
	uint64_t allowed, sent, received;
	int writing;
};

static char scratch[CHUNK];
/* The stream from any position modulo PERIOD, for CHUNK bytes. */
static char stream[CHUNK + PERIOD];
static uint64_t size, messages, bytes, budget;
static long pid;
static int epoll;

/* CPU time of all threads of the server. */
static uint64_t server_cpu_ns(void)
{
	char path[300];
	struct dirent *entry;
	uint64_t sum = 0;
	DIR *tasks;

	if (!pid)
		return 0;
	snprintf(path, sizeof path, "/proc/%ld/task", pid);
	if (!(tasks = opendir(path)))
		die(path);
	while ((entry = readdir(tasks))) {
		unsigned long long ns;
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
		if (!(file = fopen(path, "r")))
			die(path);
		if (fscanf(file, "%llu", &ns) != 1)
			die(path);
		sum += ns;
		fclose(file);
	}
	closedir(tasks);
	return sum;
}

static void watch(struct connection *c, int writing, int operation)
{
	struct epoll_event event = { .events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c };

	c->writing = writing;
	if (epoll_ctl(epoll, operation, c->fd, &event))
		die("epoll_ctl");
}

static void send_allowed(struct connection *c)
{
	while (c->sent < c->allowed) {
		uint64_t left = c->allowed - c->sent;
		size_t length = left < CHUNK ? left : CHUNK;
		ssize_t put = write(c->fd, stream + c->sent % PERIOD, length);

		if (put < 0 && errno != EAGAIN)
			die("write");
		if (put > 0)
			c->sent += put;
		if (put < (ssize_t)length)
			break;
	}
	if (c->writing != (c->sent < c->allowed))
		watch(c, c->sent < c->allowed, EPOLL_CTL_MOD);
}

/* Lets the connection send `n` more messages, as far as there are any left to send. */
static void allow(struct connection *c, uint64_t n)
{
	if (n > budget)
		n = budget;
	budget -= n;
	c->allowed += n * size;
}

static void receive(struct connection *c)
{
	ssize_t got = read(c->fd, scratch, CHUNK);
	uint64_t before = c->received / size;

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		die("the server closed a connection");
	if (memcmp(scratch, stream + c->received % PERIOD, got)) {
		fprintf(stderr, "an echo differs from what was sent\n");
		exit(1);
	}
	c->received += got;
	bytes += got;
	messages += c->received / size - before;
	allow(c, c->received / size - before);
}

static void connect_to(struct connection *c, long port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
		die("connect");
	no_delay(c->fd);
	/* Blocking only for the connect. */
	int on = 1;
	if (ioctl(c->fd, FIONBIO, &on))
		die("ioctl");
	watch(c, 0, EPOLL_CTL_ADD);
}

/* Runs until `deadline`, or until `wanted` messages have come back. */
static void run(uint64_t deadline, uint64_t wanted)
{
	struct epoll_event ready[BATCH];

	while (messages < wanted && now_ns() < deadline) {
		int n = epoll_wait(epoll, ready, BATCH, 1000);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct connection *c = ready[i].data.ptr;

			if (ready[i].events & ~EPOLLOUT)
				receive(c);
			send_allowed(c);
		}
	}
}

int main(int argc, char **argv)
{
	long conns = argument(argc, argv, "conns", 1);
	long depth = argument(argc, argv, "depth", 1);
	uint64_t msgs = argument(argc, argv, "msgs", 0);
	uint64_t start, cpu, before;
	struct connection *all = calloc(conns, sizeof *all);

	settle(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	size = argument(argc, argv, "size", 512);
	pid = argument(argc, argv, "pid", 0);
	budget = msgs ? msgs : UINT64_MAX;
	for (size_t i = 0; i < sizeof stream; i++)
		stream[i] = i % PERIOD;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	for (long i = 0; i < conns; i++)
		connect_to(&all[i], argument(argc, argv, "port", 0));
	for (long i = 0; i < conns; i++) {
		allow(&all[i], depth);
		send_allowed(&all[i]);
	}
	if (!msgs)
		run(now_ns() + argument(argc, argv, "warm", 100) * 1000000ull, UINT64_MAX);
	before = bytes;
	cpu = server_cpu_ns();
	start = now_ns();
	run(msgs ? UINT64_MAX : start + argument(argc, argv, "ms", 400) * 1000000ull,
	    msgs ? msgs : UINT64_MAX);
	/* Of many large messages at once, all may be under way at the end: fractions count. */
	printf("%.3f %llu %llu\n", (double)(bytes - before) / size,
	    (unsigned long long)(now_ns() - start), (unsigned long long)(server_cpu_ns() - cpu));
	return 0;
}
