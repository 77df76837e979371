/* Being a DNS server: evdns_add_server_port and what a request can be answered with. A client of
 * the case's own shows the bytes that come back. */
#include "dns.h"

struct serving {
    struct event_base *base;
    struct evdns_server_port *port;
    int socket, client;
    unsigned requests, replies;
    unsigned char reply[65536];
    ssize_t length;
    struct event *on_reply;
    void (*answer)(struct serving *, struct evdns_server_request *);
    void *extra;
    bool quiet;
};

static void on_request(struct evdns_server_request *request, void *arg) {
    struct serving *serving = arg;
    serving->requests++;
    if (!serving->quiet) {
        say("request with flags %x and %d questions", (unsigned)request->flags,
            request->nquestions);
        for (int i = 0; i < request->nquestions; i++)
            say("  type %d class %d %s", request->questions[i]->type,
                request->questions[i]->dns_question_class, request->questions[i]->name);
    }
    serving->answer(serving, request);
}

static void take_reply(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct serving *serving = arg;
    serving->length = recv(fd, serving->reply, sizeof serving->reply, 0);
    if (serving->length > 0)
        serving->replies++;
}

static void open_serving(struct serving *serving,
                         void (*answer)(struct serving *, struct evdns_server_request *)) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    memset(serving, 0, sizeof *serving);
    serving->base = new_base();
    serving->answer = answer;
    serving->socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    serving->client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(serving->socket >= 0 && serving->client >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(serving->socket, (struct sockaddr *)&address, length) == 0);
    CHECK(getsockname(serving->socket, (struct sockaddr *)&address, &length) == 0);
    CHECK(connect(serving->client, (struct sockaddr *)&address, length) == 0);
    serving->port =
        evdns_add_server_port_with_base(serving->base, serving->socket, 0, on_request, serving);
    CHECK(serving->port);
    serving->on_reply =
        event_new(serving->base, serving->client, EV_READ | EV_PERSIST, take_reply, serving);
    CHECK(serving->on_reply && event_add(serving->on_reply, NULL) == 0);
}

static void close_serving(struct serving *serving) {
    if (serving->port)
        evdns_close_server_port(serving->port);
    event_free(serving->on_reply);
    run_for(serving->base, 1);
    close(serving->client);
    event_base_free(serving->base);
}

/* A question, with `extra` bytes behind it. */
static size_t question(unsigned char *wire, const char *name, int type) {
    static const unsigned char head[12] = {0x12, 0x34, 1, 0, 0, 1};
    memcpy(wire, head, 12);
    size_t length = 12 + put_name(wire + 12, name);
    put16(wire + length, (unsigned)type);
    put16(wire + length + 2, 1);
    return length + 4;
}

static void show_bytes(const unsigned char *bytes, ssize_t length) {
    for (ssize_t at = 0; at < length; at += 32) {
        char line[32 * 3 + 1];
        int used = 0;
        for (ssize_t i = at; i < length && i < at + 32; i++)
            used += snprintf(line + used, sizeof line - (size_t)used, "%02x ", bytes[i]);
        line[used - 1] = '\0';
        say("  %s", line);
    }
}

static void ask_serving(struct serving *serving, const char *name, int type) {
    unsigned char wire[512];
    size_t length = question(wire, name, type);
    unsigned before = serving->replies;
    CHECK(send(serving->client, wire, length, 0) == (ssize_t)length);
    run_until_count(serving->base, &serving->replies, before + 1);
    if (!serving->quiet) {
        say("reply of %zd bytes", serving->length);
        show_bytes(serving->reply, serving->length);
    }
}

static void answer_address(struct serving *serving, struct evdns_server_request *request) {
    static const unsigned char addresses[] = {192, 0, 2, 1, 192, 0, 2, 2};
    (void)serving;
    say("add %d",
        evdns_server_request_add_a_reply(request, request->questions[0]->name, 1, addresses, 300));
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE(dns_serve_an_address) {
    struct serving s;
    open_serving(&s, answer_address);
    ask_serving(&s, "www.test", TYPE_A);
    ask_serving(&s, "WWW.Test", TYPE_A);
    close_serving(&s);
}

static void answer_everything(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    const char *name = request->questions[0]->name;
    unsigned char bytes[16] = {192, 0, 2, 1};
    struct in_addr in;
    memcpy(&in, bytes, 4);
    say("a %d", evdns_server_request_add_a_reply(request, name, 1, bytes, 300));
    say("aaaa %d", evdns_server_request_add_aaaa_reply(request, name, 1, bytes, 300));
    say("ptr %d", evdns_server_request_add_ptr_reply(request, &in, NULL, "host.www.test", 300));
    say("ptr %d",
        evdns_server_request_add_ptr_reply(request, NULL, "1.in-addr.arpa", "host.test", 300));
    say("cname %d", evdns_server_request_add_cname_reply(request, name, "other.test", 300));
    say("txt %d",
        evdns_server_request_add_reply(request, EVDNS_ANSWER_SECTION, name, EVDNS_TYPE_TXT,
                                       EVDNS_CLASS_INET, 5, 4, 0, "\003abc"));
    say("ns %d",
        evdns_server_request_add_reply(request, EVDNS_AUTHORITY_SECTION, "test", EVDNS_TYPE_NS,
                                       EVDNS_CLASS_INET, 6, -1, 1, "ns.test"));
    say("additional %d",
        evdns_server_request_add_reply(request, EVDNS_ADDITIONAL_SECTION, "ns.test", EVDNS_TYPE_A,
                                       EVDNS_CLASS_INET, 7, 4, 0, (char *)bytes));
    say("empty %d", evdns_server_request_add_reply(request, EVDNS_ANSWER_SECTION, name, 99,
                                                   EVDNS_CLASS_INET, 8, 0, 0, NULL));
    evdns_server_request_set_flags(request, EVDNS_FLAGS_AA | EVDNS_FLAGS_RD);
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE(dns_serve_each_kind_of_record) {
    struct serving s;
    open_serving(&s, answer_everything);
    ask_serving(&s, "www.test", TYPE_A);
    close_serving(&s);
}

static void answer_several(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    unsigned char bytes[48];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    CHECK(evdns_server_request_add_a_reply(request, "a.test", 2, bytes, 300) == 0);
    CHECK(evdns_server_request_add_aaaa_reply(request, "a.test", 3, bytes, 300) == 0);
    CHECK(evdns_server_request_respond(request, 0) == 0);
}

CASE_DIFFERS(dns_serve_several_addresses, "K", "each address gets a record of its own") {
    struct serving s;
    open_serving(&s, answer_several);
    ask_serving(&s, "a.test", TYPE_A);
    close_serving(&s);
}

static void answer_error(struct serving *serving, struct evdns_server_request *request) {
    int *error = serving->extra;
    say("respond %d", evdns_server_request_respond(request, *error));
}

CASE(dns_serve_errors) {
    struct serving s;
    int error;
    open_serving(&s, answer_error);
    s.extra = &error;
    for (error = 0; error <= 5; error++)
        ask_serving(&s, "www.test", TYPE_A);
    close_serving(&s);
}

static void answer_unknown_error(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    say("respond %d", evdns_server_request_respond(request, 16));
    say("respond %d", evdns_server_request_respond(request, -1));
    say("drop %d", evdns_server_request_drop(request));
}

CASE(dns_serve_errors_that_are_none) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, answer_unknown_error);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    close_serving(&s);
}

static void answer_flags(struct serving *serving, struct evdns_server_request *request) {
    evdns_server_request_set_flags(request, *(int *)serving->extra);
    CHECK(evdns_server_request_respond(request, 0) == 0);
}

CASE(dns_serve_flags) {
    static int flags[] = {0, EVDNS_FLAGS_AA, EVDNS_FLAGS_RD, 0xffff};
    struct serving s;
    open_serving(&s, answer_flags);
    for (size_t i = 0; i < 4; i++) {
        s.extra = &flags[i];
        ask_serving(&s, "www.test", TYPE_A);
    }
    close_serving(&s);
}

static void answer_drop(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    say("drop %d", evdns_server_request_drop(request));
}

CASE(dns_serve_nothing) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, answer_drop);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    run_for(s.base, 20);
    say("replies %u", s.replies);
    close_serving(&s);
}

static void answer_address_of_client(struct serving *serving,
                                     struct evdns_server_request *request) {
    struct sockaddr_storage from, own;
    socklen_t length = sizeof own;
    CHECK(getsockname(serving->client, (struct sockaddr *)&own, &length) == 0);
    memset(&from, 0, sizeof from);
    say("address %d",
        evdns_server_request_get_requesting_addr(request, (struct sockaddr *)&from, sizeof from));
    say("is the client's %d", memcmp(&from, &own, length) == 0);
    say("little room %d",
        evdns_server_request_get_requesting_addr(request, (struct sockaddr *)&from, 8));
    CHECK(evdns_server_request_respond(request, 0) == 0);
}

CASE(dns_serve_knows_who_asks) {
    struct serving s;
    open_serving(&s, answer_address_of_client);
    ask_serving(&s, "www.test", TYPE_A);
    close_serving(&s);
}

static void keep_request(struct serving *serving, struct evdns_server_request *request) {
    serving->extra = request;
}

CASE(dns_serve_later) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, keep_request);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    say("replies %u", s.replies);
    say("respond %d", evdns_server_request_respond(s.extra, DNS_ERR_REFUSED));
    run_until_count(s.base, &s.replies, 1);
    show_bytes(s.reply, s.length);
    close_serving(&s);
}

CASE(dns_serve_after_the_port_is_closed) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, keep_request);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    evdns_close_server_port(s.port);
    s.port = NULL;
    say("respond %d", evdns_server_request_respond(s.extra, 0));
    run_for(s.base, 50);
    say("replies %u", s.replies);
    close_serving(&s);
}

static void close_port(struct serving *serving, struct evdns_server_request *request) {
    evdns_close_server_port(serving->port);
    serving->port = NULL;
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE(dns_serve_closed_in_its_callback) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, close_port);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    run_for(s.base, 50);
    say("replies %u", s.replies);
    close_serving(&s);
}

/* ---- What is no question ---- */

/* Sends it, then a good question: how many requests and replies there were before the good one. */
static void send_bad(struct serving *s, const char *what, const void *bytes, size_t length) {
    unsigned char wire[512];
    unsigned requests = s->requests, replies = s->replies;
    CHECK(send(s->client, bytes, length, 0) == (ssize_t)length);
    run_for(s->base, 20);
    say("%s: %u requests, %u replies", what, s->requests - requests, s->replies - replies);
    length = question(wire, "ok.test", TYPE_A);
    replies = s->replies;
    CHECK(send(s->client, wire, length, 0) == (ssize_t)length);
    run_until_count(s->base, &s->replies, replies + 1);
}

static void answer_none(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    CHECK(evdns_server_request_respond(request, 0) == 0);
}

CASE(dns_serve_broken_questions) {
    struct serving s;
    unsigned char wire[512] = {0}; /* what is sent behind a question, too */
    open_serving(&s, answer_none);
    s.quiet = true;
    size_t length = question(wire, "www.test", TYPE_A);
    send_bad(&s, "cut in the type", wire, length - 3);
    send_bad(&s, "cut in the name", wire, length - 8);
    send_bad(&s, "head only", wire, 12);
    send_bad(&s, "more bytes", wire, length + 7);
    wire[2] |= 0x80;
    send_bad(&s, "an answer", wire, length);
    wire[2] = 0x28;
    send_bad(&s, "another opcode", wire, length);
    wire[2] = 1;
    put16(wire + 4, 0);
    send_bad(&s, "no question", wire, length);
    put16(wire + 4, 2);
    send_bad(&s, "two questions promised", wire, length);
    put16(wire + 4, 0xffff);
    send_bad(&s, "65,535 questions promised", wire, length);
    length = question(wire, "www.test", TYPE_A);
    wire[12] = 63; /* CVE-2016-10195: the label reaches past the end */
    send_bad(&s, "a label past the end", wire, length);
    wire[12] = 0xc0;
    wire[13] = 12; /* points at itself */
    send_bad(&s, "a pointer to itself", wire, length);
    wire[12] = 0xff;
    wire[13] = 0xff;
    send_bad(&s, "a pointer past the end", wire, length);
    wire[12] = 0x40;
    send_bad(&s, "an unknown kind of label", wire, length);
    wire[12] = 0x80;
    send_bad(&s, "an unknown kind of label", wire, length);
    close_serving(&s);
}

CASE_DIFFERS(dns_serve_short_datagrams, "K",
             "a datagram of fewer than 12 bytes is dropped, and does not end the process") {
    struct serving s;
    open_serving(&s, answer_none);
    s.quiet = true;
    for (size_t length = 0; length < 12; length++)
        send_bad(&s, "short", "\x12\x34\1\0\0\1\0\0\0\0\0\0", length);
    close_serving(&s);
}

CASE(dns_serve_two_questions) {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, answer_none);
    size_t length = question(wire, "www.test", TYPE_A);
    put16(wire + 4, 2);
    memcpy(wire + length, "\300\014\0\034\0\1", 6); /* the same name by a pointer, AAAA */
    length += 6;
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.replies, 1);
    say("reply of %zd bytes", s.length);
    show_bytes(s.reply, s.length);
    close_serving(&s);
}

/* ---- Large answers ---- */

static void answer_forty(struct serving *serving, struct evdns_server_request *request) {
    for (unsigned char i = 0; i < 40; i++) {
        unsigned char address[4] = {192, 0, 2, i};
        CHECK(evdns_server_request_add_a_reply(request, request->questions[0]->name, 1, address,
                                               300) == 0);
    }
    (void)serving;
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE_DIFFERS(dns_serve_more_than_fits, "K",
             "an answer above 512 bytes is cut off between records, and its counts say so") {
    struct serving s;
    open_serving(&s, answer_forty);
    s.quiet = true;
    ask_serving(&s, "www.test", TYPE_A);
    say("%zd bytes, cut off %d, %u answers", s.length, (s.reply[2] & 2) != 0, get16(s.reply + 6));
    close_serving(&s);
}

/* CVE-2026-63387: the name's last byte would be the one behind 65,536. */
static void answer_huge(struct serving *serving, struct evdns_server_request *request) {
    static char data[65490];
    (void)serving;
    say("add %d", evdns_server_request_add_reply(request, EVDNS_ANSWER_SECTION, "a", 99, 1, 0,
                                                 sizeof data, 0, data));
    say("add %d", evdns_server_request_add_reply(request, EVDNS_ANSWER_SECTION, "a", EVDNS_TYPE_PTR,
                                                 1, 0, -1, 1, "zz"));
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE(dns_serve_a_name_at_the_end_of_the_message) {
    struct serving s;
    open_serving(&s, answer_huge);
    s.quiet = true;
    ask_serving(&s, "a", TYPE_A);
    say("cut off %d, fits %d", (s.reply[2] & 2) != 0, s.length <= 512);
    close_serving(&s);
}

static void answer_badly(struct serving *serving, struct evdns_server_request *request) {
    (void)serving;
    char label[80];
    memset(label, 'a', 70);
    label[70] = '\0';
    say("section %d", evdns_server_request_add_reply(request, 7, "a.test", 1, 1, 0, 4, 0, "abcd"));
    say("section %d", evdns_server_request_add_reply(request, -1, "a.test", 1, 1, 0, 4, 0, "abcd"));
    say("long label %d", evdns_server_request_add_reply(request, 0, label, 1, 1, 0, 4, 0, "abcd"));
    say("respond %d", evdns_server_request_respond(request, 0));
}

CASE_DIFFERS(dns_serve_records_that_cannot_be, "K",
             "a record whose name is none is refused; libevent sends what was in memory") {
    struct serving s;
    unsigned char wire[512];
    open_serving(&s, answer_badly);
    size_t length = question(wire, "www.test", TYPE_A);
    CHECK(send(s.client, wire, length, 0) == (ssize_t)length);
    run_until_count(s.base, &s.requests, 1);
    run_for(s.base, 20);
    say("replies %u", s.replies);
    show_bytes(s.reply, s.length);
    close_serving(&s);
}
