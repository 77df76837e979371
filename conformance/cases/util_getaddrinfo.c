/* event2/util.h: evutil_getaddrinfo. Names that only a server could answer are not asked for. */
#include <netdb.h>

#include "case.h"

static const char *code_name(int code) {
    switch (code) {
    case 0:
        return "ok";
    case EVUTIL_EAI_ADDRFAMILY:
        return "ADDRFAMILY";
    case EVUTIL_EAI_BADFLAGS:
        return "BADFLAGS";
    case EVUTIL_EAI_FAMILY:
        return "FAMILY";
    case EVUTIL_EAI_NONAME:
        return "NONAME";
    case EVUTIL_EAI_SERVICE:
        return "SERVICE";
    case EVUTIL_EAI_SOCKTYPE:
        return "SOCKTYPE";
    default:
        return "another";
    }
}

static void show(const struct addrinfo *info) {
    char text[64] = "?";
    int port = -1;
    unsigned scope = 0;
    if (info->ai_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)info->ai_addr;
        CHECK(info->ai_addrlen == sizeof *four && info->ai_addr->sa_family == AF_INET);
        CHECK(evutil_inet_ntop(AF_INET, &four->sin_addr, text, sizeof text));
        port = ntohs(four->sin_port);
    } else if (info->ai_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)info->ai_addr;
        CHECK(info->ai_addrlen == sizeof *six && info->ai_addr->sa_family == AF_INET6);
        CHECK(evutil_inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text));
        port = ntohs(six->sin6_port);
        scope = six->sin6_scope_id;
    }
    say("  %s port %d scope %d kind %d protocol %d name %s", text, port, scope != 0,
        info->ai_socktype, info->ai_protocol, info->ai_canonname ? info->ai_canonname : "-");
}

static void ask(const char *node, const char *service, int family, int kind, int protocol,
                int flags) {
    struct evutil_addrinfo hints, *found = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = kind;
    hints.ai_protocol = protocol;
    hints.ai_flags = flags;
    int code = evutil_getaddrinfo(node, service, &hints, &found);
    say("%s %s family %d kind %d protocol %d flags %x: %s", node ? node : "NULL",
        service ? service : "NULL", family, kind, protocol, (unsigned)flags, code_name(code));
    if (code != 0) {
        CHECK(found == NULL);
        return;
    }
    for (const struct addrinfo *info = found; info; info = info->ai_next)
        show(info);
    evutil_freeaddrinfo(found);
}

CASE(util_getaddrinfo_of_numbers) {
    ask("127.0.0.1", "80", AF_UNSPEC, SOCK_STREAM, 0, 0);
    ask("::1", "80", AF_UNSPEC, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", NULL, AF_INET, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "80", AF_INET, 0, 0, 0);
    ask("::1", "80", AF_INET6, 0, 0, 0);
    ask("127.0.0.1", "80", AF_INET, SOCK_DGRAM, 0, 0);
    ask("127.0.0.1", "80", AF_INET, 0, IPPROTO_UDP, 0);
    ask("127.0.0.1", "0", AF_INET, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "65535", AF_INET, SOCK_STREAM, 0, 0);
    ask("1.2.3.4", "80", AF_INET, SOCK_STREAM, IPPROTO_TCP, EVUTIL_AI_NUMERICHOST);
    ask("fe80::1%lo", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_CANONNAME);
    ask("::ffff:1.2.3.4", "80", AF_UNSPEC, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
}

CASE(util_getaddrinfo_without_a_node) {
    ask(NULL, "80", AF_INET, SOCK_STREAM, 0, 0);
    ask(NULL, "80", AF_INET6, SOCK_STREAM, 0, 0);
    ask(NULL, "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_PASSIVE);
    ask(NULL, "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_PASSIVE);
    /* With a node the flag changes nothing. */
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_PASSIVE);
    ask(NULL, NULL, AF_UNSPEC, SOCK_STREAM, 0, 0);
    ask(NULL, NULL, AF_UNSPEC, SOCK_STREAM, 0, EVUTIL_AI_PASSIVE);
}

CASE(util_getaddrinfo_of_services) {
    ask("127.0.0.1", "http", AF_INET, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "http", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICSERV);
    ask("127.0.0.1", "no such service", AF_INET, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "80x", AF_INET, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICSERV);
    ask("127.0.0.1", "", AF_INET, SOCK_STREAM, 0, 0);
}

CASE(util_getaddrinfo_refuses) {
    ask("::1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("127.0.0.1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("localhost", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("127.0.0.1", "80", 12345, SOCK_STREAM, 0, 0);
    ask("127.0.0.1", "80", AF_INET, 12345, 0, 0);
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, IPPROTO_UDP, 0);
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, 0, 0x40000000);
    ask(NULL, "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_CANONNAME);
    ask("1.2.3.4.5", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("256.1.1.1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
    ask("", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_NUMERICHOST);
}

CASE(util_getaddrinfo_mapped) {
    ask("127.0.0.1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_V4MAPPED);
    ask("127.0.0.1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_V4MAPPED | EVUTIL_AI_NUMERICHOST);
    ask("127.0.0.1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_V4MAPPED | EVUTIL_AI_ALL);
    ask("::1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_V4MAPPED | EVUTIL_AI_ALL);
    ask("127.0.0.1", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_V4MAPPED);
    ask("127.0.0.1", "80", AF_INET6, SOCK_STREAM, 0, EVUTIL_AI_ALL);
}

CASE(util_getaddrinfo_of_localhost) {
    ask("localhost", "80", AF_INET, SOCK_STREAM, 0, 0);
    ask("localhost", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_CANONNAME);
    ask("localhost", NULL, AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0);
    ask("localhost", "80", AF_INET, SOCK_STREAM, 0, EVUTIL_AI_ADDRCONFIG);
}

CASE(util_getaddrinfo_without_hints) {
    struct evutil_addrinfo *found = NULL;
    int code = evutil_getaddrinfo("127.0.0.1", "80", NULL, &found);
    say("%s", code_name(code));
    for (const struct addrinfo *info = found; info; info = info->ai_next)
        show(info);
    evutil_freeaddrinfo(found);
}

CASE(util_gai_strerror) {
    static const int codes[] = {
        0, EVUTIL_EAI_ADDRFAMILY, EVUTIL_EAI_AGAIN, EVUTIL_EAI_BADFLAGS, EVUTIL_EAI_FAIL,
        EVUTIL_EAI_FAMILY, EVUTIL_EAI_MEMORY, EVUTIL_EAI_NODATA, EVUTIL_EAI_NONAME,
        EVUTIL_EAI_SERVICE, EVUTIL_EAI_SOCKTYPE, EVUTIL_EAI_SYSTEM, EVUTIL_EAI_CANCEL, EAI_OVERFLOW,
        EAI_CANCELED, EAI_INPROGRESS, -12345, 1, 12345,
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        say("%d %s", codes[i], evutil_gai_strerror(codes[i]));
}
