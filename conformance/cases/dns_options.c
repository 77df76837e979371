/* evdns_base_set_option, the search list, and the texts of errors. */
#include "dns.h"

CASE(dns_error_texts) {
    for (int error = -1; error <= 71; error++) {
        if (error == 12)
            error = 64;
        say("%d %s", error, evdns_err_to_string(error));
    }
}

static void set(struct evdns_base *dns, const char *option, const char *value) {
    say("%s %s -> %d", option, value, evdns_base_set_option(dns, option, value));
}

CASE(dns_options_that_are_known) {
    static const char *const names[] = {
        "ndots",    "timeout",        "getaddrinfo-allow-skew", "max-timeouts", "max-inflight",
        "attempts", "randomize-case", "initial-probe-timeout",  "so-rcvbuf",    "so-sndbuf"};
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char with_colon[64];
        snprintf(with_colon, sizeof with_colon, "%s:", names[i]);
        set(dns, with_colon, "3");
        set(dns, names[i], "3");
    }
    set(dns, "bind-to:", "127.0.0.1");
    set(dns, "bind-to", "127.0.0.1:0");
    set(dns, "bind-to", "::1");
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_options_with_bad_values) {
    static const char *const names[] = {
        "ndots:",    "timeout:",        "getaddrinfo-allow-skew:", "max-timeouts:", "max-inflight:",
        "attempts:", "randomize-case:", "initial-probe-timeout:",  "so-rcvbuf:",    "so-sndbuf:",
        "bind-to:"};
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        set(dns, names[i], "");
        set(dns, names[i], "x");
        set(dns, names[i], "-1");
        set(dns, names[i], "3x");
        set(dns, names[i], "99999999999");
        set(dns, names[i], "0");
    }
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_options_that_nobody_knows) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    set(dns, "nonsense:", "1");
    set(dns, "ndot", "1");
    set(dns, "ndotsx", "1");
    set(dns, "NDOTS:", "1");
    set(dns, "", "1");
    set(dns, "timeout:5", "1");
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_bind_to_an_address) {
    struct names n;
    open_names(&n);
    CHECK(evdns_base_clear_nameservers_and_suspend(n.dns) == 0);
    CHECK(evdns_base_resume(n.dns) == 0);
    set(n.dns, "bind-to:", "127.0.0.3");
    CHECK(evdns_base_nameserver_ip_add(n.dns, n.server.text) == 0);
    ask4(&n, "www.test");
    close_names(&n);
}

CASE(dns_sizes_of_socket_buffers) {
    struct names n;
    open_names(&n);
    CHECK(evdns_base_clear_nameservers_and_suspend(n.dns) == 0);
    CHECK(evdns_base_resume(n.dns) == 0);
    set(n.dns, "so-rcvbuf:", "16384");
    set(n.dns, "so-sndbuf:", "16384");
    CHECK(evdns_base_nameserver_ip_add(n.dns, n.server.text) == 0);
    ask4(&n, "www.test");
    close_names(&n);
}

CASE(dns_logging_and_random_functions_can_be_set) {
    struct names n;
    evdns_set_log_fn(NULL);
    evdns_set_transaction_id_fn(NULL);
    evdns_set_random_bytes_fn(NULL);
    open_names(&n);
    ask4(&n, "www.test");
    close_names(&n);
}

static unsigned warnings;

static void count_warning(int is_warning, const char *message) {
    warnings += is_warning != 0 && message != NULL;
}

CASE(dns_log_function_hears_warnings) {
    struct names n;
    evdns_set_log_fn(count_warning);
    open_names(&n);
    CHECK(evdns_base_nameserver_ip_add(n.dns, "nonsense") != 0);
    say("heard %d", warnings > 0);
    evdns_set_log_fn(NULL);
    close_names(&n);
}

/* ---- Searching ---- */

CASE(dns_search_list) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "first.test");
    evdns_base_search_add(n.dns, "sub.test");
    evdns_base_search_add(n.dns, ".last.test");
    ask4(&n, "nobody");
    ask4(&n, "no.body");
    ask4(&n, "local");
    ask(&n, evdns_base_resolve_ipv4, "nobody", DNS_QUERY_NO_SEARCH);
    evdns_base_search_clear(n.dns);
    ask4(&n, "nobody");
    close_names(&n);
}

CASE_DIFFERS(dns_search_of_a_name_with_a_dot_at_the_end, "K",
             "a name with a dot at its end is absolute") {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "sub.test");
    ask4(&n, "nobody.");
    close_names(&n);
}

CASE(dns_search_with_more_dots) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "sub.test");
    evdns_base_search_ndots_set(n.dns, 3);
    ask4(&n, "a.b.c");
    ask4(&n, "a.b.c.d");
    evdns_base_search_ndots_set(n.dns, 0);
    ask4(&n, "nobody");
    evdns_base_search_ndots_set(n.dns, -1);
    ask4(&n, "nobody");
    set(n.dns, "ndots:", "2");
    ask4(&n, "no.body");
    close_names(&n);
}

CASE(dns_search_ends_with_the_first_that_exists) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "test");
    ask4(&n, "www");
    ask6(&n, "v4");
    ask4(&n, "format");
    close_names(&n);
}

/* The search goes on from a server's error as from a name that does not exist? */
CASE(dns_search_after_a_time_out) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "test");
    ask4(&n, "silent");
    close_names(&n);
}

CASE(dns_search_does_not_apply_to_reverse) {
    struct names n;
    struct answer answer = {.name = "192.0.2.77"};
    struct in_addr in;
    open_names(&n);
    evdns_base_search_add(n.dns, "sub.test");
    evdns_base_search_ndots_set(n.dns, 20);
    CHECK(inet_pton(AF_INET, "192.0.2.77", &in) == 1);
    CHECK(evdns_base_resolve_reverse(n.dns, &in, 0, on_answer, &answer));
    run_until_answer(n.base, &answer);
    close_names(&n);
}

/* CVE-2016-10197 */
CASE(dns_search_of_the_empty_name) {
    struct names n;
    open_names(&n);
    evdns_base_search_add(n.dns, "sub.test");
    ask4(&n, "");
    close_names(&n);
}

CASE(dns_search_list_changes_while_a_search_runs) {
    struct names n;
    struct answer answer = {.name = "nobody"};
    open_names(&n);
    evdns_base_search_add(n.dns, "b.test");
    evdns_base_search_add(n.dns, "a.test");
    CHECK(evdns_base_resolve_ipv4(n.dns, "nobody", 0, on_answer, &answer));
    evdns_base_search_clear(n.dns);
    evdns_base_search_add(n.dns, "c.test");
    run_until_answer(n.base, &answer);
    close_names(&n);
}
