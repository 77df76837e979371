/* Connects by name to a listener on one address of a host, and prints how long that took.
 *
 *   by_name NAME ADDRESS          looks the name up with the system's resolver
 *   by_name NAME ADDRESS HOSTS    with evdns, which knows this hosts file
 *   by_name NAME ADDRESS free     frees the bufferevent after 100 ms, while it tries, and prints how
 *                                 many descriptors that leaves open */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>


static struct timespec begun;

static void told(struct bufferevent *bev, short what, void *arg) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long us = (now.tv_sec - begun.tv_sec) * 1000000 + (now.tv_nsec - begun.tv_nsec) / 1000;
    if (what == BEV_EVENT_CONNECTED)
        printf("%ld\n", us);
    else
        printf("event %x, dns error %d\n", (unsigned)what, bufferevent_socket_get_dns_error(bev));
    event_base_loopbreak(arg);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void free_it(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    bufferevent_free(arg);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, argv[2], &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        perror("listen");
        return 1;
    }
    struct event_base *base = event_base_new();
    struct evdns_base *dns = NULL;
    int freeing = argc > 3 && strcmp(argv[3], "free") == 0;
    if (argc > 3 && !freeing) {
        dns = evdns_base_new(base, 0);
        if (!dns || evdns_base_load_hosts(dns, argv[3]) != 0)
            return 1;
    }
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(bev, NULL, NULL, told, base);
    int open_before = open_descriptors();
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (bufferevent_socket_connect_hostname(bev, dns, AF_UNSPEC, argv[1],
                                            ntohs(address.sin_port)) != 0)
        return 1;
    if (freeing) {
        struct timeval delay = {0, 100000};
        event_base_once(base, -1, EV_TIMEOUT, free_it, bev, &delay);
    }
    event_base_dispatch(base);
    if (freeing)
        printf("%d\n", open_descriptors() - open_before);
    else
        bufferevent_free(bev);
    if (dns)
        evdns_base_free(dns, 0);
    event_base_free(base);
    return 0;
}
