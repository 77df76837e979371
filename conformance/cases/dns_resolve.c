/* Looking names up: what the callback gets, and when. */
#include "dns.h"

CASE(dns_addresses_of_each_family) {
    struct names n;
    open_names(&n);
    ask4(&n, "www.test");
    ask6(&n, "www.test");
    ask4(&n, "many.test");
    ask6(&n, "many.test");
    close_names(&n);
}

CASE(dns_a_family_that_a_name_does_not_have) {
    struct names n;
    open_names(&n);
    ask4(&n, "v6.test");
    ask6(&n, "v4.test");
    ask4(&n, "v4.test");
    ask6(&n, "v6.test");
    close_names(&n);
}

CASE_DIFFERS(dns_aliases, "K", "an answer is kept no longer than the aliases that lead to it") {
    struct names n;
    open_names(&n);
    ask4(&n, "alias.test");
    ask6(&n, "alias.test");
    ask4(&n, "chain.test");
    ask4(&n, "dangling.test");
    ask4(&n, "loop.test");
    close_names(&n);
}

CASE_DIFFERS(dns_lifetimes, "K", "a lifetime of more than 2^31 seconds counts as none (RFC 2181)") {
    struct names n;
    open_names(&n);
    ask4(&n, "zerottl.test");
    ask4(&n, "hugettl.test");
    close_names(&n);
}

CASE(dns_errors_of_the_server) {
    struct names n;
    open_names(&n);
    ask4(&n, "nx.test");
    ask6(&n, "nx.test");
    ask4(&n, "format.test");
    ask4(&n, "rcode9.test");
    close_names(&n);
}

CASE(dns_server_that_cannot_answer) {
    struct names n;
    open_names(&n);
    ask4(&n, "servfail.test");
    close_names(&n);
}

CASE(dns_server_that_does_not_implement) {
    struct names n;
    open_names(&n);
    ask4(&n, "notimpl.test");
    close_names(&n);
}

CASE(dns_server_that_refuses) {
    struct names n;
    open_names(&n);
    ask4(&n, "refused.test");
    close_names(&n);
}

static void ask_reverse(struct names *n, const char *text) {
    struct answer answer = {.name = text};
    struct in_addr in;
    CHECK(inet_pton(AF_INET, text, &in) == 1);
    struct evdns_request *request = evdns_base_resolve_reverse(n->dns, &in, 0, on_answer, &answer);
    CHECK(request);
    run_until_answer(n->base, &answer);
}

static void ask_reverse_ipv6(struct names *n, const char *text) {
    struct answer answer = {.name = text};
    struct in6_addr in;
    CHECK(inet_pton(AF_INET6, text, &in) == 1);
    struct evdns_request *request =
        evdns_base_resolve_reverse_ipv6(n->dns, &in, 0, on_answer, &answer);
    CHECK(request);
    run_until_answer(n->base, &answer);
}

CASE(dns_reverse) {
    struct names n;
    open_names(&n);
    ask_reverse(&n, "192.0.2.1");
    ask_reverse(&n, "192.0.2.2");
    ask_reverse(&n, "192.0.2.77");
    ask_reverse_ipv6(&n, "2001:db8::1");
    ask_reverse_ipv6(&n, "::");
    close_names(&n);
}

CASE(dns_names_that_are_addresses) {
    struct names n;
    open_names(&n);
    ask4(&n, "192.0.2.9");
    ask6(&n, "2001:db8::9");
    close_names(&n);
}

CASE(dns_the_callback_comes_from_the_loop) {
    struct names n;
    open_names(&n);
    struct answer answer = {.name = "www.test"};
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer));
    say("inside %u", answer.calls);
    run_until_answer(n.base, &answer);
    struct answer other = {.name = "www.test"};
    CHECK(evdns_base_resolve_ipv6(n.dns, "www.test", 0, on_answer, &other));
    say("inside %u", other.calls);
    run_until_answer(n.base, &other);
    settle(n.base);
    say("calls %u %u", answer.calls, other.calls);
    close_names(&n);
}

static void ask_again(struct answer *answer) {
    struct names *n = answer->extra;
    static struct answer second = {.name = "again"};
    answer->then = NULL;
    answer->extra = &second;
    CHECK(evdns_base_resolve_ipv4(n->dns, "many.test", 0, on_answer, &second));
    say("inside %u", second.calls);
}

CASE(dns_a_callback_may_ask_again) {
    struct names n;
    open_names(&n);
    struct answer answer = {.name = "first", .then = ask_again, .extra = &n};
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer));
    run_until_answer(n.base, &answer);
    run_until_answer(n.base, answer.extra);
    close_names(&n);
}

static void count_answer(int result, char type, int count, int ttl, void *addresses, void *arg) {
    CHECK(result == DNS_ERR_NONE && type == DNS_IPv4_A && count == 1 && ttl == 300 && addresses);
    ++*(unsigned *)arg;
}

CASE(dns_many_questions_at_once) {
    enum { COUNT = 300 }; /* more than may be under way at a time */
    struct names n;
    unsigned answered = 0;
    open_names(&n);
    n.server.quiet = true;
    for (int i = 0; i < COUNT; i++)
        CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, count_answer, &answered));
    run_until_count(n.base, &answered, COUNT);
    say("answered %u of %u questions", answered, n.server.queries);
    close_names(&n);
}

CASE(dns_long_names) {
    char label[128], name[300];
    struct names n;
    open_names(&n);
    memset(label, 'a', 63);
    strcpy(label + 63, ".test");
    ask4(&n, label);
    memset(label, 'a', 64);
    strcpy(label + 64, ".test");
    ask4(&n, label);
    for (int i = 0; i < 127; i++)
        memcpy(name + 2 * i, "a.", 2);
    name[253] = '\0';
    ask4(&n, name);
    memset(name, 'a', 299);
    name[299] = '\0';
    ask4(&n, name);
    close_names(&n);
}

CASE(dns_a_dot_at_the_end) {
    struct names n;
    open_names(&n);
    ask4(&n, "www.test.");
    close_names(&n);
}

CASE(dns_the_empty_name) {
    struct names n;
    open_names(&n);
    ask4(&n, "");
    close_names(&n);
}

CASE_DIFFERS(dns_names_with_empty_labels, "K",
             "a name with an empty label cannot be asked for: no request") {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    ask4(&n, "a..test");
    ask4(&n, ".test");
    close_names(&n);
}

CASE(dns_capitals) {
    struct names n;
    open_names(&n);
    ask4(&n, "WWW.Test");
    CHECK(evdns_base_set_option(n.dns, "randomize-case:", "0") == 0);
    ask4(&n, "WwW.TesT");
    say("as asked: %s", n.server.raw_name);
    close_names(&n);
}

CASE(dns_hidden_in_the_question) {
    static const char name[] = "a-long-name-with-many-letters-to-choose-from.test";
    struct names n;
    open_names(&n);
    ask4(&n, name);
    say("letters of both sizes %d",
        n.server.mixed_case == 1 && strcmp(n.server.raw_name, name) != 0);
    ask4(&n, name);
    ask4(&n, name);
    say("ids differ %d", n.server.ids[0] != n.server.ids[1] || n.server.ids[1] != n.server.ids[2]);
    close_names(&n);
}
