/* Many TLS connections on one base.
 *
 *   tls replies COUNT SIZE      a server sends SIZE bytes to a slow reader, and frees when they are written
 *   tls connections COUNT       COUNT connections are opened, used and closed
 *
 * Prints what went wrong, in numbers. */
#include "tls.h"

#include <dirent.h>

_Noreturn void case_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(1);
}

static struct event_base *base;
static SSL_CTX *contexts[2];

static void work(void) {
    CHECK(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

static void connected_pair(int fd[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd[0], (struct sockaddr *)&address, sizeof address) == 0);
    fd[1] = accept(listener, NULL, NULL);
    CHECK(fd[1] >= 0 && close(listener) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(fcntl(fd[i], F_SETFL, O_NONBLOCK) == 0);
}

/* ---- A reply to a slow reader ---- */

static void free_at_last(struct bufferevent *bev, void *arg) {
    (void)arg;
    bufferevent_free(bev);
}

static void nothing(struct bufferevent *bev, short what, void *arg) {
    (void)bev;
    (void)arg;
    CHECK(what == BEV_EVENT_CONNECTED);
}

/* Whether every byte and a clean end arrived. */
static bool reply(const char *data, size_t size) {
    static char got[4096];
    int fd[2];
    connected_pair(fd);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd[1], SSL_new(contexts[1]), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    bufferevent_setcb(bev, NULL, free_at_last, nothing, NULL);
    CHECK(evbuffer_add_reference(bufferevent_get_output(bev), data, size, NULL, NULL) == 0);
    SSL *client = SSL_new(contexts[0]);
    CHECK(client && SSL_set_fd(client, fd[0]) == 1);
    SSL_set_connect_state(client);
    size_t total = 0;
    bool right = true;
    for (;;) {
        work();
        /* One piece of a record each time: the server's socket is full most of the time. */
        int n = SSL_read(client, got, sizeof got);
        if (n > 0) {
            right = right && total + (size_t)n <= size && memcmp(got, data + total, (size_t)n) == 0;
            total += (size_t)n;
            continue;
        }
        int error = SSL_get_error(client, n);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
            continue;
        right = right && error == SSL_ERROR_ZERO_RETURN && total == size;
        ERR_clear_error();
        break;
    }
    SSL_free(client);
    CHECK(close(fd[0]) == 0);
    work();
    return right;
}

static void replies(size_t count, size_t size) {
    char *data = malloc(size);
    size_t bad = 0;
    CHECK(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < count; i++)
        bad += !reply(data, size);
    free(data);
    printf("replies that were cut off or not ended cleanly %zu\n", bad);
}

/* ---- Connections ---- */

static unsigned ended, failed;

static void echo_and_free(struct bufferevent *bev, void *arg) {
    (void)arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    if (evbuffer_get_length(input) == 100)
        CHECK(bufferevent_write_buffer(bev, input) == 0);
}

static void look(struct bufferevent *bev, short what, void *arg) {
    (void)arg;
    if (what & BEV_EVENT_CONNECTED)
        return;
    if (what != (BEV_EVENT_READING | BEV_EVENT_EOF) ||
        evbuffer_get_length(bufferevent_get_input(bev)) != 100)
        failed++;
    ended++;
    bufferevent_free(bev);
}

static void connection(void) {
    char data[100] = "hello";
    int fd[2];
    connected_pair(fd);
    struct bufferevent *client = bufferevent_openssl_socket_new(
        base, fd[0], SSL_new(contexts[0]), BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *server = bufferevent_openssl_socket_new(
        base, fd[1], SSL_new(contexts[1]), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(client && server);
    bufferevent_setcb(client, NULL, NULL, look, NULL);
    bufferevent_setcb(server, echo_and_free, free_at_last, look, NULL);
    bufferevent_enable(client, EV_READ);
    bufferevent_enable(server, EV_READ);
    CHECK(bufferevent_write(client, data, sizeof data) == 0);
}

static long resident_kilobytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int descriptors(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void connections(unsigned count) {
    enum { AT_A_TIME = 20 };
    long before = 0;
    int open = 0;
    for (unsigned i = 0; i < count; i += AT_A_TIME) {
        if (i >= count / 5 && before == 0) {
            before = resident_kilobytes();
            open = descriptors();
        }
        for (unsigned j = 0; j < AT_A_TIME; j++)
            connection();
        while (ended < i + AT_A_TIME)
            CHECK(event_base_loop(base, EVLOOP_ONCE) >= 0);
        work();
    }
    printf("connections that failed %u\n", failed);
    printf("descriptors left %d\n", descriptors() - open);
    printf("grown by more than 2 MiB %d\n", resident_kilobytes() - before > 2048);
}

int main(int argc, char **argv) {
    CHECK(argc >= 3);
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    for (int i = 0; i < 2; i++)
        contexts[i] = tls_context(i == 1);
    if (strcmp(argv[1], "replies") == 0) {
        CHECK(argc == 4);
        replies(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    } else {
        connections((unsigned)strtoul(argv[2], NULL, 10));
    }
    event_base_free(base);
    for (int i = 0; i < 2; i++)
        SSL_CTX_free(contexts[i]);
    return 0;
}
