/* event2/listener.h: enabling and disabling, callbacks that change or free their listener, errors. */
#include <sys/resource.h>

#include "listener.h"

CASE(listener_disabled_and_enabled) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, LEV_OPT_DISABLED, &address);
    int client[2] = {connect_to(&address), -1};
    step("made disabled");
    run_for(base, 20);
    say("%u, waiting for events %d", accepted.count,
        event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    step("enabled");
    token("%d", evconnlistener_enable(listener));
    token("%d", evconnlistener_enable(listener));
    run_until_count(base, &accepted.count, 1);
    step("disabled");
    token("%d", evconnlistener_disable(listener));
    token("%d", evconnlistener_disable(listener));
    client[1] = connect_to(&address);
    run_for(base, 20);
    say("%u", accepted.count);
    step("enabled again");
    CHECK(evconnlistener_enable(listener) == 0);
    run_until_count(base, &accepted.count, 2);
    for (int i = 0; i < 2; i++)
        close(client[i]);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

CASE(listener_that_lost_its_callback_closes_what_it_accepts) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    evconnlistener_set_cb(listener, NULL, NULL);
    int client[2];
    char byte;
    for (int i = 0; i < 2; i++)
        client[i] = connect_to(&address);
    step("no callback");
    run_for(base, 20);
    for (int i = 0; i < 2; i++) {
        set_nonblocking(client[i]);
        say("%u, client sees %s", accepted.count,
            recv(client[i], &byte, 1, 0) == 0 ? "the end" : errno == EAGAIN ? "nothing" : "an error");
        close(client[i]);
    }
    step("one again");
    evconnlistener_set_cb(listener, accepts, &accepted);
    client[0] = connect_to(&address);
    run_until_count(base, &accepted.count, 1);
    close(client[0]);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

CASE(listener_made_without_a_callback) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    int fd = tcp_listener(&address);
    struct evconnlistener *listener =
        evconnlistener_new(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    CHECK(listener);
    int client = connect_to(&address);
    step("no callback");
    run_for(base, 20);
    say("%u", accepted.count);
    step("set");
    evconnlistener_set_cb(listener, accepts, &accepted);
    run_until_count(base, &accepted.count, 1);
    close(client);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

static void disables(struct evconnlistener *listener, struct accepted *accepted) {
    (void)accepted;
    token("disable %d", evconnlistener_disable(listener));
}

static void frees(struct evconnlistener *listener, struct accepted *accepted) {
    (void)accepted;
    evconnlistener_free(listener);
}

static void clears(struct evconnlistener *listener, struct accepted *accepted) {
    (void)accepted;
    evconnlistener_set_cb(listener, NULL, NULL);
}

static void in_the_callback(const char *name, unsigned flags,
                            void (*then)(struct evconnlistener *, struct accepted *)) {
    struct event_base *base = new_base();
    struct accepted accepted = {.then = then};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, flags, &address);
    int fd = evconnlistener_get_fd(listener), client[3];
    for (int i = 0; i < 3; i++)
        client[i] = connect_to(&address);
    step(name);
    run_until_count(base, &accepted.count, 1);
    run_for(base, 20);
    say("%u of 3, open %d", accepted.count, fd_is_open(fd));
    for (int i = 0; i < 3; i++)
        close(client[i]);
    close_accepted(&accepted);
    if (then != frees)
        evconnlistener_free(listener);
    say("open %d", fd_is_open(fd));
    event_base_free(base);
}

CASE(listener_changed_in_its_callback) {
    in_the_callback("disabled", 0, disables);
    in_the_callback("freed", 0, frees);
    in_the_callback("callback gone", 0, clears);
}

CASE(listener_changed_in_its_callback_with_a_lock) {
    CHECK(evthread_use_pthreads() == 0);
    in_the_callback("disabled", LEV_OPT_THREADSAFE, disables);
    in_the_callback("freed", LEV_OPT_THREADSAFE, frees);
    in_the_callback("callback gone", LEV_OPT_THREADSAFE, clears);
}

static void replaced(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                     int length, void *arg) {
    (void)address;
    (void)length;
    (void)listener;
    struct accepted *accepted = arg;
    accepted->fd[accepted->count++] = fd;
    token("by the second");
}

static void replaces(struct evconnlistener *listener, struct accepted *accepted) {
    evconnlistener_set_cb(listener, replaced, accepted);
}

CASE(listener_callback_replaced_in_the_callback) {
    in_the_callback("replaced", 0, replaces);
}

/* No descriptor is left but `spare` ones. */
static int lowest_free(void) {
    int fd = dup(0);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

static void limit_descriptors(rlim_t count, struct rlimit *before) {
    struct rlimit low;
    CHECK(getrlimit(RLIMIT_NOFILE, before) == 0);
    low = *before;
    low.rlim_cur = count;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
}

static struct rlimit usual;
static struct event_base *broken_base;
static int extra = -1;

/* As before. Valgrind lets the kernel accept, and then closes what is beyond the limit: that connection is gone, and
 * another must come. */
static void give_descriptors_back(struct evconnlistener *listener) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0);
    if (!listener || !under_valgrind() || extra >= 0)
        return;
    CHECK(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length) == 0);
    extra = connect_to(&address);
}

static void close_extra(void) {
    if (extra >= 0)
        close(extra);
    extra = -1;
}

static void gives_descriptors_back(struct evconnlistener *listener, struct accepted *accepted) {
    if (accepted->count == 0 && accepted->errors == 1) {
        say("error %s", accepted->error == EMFILE ? "EMFILE" : "another");
        give_descriptors_back(listener);
    }
}

CASE(listener_error_callback) {
    struct event_base *base = new_base();
    struct accepted accepted = {.then = gives_descriptors_back};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    evconnlistener_set_error_cb(listener, fails);
    int client = connect_to(&address);
    limit_descriptors((rlim_t)lowest_free(), &usual);
    step("no descriptor, and then one");
    run_until_count(base, &accepted.count, 1);
    say("errors %d", accepted.errors > 0);
    close(client);
    close_extra();
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

static void frees_and_ends(struct evconnlistener *listener, struct accepted *accepted) {
    CHECK(accepted->count == 0);
    evconnlistener_free(listener);
    event_base_loopbreak(broken_base);
}

static void disables_and_ends(struct evconnlistener *listener, struct accepted *accepted) {
    CHECK(accepted->count == 0);
    say("disable %d", evconnlistener_disable(listener));
    event_base_loopbreak(broken_base);
}

static void in_the_error_callback(void (*then)(struct evconnlistener *, struct accepted *)) {
    struct event_base *base = broken_base = new_base();
    struct accepted accepted = {.then = then};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    int fd = evconnlistener_get_fd(listener);
    evconnlistener_set_error_cb(listener, fails);
    int client = connect_to(&address);
    limit_descriptors((rlim_t)lowest_free(), &usual);
    event_base_dispatch(base);
    give_descriptors_back(then == frees_and_ends ? NULL : listener);
    say("errors %u, open %d", accepted.errors, fd_is_open(fd));
    /* It does not go on by itself. */
    run_for(base, 150);
    say("%u", accepted.count);
    if (then == disables_and_ends) {
        accepted.then = NULL;
        CHECK(evconnlistener_enable(listener) == 0);
        step("enabled");
        run_until_count(base, &accepted.count, 1);
        evconnlistener_free(listener);
    }
    close(client);
    close_extra();
    close_accepted(&accepted);
    event_base_free(base);
}

CASE(listener_freed_in_its_error_callback) {
    in_the_error_callback(frees_and_ends);
}

CASE(listener_disabled_in_its_error_callback) {
    in_the_error_callback(disables_and_ends);
}

CASE_DIFFERS(listener_without_descriptors_rests, "EMFILE",
             "libevent calls accept again at once and without end; how often varies") {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    evconnlistener_set_error_cb(listener, fails);
    int client = connect_to(&address);
    limit_descriptors((rlim_t)lowest_free(), &usual);
    run_for(base, 450);
    give_descriptors_back(listener);
    /* 100 ms between two attempts. */
    say("errors %s", accepted.errors >= 1 && accepted.errors <= 5 ? "few" : "many");
    step("it goes on by itself");
    run_until_count(base, &accepted.count, 1);
    close(client);
    close_extra();
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

static struct evconnlistener *logging;

static void logs(int severity, const char *text) {
    say("log %d %.30s", severity, text);
    give_descriptors_back(logging);
}

CASE(listener_error_without_a_callback_is_logged) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    int client = connect_to(&address);
    logging = listener;
    event_set_log_callback(logs);
    limit_descriptors((rlim_t)lowest_free(), &usual);
    step("no descriptor");
    run_until_count(base, &accepted.count, 1);
    event_set_log_callback(NULL);
    close(client);
    close_extra();
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

CASE(listener_freed_with_connections_waiting) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    char byte;
    int client = connect_to(&address);
    evconnlistener_free(listener);
    say("the client is told: %d", recv(client, &byte, 1, 0) <= 0);
    say("loop %d", event_base_loop(base, EVLOOP_NONBLOCK));
    close(client);
    event_base_free(base);
}
