/* A server on a listening socket, and a resolver that asks by TCP for what a datagram cannot hold. */
#include "case.h"

#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <poll.h>

/* More than 512 bytes hold, and more than libevent gives to a callback. */
#define ADDRESSES 40

static unsigned answers;

/* The same port number for datagrams and for connections. */
static void both_sockets(int *datagrams, int *connections, struct sockaddr_in *address) {
    for (int tries = 0; tries < 100; tries++) {
        *connections = tcp_listener(address);
        *datagrams = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(*datagrams, (struct sockaddr *)address, sizeof(*address)) == 0) {
            set_nonblocking(*datagrams);
            return;
        }
        close(*datagrams);
        close(*connections);
    }
    CHECK(!"a free port");
}

static void on_request(struct evdns_server_request *request, void *arg) {
    const char *name = request->questions[0]->name;

    say("%s asks for %s", (const char *)arg, name);
    for (int i = 0; i < ADDRESSES; i++) {
        struct in_addr address = {htonl(0x7f010000 + i)};
        CHECK(evdns_server_request_add_a_reply(request, name, 1, &address, 60) == 0);
    }
    CHECK(evdns_server_request_respond(request, 0) == 0);
}

static void on_answer(int result, char type, int count, int ttl, void *addresses, void *arg) {
    (void)type;
    (void)ttl;
    (void)arg;
    say("result %d, %d addresses", result, count);
    if (count > 0) {
        const struct in_addr *last = (const struct in_addr *)addresses + count - 1;
        say("the last is %s", inet_ntoa(*last));
    }
    answers++;
}

CASE_DIFFERS(dns_large_answers_come_by_tcp, "K", "an answer that was cut is asked for again by TCP") {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    struct sockaddr_in address;
    int datagrams, connections;

    answers = 0;
    both_sockets(&datagrams, &connections, &address);
    struct evdns_server_port *by_udp =
        evdns_add_server_port_with_base(base, datagrams, 0, on_request, "a datagram");
    struct evdns_server_port *by_tcp =
        evdns_add_server_port_with_base(base, connections, 0, on_request, "a connection");
    CHECK(by_udp && by_tcp);
    CHECK(evdns_base_set_option(dns, "randomize-case:", "0") == 0);
    CHECK(evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&address, sizeof(address), 0) == 0);
    CHECK(evdns_base_resolve_ipv4(dns, "large.test", DNS_QUERY_NO_SEARCH, on_answer, NULL));
    run_until_count(base, &answers, 1);
    evdns_close_server_port(by_tcp);
    say("the listening socket is %s", fd_is_open(connections) ? "open" : "closed");

    /* With nobody to ask by TCP it stays an error. */
    CHECK(evdns_base_resolve_ipv4(dns, "large.test", DNS_QUERY_NO_SEARCH, on_answer, NULL));
    run_until_count(base, &answers, 2);
    evdns_close_server_port(by_udp);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

static bool is_readable(void *arg) {
    struct pollfd ready = {*(int *)arg, POLLIN, 0};
    return poll(&ready, 1, 0) == 1;
}

/* Bytes as a client sends them on a connection, in pieces. */
static void send_in_pieces(struct event_base *base, int fd, const void *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        send_all(fd, (const char *)data + i, 1);
        settle(base);
    }
}

CASE_DIFFERS(dns_stream_clients, "K", "a server port may be a socket that listens") {
    static const unsigned char question[] = {0,   29,  0x12, 0x34, 1,   0,   0, 1,   0,   0, 0,
                                             0,   0,   0,    3,    'w', 'w', 'w', 4, 't', 'e', 's',
                                             't', 3,   'c',  'o',  'm', 0,   0, 1,   0,   1};
    struct event_base *base = new_base();
    struct sockaddr_in address;
    int listener = tcp_listener(&address);
    struct evdns_server_port *port =
        evdns_add_server_port_with_base(base, listener, 0, on_request, "a connection");
    unsigned char reply[1024];
    bool eof = false;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(port != NULL);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    set_nonblocking(fd);
    say("two questions, byte by byte");
    for (int i = 0; i < 2; i++) {
        /* The length does not count itself. */
        unsigned char sent[sizeof(question)];
        memcpy(sent, question, sizeof(sent));
        sent[1] = sizeof(question) - 2;
        send_in_pieces(base, fd, sent, sizeof(sent));
        run_until(base, is_readable, &fd);
        size_t got = recv_now(fd, reply, sizeof(reply), &eof);
        say("%zu bytes, the length says %d; %d answers", got, reply[0] << 8 | reply[1], reply[9]);
    }
    say("something that is no question");
    send_all(fd, "\0\3abc", 5);
    run_until(base, is_readable, &fd);
    recv_now(fd, reply, sizeof(reply), &eof);
    say("the connection has %s", eof ? "ended" : "not ended");
    close(fd);
    evdns_close_server_port(port);
    event_base_free(base);
}
