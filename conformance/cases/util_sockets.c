/* event2/util.h: sockets and their options. */
#include <sys/resource.h>

#include "loop.h"

static const char *error_name(int result) {
    if (result == 0)
        return "ok";
    switch (errno) {
    case EBADF:
        return "EBADF";
    case ENOTSOCK:
        return "ENOTSOCK";
    case ENOPROTOOPT:
        return "ENOPROTOOPT";
    case EOPNOTSUPP:
        return "EOPNOTSUPP";
    case EAFNOSUPPORT:
        return "EAFNOSUPPORT";
    case EPROTONOSUPPORT:
        return "EPROTONOSUPPORT";
    case ESOCKTNOSUPPORT:
        return "ESOCKTNOSUPPORT";
    case EINVAL:
        return "EINVAL";
    case EMFILE:
        return "EMFILE";
    case EFAULT:
        return "EFAULT";
    default:
        return "another error";
    }
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

static int new_socket(int family, int kind) {
    int fd = socket(family, kind, 0);
    CHECK(fd >= 0);
    return fd;
}

CASE(util_make_socket_nonblocking) {
    int fd = new_socket(AF_INET, SOCK_STREAM);
    say("before %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    say("%s", error_name(evutil_make_socket_nonblocking(fd)));
    say("after %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    say("again %s %d", error_name(evutil_make_socket_nonblocking(fd)),
        (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    /* What else is set stays. */
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0);
    CHECK(evutil_make_socket_nonblocking(fd) == 0);
    say("append %d", (fcntl(fd, F_GETFL) & O_APPEND) != 0);
    close(fd);
}

CASE(util_make_socket_closeonexec) {
    int fd = new_socket(AF_INET, SOCK_STREAM);
    say("before %d", fcntl(fd, F_GETFD));
    say("%s", error_name(evutil_make_socket_closeonexec(fd)));
    say("after %d", fcntl(fd, F_GETFD));
    say("again %s %d", error_name(evutil_make_socket_closeonexec(fd)), fcntl(fd, F_GETFD));
    close(fd);
}

static void log_line(int severity, const char *text) {
    const char *colon = strchr(text, ',');
    say("log %d:%s", severity, colon ? colon + 1 : text);
}

CASE(util_socket_functions_of_a_closed_number) {
    event_set_log_callback(log_line);
    int fd = new_socket(AF_INET, SOCK_STREAM);
    close(fd);
    static const int numbers[] = {-1, 0};
    for (size_t i = 0; i < 2; i++) {
        int number = numbers[i] ? numbers[i] : fd;
        say("nonblocking %s", error_name(evutil_make_socket_nonblocking(number)));
        say("closeonexec %s", error_name(evutil_make_socket_closeonexec(number)));
        say("reuseable %s", error_name(evutil_make_listen_socket_reuseable(number)));
        say("reuseable_port %s", error_name(evutil_make_listen_socket_reuseable_port(number)));
        say("ipv6only %s", error_name(evutil_make_listen_socket_ipv6only(number)));
        say("deferred %s", error_name(evutil_make_tcp_listen_socket_deferred(number)));
    }
    event_set_log_callback(NULL);
}

CASE(util_listen_socket_options) {
    int four = new_socket(AF_INET, SOCK_STREAM), six = new_socket(AF_INET6, SOCK_STREAM);
    int local = new_socket(AF_UNIX, SOCK_STREAM), file[2];
    CHECK(pipe(file) == 0);
    say("reuseable %d", option(four, SOL_SOCKET, SO_REUSEADDR));
    say("%s %d", error_name(evutil_make_listen_socket_reuseable(four)),
        option(four, SOL_SOCKET, SO_REUSEADDR));
    say("reuseable_port %d", option(four, SOL_SOCKET, SO_REUSEPORT));
    say("%s %d", error_name(evutil_make_listen_socket_reuseable_port(four)),
        option(four, SOL_SOCKET, SO_REUSEPORT));
    say("ipv6only %d", option(six, IPPROTO_IPV6, IPV6_V6ONLY));
    say("%s %d", error_name(evutil_make_listen_socket_ipv6only(six)),
        option(six, IPPROTO_IPV6, IPV6_V6ONLY));
    say("of v4 %s", error_name(evutil_make_listen_socket_ipv6only(four)));
    say("deferred %d", option(four, IPPROTO_TCP, TCP_DEFER_ACCEPT));
    say("%s %d", error_name(evutil_make_tcp_listen_socket_deferred(four)),
        option(four, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    say("of unix %s", error_name(evutil_make_tcp_listen_socket_deferred(local)));
    say("of a pipe: %s %s %s", error_name(evutil_make_listen_socket_reuseable(file[0])),
        error_name(evutil_make_listen_socket_reuseable_port(file[0])),
        error_name(evutil_make_tcp_listen_socket_deferred(file[0])));
    close(four);
    close(six);
    close(local);
    close(file[0]);
    close(file[1]);
}

CASE(util_socketpair) {
    evutil_socket_t fd[2] = {-1, -1};
    char data[8];
    say("%s", error_name(evutil_socketpair(AF_UNIX, SOCK_STREAM, 0, fd)));
    send_all(fd[0], "one", 3);
    say("%zd", recv(fd[1], data, sizeof data, 0));
    send_all(fd[1], "four", 4);
    say("%zd", recv(fd[0], data, sizeof data, 0));
    say("blocking %d, inherited %d", (fcntl(fd[0], F_GETFL) & O_NONBLOCK) == 0,
        fcntl(fd[0], F_GETFD) == 0);
    say("closed %s %s", error_name(evutil_closesocket(fd[0])), error_name(evutil_closesocket(fd[1])));
    say("closed again %s", error_name(evutil_closesocket(fd[1])));
    say("datagrams %s", error_name(evutil_socketpair(AF_UNIX, SOCK_DGRAM, 0, fd)));
    send_all(fd[0], "one", 3);
    send_all(fd[0], "four", 4);
    say("%zd", recv(fd[1], data, sizeof data, 0));
    EVUTIL_CLOSESOCKET(fd[0]);
    EVUTIL_CLOSESOCKET(fd[1]);
    say("no such family %s", error_name(evutil_socketpair(12345, SOCK_STREAM, 0, fd)));
    say("no such kind %s", error_name(evutil_socketpair(AF_UNIX, 12345, 0, fd)));
    say("no such protocol %s", error_name(evutil_socketpair(AF_UNIX, SOCK_STREAM, 12345, fd)));
    say("internet %s", error_name(evutil_socketpair(AF_INET, SOCK_STREAM, 0, fd)));
    say("closing -1 %s", error_name(evutil_closesocket(-1)));
}

CASE(util_socketpair_without_descriptors_to_spare) {
    struct rlimit limit, low;
    evutil_socket_t fd[2] = {-7, -7};
    int lowest = dup(0);
    CHECK(lowest >= 0);
    close(lowest);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    low.rlim_cur = (rlim_t)lowest + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    int result = evutil_socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
    const char *name = error_name(result);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    say("%s, untouched %d, nothing left open %d", name, fd[0] == -7 && fd[1] == -7,
        !fd_is_open(lowest));
}

CASE(util_socket_error_macros) {
    EVUTIL_SET_SOCKET_ERROR(ECONNRESET);
    say("%d %d %d", errno == ECONNRESET, EVUTIL_SOCKET_ERROR() == ECONNRESET,
        evutil_socket_geterror(-1) == ECONNRESET);
    say("%s", evutil_socket_error_to_string(EMFILE));
    say("%d", EVUTIL_INVALID_SOCKET);
}
