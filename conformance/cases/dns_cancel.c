/* Requests that are cancelled, and resolvers that are freed while they work. */
#include "dns.h"

CASE(dns_cancel_before_the_answer) {
    struct names n;
    struct answer answer = {.name = "www.test"};
    open_names(&n);
    n.server.quiet = true;
    struct evdns_request *request =
        evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer);
    CHECK(request);
    evdns_cancel_request(n.dns, request);
    say("inside %u", answer.calls);
    run_until_answer(n.base, &answer);
    run_for(n.base, 20);
    say("calls %u", answer.calls);
    close_names(&n);
}

CASE(dns_cancel_what_waits_for_an_answer) {
    struct names n;
    struct answer answer = {.name = "silent.test"};
    open_names(&n);
    struct evdns_request *request =
        evdns_base_resolve_ipv4(n.dns, "silent.test", 0, on_answer, &answer);
    CHECK(request);
    run_until_count(n.base, &n.server.queries, 1);
    evdns_cancel_request(n.dns, request);
    run_until_answer(n.base, &answer);
    run_for(n.base, 400);
    say("calls %u", answer.calls);
    close_names(&n);
}

CASE(dns_cancel_what_waits_for_its_turn) {
    struct names n;
    struct answer first = {.name = "first"}, second = {.name = "second"};
    open_names(&n);
    n.server.quiet = true;
    CHECK(evdns_base_set_option(n.dns, "max-inflight:", "1") == 0);
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &first));
    struct evdns_request *request =
        evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &second);
    CHECK(request);
    evdns_cancel_request(n.dns, request);
    run_until_answer(n.base, &first);
    run_until_answer(n.base, &second);
    say("asked %u", n.server.queries);
    close_names(&n);
}

static void cancel_other(struct answer *answer) {
    struct names *n = ((void **)answer->extra)[0];
    evdns_cancel_request(n->dns, ((void **)answer->extra)[1]);
}

CASE(dns_cancel_another_in_a_callback) {
    struct names n;
    void *extra[2];
    struct answer first = {.name = "first", .then = cancel_other, .extra = extra};
    struct answer second = {.name = "second"};
    open_names(&n);
    n.server.quiet = true;
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &first));
    extra[0] = &n;
    extra[1] = evdns_base_resolve_ipv4(n.dns, "silent.test", 0, on_answer, &second);
    CHECK(extra[1]);
    run_until_answer(n.base, &second);
    say("calls %u %u", first.calls, second.calls);
    close_names(&n);
}

CASE(dns_cancel_during_a_search) {
    struct names n;
    struct answer answer = {.name = "nobody"};
    open_names(&n);
    evdns_base_search_add(n.dns, "b.test");
    evdns_base_search_add(n.dns, "a.test");
    struct evdns_request *request = evdns_base_resolve_ipv4(n.dns, "nobody", 0, on_answer, &answer);
    CHECK(request);
    run_until_count(n.base, &n.server.queries, 2);
    evdns_cancel_request(n.dns, request);
    run_until_answer(n.base, &answer);
    run_for(n.base, 20);
    say("asked %u", n.server.queries);
    close_names(&n);
}

/* libevent #64, #331, #1278 */
static void count_result(int result, char type, int count, int ttl, void *addresses, void *arg) {
    CHECK(type == 0 && count == 0 && ttl == 0 && !addresses);
    ++((unsigned *)arg)[result == DNS_ERR_SHUTDOWN];
}

static void free_with_requests(int fail_requests) {
    struct names n;
    unsigned asked[2] = {0}, waiting[2] = {0}; /* those that failed otherwise, and by the end */
    open_names(&n);
    CHECK(evdns_base_set_option(n.dns, "max-inflight:", "1") == 0);
    CHECK(evdns_base_resolve_ipv4(n.dns, "silent.test", 0, count_result, asked));
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, count_result, waiting));
    run_until_count(n.base, &n.server.queries, 1);
    evdns_base_free(n.dns, fail_requests);
    n.dns = NULL;
    say("inside %u %u", asked[1], waiting[1]);
    run_for(n.base, 20);
    say("shut down %u %u, otherwise %u %u", asked[1], waiting[1], asked[0], waiting[0]);
    close_names(&n);
}

CASE(dns_free_fails_the_requests) { free_with_requests(1); }
CASE(dns_free_forgets_the_requests) { free_with_requests(0); }

static void free_resolver(struct answer *answer) {
    struct names *n = answer->extra;
    evdns_base_free(n->dns, 1);
    n->dns = NULL;
}

CASE(dns_free_in_a_callback) {
    struct names n;
    struct answer first = {.name = "first", .then = free_resolver, .extra = &n};
    struct answer second = {.name = "second"};
    open_names(&n);
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &first));
    CHECK(evdns_base_resolve_ipv4(n.dns, "silent.test", 0, on_answer, &second));
    run_until_answer(n.base, &first);
    run_for(n.base, 20);
    say("calls %u %u", first.calls, second.calls);
    close_names(&n);
}

CASE(dns_free_without_a_server) {
    struct event_base *base = new_base();
    struct evdns_base *dns = new_resolver(base);
    struct answer answer = {.name = "www.test"};
    CHECK(evdns_base_resolve_ipv4(dns, "www.test", 0, on_answer, &answer));
    evdns_base_free(dns, 1);
    run_for(base, 20);
    say("calls %u", answer.calls);
    event_base_free(base);
}

CASE(dns_cancel_of_addresses) {
    struct names n;
    struct answer answer = {.name = "www.test"};
    open_names(&n);
    n.server.quiet = true;
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(n.dns, "www.test", "80", NULL, on_addresses, &answer);
    CHECK(request);
    evdns_getaddrinfo_cancel(request);
    say("inside %u", answer.calls);
    run_until_answer(n.base, &answer);
    run_for(n.base, 20);
    say("calls %u", answer.calls);
    close_names(&n);
}

CASE(dns_cancel_of_addresses_half_way) {
    struct names n;
    struct answer answer = {.name = "silent.test"};
    open_names(&n);
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(n.dns, "silent.test", "80", NULL, on_addresses, &answer);
    CHECK(request);
    run_until_count(n.base, &n.server.queries, 2);
    evdns_getaddrinfo_cancel(request);
    evdns_getaddrinfo_cancel(request);
    run_until_answer(n.base, &answer);
    run_for(n.base, 20);
    say("calls %u", answer.calls);
    close_names(&n);
}

static void free_with_addresses(int fail_requests) {
    struct names n;
    struct answer answer = {.name = "silent.test"};
    open_names(&n);
    CHECK(evdns_getaddrinfo(n.dns, "silent.test", "80", NULL, on_addresses, &answer));
    run_until_count(n.base, &n.server.queries, 2);
    evdns_base_free(n.dns, fail_requests);
    n.dns = NULL;
    run_for(n.base, 20);
    say("calls %u", answer.calls);
    close_names(&n);
}

CASE(dns_free_fails_the_addresses) { free_with_addresses(1); }
/* Under libevent this leaks. */
CASE(dns_free_forgets_the_addresses) { free_with_addresses(0); }
