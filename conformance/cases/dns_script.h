/* A DNS server that follows a script.
 *
 * It runs in the case's own loop, so that what it does comes at a fixed place of the trace.
 * What it answers follows from the name that is asked for:
 *
 *   www.test        A 192.0.2.1 and AAAA 2001:db8::1, for 300 seconds
 *   many.test       three addresses of each family, with lifetimes of 300, 60 and 600 seconds
 *   v4.test v6.test one family only; the other one's answer is empty
 *   alias.test      a CNAME for www.test, with its addresses
 *   chain.test      three CNAMEs, the last one for www.test, with its addresses
 *   dangling.test   a CNAME without an address
 *   loop.test       a CNAME for itself
 *   local.test      127.0.0.1 and ::1
 *   format, servfail, nx, notimpl, refused (with .test): that error
 *   rcode9.test     an error that no header names
 *   silent.test     no answer
 *   once.test       no answer to the first question for it, www's to the others
 *   big.test        cut off in UDP, whole in TCP: 40 addresses
 *   cut.test        cut off in both
 *   1.2.0.192.in-addr.arpa and 2001:db8::1's name: PTR www.test
 *   the lies below
 *   anything else   does not exist */
#ifndef DNS_SCRIPT_H
#define DNS_SCRIPT_H

#include "case.h"

#include <ctype.h>

enum {
    TYPE_A = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_PTR = 12,
    TYPE_TXT = 16,
    TYPE_AAAA = 28,
    TYPE_OPT = 41
};

enum { MAX_CONNECTIONS = 8 };

struct dns_connection {
    struct dns_server *server;
    int fd;
    struct event *on_readable; /* NULL: not in use */
};

struct dns_server {
    const char *name; /* shown before what it traces, as "name."; "" for nothing */
    bool quiet;       /* does not trace the questions */
    bool mute;        /* answers nothing */
    bool failing;     /* answers SERVFAIL */
    bool refusing;    /* answers REFUSED */
    int half;         /* does not answer questions of this type */
    int half_refused; /* answers questions of this type with NXDOMAIN */
    struct event_base *base;
    int udp, tcp;
    struct sockaddr_in address;
    char text[32]; /* "127.0.0.1:PORT" */
    struct event *on_udp, *on_tcp;
    struct dns_connection connections[MAX_CONNECTIONS + 1];
    unsigned queries;     /* questions so far */
    unsigned tcp_queries; /* of those by TCP */
    unsigned once;        /* questions for once.test so far */
    unsigned mixed_case;  /* questions with a capital letter */
    unsigned ports[64];   /* from which port the first ones came */
    unsigned ids[64];     /* and their ids */
    int edns;             /* the size that the last question offered, 0: none */
    char raw_name[256];   /* the last question's name as it came */
};

struct dns_query {
    struct dns_server *server;
    unsigned char wire[1024];
    size_t length;
    size_t question_end;
    char name[256]; /* in small letters */
    int type;
    bool tcp;
    int fd;
    struct sockaddr_storage from;
    socklen_t from_length;
};

struct dns_reply {
    unsigned char wire[65536];
    size_t length;
    unsigned answers;
};

static inline void put16(unsigned char *at, unsigned value) {
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static inline unsigned get16(const unsigned char *at) { return (unsigned)at[0] << 8 | at[1]; }

/* Appends a name without compression; "" is the root. */
static inline size_t put_name(unsigned char *at, const char *name) {
    size_t used = 0;
    while (*name) {
        size_t label = strcspn(name, ".");
        at[used++] = (unsigned char)label;
        memcpy(at + used, name, label);
        used += label;
        name += label + (name[label] == '.');
    }
    at[used++] = 0;
    return used;
}

static inline void reply_begin(struct dns_reply *reply, const struct dns_query *query, int rcode) {
    memcpy(reply->wire, query->wire, query->question_end);
    reply->length = query->question_end;
    reply->answers = 0;
    reply->wire[2] = 0x80 | (query->wire[2] & 1);
    reply->wire[3] = (unsigned char)(0x80 | rcode);
    memset(reply->wire + 6, 0, 6);
}

static inline void reply_record(struct dns_reply *reply, const char *name, int type, unsigned ttl,
                                const void *data, size_t length) {
    unsigned char *at = reply->wire + reply->length;
    size_t used = put_name(at, name);
    put16(at + used, (unsigned)type);
    put16(at + used + 2, 1);
    put16(at + used + 4, ttl >> 16);
    put16(at + used + 6, ttl & 0xffff);
    put16(at + used + 8, (unsigned)length);
    memcpy(at + used + 10, data, length);
    reply->length += used + 10 + length;
    put16(reply->wire + 6, ++reply->answers);
}

static inline void reply_name(struct dns_reply *reply, const char *name, int type, unsigned ttl,
                              const char *target) {
    unsigned char data[256];
    reply_record(reply, name, type, ttl, data, put_name(data, target));
}

/* An address of the family that was asked for: `v4` of A questions, `v6` of AAAA questions. */
static inline void reply_address(struct dns_reply *reply, const struct dns_query *query,
                                 const char *name, unsigned ttl, const char *v4, const char *v6) {
    unsigned char data[16];
    if (query->type == TYPE_A && v4) {
        CHECK(inet_pton(AF_INET, v4, data) == 1);
        reply_record(reply, name, TYPE_A, ttl, data, 4);
    } else if (query->type == TYPE_AAAA && v6) {
        CHECK(inet_pton(AF_INET6, v6, data) == 1);
        reply_record(reply, name, TYPE_AAAA, ttl, data, 16);
    }
}

static inline void reply_send(struct dns_reply *reply, const struct dns_query *query) {
    if (query->tcp) {
        unsigned char size[2];
        put16(size, (unsigned)reply->length);
        send_all(query->fd, size, 2);
        send_all(query->fd, reply->wire, reply->length);
        return;
    }
    ssize_t sent = sendto(query->fd, reply->wire, reply->length, 0,
                          (const struct sockaddr *)&query->from, query->from_length);
    CHECK(sent == (ssize_t)reply->length);
}

static inline bool dns_is(const struct dns_query *query, const char *name) {
    return strcmp(query->name, name) == 0;
}

#define REVERSE_6 "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"

/* Answers that a resolver must not believe. Each ends with the truth where the liar is another
 * than the server that was asked, so that the case can see that the lie did no harm. */
static inline bool dns_lies(struct dns_query *query, struct dns_reply *reply) {
    bool then_the_truth = false;
    reply_begin(reply, query, 0);
    if (dns_is(query, "wrongid.test")) {
        reply_address(reply, query, query->name, 300, "192.0.2.66", NULL);
        reply->wire[0] ^= 0x55;
        then_the_truth = true;
    } else if (dns_is(query, "wrongname.test")) {
        reply->wire[13] ^= 1; /* the first letter of the question */
        reply_address(reply, query, "xrongname.test", 300, "192.0.2.66", NULL);
        then_the_truth = true;
    } else if (dns_is(query, "noquestion.test")) {
        unsigned char *wire = reply->wire;
        size_t question = query->question_end - 12;
        reply_address(reply, query, query->name, 300, "192.0.2.1", NULL);
        memmove(wire + 12, wire + query->question_end, reply->length - query->question_end);
        reply->length -= question;
        put16(wire + 4, 0);
    } else if (dns_is(query, "isquestion.test")) {
        reply_address(reply, query, query->name, 300, "192.0.2.66", NULL);
        reply->wire[2] &= 0x7f;
        then_the_truth = true;
    } else if (dns_is(query, "short.test")) {
        reply->length = 11;
    } else if (dns_is(query, "headonly.test")) {
        reply->length = 12;
    } else if (dns_is(query, "counts.test")) {
        reply_address(reply, query, query->name, 300, "192.0.2.1", NULL);
        put16(reply->wire + 6, 200); /* of which one is there */
    } else if (dns_is(query, "pastend.test")) {
        reply_address(reply, query, query->name, 300, "192.0.2.1", NULL);
        reply->length -= 2; /* the address is not whole */
    } else if (dns_is(query, "oddlength.test")) {
        reply_record(reply, query->name, TYPE_A, 300, "\300\000\002\001\011", 5);
    } else if (dns_is(query, "pointerloop.test")) {
        unsigned char *at = reply->wire + reply->length;
        put16(at, 0xc000 | (unsigned)reply->length); /* points at itself */
        put16(at + 2, TYPE_A);
        put16(at + 4, 1);
        memset(at + 6, 0, 4);
        put16(at + 10, 4);
        memset(at + 12, 1, 4);
        reply->length += 16;
        put16(reply->wire + 6, 1);
    } else if (dns_is(query, "otherclass.test")) {
        reply_address(reply, query, query->name, 300, "192.0.2.1", NULL);
        put16(reply->wire + reply->length - 12, 3); /* CH */
    } else if (dns_is(query, "othertype.test")) {
        reply_record(reply, query->name, TYPE_TXT, 300, "\003abc", 4);
    } else if (dns_is(query, "hugettl.test")) {
        reply_address(reply, query, query->name, 0xfffffff0, "192.0.2.1", NULL);
    } else if (dns_is(query, "zerottl.test")) {
        reply_address(reply, query, query->name, 0, "192.0.2.1", NULL);
    } else {
        return false;
    }
    reply_send(reply, query);
    if (then_the_truth) {
        reply_begin(reply, query, 0);
        reply_address(reply, query, query->name, 300, "192.0.2.1", NULL);
        reply_send(reply, query);
    }
    return true;
}

static inline int dns_error_of(const struct dns_query *query) {
    static const struct {
        const char *name;
        int rcode;
    } errors[] = {{"format.test", 1},  {"servfail.test", 2}, {"nx.test", 3},
                  {"notimpl.test", 4}, {"refused.test", 5},  {"rcode9.test", 9}};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (dns_is(query, errors[i].name))
            return errors[i].rcode;
    return 0;
}

static inline void reply_www(struct dns_reply *reply, const struct dns_query *query,
                             const char *name) {
    reply_address(reply, query, name, 300, "192.0.2.1", "2001:db8::1");
}

static inline void dns_answer(struct dns_query *query) {
    static struct dns_reply reply;
    struct dns_server *server = query->server;
    const char *name = query->name;
    if (server->mute || server->half == query->type || dns_is(query, "silent.test"))
        return;
    if (dns_is(query, "once.test") && server->once++ == 0)
        return;
    if (dns_lies(query, &reply))
        return;
    int rcode = server->failing ? 2 : server->refusing ? 5 : dns_error_of(query);
    reply_begin(&reply, query, rcode);
    if (rcode == 0 && server->half_refused == query->type)
        reply.wire[3] |= 3;
    else if (rcode != 0) {
    } else if (dns_is(query, "www.test") || dns_is(query, "once.test")) {
        reply_www(&reply, query, name);
    } else if (dns_is(query, "many.test")) {
        reply_address(&reply, query, name, 300, "192.0.2.1", "2001:db8::1");
        reply_address(&reply, query, name, 60, "192.0.2.2", "2001:db8::2");
        reply_address(&reply, query, name, 600, "192.0.2.3", "2001:db8::3");
    } else if (dns_is(query, "v4.test")) {
        reply_address(&reply, query, name, 300, "192.0.2.4", NULL);
    } else if (dns_is(query, "v6.test")) {
        reply_address(&reply, query, name, 300, NULL, "2001:db8::6");
    } else if (dns_is(query, "local.test") || dns_is(query, "local.sub.test")) {
        reply_address(&reply, query, name, 300, "127.0.0.1", "::1");
    } else if (dns_is(query, "local4.test")) {
        reply_address(&reply, query, name, 300, "127.0.0.1", NULL);
    } else if (dns_is(query, "alias.test")) {
        reply_name(&reply, name, TYPE_CNAME, 30, "www.test");
        reply_www(&reply, query, "www.test");
    } else if (dns_is(query, "chain.test")) {
        reply_name(&reply, name, TYPE_CNAME, 900, "a.test");
        reply_name(&reply, "a.test", TYPE_CNAME, 900, "b.test");
        reply_name(&reply, "b.test", TYPE_CNAME, 900, "www.test");
        reply_www(&reply, query, "www.test");
    } else if (dns_is(query, "dangling.test")) {
        reply_name(&reply, name, TYPE_CNAME, 300, "gone.test");
    } else if (dns_is(query, "loop.test")) {
        reply_name(&reply, name, TYPE_CNAME, 300, name);
    } else if (dns_is(query, "cut.test") || (dns_is(query, "big.test") && !query->tcp)) {
        reply.wire[2] |= 2;
    } else if (dns_is(query, "big.test")) {
        for (int i = 0; i < 40; i++) {
            char v4[32];
            snprintf(v4, sizeof v4, "192.0.2.%d", i + 1);
            reply_address(&reply, query, name, 300, v4, NULL);
        }
    } else if (dns_is(query, "1.2.0.192.in-addr.arpa") || dns_is(query, REVERSE_6)) {
        if (query->type == TYPE_PTR)
            reply_name(&reply, name, TYPE_PTR, 300, "www.test");
    } else if (dns_is(query, "2.2.0.192.in-addr.arpa")) {
        reply_name(&reply, name, TYPE_PTR, 300, "first.test");
        reply_name(&reply, name, TYPE_PTR, 300, "second.test");
    } else {
        reply.wire[3] |= 3;
    }
    reply_send(&reply, query);
}

static inline const char *type_name(int type) {
    switch (type) {
    case TYPE_A:
        return "A";
    case TYPE_AAAA:
        return "AAAA";
    case TYPE_PTR:
        return "PTR";
    case TYPE_CNAME:
        return "CNAME";
    default:
        return "TYPE?";
    }
}

/* Takes a question apart; false if it is none. */
static inline bool dns_parse(struct dns_query *query) {
    const unsigned char *wire = query->wire;
    size_t at = 12, out = 0;
    if (query->length < 17 || get16(wire + 4) != 1)
        return false;
    while (at < query->length && wire[at] != 0) {
        size_t label = wire[at++];
        if (label > 63 || at + label >= query->length || out + label + 2 > sizeof query->name)
            return false;
        if (out)
            query->name[out++] = '.';
        memcpy(query->name + out, wire + at, label);
        out += label;
        at += label;
    }
    if (at + 5 > query->length)
        return false;
    query->name[out] = '\0';
    query->type = (int)get16(wire + at + 1);
    query->question_end = at + 5;
    struct dns_server *server = query->server;
    strcpy(server->raw_name, query->name);
    bool mixed = false;
    for (char *c = query->name; *c; c++) {
        mixed |= isupper((unsigned char)*c) != 0;
        *c = (char)tolower((unsigned char)*c);
    }
    server->mixed_case += mixed;
    server->edns = 0;
    /* The additional section of a question holds an OPT record at most. */
    if (get16(wire + 10) == 1 && at + 5 + 11 <= query->length && wire[at + 5] == 0 &&
        get16(wire + at + 6) == TYPE_OPT)
        server->edns = (int)get16(wire + at + 8);
    return true;
}

static inline void dns_handle(struct dns_query *query) {
    struct dns_server *server = query->server;
    if (!dns_parse(query)) {
        say("%s%snot a question", server->name, server->name[0] ? "." : "");
        return;
    }
    if (server->queries < 64) {
        server->ports[server->queries] = ntohs(((struct sockaddr_in *)&query->from)->sin_port);
        server->ids[server->queries] = get16(query->wire);
    }
    server->queries++;
    server->tcp_queries += query->tcp;
    if (!server->quiet)
        say("%s%s%s %s%s", server->name, server->name[0] ? ": " : "", type_name(query->type),
            query->name, query->tcp ? " (TCP)" : "");
    dns_answer(query);
}

static inline void dns_on_udp(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct dns_query query;
    for (;;) {
        memset(&query, 0, sizeof query);
        query.server = arg;
        query.fd = fd;
        query.from_length = sizeof query.from;
        ssize_t n = recvfrom(fd, query.wire, sizeof query.wire, 0, (struct sockaddr *)&query.from,
                             &query.from_length);
        if (n < 0)
            return;
        query.length = (size_t)n;
        dns_handle(&query);
    }
}

static inline void dns_hang_up(struct dns_connection *connection) {
    if (!connection->on_readable)
        return;
    event_free(connection->on_readable);
    close(connection->fd);
    connection->on_readable = NULL;
}

/* One question for each connection, which is small enough to come as a whole. */
static inline void dns_on_question(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct dns_connection *connection = arg;
    struct dns_query query;
    unsigned char size[2];
    memset(&query, 0, sizeof query);
    query.server = connection->server;
    query.fd = fd;
    query.tcp = true;
    query.from_length = sizeof query.from;
    getpeername(fd, (struct sockaddr *)&query.from, &query.from_length);
    if (recv_now(fd, size, 2, NULL) == 2) {
        query.length = recv_now(fd, query.wire, get16(size), NULL);
        dns_handle(&query);
    }
    dns_hang_up(connection);
}

static inline void dns_on_tcp(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct dns_server *server = arg;
    struct dns_connection *connection = server->connections;
    while (connection->on_readable)
        connection++;
    CHECK(connection < server->connections + MAX_CONNECTIONS);
    connection->server = server;
    connection->fd = accept_one(fd);
    connection->on_readable =
        event_new(server->base, connection->fd, EV_READ, dns_on_question, connection);
    CHECK(connection->on_readable && event_add(connection->on_readable, NULL) == 0);
}

/* Begins to serve on a free port of 127.0.0.1, or of `ip`. */
static inline void dns_serve_on(struct dns_server *server, const char *name,
                                struct event_base *base, const char *ip) {
    memset(server, 0, sizeof *server);
    server->name = name;
    server->base = base;
    /* A port that is free for both protocols. */
    for (int tries = 0;; tries++) {
        CHECK(tries < 100);
        socklen_t length = sizeof server->address;
        server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(server->udp >= 0 && server->tcp >= 0);
        memset(&server->address, 0, sizeof server->address);
        server->address.sin_family = AF_INET;
        CHECK(inet_pton(AF_INET, ip, &server->address.sin_addr) == 1);
        CHECK(bind(server->udp, (struct sockaddr *)&server->address, length) == 0);
        CHECK(getsockname(server->udp, (struct sockaddr *)&server->address, &length) == 0);
        if (bind(server->tcp, (struct sockaddr *)&server->address, length) == 0)
            break;
        close(server->udp);
        close(server->tcp);
    }
    CHECK(listen(server->tcp, 16) == 0);
    snprintf(server->text, sizeof server->text, "%s:%d", ip, ntohs(server->address.sin_port));
    server->on_udp = event_new(base, server->udp, EV_READ | EV_PERSIST, dns_on_udp, server);
    server->on_tcp = event_new(base, server->tcp, EV_READ | EV_PERSIST, dns_on_tcp, server);
    CHECK(server->on_udp && server->on_tcp);
    CHECK(event_add(server->on_udp, NULL) == 0 && event_add(server->on_tcp, NULL) == 0);
}

static inline void dns_serve(struct dns_server *server, const char *name, struct event_base *base) {
    dns_serve_on(server, name, base, "127.0.0.1");
}

/* Its port is closed: who asks is refused by the kernel. */
static inline void dns_stop(struct dns_server *server) {
    if (!server->on_udp)
        return;
    for (int i = 0; i < MAX_CONNECTIONS; i++)
        dns_hang_up(&server->connections[i]);
    event_free(server->on_udp);
    event_free(server->on_tcp);
    server->on_udp = server->on_tcp = NULL;
    close(server->udp);
    close(server->tcp);
}

#endif
