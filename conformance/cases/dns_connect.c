/* bufferevent_socket_connect_hostname with a resolver. */
#include "bufferevent.h"
#include "dns.h"

struct dialing {
    struct names n;
    struct end a;
    struct sockaddr_in address;
    int listener, port;
};

static void open_dialing(struct dialing *d, int options) {
    open_names(&d->n);
    d->n.server.quiet = true;
    d->listener = tcp_listener(&d->address);
    d->port = ntohs(d->address.sin_port);
    watch_new(&d->a, "", d->n.base, -1, options | BEV_OPT_CLOSE_ON_FREE);
}

static int dial(struct dialing *d, int family, const char *name) {
    return bufferevent_socket_connect_hostname(d->a.bev, d->n.dns, family, name, d->port);
}

static void close_dialing(struct dialing *d) {
    if (d->a.bev)
        bufferevent_free(d->a.bev);
    close(d->listener);
    run_for(d->n.base, 1);
    close_names(&d->n);
}

CASE(dns_connect_by_name) {
    struct dialing d;
    open_dialing(&d, 0);
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    write_letters(d.a.bev, 5);
    say("connect %d", dial(&d, AF_INET, "local.test"));
    say("inside: events %u, descriptor %d", d.a.events, bufferevent_getfd(d.a.bev) >= 0);
    step("loop");
    run_until_count(d.n.base, &d.a.writes, 1);
    say("dns error %d, descriptor %d", bufferevent_socket_get_dns_error(d.a.bev),
        bufferevent_getfd(d.a.bev) >= 0);
    int server = accept_one(d.listener);
    send_letters(server, 3);
    step("data");
    run_until_count(d.n.base, &d.a.reads, 1);
    close(server);
    run_until_count(d.n.base, &d.a.events, 2);
    close_dialing(&d);
}

CASE(dns_connect_asks_for_the_family) {
    struct dialing d;
    open_dialing(&d, 0);
    d.n.server.quiet = false;
    CHECK(dial(&d, AF_INET, "nx.test") == 0);
    run_until_count(d.n.base, &d.a.events, 1);
    CHECK(dial(&d, AF_INET6, "nx.test") == 0);
    run_until_count(d.n.base, &d.a.events, 2);
    close_dialing(&d);
}

static void show_reason(struct end *end) {
    int error = bufferevent_socket_get_dns_error(end->bev);
    token("dns=%s", eai_name(error));
    if (error)
        token("\"%s\"", evutil_gai_strerror(error));
}

CASE(dns_connect_to_a_name_that_does_not_exist) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    say("connect %d", dial(&d, AF_UNSPEC, "nx.test"));
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    run_for(d.n.base, 20);
    say("enabled %d, events %u", bufferevent_get_enabled(d.a.bev), d.a.events);
    close_dialing(&d);
}

CASE(dns_connect_to_a_name_without_addresses) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    say("connect %d", dial(&d, AF_INET, "v6.test"));
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    close_dialing(&d);
}

CASE(dns_connect_when_the_server_is_silent) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    say("connect %d", dial(&d, AF_INET, "silent.test"));
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    close_dialing(&d);
}

CASE(dns_connect_refused) {
    struct dialing d;
    struct sockaddr_in nobody;
    open_dialing(&d, 0);
    int port = refusing_port(&nobody);
    d.port = ntohs(nobody.sin_port);
    d.a.on_event = show_reason;
    say("connect %d", dial(&d, AF_INET, "local.test"));
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    run_for(d.n.base, 20);
    say("events %u", d.a.events);
    close(port);
    close_dialing(&d);
}

CASE(dns_connect_deferred) {
    struct dialing d;
    open_dialing(&d, BEV_OPT_DEFER_CALLBACKS);
    d.a.on_event = show_reason;
    CHECK(dial(&d, AF_INET, "local.test") == 0);
    step("good");
    run_until_count(d.n.base, &d.a.events, 1);
    CHECK(bufferevent_setfd(d.a.bev, -1) == 0);
    CHECK(dial(&d, AF_INET, "nx.test") == 0);
    step("bad");
    run_until_count(d.n.base, &d.a.events, 2);
    close_dialing(&d);
}

CASE(dns_connect_to_an_address_as_text) {
    struct dialing d;
    open_dialing(&d, 0);
    d.n.server.quiet = false;
    say("connect %d", dial(&d, AF_INET, "127.0.0.1"));
    say("inside: events %u, descriptor %d", d.a.events, bufferevent_getfd(d.a.bev) >= 0);
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    close_dialing(&d);
}

CASE(dns_connect_by_the_hosts_file) {
    struct dialing d;
    char path[64];
    open_dialing(&d, 0);
    d.n.server.quiet = false;
    write_file(path, "127.0.0.1 here.test\n");
    CHECK(evdns_base_load_hosts(d.n.dns, path) == 0);
    unlink(path);
    say("connect %d", dial(&d, AF_INET, "here.test"));
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    close_dialing(&d);
}

CASE(dns_connect_freed_during_the_look_up) {
    struct dialing d;
    open_dialing(&d, 0);
    CHECK(dial(&d, AF_INET, "silent.test") == 0);
    run_until_count(d.n.base, &d.n.server.queries, 1);
    bufferevent_free(d.a.bev);
    run_for(d.n.base, 400);
    say("events %u", d.a.events);
    d.a.bev = NULL;
    close_dialing(&d);
}

CASE(dns_connect_freed_at_once) {
    struct dialing d;
    open_dialing(&d, 0);
    CHECK(dial(&d, AF_INET, "local.test") == 0);
    bufferevent_free(d.a.bev);
    run_for(d.n.base, 50);
    say("events %u", d.a.events);
    d.a.bev = NULL;
    close_dialing(&d);
}

static void free_bufferevent(struct end *end) {
    struct dialing *d = end->extra;
    bufferevent_free(end->bev);
    d->a.bev = NULL;
}

CASE(dns_connect_freed_in_its_callback) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = free_bufferevent;
    d.a.extra = &d;
    CHECK(dial(&d, AF_INET, "nx.test") == 0);
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    run_for(d.n.base, 20);
    close_dialing(&d);
}

CASE(dns_connect_with_bad_arguments) {
    struct dialing d;
    open_dialing(&d, 0);
    say("family %d", dial(&d, AF_UNIX, "local.test"));
    d.port = 0;
    say("port %d", dial(&d, AF_INET, "local.test"));
    d.port = -1;
    say("port %d", dial(&d, AF_INET, "local.test"));
    d.port = 65536;
    say("port %d", dial(&d, AF_INET, "local.test"));
    run_for(d.n.base, 20);
    say("events %u, questions %u", d.a.events, d.n.server.queries);
    close_dialing(&d);
}

CASE(dns_connect_tells_no_old_error) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    CHECK(dial(&d, AF_INET, "nx.test") == 0);
    step("bad");
    run_until_count(d.n.base, &d.a.events, 1);
    CHECK(dial(&d, AF_INET, "local.test") == 0);
    step("good");
    run_until_count(d.n.base, &d.a.events, 2);
    close_dialing(&d);
}

/* Writing and enabling during the look-up do nothing before it has ended. */
CASE(dns_connect_holds_everything_back) {
    struct dialing d;
    open_dialing(&d, 0);
    d.n.server.mute = true;
    CHECK(dial(&d, AF_INET, "local.test") == 0);
    CHECK(bufferevent_enable(d.a.bev, EV_READ | EV_WRITE) == 0);
    write_letters(d.a.bev, 7);
    run_until_count(d.n.base, &d.n.server.queries, 1);
    d.n.server.mute = false;
    say("calls %u %u %u", d.a.reads, d.a.writes, d.a.events);
    step("loop");
    run_until_count(d.n.base, &d.a.writes, 1);
    say("held %zu", out_length(d.a.bev));
    close_dialing(&d);
}

/* libevent #1324: an answer without an address. */
CASE(dns_connect_to_an_empty_answer) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    CHECK(dial(&d, AF_UNSPEC, "dangling.test") == 0);
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    close_dialing(&d);
}

/*
 * Listens on ::1, and holds the same port of 127.0.0.1 without listening there. Somebody else may
 * have that one: then another port is tried.
 */
static int listen_beside_a_closed_port(int *listener, int *refusing) {
    for (int attempt = 0; attempt < 100; attempt++) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        struct sockaddr_in in = {.sin_family = AF_INET};
        socklen_t length = sizeof in6;
        in6.sin6_addr = in6addr_loopback;
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        *refusing = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(*listener >= 0 && *refusing >= 0);
        CHECK(bind(*listener, (struct sockaddr *)&in6, sizeof in6) == 0);
        CHECK(listen(*listener, 16) == 0);
        CHECK(getsockname(*listener, (struct sockaddr *)&in6, &length) == 0);
        in.sin_port = in6.sin6_port;
        if (bind(*refusing, (struct sockaddr *)&in, sizeof in) == 0)
            return ntohs(in6.sin6_port);
        close(*listener);
        close(*refusing);
    }
    CHECK(!"a port that is free on both");
    return -1;
}

/* Two addresses, of which the first one refuses. */
CASE_DIFFERS(dns_connect_tries_all_addresses, "J51", "all addresses of a name are tried") {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    int listener, refusing;
    d.port = listen_beside_a_closed_port(&listener, &refusing);
    CHECK(dial(&d, AF_UNSPEC, "local.test") == 0);
    step("loop");
    run_until_count(d.n.base, &d.a.events, 1);
    run_for(d.n.base, 20);
    say("events %u", d.a.events);
    close(listener);
    close(refusing);
    close_dialing(&d);
}

CASE(dns_connect_while_the_resolver_is_freed) {
    struct dialing d;
    open_dialing(&d, 0);
    d.a.on_event = show_reason;
    CHECK(dial(&d, AF_INET, "silent.test") == 0);
    run_until_count(d.n.base, &d.n.server.queries, 1);
    evdns_base_free(d.n.dns, 1);
    d.n.dns = NULL;
    step("loop");
    run_for(d.n.base, 50);
    say("events %u", d.a.events);
    close_dialing(&d);
}
