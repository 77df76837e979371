/* What the conformance cases share: registration, the trace that is compared, loops that end,
 * connected descriptors, and bufferevents whose callbacks write the trace.
 *
 * A trace holds what a correct program can rely on. Pointers, descriptor numbers, times, the
 * number of loop passes and the size of one read do not belong into it. */
#ifndef CASE_H
#define CASE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <event2/util.h>

/* ---- Registration ---- */

struct case_entry {
    const char *name;
    const char *mark;   /* the decision ("J18", "K") by which ferrevent differs, or NULL */
    const char *reason; /* that decision in one line, or NULL */
    bool off_epoll;     /* only with other methods than epoll */
    void (*run)(void);
    struct case_entry *next;
};
void case_register(struct case_entry *entry);

/* CASE(name) { ... } defines a case. Names are unique over all files. SIGPIPE is ignored in it. */
#define CASE(name) CASE_DIFFERS(name, NULL, NULL)

/* The same for a case in which ferrevent decides differently on purpose: expected/NAME.txt holds
 * what ferrevent prints and expected/NAME.stock.txt what libevent prints. Without the latter the
 * case is not run on libevent, because it would hang, crash or vary there. */
#define CASE_DIFFERS(name, mark, reason) CASE_ENTRY(name, mark, reason, false)

/* The same, but with epoll both libraries print the same. With poll it is expected/NAME.poll.txt and
 * expected/NAME.poll.stock.txt, with select likewise. */
#define CASE_DIFFERS_OFF_EPOLL(name, mark, reason) CASE_ENTRY(name, mark, reason, true)

#define CASE_ENTRY(name, mark, reason, off_epoll)                                                  \
    static void case_##name(void);                                                                 \
    static struct case_entry entry_##name = {#name, mark, reason, off_epoll, case_##name, NULL};   \
    __attribute__((constructor)) static void register_##name(void) {                               \
        case_register(&entry_##name);                                                              \
    }                                                                                              \
    static void case_##name(void)

/* Ends the case as failed when `condition` does not hold. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : case_fail(__FILE__, __LINE__, #condition))
_Noreturn void case_fail(const char *file, int line, const char *what);

/* Whether valgrind runs the case: it is slow, and has limits of its own. */
bool under_valgrind(void);

/* ---- The trace ---- */

/* One line. Ends the line of tokens before it, if there is one. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One word on the current line of tokens. */
void token(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Begins a line of tokens with "name:". */
void step(const char *name);
/* On: of callbacks of the same kind and end in a row only the last is shown, so that it does not
 * matter in how many pieces the bytes came. */
void trace_merge(bool on);
/* The number of words and lines traced so far (merged ones included). */
unsigned trace_count(void);

/* ---- The loop ---- */

/* A new base; never NULL. */
struct event_base *new_base(void);
/* One pass that does not block (ONCE|NONBLOCK). */
void pass(struct event_base *base);
/* Passes until everything that is ready on unix sockets or pairs has been handled. */
void settle(struct event_base *base);
/* Runs the loop for `ms` milliseconds: for showing that something does not happen. */
void run_for(struct event_base *base, int ms);
/* Runs the loop until nothing more comes of what was done on loopback connections, however busy the
 * machine is. */
void calm(struct event_base *base);
/* Runs the loop, blocking, until done(arg); the case fails after five seconds. */
void run_until(struct event_base *base, bool (*done)(void *), void *arg);
/* Runs the loop until *counter has reached `target`. */
void run_until_count(struct event_base *base, const unsigned *counter, unsigned target);
/* Runs the loop until *counter has reached `target`. */
void run_until_bytes(struct event_base *base, const size_t *counter, size_t target);

/* ---- Descriptors ---- */

/* Two connected non-blocking unix stream sockets. */
void unix_pair(int fd[2]);
/* Two connected non-blocking TCP sockets on the loopback interface, without Nagle's delay. */
void tcp_pair(int fd[2]);
/* A non-blocking listening TCP socket on a free loopback port. */
int tcp_listener(struct sockaddr_in *address);
/* A bound TCP socket that does not listen: connections to `address` are refused while it is open. */
int refusing_port(struct sockaddr_in *address);
/* A non-blocking listening unix socket with an abstract name; *length is that of the address. */
int unix_listener(struct sockaddr_un *address, socklen_t *length);
/* A bound unix socket that does not listen. */
int refusing_unix(struct sockaddr_un *address, socklen_t *length);
/* Accepts one connection, waiting for it; the result is non-blocking. */
int accept_one(int listener);
/* Writes all of it; the case fails when the socket buffer is full. */
void send_all(int fd, const void *data, size_t length);
/* Takes what is there now; the number of bytes. Sets *eof (if not NULL) when the end was seen. */
size_t recv_now(int fd, void *data, size_t room, bool *eof);
/* Waits (at most five seconds) until fd is readable. */
void await_readable(int fd);
void set_nonblocking(int fd);
/* Closes with a reset instead of a FIN. */
void close_with_reset(int fd);
/* Whether the descriptor number is in use. */
bool fd_is_open(int fd);

/* ---- Bufferevents that trace ---- */

/* One bufferevent and what has happened on it; `cbarg` of its callbacks. */
struct end {
    const char *name; /* shown before its tokens as "name."; "" for nothing */
    struct bufferevent *bev;
    bool quiet; /* count only */
    bool drain; /* the read callback takes everything, and R shows the total taken so far */
    unsigned reads, writes, events; /* callbacks so far */
    short flags;                    /* of the last event callback */
    size_t received;                /* bytes taken by `drain` */
    uint64_t hash;                  /* of those bytes; see hash_bytes */
    void (*on_read)(struct end *);  /* run at the end of the callback, after its token */
    void (*on_write)(struct end *);
    void (*on_event)(struct end *);
    void *extra; /* for the case */
};

/* Sets the three callbacks of `bev` so that they trace: R10 = read callback with 10 bytes in the
 * input, W0 = write callback with 0 bytes in the output, E11 = event callback with flags 0x11.
 * Clears the rest of `end`. */
void watch(struct end *end, const char *name, struct bufferevent *bev);
/* watch() on a new socket bufferevent; never NULL. */
void watch_new(struct end *end, const char *name, struct event_base *base, int fd, int options);
void on_read(struct bufferevent *bev, void *end);
void on_write(struct bufferevent *bev, void *end);
void on_event(struct bufferevent *bev, short flags, void *end);
/* Bytes in the input and in the output. */
size_t in_length(struct bufferevent *bev);
size_t out_length(struct bufferevent *bev);
/* bufferevent_write of `length` letters. */
void write_letters(struct bufferevent *bev, size_t length);

/* ---- Data ---- */

/* `length` bytes that depend on `seed` only. */
void fill(void *data, size_t length, unsigned seed);
#define HASH_START UINT64_C(0xcbf29ce484222325)
/* FNV-1a, continued from `hash`. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t length);

#endif
