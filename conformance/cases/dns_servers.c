/* The list of servers, and what is done about those that do not answer. */
#include "dns.h"

static void show_servers(struct evdns_base *dns) {
    say("%d servers", evdns_base_count_nameservers(dns));
}

CASE(dns_servers_are_counted) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    show_servers(dns);
    say("add %d", evdns_base_nameserver_add(dns, htonl(0x7f000001)));
    show_servers(dns);
    say("the same %d", evdns_base_nameserver_add(dns, htonl(0x7f000001)));
    say("the same %d", evdns_base_nameserver_ip_add(dns, "127.0.0.1:53"));
    show_servers(dns);
    say("another port %d", evdns_base_nameserver_ip_add(dns, "127.0.0.1:54"));
    say("ipv6 %d", evdns_base_nameserver_ip_add(dns, "::1"));
    say("ipv6 %d", evdns_base_nameserver_ip_add(dns, "[::1]:5353"));
    say("ipv6 %d", evdns_base_nameserver_ip_add(dns, "[::1]"));
    show_servers(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_servers_that_are_none) {
    static const char *const bad[] = {
        "",     "x",    "127.0.0",  "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x",
        "[::1", "::1]", "www.test", "[127.0.0.1]"};
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        say("\"%s\" %d", bad[i], evdns_base_nameserver_ip_add(dns, bad[i]));
    show_servers(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

static void show_scopes(struct evdns_base *dns) {
    struct sockaddr_storage ss;
    int count = evdns_base_count_nameservers(dns);
    for (int i = 0; i < count; i++) {
        struct sockaddr *sa = (struct sockaddr *)&ss;
        CHECK(evdns_base_get_nameserver_addr(dns, i, sa, sizeof ss) == sizeof(struct sockaddr_in6));
        say("  server %s scope %u", address_text(sa), scope_of(sa));
    }
}

CASE(dns_servers_with_scopes) {
    static const char *const texts[] = {
        "fe80::1%lo", "[fe80::2%1]:5353", "[fe80::3%lo]", "fe80::4%77777", "fe80::5%", "fe80::6%0",
        "fe80::7%+1", "fe80::8%nosuch", "fe80::9%1x", "fe80::a%0x1", "fe80::b%01", "fe80::c%lo%lo",
        "fe80::d%lo:53", "127.0.0.1%lo", "::1%lo", "fe80::1%1",
    };
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    evdns_set_log_fn(NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        say("%s: %d", texts[i], evdns_base_nameserver_ip_add(dns, texts[i]));
    show_scopes(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE_DIFFERS(dns_servers_of_several_links, "K",
             "servers with one address and different scopes are different ones") {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    say("%d", evdns_base_nameserver_ip_add(dns, "fe80::1%1"));
    say("%d", evdns_base_nameserver_ip_add(dns, "fe80::1%77777"));
    say("%d", evdns_base_nameserver_ip_add(dns, "fe80::1%1"));
    show_scopes(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_servers_by_address) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    struct sockaddr_storage ss;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5353)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(5354)};
    in.sin_addr.s_addr = htonl(0x7f000002);
    in6.sin6_addr = in6addr_loopback;
    say("add %d", evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&in, sizeof in, 0));
    say("add %d", evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&in6, sizeof in6, 0));
    say("again %d", evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&in, sizeof in, 0));
    CHECK(evdns_base_nameserver_add(dns, htonl(0x7f000003)) == 0);
    show_servers(dns);
    for (int i = -1; i < 5; i++) {
        memset(&ss, 0, sizeof ss);
        int length = evdns_base_get_nameserver_addr(dns, i, (struct sockaddr *)&ss, sizeof ss);
        say("%d: %d %s", i, length, length > 0 ? address_text((struct sockaddr *)&ss) : "-");
    }
    for (int room = 0; room < 30; room += 15)
        say("room %d: %d", room,
            evdns_base_get_nameserver_addr(dns, 0, (struct sockaddr *)&ss, (ev_socklen_t)room));
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE_DIFFERS(dns_without_a_server, "K",
             "what was asked for without a server is asked as soon as there is one") {
    struct event_base *base = new_base();
    struct evdns_base *dns = new_resolver(base);
    struct answer answer = {.name = "www.test"};
    struct dns_server server;
    struct evdns_request *request = evdns_base_resolve_ipv4(dns, "www.test", 0, on_answer, &answer);
    say("request %d, calls %u", request != NULL, answer.calls);
    run_for(base, 300);
    say("calls %u", answer.calls);
    dns_serve(&server, "", base);
    say("add %d", evdns_base_nameserver_ip_add(dns, server.text));
    run_for(base, 100);
    say("calls %u", answer.calls);
    evdns_base_free(dns, 0);
    dns_stop(&server);
    event_base_free(base);
}

CASE(dns_silent_server) {
    struct names n;
    open_names(&n);
    ask4(&n, "silent.test");
    close_names(&n);
}

CASE(dns_a_lost_question_is_asked_again) {
    struct names n;
    open_names(&n);
    ask4(&n, "once.test");
    close_names(&n);
}

CASE(dns_one_attempt) {
    struct names n;
    open_names(&n);
    CHECK(evdns_base_set_option(n.dns, "attempts:", "1") == 0);
    ask4(&n, "silent.test");
    close_names(&n);
}

CASE(dns_closed_port) {
    struct names n;
    open_names(&n);
    dns_stop(&n.server);
    ask4(&n, "www.test");
    close_names(&n);
}

/* Two servers, of which the first one that is asked is dead. */
CASE(dns_the_other_server_is_asked) {
    struct names n;
    struct dns_server other;
    open_names(&n);
    dns_serve(&other, "", n.base);
    CHECK(evdns_base_set_option(n.dns, "max-timeouts:", "1") == 0);
    CHECK(evdns_base_set_option(n.dns, "attempts:", "3") == 0);
    CHECK(evdns_base_nameserver_ip_add(n.dns, other.text) == 0);
    n.server.quiet = other.quiet = true;
    n.server.mute = true;
    for (int i = 0; i < 4; i++)
        ask4(&n, "www.test");
    say("the live one was asked %u times", other.queries);
    dns_stop(&other);
    close_names(&n);
}

CASE(dns_a_failed_server_is_asked_less) {
    struct names n;
    struct dns_server other;
    open_names(&n);
    dns_serve(&other, "", n.base);
    CHECK(evdns_base_set_option(n.dns, "initial-probe-timeout:", "60") == 0);
    CHECK(evdns_base_nameserver_ip_add(n.dns, other.text) == 0);
    n.server.quiet = other.quiet = true;
    n.server.refusing = true;
    for (int i = 0; i < 6; i++)
        ask4(&n, "www.test");
    say("asked %u and %u times", n.server.queries, other.queries);
    dns_stop(&other);
    close_names(&n);
}

CASE(dns_a_failed_server_comes_back) {
    struct names n;
    open_names(&n);
    CHECK(evdns_base_set_option(n.dns, "max-timeouts:", "1") == 0);
    n.server.mute = true;
    n.server.quiet = true;
    ask4(&n, "www.test");
    n.server.mute = false;
    unsigned before = n.server.queries;
    run_until_count(n.base, &n.server.queries, before + 1);
    say("probed with a name of %s", n.server.raw_name[0] ? "its own" : "nothing");
    settle(n.base);
    ask4(&n, "www.test");
    close_names(&n);
}

CASE(dns_servers_take_turns) {
    struct names n;
    struct dns_server other;
    open_names(&n);
    dns_serve(&other, "", n.base);
    CHECK(evdns_base_nameserver_ip_add(n.dns, other.text) == 0);
    n.server.quiet = other.quiet = true;
    for (int i = 0; i < 10; i++)
        ask4(&n, "www.test");
    say("asked %u and %u times", n.server.queries, other.queries);
    dns_stop(&other);
    close_names(&n);
}

CASE(dns_clear_and_suspend_and_resume) {
    struct names n;
    struct answer answer = {.name = "www.test"};
    open_names(&n);
    n.server.mute = true;
    CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer));
    run_until_count(n.base, &n.server.queries, 1);
    say("clear %d", evdns_base_clear_nameservers_and_suspend(n.dns));
    show_servers(n.dns);
    n.server.mute = false;
    run_for(n.base, 400);
    say("calls %u", answer.calls);
    say("add %d", evdns_base_nameserver_ip_add(n.dns, n.server.text));
    run_for(n.base, 50);
    say("calls %u", answer.calls);
    say("resume %d", evdns_base_resume(n.dns));
    run_until_answer(n.base, &answer);
    say("clear %d", evdns_base_clear_nameservers_and_suspend(n.dns));
    say("clear %d", evdns_base_clear_nameservers_and_suspend(n.dns));
    say("resume %d", evdns_base_resume(n.dns));
    show_servers(n.dns);
    close_names(&n);
}

CASE(dns_asked_while_suspended) {
    struct names n;
    struct answer answer = {.name = "www.test"};
    open_names(&n);
    CHECK(evdns_base_clear_nameservers_and_suspend(n.dns) == 0);
    CHECK(evdns_base_nameserver_ip_add(n.dns, n.server.text) == 0);
    struct evdns_request *request =
        evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answer);
    say("request %d", request != NULL);
    run_for(n.base, 100);
    say("calls %u, resume %d", answer.calls, evdns_base_resume(n.dns));
    run_for(n.base, 100);
    say("calls %u", answer.calls);
    close_names(&n);
}

CASE(dns_few_questions_at_a_time) {
    struct names n;
    struct answer answers[4] = {
        {.name = "first"}, {.name = "second"}, {.name = "third"}, {.name = "fourth"}};
    open_names(&n);
    say("set %d", evdns_base_set_option(n.dns, "max-inflight:", "2"));
    n.server.mute = true;
    n.server.quiet = true;
    CHECK(evdns_base_set_option(n.dns, "timeout:", "2") == 0);
    for (int i = 0; i < 4; i++)
        CHECK(evdns_base_resolve_ipv4(n.dns, "www.test", 0, on_answer, &answers[i]));
    run_for(n.base, 100);
    say("asked %u", n.server.queries);
    close_names(&n);
}
