/* What the cases about names share: a resolver that asks the scripted server, and callbacks that
 * trace what it says. */
#ifndef DNS_H
#define DNS_H

#include "dns_script.h"

#include <event2/dns.h>
#include <event2/dns_compat.h>
#include <event2/dns_struct.h>

/* ---- The resolver ---- */

/* A base, a server and a resolver that asks it, with timeouts that a case can wait for. */
struct names {
    struct event_base *base;
    struct evdns_base *dns;
    struct dns_server server;
};

/* A resolver without servers, which reads no file. */
static inline struct evdns_base *new_resolver(struct event_base *base) {
    struct evdns_base *dns = evdns_base_new(base, 0);
    CHECK(dns);
    CHECK(evdns_base_set_option(dns, "timeout:", "0.15") == 0);
    CHECK(evdns_base_set_option(dns, "attempts:", "2") == 0);
    CHECK(evdns_base_set_option(dns, "initial-probe-timeout:", "0.05") == 0);
    return dns;
}

static inline void open_names(struct names *names) {
    names->base = new_base();
    names->dns = new_resolver(names->base);
    dns_serve(&names->server, "", names->base);
    CHECK(evdns_base_nameserver_ip_add(names->dns, names->server.text) == 0);
}

static inline void close_names(struct names *names) {
    if (names->dns)
        evdns_base_free(names->dns, 0);
    dns_stop(&names->server);
    event_base_free(names->base);
}

/* ---- Answers ---- */

static inline const char *dns_error_name(int error) {
    switch (error) {
    case DNS_ERR_NONE:
        return "NONE";
    case DNS_ERR_FORMAT:
        return "FORMAT";
    case DNS_ERR_SERVERFAILED:
        return "SERVERFAILED";
    case DNS_ERR_NOTEXIST:
        return "NOTEXIST";
    case DNS_ERR_NOTIMPL:
        return "NOTIMPL";
    case DNS_ERR_REFUSED:
        return "REFUSED";
    case DNS_ERR_TRUNCATED:
        return "TRUNCATED";
    case DNS_ERR_UNKNOWN:
        return "UNKNOWN";
    case DNS_ERR_TIMEOUT:
        return "TIMEOUT";
    case DNS_ERR_SHUTDOWN:
        return "SHUTDOWN";
    case DNS_ERR_CANCEL:
        return "CANCEL";
    case DNS_ERR_NODATA:
        return "NODATA";
    default:
        return "?";
    }
}

/* One look-up; `arg` of its callback. */
struct answer {
    const char *name; /* shown before the answer */
    unsigned calls;
    int result, ttl, count;
    char text[1024];               /* the addresses */
    void (*then)(struct answer *); /* run at the end of the callback */
    void *extra;                   /* for the case */
};

static inline void on_answer(int result, char type, int count, int ttl, void *addresses,
                             void *arg) {
    struct answer *answer = arg;
    answer->calls++;
    answer->result = result;
    answer->count = count;
    answer->ttl = ttl;
    answer->text[0] = '\0';
    size_t used = 0;
    for (int i = 0; addresses && i < count && used + 64 < sizeof answer->text; i++) {
        char text[INET6_ADDRSTRLEN] = "";
        const char *shown = text;
        if (type == DNS_IPv4_A)
            inet_ntop(AF_INET, (char *)addresses + 4 * i, text, sizeof text);
        else if (type == DNS_IPv6_AAAA)
            inet_ntop(AF_INET6, (char *)addresses + 16 * i, text, sizeof text);
        else if (type == DNS_PTR)
            shown = *(char **)addresses;
        used += (size_t)snprintf(answer->text + used, sizeof answer->text - used, " %s", shown);
    }
    say("%s: %s type %d count %d ttl %d%s", answer->name, dns_error_name(result), type, count, ttl,
        answer->text);
    if (answer->then)
        answer->then(answer);
}

static inline void run_until_answer(struct event_base *base, struct answer *answer) {
    run_until_count(base, &answer->calls, 1);
}

/* Looks up, waits, and says what came; `resolve` is one of the two functions. */
static inline void ask(struct names *names,
                       struct evdns_request *(*resolve)(struct evdns_base *, const char *, int,
                                                        evdns_callback_type, void *),
                       const char *name, int flags) {
    struct answer answer = {.name = name};
    struct evdns_request *request = resolve(names->dns, name, flags, on_answer, &answer);
    if (!request)
        say("%s: no request", name);
    else
        run_until_answer(names->base, &answer);
}

#define ask4(names, name) ask(names, evdns_base_resolve_ipv4, name, 0)
#define ask6(names, name) ask(names, evdns_base_resolve_ipv6, name, 0)

static inline const char *eai_name(int error) {
    switch (error) {
    case 0:
        return "0";
    case EVUTIL_EAI_ADDRFAMILY:
        return "ADDRFAMILY";
    case EVUTIL_EAI_AGAIN:
        return "AGAIN";
    case EVUTIL_EAI_BADFLAGS:
        return "BADFLAGS";
    case EVUTIL_EAI_FAIL:
        return "FAIL";
    case EVUTIL_EAI_FAMILY:
        return "FAMILY";
    case EVUTIL_EAI_MEMORY:
        return "MEMORY";
    case EVUTIL_EAI_NODATA:
        return "NODATA";
    case EVUTIL_EAI_NONAME:
        return "NONAME";
    case EVUTIL_EAI_SERVICE:
        return "SERVICE";
    case EVUTIL_EAI_SOCKTYPE:
        return "SOCKTYPE";
    case EVUTIL_EAI_SYSTEM:
        return "SYSTEM";
    case EVUTIL_EAI_CANCEL:
        return "CANCEL";
    default:
        return "?";
    }
}

/* The address as text with its port, "-" for none. */
static inline const char *address_text(const struct sockaddr *sa) {
    static char text[80];
    char ip[INET6_ADDRSTRLEN];
    if (!sa)
        return "-";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(text, sizeof text, "%s:%d", ip, ntohs(in->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;
        inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip);
        snprintf(text, sizeof text, "[%s]:%d", ip, ntohs(in->sin6_port));
    } else {
        snprintf(text, sizeof text, "family %d", sa->sa_family);
    }
    return text;
}

/* The scope of an IPv6 address; 0 for another. The loopback interface is number 1. */
static inline unsigned scope_of(const struct sockaddr *sa) {
    return sa->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)sa)->sin6_scope_id
                                     : 0;
}

/* The callback of evdns_getaddrinfo; `arg` is a struct answer. */
static inline void on_addresses(int result, struct evutil_addrinfo *found, void *arg) {
    struct answer *answer = arg;
    answer->calls++;
    answer->result = result;
    say("%s: %s%s", answer->name, eai_name(result), found ? "" : ", no list");
    for (struct evutil_addrinfo *info = found; info; info = info->ai_next)
        say("  %s socktype %d protocol %d length %d%s%s", address_text(info->ai_addr),
            info->ai_socktype, info->ai_protocol, (int)info->ai_addrlen,
            info->ai_canonname ? " canonical " : "", info->ai_canonname ? info->ai_canonname : "");
    if (found)
        evutil_freeaddrinfo(found);
    if (answer->then)
        answer->then(answer);
}

/* The same, with only the addresses and their scopes. */
static inline void on_scoped_addresses(int result, struct evutil_addrinfo *found, void *arg) {
    struct answer *answer = arg;
    answer->calls++;
    answer->result = result;
    say("%s: %s", answer->name, eai_name(result));
    for (struct evutil_addrinfo *info = found; info; info = info->ai_next)
        say("  %s scope %u", address_text(info->ai_addr), scope_of(info->ai_addr));
    if (found)
        evutil_freeaddrinfo(found);
}

/* A temporary file with this content; unlink its name, which is kept in `path`. */
static inline void write_file(char path[64], const char *content) {
    strcpy(path, "/tmp/ferrevent-case-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    size_t length = strlen(content);
    CHECK(write(fd, content, length) == (ssize_t)length);
    CHECK(close(fd) == 0);
}

#endif
