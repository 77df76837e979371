/* evdns_getaddrinfo. */
#include "dns.h"

struct look {
    const char *name, *service;
    int flags, family, socktype, protocol;
};

/* Looks up, waits, and says what came and whether it came inside the call. */
static void look_up(struct names *n, struct look look) {
    struct answer answer = {.name = look.name ? look.name : "NULL"};
    struct evutil_addrinfo hints = {.ai_flags = look.flags,
                                    .ai_family = look.family,
                                    .ai_socktype = look.socktype,
                                    .ai_protocol = look.protocol};
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(n->dns, look.name, look.service, &hints, on_addresses, &answer);
    if (request)
        CHECK(answer.calls == 0);
    say("%s", request ? "asks" : answer.calls ? "at once" : "not at once");
    run_until_answer(n->base, &answer);
}

#define LOOK(...) look_up(&n, (struct look){__VA_ARGS__})

CASE(dns_addresses_of_both_families) {
    struct names n;
    open_names(&n);
    LOOK("www.test", "80", .socktype = SOCK_STREAM);
    LOOK("many.test", "80", .socktype = SOCK_STREAM);
    LOOK("v4.test", "80", .socktype = SOCK_STREAM);
    LOOK("v6.test", "80", .socktype = SOCK_STREAM);
    LOOK("alias.test", "80", .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_of_one_family) {
    struct names n;
    open_names(&n);
    LOOK("www.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "80", .family = AF_INET6, .socktype = SOCK_STREAM);
    LOOK("v4.test", "80", .family = AF_INET6, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_that_are_not_there) {
    struct names n;
    open_names(&n);
    LOOK("nx.test", "80", .socktype = SOCK_STREAM);
    LOOK("nx.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("dangling.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("format.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    n.server.quiet = true; /* whether it asks again by TCP is another case */
    LOOK("cut.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_of_a_server_that_fails) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    LOOK("servfail.test", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_of_a_silent_server) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    LOOK("silent.test", "80", .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_by_kind) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    LOOK("www.test", "80", .family = AF_INET);
    LOOK("www.test", "80", .family = AF_INET, .socktype = SOCK_DGRAM);
    LOOK("www.test", "80", .family = AF_INET, .protocol = IPPROTO_TCP);
    LOOK("www.test", "80", .family = AF_INET, .protocol = IPPROTO_UDP);
    LOOK("www.test", "80", .family = AF_INET, .socktype = SOCK_STREAM, .protocol = IPPROTO_UDP);
    LOOK("www.test", "80", .family = AF_INET, .socktype = SOCK_RAW);
    LOOK("www.test", "80", .family = AF_INET, .protocol = IPPROTO_ICMP);
    LOOK("www.test", "80", .family = AF_UNIX);
    close_names(&n);
}

CASE(dns_addresses_without_hints) {
    struct names n;
    struct answer answer = {.name = "www.test"};
    open_names(&n);
    n.server.quiet = true;
    CHECK(evdns_getaddrinfo(n.dns, "www.test", "80", NULL, on_addresses, &answer));
    run_until_answer(n.base, &answer);
    close_names(&n);
}

CASE(dns_addresses_of_services) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    LOOK("www.test", NULL, .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "http", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "domain", .family = AF_INET, .socktype = SOCK_DGRAM);
    LOOK("www.test", "nonsense-service", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "0", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "65535", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "65536", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "-1", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "80x", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("www.test", "http", .family = AF_INET, .flags = EVUTIL_AI_NUMERICSERV,
         .socktype = SOCK_STREAM);
    LOOK("www.test", "80", .family = AF_INET, .flags = EVUTIL_AI_NUMERICSERV,
         .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_that_are_numbers) {
    struct names n;
    open_names(&n);
    LOOK("192.0.2.7", "80", .socktype = SOCK_STREAM);
    LOOK("2001:db8::7", "80", .socktype = SOCK_STREAM);
    LOOK("192.0.2.7", "80", .flags = EVUTIL_AI_NUMERICHOST, .socktype = SOCK_STREAM);
    LOOK("www.test", "80", .flags = EVUTIL_AI_NUMERICHOST, .socktype = SOCK_STREAM);
    LOOK("", "80", .flags = EVUTIL_AI_NUMERICHOST, .socktype = SOCK_STREAM);
    LOOK("192.0.2", "80", .flags = EVUTIL_AI_NUMERICHOST, .socktype = SOCK_STREAM);
    LOOK("192.0.2.7", "80", .flags = EVUTIL_AI_CANONNAME, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE_DIFFERS(dns_addresses_of_the_other_family, "K",
             "an address of the other family is no name, and nobody is asked for it") {
    struct names n;
    open_names(&n);
    LOOK("192.0.2.7", "80", .family = AF_INET6, .socktype = SOCK_STREAM);
    LOOK("2001:db8::7", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_in_old_forms) {
    static const char *const names[] = {"127.1",      "2130706433", "0x7f.0.0.1", "0177.0.0.01",
                                        "1.2.3.256",  "256.1",      "1.2.3.4.5",  "1.2.65535",
                                        "4294967296", "08.1.1.1",   "1.2.3."};
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        LOOK(names[i], "80", .flags = EVUTIL_AI_NUMERICHOST, .socktype = SOCK_STREAM);
    /* Otherwise they are names. */
    LOOK("127.1", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    LOOK("0x7f.0.0.1", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_without_a_name) {
    struct names n;
    open_names(&n);
    LOOK(NULL, "80", .socktype = SOCK_STREAM);
    LOOK(NULL, "80", .flags = EVUTIL_AI_PASSIVE, .socktype = SOCK_STREAM);
    LOOK(NULL, "80", .flags = EVUTIL_AI_PASSIVE, .family = AF_INET6, .socktype = SOCK_STREAM);
    LOOK(NULL, NULL, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_canonical_names) {
    struct names n;
    open_names(&n);
    LOOK("www.test", "80", .flags = EVUTIL_AI_CANONNAME, .family = AF_INET,
         .socktype = SOCK_STREAM);
    LOOK("alias.test", "80", .flags = EVUTIL_AI_CANONNAME, .family = AF_INET,
         .socktype = SOCK_STREAM);
    LOOK("many.test", "80", .flags = EVUTIL_AI_CANONNAME, .family = AF_INET,
         .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE_DIFFERS(dns_canonical_name_of_a_chain, "K",
             "the canonical name is the last one of a chain of aliases, not the second") {
    struct names n;
    open_names(&n);
    LOOK("chain.test", "80", .flags = EVUTIL_AI_CANONNAME, .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_in_the_search_list) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "test");
    LOOK("www", "80", .family = AF_INET, .socktype = SOCK_STREAM);
    close_names(&n);
}

/* One family's answer does not come: the other one's is enough after a while. */
CASE(dns_addresses_without_waiting_for_the_slow_family) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    CHECK(evdns_base_set_option(n.dns, "getaddrinfo-allow-skew:", "0.05") == 0);
    n.server.half = TYPE_AAAA;
    LOOK("www.test", "80", .socktype = SOCK_STREAM);
    n.server.half = TYPE_A;
    LOOK("www.test", "80", .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_when_one_family_fails) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    n.server.half_refused = TYPE_AAAA;
    LOOK("www.test", "80", .socktype = SOCK_STREAM);
    close_names(&n);
}

CASE(dns_addresses_without_a_server) {
    struct event_base *base = new_base();
    struct evdns_base *dns = new_resolver(base);
    struct answer answer = {.name = "192.0.2.1"};
    say("request %d",
        evdns_getaddrinfo(dns, "192.0.2.1", "80", NULL, on_addresses, &answer) != NULL);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_addresses_of_this_machines_families) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    LOOK("192.0.2.1", "80", .flags = EVUTIL_AI_ADDRCONFIG, .family = AF_INET,
         .socktype = SOCK_STREAM);
    close_names(&n);
}
