/* Files that change after they have been read. */
#include "case.h"

#include <event2/dns.h>

static unsigned answers;

/* Answers every question with an address of its own. */
struct server {
    int fd;
    int port;
    const char *name;
    struct event *event;
};

static void on_query(evutil_socket_t fd, short what, void *arg) {
    const struct server *server = arg;
    unsigned char message[512];
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    ssize_t got = recvfrom(fd, message, sizeof(message), 0, (struct sockaddr *)&from, &length);

    (void)what;
    if (got < 12)
        return;
    say("%s is asked", server->name);
    static const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9};
    message[2] |= 0x80;
    message[7] = 1;
    memcpy(message + got, record, sizeof(record));
    sendto(fd, message, got + sizeof(record), 0, (struct sockaddr *)&from, length);
}

static void start(struct server *server, const char *name, struct event_base *base) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->name = name;
    server->fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(server->fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(getsockname(server->fd, (struct sockaddr *)&address, &length) == 0);
    server->port = ntohs(address.sin_port);
    set_nonblocking(server->fd);
    server->event = event_new(base, server->fd, EV_READ | EV_PERSIST, on_query, server);
    event_add(server->event, NULL);
}

static void stop(struct server *server) {
    event_free(server->event);
    close(server->fd);
}

/* Puts a new file in the place of the old one, as programs do that change such files. */
static void replace(const char *name, const char *text) {
    char other[64];

    snprintf(other, sizeof(other), "%s.new", name);
    FILE *file = fopen(other, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
    CHECK(rename(other, name) == 0);
}

static void on_answer(int result, char type, int count, int ttl, void *addresses, void *arg) {
    (void)type;
    (void)ttl;
    (void)addresses;
    (void)arg;
    say("result %d, %d addresses", result, count);
    answers++;
}

static void ask(struct event_base *base, struct evdns_base *dns) {
    unsigned before = answers;

    CHECK(evdns_base_resolve_ipv4(dns, "name.test", DNS_QUERY_NO_SEARCH, on_answer, NULL));
    run_until_count(base, &answers, before + 1);
}

static void conf(const char *name, const struct server *server) {
    char text[64];

    snprintf(text, sizeof(text), "nameserver 127.0.0.1:%d\n", server->port);
    replace(name, text);
}

CASE_DIFFERS(dns_resolv_conf_changes, "K", "resolv.conf is read again when it has changed") {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    struct server one, two;
    char name[] = "/tmp/resolv_conf_XXXXXX";

    close(mkstemp(name));
    start(&one, "the first", base);
    start(&two, "the second", base);
    conf(name, &one);
    CHECK(evdns_base_resolv_conf_parse(dns, DNS_OPTION_NAMESERVERS, name) == 0);
    ask(base, dns);
    conf(name, &two);
    ask(base, dns);
    /* One that the program has named stays. */
    evdns_base_clear_nameservers_and_suspend(dns);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(two.port);
    CHECK(evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&address, sizeof(address), 0) == 0);
    evdns_base_resume(dns);
    conf(name, &one);
    ask(base, dns);
    unlink(name);
    ask(base, dns);
    evdns_base_free(dns, 0);
    stop(&one);
    stop(&two);
    event_base_free(base);
}

static void on_addresses(int result, struct evutil_addrinfo *list, void *arg) {
    (void)arg;
    say("result %d%s", result, list ? "" : ", no addresses");
    for (struct evutil_addrinfo *one = list; one; one = one->ai_next) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)one->ai_addr;
        say("%s", inet_ntoa(address->sin_addr));
    }
    if (list)
        evutil_freeaddrinfo(list);
}

static void find(struct evdns_base *dns) {
    struct evutil_addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};

    CHECK(evdns_getaddrinfo(dns, "host.test", "80", &hints, on_addresses, NULL) == NULL);
}

CASE_DIFFERS(dns_hosts_change, "K", "a hosts file is read again when it has changed") {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    char name[] = "/tmp/hosts_XXXXXX";

    close(mkstemp(name));
    replace(name, "127.0.0.8 host.test\n");
    CHECK(evdns_base_load_hosts(dns, name) == 0);
    find(dns);
    replace(name, "127.0.0.9 host.test other.test\n");
    find(dns);
    /* Gone is not changed. */
    unlink(name);
    find(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}
