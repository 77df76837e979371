/* The main program of every conformance case file, and the functions that case.h declares.
 *
 *   PROGRAM --method    what a base uses by itself
 *   PROGRAM --list      name, mark, reason and "off epoll" (or nothing) of each case, with tabs between, a line each
 *   PROGRAM --library   the file from which libevent's functions come
 *   PROGRAM NAME        runs that case
 *
 * CASE_WATCHDOG is the number of seconds that a case may take (0: any), and CASE_VALGRIND says that valgrind runs it. */
#include "case.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>

enum { WATCHDOG_SECONDS = 9, WAIT_MS = 5000 };

static struct case_entry *first_entry;
static struct case_entry **last_entry = &first_entry;

void case_register(struct case_entry *entry) {
    *last_entry = entry;
    last_entry = &entry->next;
}

static void end_line(void);

static void bark(int signal_number) {
    (void)signal_number;
    static const char text[] = "watchdog: the case did not end\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(124);
}

static int run_case(const char *name) {
    for (struct case_entry *entry = first_entry; entry; entry = entry->next) {
        if (strcmp(entry->name, name) != 0)
            continue;
        signal(SIGALRM, bark);
        signal(SIGPIPE, SIG_IGN);
        const char *seconds = getenv("CASE_WATCHDOG");
        alarm(seconds ? (unsigned)atoi(seconds) : WATCHDOG_SECONDS);
        entry->run();
        end_line();
        return 0;
    }
    fprintf(stderr, "no case is called %s\n", name);
    return 2;
}

static int print_library(void) {
    Dl_info info;
    char path[4096];
    if (!dladdr((void *)(uintptr_t)event_base_new, &info) || !info.dli_fname ||
        !realpath(info.dli_fname, path)) {
        fprintf(stderr, "libevent is in no file\n");
        return 1;
    }
    puts(path);
    return 0;
}

static int print_method(void) {
    struct event_base *base = event_base_new();
    if (!base)
        return 1;
    puts(event_base_get_method(base));
    event_base_free(base);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s --list | --library | --method | NAME\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "--list") == 0) {
        for (struct case_entry *entry = first_entry; entry; entry = entry->next)
            printf("%s\t%s\t%s\t%s\n", entry->name, entry->mark ? entry->mark : "",
                   entry->reason ? entry->reason : "", entry->off_epoll ? "off epoll" : "");
        return 0;
    }
    /* What was traced before a crash or a hang must be seen. */
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(argv[1], "--method") == 0)
        return print_method();
    return strcmp(argv[1], "--library") == 0 ? print_library() : run_case(argv[1]);
}

_Noreturn void case_fail(const char *file, int line, const char *what) {
    const char *slash = strrchr(file, '/');
    int error = errno;
    end_line();
    printf("FAILED %s:%d: %s\n", slash ? slash + 1 : file, line, what);
    fprintf(stderr, "errno: %s\n", strerror(error));
    _exit(1);
}

bool under_valgrind(void) {
    return getenv("CASE_VALGRIND") != NULL;
}

/* ---- The trace ---- */

static bool merging, line_open;
static char held_key[64], held_text[128]; /* the token that a further one may replace */
static unsigned traced;

static void put_word(const char *text) {
    if (line_open)
        putchar(' ');
    fputs(text, stdout);
    line_open = true;
}

static void release_held(void) {
    if (held_text[0])
        put_word(held_text);
    held_text[0] = '\0';
}

static void end_line(void) {
    release_held();
    if (line_open)
        putchar('\n');
    line_open = false;
}

/* `key` is NULL for a token that is never merged. */
static void put_token(const char *key, const char *text) {
    traced++;
    if (!merging || !key) {
        release_held();
        put_word(text);
        return;
    }
    if (held_text[0] && strcmp(held_key, key) != 0)
        release_held();
    snprintf(held_key, sizeof held_key, "%s", key);
    snprintf(held_text, sizeof held_text, "%s", text);
}

void say(const char *format, ...) {
    traced++;
    end_line();
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void token(const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_token(NULL, text);
}

void step(const char *name) {
    end_line();
    printf("%s:", name);
    line_open = true;
}

void trace_merge(bool on) {
    release_held();
    merging = on;
}

unsigned trace_count(void) {
    return traced;
}

/* ---- The loop ---- */

struct event_base *new_base(void) {
    struct event_base *base = event_base_new();
    CHECK(base);
    return base;
}

void pass(struct event_base *base) {
    CHECK(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

void settle(struct event_base *base) {
    /* More than any chain of callbacks in the cases needs; the first quiet pass is no sign, as one
     * pass may only move bytes to where the next one finds them. */
    for (int i = 0; i < 16; i++)
        pass(base);
}

static void nothing(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

static int64_t now_ms(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

/* False when the time was over first. */
static bool run_bounded(struct event_base *base, bool (*done)(void *), void *arg, int ms) {
    int64_t deadline = now_ms() + ms;
    struct event *tick = event_new(base, -1, 0, nothing, NULL);
    CHECK(tick);
    bool reached = false;
    while (!(reached = done(arg)) && now_ms() < deadline) {
        int64_t left = deadline - now_ms();
        if (left > 20)
            left = 20;
        if (left < 1)
            left = 1;
        struct timeval wait = {0, left * 1000};
        CHECK(event_add(tick, &wait) == 0);
        CHECK(event_base_loop(base, EVLOOP_ONCE) >= 0);
    }
    event_free(tick);
    return reached;
}

void run_for(struct event_base *base, int ms) {
    run_bounded(base, never, NULL, ms);
}

void calm(struct event_base *base) {
    run_bounded(base, never, NULL, 10);
    /* The time may have passed without this process. */
    settle(base);
}

void run_until(struct event_base *base, bool (*done)(void *), void *arg) {
    if (!run_bounded(base, done, arg, WAIT_MS))
        case_fail(__FILE__, __LINE__, "what the case waits for did not happen");
}

struct goal {
    const unsigned *count;
    const size_t *bytes;
    size_t target;
};

static bool goal_reached(void *arg) {
    const struct goal *goal = arg;
    return (goal->count ? *goal->count : *goal->bytes) >= goal->target;
}

void run_until_count(struct event_base *base, const unsigned *counter, unsigned target) {
    struct goal goal = {counter, NULL, target};
    run_until(base, goal_reached, &goal);
}

void run_until_bytes(struct event_base *base, const size_t *counter, size_t target) {
    struct goal goal = {NULL, counter, target};
    run_until(base, goal_reached, &goal);
}

/* ---- Descriptors ---- */

void set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    CHECK(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

void unix_pair(int fd[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
}

static int bound_port(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)address, length) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)address, &length) == 0);
    return fd;
}

int tcp_listener(struct sockaddr_in *address) {
    int fd = bound_port(address);
    CHECK(listen(fd, 256) == 0);
    return fd;
}

int refusing_port(struct sockaddr_in *address) {
    return bound_port(address);
}

static int bound_unix(struct sockaddr_un *address, socklen_t *length) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    /* An address of the family alone lets the kernel choose a free abstract name. */
    CHECK(bind(fd, (struct sockaddr *)address, sizeof address->sun_family) == 0);
    *length = sizeof *address;
    CHECK(getsockname(fd, (struct sockaddr *)address, length) == 0);
    return fd;
}

int unix_listener(struct sockaddr_un *address, socklen_t *length) {
    int fd = bound_unix(address, length);
    CHECK(listen(fd, 256) == 0);
    return fd;
}

int refusing_unix(struct sockaddr_un *address, socklen_t *length) {
    return bound_unix(address, length);
}

void await_readable(int fd) {
    struct pollfd ready = {fd, POLLIN, 0};
    CHECK(poll(&ready, 1, WAIT_MS) == 1);
}

int accept_one(int listener) {
    await_readable(listener);
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    set_nonblocking(fd);
    return fd;
}

void tcp_pair(int fd[2]) {
    struct sockaddr_in address;
    int one = 1, listener = tcp_listener(&address);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd[0] >= 0);
    CHECK(connect(fd[0], (struct sockaddr *)&address, sizeof address) == 0);
    set_nonblocking(fd[0]);
    fd[1] = accept_one(listener);
    for (int i = 0; i < 2; i++)
        CHECK(setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    close(listener);
}

void send_all(int fd, const void *data, size_t length) {
    CHECK(send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length);
}

size_t recv_now(int fd, void *data, size_t room, bool *eof) {
    size_t total = 0;
    while (total < room) {
        ssize_t n = recv(fd, (char *)data + total, room - total, 0);
        if (n == 0 && eof)
            *eof = true;
        if (n <= 0)
            break;
        total += (size_t)n;
    }
    return total;
}

void close_with_reset(int fd) {
    struct linger linger = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    CHECK(close(fd) == 0);
}

bool fd_is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- Bufferevents that trace ---- */

static void trace_callback(const struct end *end, char kind, const char *format, size_t value) {
    char key[64], number[32], text[128];
    if (end->quiet)
        return;
    snprintf(key, sizeof key, "%s%s%c", end->name, end->name[0] ? "." : "", kind);
    snprintf(number, sizeof number, format, value);
    snprintf(text, sizeof text, "%s%s", key, number);
    put_token(kind == 'E' ? NULL : key, text);
}

static void take_input(struct end *end) {
    unsigned char chunk[16384];
    int n;
    while ((n = evbuffer_remove(bufferevent_get_input(end->bev), chunk, sizeof chunk)) > 0) {
        end->hash = hash_bytes(end->hash, chunk, (size_t)n);
        end->received += (size_t)n;
    }
}

void on_read(struct bufferevent *bev, void *arg) {
    struct end *end = arg;
    CHECK(bev == end->bev);
    end->reads++;
    if (end->drain)
        take_input(end);
    trace_callback(end, 'R', "%zu", end->drain ? end->received : in_length(bev));
    if (end->on_read)
        end->on_read(end);
}

void on_write(struct bufferevent *bev, void *arg) {
    struct end *end = arg;
    CHECK(bev == end->bev);
    end->writes++;
    trace_callback(end, 'W', "%zu", out_length(bev));
    if (end->on_write)
        end->on_write(end);
}

void on_event(struct bufferevent *bev, short flags, void *arg) {
    struct end *end = arg;
    CHECK(bev == end->bev);
    end->events++;
    end->flags = flags;
    trace_callback(end, 'E', "%02zx", (unsigned short)flags);
    if (end->on_event)
        end->on_event(end);
}

void watch(struct end *end, const char *name, struct bufferevent *bev) {
    CHECK(bev);
    *end = (struct end){.name = name, .bev = bev, .hash = HASH_START};
    bufferevent_setcb(bev, on_read, on_write, on_event, end);
}

void watch_new(struct end *end, const char *name, struct event_base *base, int fd, int options) {
    watch(end, name, bufferevent_socket_new(base, fd, options));
}

size_t in_length(struct bufferevent *bev) {
    return evbuffer_get_length(bufferevent_get_input(bev));
}

size_t out_length(struct bufferevent *bev) {
    return evbuffer_get_length(bufferevent_get_output(bev));
}

void write_letters(struct bufferevent *bev, size_t length) {
    char *data = malloc(length);
    CHECK(data);
    for (size_t i = 0; i < length; i++)
        data[i] = (char)('a' + i % 26);
    CHECK(bufferevent_write(bev, data, length) == 0);
    free(data);
}

/* ---- Data ---- */

void fill(void *data, size_t length, unsigned seed) {
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525u + 1013904223u;
        ((unsigned char *)data)[i] = (unsigned char)(state >> 24);
    }
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t length) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}
