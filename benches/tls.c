/* TLS between two bufferevents of one process, over TCP on the loopback interface.
 *
 *   tls bulk MEBIBYTES        one writes 64 KiB at a time, the other reads
 *   tls small COUNT           one writes 100 bytes at a time, 50 for each write callback
 *   tls handshakes COUNT      connections are opened, one after the other
 *
 * Prints the nanoseconds of CPU time that it took, both ends together. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "tls.c:%d: %s\n", line, what);
    exit(1);
}

enum { PIECE = 64 << 10, SMALL = 100, BURST = 50 };

static struct event_base *base;
static SSL_CTX *contexts[2];
static size_t wanted, received, written;
static char data[PIECE];

static SSL_CTX *context(int server) {
    SSL_CTX *made = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    CHECK(made);
    if (!server)
        return made;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    CHECK(key && certificate);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    CHECK(X509_set_pubkey(certificate, key) && X509_sign(certificate, key, EVP_sha256()));
    CHECK(SSL_CTX_use_certificate(made, certificate) == 1);
    CHECK(SSL_CTX_use_PrivateKey(made, key) == 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return made;
}

static void connected_pair(int fd[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd[0], (struct sockaddr *)&address, sizeof address) == 0);
    fd[1] = accept(listener, NULL, NULL);
    CHECK(fd[1] >= 0 && close(listener) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(fcntl(fd[i], F_SETFL, O_NONBLOCK) == 0);
        CHECK(setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    }
}

static struct bufferevent *end(int fd, int server) {
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd, SSL_new(contexts[server]),
        server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    return bev;
}

static int connected;

static void happened(struct bufferevent *bev, short what, void *arg) {
    (void)bev;
    (void)arg;
    if (what & BEV_EVENT_CONNECTED && ++connected == 2)
        event_base_loopbreak(base);
}

static void take(struct bufferevent *bev, void *arg) {
    (void)arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    received += evbuffer_get_length(input);
    CHECK(evbuffer_drain(input, evbuffer_get_length(input)) == 0);
    if (received >= wanted)
        event_base_loopbreak(base);
}

static void write_pieces(struct bufferevent *bev, void *arg) {
    (void)arg;
    if (written >= wanted)
        return;
    CHECK(bufferevent_write(bev, data, sizeof data) == 0);
    written += sizeof data;
}

/* The program's own memory, as one who writes what he has already does it. */
static void write_small(struct bufferevent *bev, void *arg) {
    (void)arg;
    struct evbuffer *output = bufferevent_get_output(bev);
    for (int i = 0; i < BURST && written < wanted; i++, written += SMALL)
        CHECK(evbuffer_add_reference(output, data, SMALL, NULL, NULL) == 0);
}

static void open_connection(struct bufferevent *bev[2]) {
    int fd[2];
    connected_pair(fd);
    connected = 0;
    for (int i = 0; i < 2; i++) {
        bev[i] = end(fd[i], i);
        bufferevent_setcb(bev[i], NULL, NULL, happened, NULL);
        CHECK(bufferevent_enable(bev[i], EV_READ) == 0);
    }
    CHECK(event_base_dispatch(base) >= 0 && connected == 2);
}

static void close_connection(struct bufferevent *bev[2]) {
    bufferevent_free(bev[0]);
    bufferevent_free(bev[1]);
    CHECK(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static long transfer(size_t bytes, void (*write)(struct bufferevent *, void *)) {
    struct bufferevent *bev[2];
    open_connection(bev);
    wanted = bytes;
    bufferevent_setcb(bev[0], NULL, write, happened, NULL);
    bufferevent_setcb(bev[1], take, NULL, happened, NULL);
    long start = now();
    write(bev[0], NULL);
    CHECK(event_base_dispatch(base) >= 0 && received >= wanted);
    long took = now() - start;
    close_connection(bev);
    return took;
}

static long handshakes(unsigned long count) {
    struct bufferevent *bev[2];
    long took = 0;
    while (count-- > 0) {
        long start = now();
        open_connection(bev);
        took += now() - start;
        /* Not counted: what is said to the peer then is not the same. */
        close_connection(bev);
    }
    return took;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    signal(SIGPIPE, SIG_IGN);
    unsigned long count = strtoul(argv[2], NULL, 10);
    base = event_base_new();
    for (int i = 0; i < 2; i++)
        contexts[i] = context(i);
    long took = strcmp(argv[1], "bulk") == 0    ? transfer(count << 20, write_pieces)
                : strcmp(argv[1], "small") == 0 ? transfer(count * SMALL, write_small)
                                                : handshakes(count);
    printf("%ld\n", took);
    return 0;
}
