/* The functions of dns_compat.h, which work on one resolver of the whole process; and what a base
 * is kept running by. */
#include "dns.h"

#include <pthread.h>

#include <event2/event_compat.h>

CASE(dns_global_resolver) {
    struct dns_server server;
    struct event_base *base = event_init();
    struct answer answers[4] = {
        {.name = "www.test"}, {.name = "www.test"}, {.name = "192.0.2.1"}, {.name = "2001:db8::1"}};
    struct in_addr in;
    struct in6_addr in6;
    say("global %d", evdns_get_global_base() != NULL);
    say("init %d", evdns_init());
    say("global %d", evdns_get_global_base() != NULL);
    say("clear %d, count %d", evdns_clear_nameservers_and_suspend(), evdns_count_nameservers());
    dns_serve(&server, "", base);
    say("add %d", evdns_nameserver_ip_add(server.text));
    say("resume %d", evdns_resume());
    say("count %d", evdns_count_nameservers());
    say("option %d", evdns_set_option("timeout:", "0.2", 0));
    say("option %d", evdns_set_option("ndots:", "x", 0));
    CHECK(inet_pton(AF_INET, "192.0.2.1", &in) == 1 &&
          inet_pton(AF_INET6, "2001:db8::1", &in6) == 1);
    say("ipv4 %d", evdns_resolve_ipv4("www.test", 0, on_answer, &answers[0]));
    run_until_answer(base, &answers[0]);
    say("ipv6 %d", evdns_resolve_ipv6("www.test", 0, on_answer, &answers[1]));
    run_until_answer(base, &answers[1]);
    say("reverse %d", evdns_resolve_reverse(&in, 0, on_answer, &answers[2]));
    run_until_answer(base, &answers[2]);
    say("reverse %d", evdns_resolve_reverse_ipv6(&in6, 0, on_answer, &answers[3]));
    run_until_answer(base, &answers[3]);
    say("add %d", evdns_nameserver_add(htonl(0x7f000002)));
    say("count %d", evdns_count_nameservers());
    evdns_shutdown(0);
    say("global %d", evdns_get_global_base() != NULL);
    dns_stop(&server);
    event_base_free(base);
}

CASE(dns_global_search) {
    struct dns_server server;
    struct event_base *base = event_init();
    struct answer first = {.name = "nobody"}, second = {.name = "no.body"},
                  third = {.name = "nobody"};
    CHECK(evdns_init() == 0 && evdns_clear_nameservers_and_suspend() == 0);
    evdns_search_clear();
    dns_serve(&server, "", base);
    CHECK(evdns_nameserver_ip_add(server.text) == 0 && evdns_resume() == 0);
    evdns_search_add("sub.test");
    CHECK(evdns_resolve_ipv4("nobody", 0, on_answer, &first) == 0);
    run_until_answer(base, &first);
    evdns_search_ndots_set(2);
    CHECK(evdns_resolve_ipv4("no.body", 0, on_answer, &second) == 0);
    run_until_answer(base, &second);
    evdns_search_clear();
    CHECK(evdns_resolve_ipv4("nobody", 0, on_answer, &third) == 0);
    run_until_answer(base, &third);
    evdns_shutdown(1);
    dns_stop(&server);
    event_base_free(base);
}

CASE(dns_global_file) {
    char path[64];
    struct event_base *base = event_init();
    write_file(path, "nameserver 192.0.2.1\n");
    say("parse %d", evdns_resolv_conf_parse(DNS_OPTIONS_ALL, path));
    say("global %d, count %d", evdns_get_global_base() != NULL, evdns_count_nameservers());
    unlink(path);
    evdns_shutdown(0);
    event_base_free(base);
}

CASE(dns_global_shutdown_fails_requests) {
    struct dns_server server;
    struct event_base *base = event_init();
    struct answer answer = {.name = "silent.test"};
    CHECK(evdns_init() == 0 && evdns_clear_nameservers_and_suspend() == 0);
    dns_serve(&server, "", base);
    CHECK(evdns_nameserver_ip_add(server.text) == 0 && evdns_resume() == 0);
    CHECK(evdns_resolve_ipv4("silent.test", 0, on_answer, &answer) == 0);
    run_until_count(base, &server.queries, 1);
    evdns_shutdown(1);
    run_for(base, 20);
    say("calls %u, global %d", answer.calls, evdns_get_global_base() != NULL);
    evdns_shutdown(1);
    dns_stop(&server);
    event_base_free(base);
}

CASE(dns_global_init_twice) {
    struct event_base *base = event_init();
    say("init %d", evdns_init());
    struct evdns_base *first = evdns_get_global_base();
    say("init %d", evdns_init());
    say("the same %d", evdns_get_global_base() == first);
    /* The first one is nobody's now. */
    evdns_base_free(first, 0);
    evdns_shutdown(0);
    event_base_free(base);
}

static void drop_request(struct evdns_server_request *request, void *arg) {
    ++*(unsigned *)arg;
    say("asks for %s", request->questions[0]->name);
    evdns_server_request_drop(request);
}

CASE(dns_global_server_port) {
    struct event_base *base = event_init();
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    unsigned requests = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&address, length) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    struct evdns_server_port *port = evdns_add_server_port(fd, 0, drop_request, &requests);
    CHECK(port);
    static const char wire[] = "\0\1\1\0\0\1\0\0\0\0\0\0\3www\4test\0\0\1\0\1";
    int client = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(sendto(client, wire, sizeof wire - 1, 0, (struct sockaddr *)&address, length) > 0);
    run_until_count(base, &requests, 1);
    evdns_close_server_port(port);
    close(client);
    event_base_free(base);
}

/* ---- What keeps a loop running ---- */

static void stop_server(struct answer *answer) { dns_stop(answer->extra); }

static void *end_loop(void *arg) {
    usleep(300000);
    event_base_loopbreak(arg);
    return NULL;
}

/* A loop in which nothing is left but an idle resolver; another thread ends it if that must be. */
static void loop_with_idle_resolver(int flags) {
    struct names n;
    pthread_t thread;
    CHECK(evthread_use_pthreads() == 0);
    n.base = new_base();
    n.dns = evdns_base_new(n.base, flags);
    CHECK(n.dns);
    dns_serve(&n.server, "", n.base);
    CHECK(evdns_base_nameserver_ip_add(n.dns, n.server.text) == 0);
    struct answer answer = {.name = "www.test", .then = stop_server, .extra = &n.server};
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer));
    bool ends = flags & EVDNS_BASE_DISABLE_WHEN_INACTIVE;
    if (!ends)
        CHECK(pthread_create(&thread, NULL, end_loop, n.base) == 0);
    int result = event_base_dispatch(n.base);
    say("dispatch %d, broken %d, calls %u", result, event_base_got_break(n.base), answer.calls);
    if (!ends)
        pthread_join(thread, NULL);
    close_names(&n);
}

CASE(dns_resolver_keeps_the_loop_running) { loop_with_idle_resolver(0); }
CASE(dns_idle_resolver_lets_the_loop_end) {
    loop_with_idle_resolver(EVDNS_BASE_DISABLE_WHEN_INACTIVE);
}
