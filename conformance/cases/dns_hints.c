/* evdns_getaddrinfo with hints that few programs give, in tables. */
#include "dns.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

struct look {
    const char *name, *service;
    int flags, family, socktype, protocol;
};

static const char *family_name(int family) {
    return family == AF_UNSPEC ? "any" : family == AF_INET ? "v4" : family == AF_INET6 ? "v6" : "?";
}

/* The callback of a row: one line for all of the list. */
static void on_row(int result, struct evutil_addrinfo *found, void *arg) {
    struct answer *answer = arg;
    answer->calls++;
    answer->text[0] = '\0';
    size_t used = 0;
    for (struct evutil_addrinfo *info = found; info; info = info->ai_next) {
        CHECK(info->ai_family == info->ai_addr->sa_family);
        used += (size_t)snprintf(answer->text + used, sizeof answer->text - used, ", %s %d/%d%s%s",
                                 address_text(info->ai_addr), info->ai_socktype, info->ai_protocol,
                                 info->ai_canonname ? " is " : "",
                                 info->ai_canonname ? info->ai_canonname : "");
    }
    say("%s %s%s", answer->name, eai_name(result), answer->text);
    CHECK((result == 0) == (found != NULL));
    if (found)
        evutil_freeaddrinfo(found);
}

static void row(struct names *n, struct look look) {
    char name[200];
    struct answer answer = {.name = name};
    struct evutil_addrinfo hints = {.ai_flags = look.flags,
                                    .ai_family = look.family,
                                    .ai_socktype = look.socktype,
                                    .ai_protocol = look.protocol};
    snprintf(name, sizeof name, "%.80s %s %s %d/%d:", look.name ? look.name : "NULL",
             look.service ? look.service : "NULL", family_name(look.family), look.socktype,
             look.protocol);
    evdns_getaddrinfo(n->dns, look.name, look.service, &hints, on_row, &answer);
    run_until_answer(n->base, &answer);
}

static void open_quietly(struct names *n) {
    open_names(n);
    n->server.quiet = true;
}

static const char *const names[] = {
    NULL, "", "www.test", "192.0.2.7", "2001:db8::7", "::1", "v4.test", "alias.test", "nx.test",
};

static void every_name(int flags) {
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, -1};
    struct names n;
    open_quietly(&n);
    for (size_t family = 0; family < COUNT(families); family++)
        for (size_t name = 0; name < COUNT(names); name++)
            row(&n, (struct look){names[name], "80", flags, families[family], SOCK_STREAM, 0});
    close_names(&n);
}

CASE(dns_hints_numeric_host) { every_name(EVUTIL_AI_NUMERICHOST); }
CASE(dns_hints_numeric_host_and_canonical) {
    every_name(EVUTIL_AI_NUMERICHOST | EVUTIL_AI_CANONNAME);
}
CASE(dns_hints_numeric_host_and_mapped) {
    every_name(EVUTIL_AI_NUMERICHOST | EVUTIL_AI_V4MAPPED);
}
CASE(dns_hints_numeric_host_and_configured) {
    every_name(EVUTIL_AI_NUMERICHOST | EVUTIL_AI_ADDRCONFIG);
}
CASE(dns_hints_numeric_host_and_bad_flags) { every_name(EVUTIL_AI_NUMERICHOST | 0x40000000); }
CASE(dns_hints_passive) { every_name(EVUTIL_AI_PASSIVE); }
CASE(dns_hints_passive_and_canonical) { every_name(EVUTIL_AI_PASSIVE | EVUTIL_AI_CANONNAME); }
CASE(dns_hints_mapped) { every_name(EVUTIL_AI_V4MAPPED | EVUTIL_AI_ALL); }
CASE(dns_hints_bad_flags) { every_name(0x40000000); }

/* Of no host's name but NULL: which of the others can be found depends on this machine. */
CASE(dns_hints_configured) {
    static const int flags[] = {EVUTIL_AI_ADDRCONFIG, EVUTIL_AI_ADDRCONFIG | EVUTIL_AI_PASSIVE};
    struct names n;
    open_quietly(&n);
    for (size_t i = 0; i < COUNT(flags); i++) {
        row(&n, (struct look){NULL, "80", flags[i], AF_UNSPEC, SOCK_STREAM, 0});
        row(&n, (struct look){NULL, "80", flags[i], AF_INET, SOCK_STREAM, 0});
        row(&n, (struct look){NULL, "80", flags[i], AF_INET6, SOCK_STREAM, 0});
        row(&n, (struct look){"www.test", "80", flags[i], AF_UNSPEC, SOCK_STREAM, 0});
    }
    close_names(&n);
}

CASE(dns_hints_kinds_and_protocols) {
    static const int kinds[] = {0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, 12345, -1};
    static const int protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_SCTP, 12345,
                                    -1};
    struct names n;
    open_quietly(&n);
    for (size_t kind = 0; kind < COUNT(kinds); kind++)
        for (size_t protocol = 0; protocol < COUNT(protocols); protocol++) {
            struct look look = {"www.test", "80", 0, AF_INET, kinds[kind], protocols[protocol]};
            row(&n, look);
            look.name = "192.0.2.7";
            row(&n, look);
            look.flags = EVUTIL_AI_NUMERICHOST;
            row(&n, look);
        }
    close_names(&n);
}

static const char *const services[] = {
    NULL, "", "0", "80", "080", "0x50", " 80", "80 ", "+80", "-80", "-0", "+", "-", "65535",
    "65536", "99999999999999999999", "80x", "8 0", "\t80", "http", "HTTP", "domain", "tftp", "nosuch",
};

static void every_service(const char *name, int flags) {
    static const int kinds[] = {0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW};
    struct names n;
    open_quietly(&n);
    for (size_t kind = 0; kind < COUNT(kinds); kind++)
        for (size_t service = 0; service < COUNT(services); service++) {
            struct look look = {name, services[service], flags, AF_INET, kinds[kind], 0};
            row(&n, look);
        }
    close_names(&n);
}

CASE(dns_services_of_a_name) { every_service("www.test", 0); }
CASE(dns_services_of_an_address) { every_service("192.0.2.7", 0); }
CASE(dns_services_of_no_host) { every_service(NULL, 0); }
CASE(dns_services_that_must_be_numbers) { every_service("www.test", EVUTIL_AI_NUMERICSERV); }
CASE(dns_services_with_everything_a_number) {
    every_service("192.0.2.7", EVUTIL_AI_NUMERICSERV | EVUTIL_AI_NUMERICHOST);
}

/* A service belongs to a protocol, whatever the kind of the socket. */
CASE(dns_services_by_protocol) {
    static const int protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 12345};
    static const char *const few[] = {"http", "tftp", "domain"};
    struct names n;
    open_quietly(&n);
    for (size_t i = 0; i < COUNT(protocols); i++)
        for (int kind = 0; kind <= SOCK_RAW; kind++)
            for (size_t service = 0; service < COUNT(few); service++)
                row(&n, (struct look){NULL, few[service], 0, AF_INET, kind, protocols[i]});
    close_names(&n);
}

CASE_DIFFERS(dns_services_with_a_number_that_wraps, "K",
             "libevent takes the number of a port modulo 2^32") {
    struct names n;
    open_quietly(&n);
    row(&n, (struct look){NULL, "4294967376", 0, AF_INET, SOCK_STREAM, 0});
    row(&n, (struct look){NULL, "4294967376", EVUTIL_AI_NUMERICSERV, AF_INET, SOCK_STREAM, 0});
    close_names(&n);
}

static void odd_name(struct names *n, const char *name) {
    row(n, (struct look){name, "80", 0, AF_INET, SOCK_STREAM, 0});
    row(n, (struct look){name, "80", EVUTIL_AI_NUMERICHOST, AF_INET, SOCK_STREAM, 0});
}

CASE(dns_addresses_of_odd_names) {
    static const char *const odd[] = {
        "01.02.03.04", "+1.2.3.4", "1.2.3.4.", "1.2.3.4:80", "256.256.256.256", "[::1]", "::1]", "[::1",
        "::01.2.3.4", "a:b", "www test", "*", "a..b", ".www.test",
    };
    struct names n;
    char long_name[301];
    open_quietly(&n);
    for (size_t i = 0; i < COUNT(odd); i++)
        odd_name(&n, odd[i]);
    memset(long_name, 'a', sizeof long_name);
    strcpy(long_name + 63, ".test");
    odd_name(&n, long_name);
    strcpy(long_name + 63, "a.test");
    odd_name(&n, long_name);
    for (size_t i = 0; i < sizeof long_name; i++)
        long_name[i] = i % 10 == 9 ? '.' : 'a';
    long_name[300] = '\0';
    odd_name(&n, long_name);
    close_names(&n);
}

static void with_scope(struct names *n, const char *name, int flags) {
    struct answer answer = {.name = name};
    struct evutil_addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM};
    evdns_getaddrinfo(n->dns, name, "80", &hints, on_scoped_addresses, &answer);
    run_until_answer(n->base, &answer);
}

CASE(dns_addresses_with_scopes) {
    static const char *const texts[] = {
        "fe80::1%lo", "fe80::1%1", "fe80::1%77777", "fe80::1%nosuch", "fe80::1%", "fe80::1%0",
        "[fe80::1%lo]", "::1%lo", "2001:db8::1%lo", "2001:db8::1%77", "ff02::1%lo", "ff05::1%lo",
        "1.2.3.4%lo", "1.2.3.4%1",
    };
    struct names n;
    open_quietly(&n);
    for (size_t i = 0; i < COUNT(texts); i++) {
        with_scope(&n, texts[i], 0);
        with_scope(&n, texts[i], EVUTIL_AI_NUMERICHOST);
    }
    close_names(&n);
}
