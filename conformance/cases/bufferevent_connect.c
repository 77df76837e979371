/* Connecting: by address, by a descriptor that is connecting already, by name. */
#include "bufferevent.h"

/* A client without a descriptor and a TCP listener for it. */
struct dial {
    struct event_base *base;
    struct end a;
    struct sockaddr_in address;
    int listener, server;
};

static void open_dial(struct dial *dial, int options) {
    dial->base = new_base();
    dial->listener = tcp_listener(&dial->address);
    dial->server = -1;
    watch_new(&dial->a, "", dial->base, -1, options | BEV_OPT_CLOSE_ON_FREE);
}

static int dial_connect(struct dial *dial) {
    return bufferevent_socket_connect(dial->a.bev, (struct sockaddr *)&dial->address,
                                      sizeof dial->address);
}

static void close_dial(struct dial *dial) {
    if (dial->a.bev)
        bufferevent_free(dial->a.bev);
    if (dial->server >= 0)
        close(dial->server);
    if (dial->listener >= 0)
        close(dial->listener);
    event_base_free(dial->base);
}

/* Waits until `wanted` bytes have come to `fd`; what is there at the end of five seconds. */
struct arrival {
    int fd;
    size_t got, wanted;
};

static bool arrived(void *arg) {
    struct arrival *arrival = arg;
    char data[4096];
    arrival->got += recv_now(arrival->fd, data, sizeof data, NULL);
    return arrival->got >= arrival->wanted;
}

static size_t run_until_arrived(struct event_base *base, int fd, size_t wanted) {
    struct arrival arrival = {fd, 0, wanted};
    run_until(base, arrived, &arrival);
    return arrival.got;
}

/* All that comes from `fd` until its end, as text. */
static const char *all_from(int fd) {
    static char text[64];
    size_t length = 0;
    bool end = false;
    while (!end && length < sizeof text - 1) {
        await_readable(fd);
        length += recv_now(fd, text + length, sizeof text - 1 - length, &end);
    }
    text[length] = 0;
    return text;
}

static void write_and_free(struct end *end) {
    const char *inside = end->extra;
    bufferevent_write(end->bev, inside, strlen(inside));
    bufferevent_free(end->bev);
    end->bev = NULL;
}

static void write_and_free_if_connected(struct end *end) {
    if (end->flags & BEV_EVENT_CONNECTED)
        write_and_free(end);
}

static void write_and_free_if_ended(struct end *end) {
    if (end->flags & BEV_EVENT_EOF)
        write_and_free(end);
}

static bool is_freed(void *end) {
    return ((struct end *)end)->bev == NULL;
}

enum where { CONNECTED, READING, WRITING, ENDED };

/* Connects, frees the bufferevent in one of its callbacks, and shows what the peer has got. */
static void free_in_callback(enum where where, int options, const char *before, const char *inside) {
    static const char *names[] = {"connected", "reading", "writing", "ended"};
    struct event_base *base = new_base();
    struct sockaddr_in address;
    struct end a;
    int listener = tcp_listener(&address);
    say("%s, options %d, '%s' and '%s'", names[where], options, before, inside);
    watch_new(&a, "", base, -1, options);
    a.extra = (void *)inside;
    if (where == CONNECTED)
        a.on_event = write_and_free_if_connected;
    if (where == READING)
        a.on_read = write_and_free;
    if (where == WRITING)
        a.on_write = write_and_free;
    if (where == ENDED)
        a.on_event = write_and_free_if_ended;
    bufferevent_write(a.bev, before, strlen(before));
    bufferevent_enable(a.bev, EV_READ);
    CHECK(bufferevent_socket_connect(a.bev, (struct sockaddr *)&address, sizeof address) == 0);
    int own = bufferevent_getfd(a.bev);
    int server = accept_one(listener);
    if (where == READING)
        send_letters(server, 3);
    if (where == ENDED)
        CHECK(shutdown(server, SHUT_WR) == 0);
    step("loop");
    run_until(base, is_freed, &a);
    settle(base);
    if (options & BEV_OPT_CLOSE_ON_FREE)
        say("open %d", fd_is_open(own));
    else
        CHECK(close(own) == 0);
    say("got '%s'", all_from(server));
    close(server);
    close(listener);
    event_base_free(base);
}

/* Of these, only who is told of the connection, and at once, has its output sent. */
CASE(freed_in_a_callback_with_output) /* 31, 56 */
{
    static const char *texts[] = {"", "text"};
    static const int options[] = {0, BEV_OPT_CLOSE_ON_FREE, BEV_OPT_DEFER_CALLBACKS,
                                  BEV_OPT_DEFER_CALLBACKS | BEV_OPT_CLOSE_ON_FREE};
    for (int where = CONNECTED; where <= ENDED; where++)
        for (int variant = 0; variant < 16; variant++) {
            int option = options[variant / 4];
            const char *text = texts[variant / 2 % 2], *inside = variant % 2 ? " more" : "";
            /* What is written calls back first, or in the same turn. */
            bool unsure = where == READING && option & BEV_OPT_DEFER_CALLBACKS && *text;
            bool never = where == WRITING && !*text;
            if (!unsure && !never)
                free_in_callback((enum where)where, option, text, inside);
        }
}

static void (*when_connected)(struct bufferevent *bev);

static void prepare_and_free(struct end *end) {
    if (!(end->flags & BEV_EVENT_CONNECTED))
        return;
    when_connected(end->bev);
    bufferevent_free(end->bev);
    end->bev = NULL;
}

static void disable_after_writing(struct bufferevent *bev) {
    bufferevent_write(bev, "inside", 6);
    bufferevent_disable(bev, EV_WRITE);
}

static void disable_and_enable(struct bufferevent *bev) {
    bufferevent_disable(bev, EV_WRITE);
    bufferevent_write(bev, "inside", 6);
    bufferevent_enable(bev, EV_WRITE);
}

static void take_the_callbacks(struct bufferevent *bev) {
    bufferevent_write(bev, "inside", 6);
    bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
}

static void limit_the_write(struct bufferevent *bev) {
    bufferevent_write(bev, "inside", 6);
    bufferevent_set_max_single_write(bev, 8);
}

static void set_a_low_mark(struct bufferevent *bev) {
    bufferevent_write(bev, "inside", 6);
    bufferevent_setwatermark(bev, EV_WRITE, 100, 0);
}

CASE(freed_when_connected_with_settings) /* 31, 48 */
{
    static void (*const prepare[])(struct bufferevent *) = {
        disable_after_writing, disable_and_enable, take_the_callbacks, limit_the_write, set_a_low_mark};
    for (size_t i = 0; i < sizeof prepare / sizeof *prepare; i++) {
        struct dial d;
        open_dial(&d, 0);
        when_connected = prepare[i];
        d.a.on_event = prepare_and_free;
        bufferevent_write(d.a.bev, "before ", 7);
        CHECK(dial_connect(&d) == 0);
        d.server = accept_one(d.listener);
        step("loop");
        run_until(d.base, is_freed, &d.a);
        settle(d.base);
        say("got '%s'", all_from(d.server));
        close_dial(&d);
    }
}

static void write_and_break(struct end *end) {
    if (end->flags & BEV_EVENT_CONNECTED) {
        bufferevent_write(end->bev, "inside", 6);
        event_base_loopbreak(bufferevent_get_base(end->bev));
    }
}

CASE(loop_broken_when_connected) /* 42 */
{
    struct dial d;
    open_dial(&d, 0);
    d.a.on_event = write_and_break;
    bufferevent_write(d.a.bev, "before ", 7);
    CHECK(dial_connect(&d) == 0);
    d.server = accept_one(d.listener);
    step("loop");
    token("=%d", event_base_dispatch(d.base));
    say("left %zu", out_length(d.a.bev));
    bufferevent_free(d.a.bev);
    d.a.bev = NULL;
    settle(d.base);
    say("got '%s'", all_from(d.server));
    close_dial(&d);
}

CASE(success_is_connected_alone) /* 41 */
{
    struct dial d;
    open_dial(&d, 0);
    say("connect %d", dial_connect(&d));
    say("descriptor %d", bufferevent_getfd(d.a.bev) >= 0);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    settle(d.base);
    say("enabled %d", bufferevent_get_enabled(d.a.bev));
    close_dial(&d);
}

CASE(data_written_before_is_sent_after_connected) /* 42 */
{
    struct dial d;
    open_dial(&d, 0);
    write_letters(d.a.bev, 50);
    CHECK(dial_connect(&d) == 0);
    write_letters(d.a.bev, 10);
    step("loop");
    run_until_count(d.base, &d.a.writes, 1);
    d.server = accept_one(d.listener);
    say("server has %zu", run_until_arrived(d.base, d.server, 60));
    close_dial(&d);
}

CASE(reading_enabled_before_connect) /* 43 */
{
    struct dial d;
    open_dial(&d, 0);
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    CHECK(dial_connect(&d) == 0);
    d.server = accept_one(d.listener);
    send_letters(d.server, 3);
    step("loop");
    run_until_count(d.base, &d.a.reads, 1);
    settle(d.base);
    close_dial(&d);
}

CASE_DIFFERS(connected_comes_before_the_first_data, "J43",
             "CONNECTED is always the first callback of a connection that we started") {
    struct dial d;
    open_dial(&d, 0);
    CHECK(dial_connect(&d) == 0);
    d.server = accept_one(d.listener);
    send_letters(d.server, 3);
    await_readable(bufferevent_getfd(d.a.bev));
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    step("loop");
    run_until_count(d.base, &d.a.reads, 1);
    run_until_count(d.base, &d.a.events, 1);
    close_dial(&d);
}

CASE(deferred_connected_comes_first) /* 43 */
{
    struct dial d;
    open_dial(&d, BEV_OPT_DEFER_CALLBACKS);
    CHECK(dial_connect(&d) == 0);
    d.server = accept_one(d.listener);
    send_letters(d.server, 3);
    await_readable(bufferevent_getfd(d.a.bev));
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    step("loop");
    run_until_count(d.base, &d.a.reads, 1);
    run_until_count(d.base, &d.a.events, 1);
    close_dial(&d);
}

CASE(tcp_refused_later) /* 44 */
{
    struct dial d;
    struct sockaddr_in nobody;
    open_dial(&d, 0);
    int port = refusing_port(&nobody);
    CHECK(bufferevent_enable(d.a.bev, EV_READ) == 0);
    write_letters(d.a.bev, 5);
    say("connect %d",
        bufferevent_socket_connect(d.a.bev, (struct sockaddr *)&nobody, sizeof nobody));
    say("inside %u", d.a.events);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    settle(d.base);
    run_for(d.base, 20);
    say("enabled %d, held %zu", bufferevent_get_enabled(d.a.bev), out_length(d.a.bev));
    close(port);
    close_dial(&d);
}

static void show_refused(struct end *end) {
    (void)end;
    token("%s", EVUTIL_SOCKET_ERROR() == ECONNREFUSED ? "ECONNREFUSED" : "another error");
}

CASE(the_reason_of_a_refusal_can_be_read) /* 44 */
{
    struct dial d;
    struct sockaddr_in nobody;
    open_dial(&d, 0);
    d.a.on_event = show_refused;
    int port = refusing_port(&nobody);
    CHECK(bufferevent_socket_connect(d.a.bev, (struct sockaddr *)&nobody, sizeof nobody) == 0);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    close(port);
    close_dial(&d);
}

CASE(unix_refused_at_once) /* 45 */
{
    struct event_base *base = new_base();
    struct sockaddr_un nobody;
    socklen_t length;
    struct end a;
    int bound = refusing_unix(&nobody, &length);
    watch_new(&a, "", base, -1, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    say("connect %d", bufferevent_socket_connect(a.bev, (struct sockaddr *)&nobody, (int)length));
    say("inside %u", a.events);
    step("loop");
    settle(base);
    say("enabled %d", bufferevent_get_enabled(a.bev));
    bufferevent_free(a.bev);
    close(bound);
    event_base_free(base);
}

CASE(a_missing_path_fails_inside_the_call) /* 46 */
{
    struct event_base *base = new_base();
    struct sockaddr_un missing = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
    struct end a;
    watch_new(&a, "", base, -1, BEV_OPT_CLOSE_ON_FREE);
    say("connect %d",
        bufferevent_socket_connect(a.bev, (struct sockaddr *)&missing, sizeof missing));
    step("loop");
    settle(base);
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE(an_unknown_family_fails_inside_the_call) /* 46 */
{
    struct event_base *base = new_base();
    struct sockaddr unknown = {.sa_family = 9999};
    struct end a;
    watch_new(&a, "", base, -1, BEV_OPT_CLOSE_ON_FREE);
    say("connect %d", bufferevent_socket_connect(a.bev, &unknown, sizeof unknown));
    step("loop");
    settle(base);
    say("descriptor %d", bufferevent_getfd(a.bev));
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE_DIFFERS(unix_success_at_once, "J47", "no stray write callback before CONNECTED") {
    struct event_base *base = new_base();
    struct sockaddr_un address;
    socklen_t length;
    struct end a;
    int listener = unix_listener(&address, &length);
    watch_new(&a, "", base, -1, BEV_OPT_CLOSE_ON_FREE);
    say("connect %d", bufferevent_socket_connect(a.bev, (struct sockaddr *)&address, (int)length));
    say("inside %u", a.events + a.writes);
    step("loop");
    settle(base);
    bufferevent_free(a.bev);
    close(listener);
    event_base_free(base);
}

CASE(disabling_write_does_not_stop_the_connect) /* 48 */
{
    struct dial d;
    char got[64];
    open_dial(&d, 0);
    CHECK(dial_connect(&d) == 0);
    write_letters(d.a.bev, 5);
    CHECK(bufferevent_disable(d.a.bev, EV_WRITE) == 0);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    d.server = accept_one(d.listener);
    settle(d.base);
    say("held %zu, server has %zu", out_length(d.a.bev),
        recv_now(d.server, got, sizeof got, NULL));
    CHECK(bufferevent_enable(d.a.bev, EV_WRITE) == 0);
    step("enabled");
    run_until_count(d.base, &d.a.writes, 1);
    say("server has %zu", run_until_arrived(d.base, d.server, 5));
    close_dial(&d);
}

/* Fills the listener's queue, so that a further connect waits. The descriptors to close. */
static size_t fill_backlog(const struct sockaddr_in *address, int *fd, size_t room) {
    for (size_t i = 0; i < room; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(fd[i] >= 0);
        CHECK(connect(fd[i], (const struct sockaddr *)address, sizeof *address) == -1 &&
              errno == EINPROGRESS);
    }
    return room;
}

static void connect_timeout(int wait_ms, void (*then)(struct end *)) {
    struct dial d;
    int fd[8];
    struct timeval timeout = milliseconds(30);
    open_dial(&d, 0);
    CHECK(listen(d.listener, 0) == 0);
    size_t count = fill_backlog(&d.address, fd, 8);
    d.a.on_event = then;
    CHECK(bufferevent_set_timeouts(d.a.bev, NULL, &timeout) == 0);
    say("connect %d", dial_connect(&d));
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    run_for(d.base, wait_ms);
    if (d.a.bev)
        say("enabled %d", bufferevent_get_enabled(d.a.bev));
    while (count > 0)
        close(fd[--count]);
    close_dial(&d);
}

static void free_it(struct end *end) {
    bufferevent_free(end->bev);
    end->bev = NULL;
}

CASE(write_timeout_ends_the_wait_for_a_connection) /* 49 */
{
    connect_timeout(100, free_it);
}

CASE_DIFFERS(connect_timeout_is_reported_once, "J49",
             "a connect timeout is reported once and turns EV_WRITE off") {
    connect_timeout(120, NULL);
}

CASE(a_descriptor_that_is_connecting_already) /* 50 */
{
    struct dial d;
    open_dial(&d, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&d.address, sizeof d.address) == 0 ||
          errno == EINPROGRESS);
    CHECK(bufferevent_setfd(d.a.bev, fd) == 0);
    say("connect %d", bufferevent_socket_connect(d.a.bev, NULL, 0));
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    settle(d.base);
    close_dial(&d);
}

CASE(connecting_without_an_address_or_a_descriptor) /* 50 */
{
    struct dial d;
    open_dial(&d, 0);
    say("connect %d", bufferevent_socket_connect(d.a.bev, NULL, 0));
    step("loop");
    settle(d.base);
    close_dial(&d);
}

CASE(a_descriptor_of_ones_own_is_connected) {
    struct dial d;
    open_dial(&d, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(bufferevent_setfd(d.a.bev, fd) == 0);
    say("connect %d", dial_connect(&d));
    say("the same descriptor %d", bufferevent_getfd(d.a.bev) == fd);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    d.server = accept_one(d.listener);
    close_dial(&d);
}

CASE(connecting_again_after_a_refusal) {
    struct dial d;
    struct sockaddr_in nobody;
    open_dial(&d, 0);
    int port = refusing_port(&nobody);
    CHECK(bufferevent_socket_connect(d.a.bev, (struct sockaddr *)&nobody, sizeof nobody) == 0);
    step("refused");
    run_until_count(d.base, &d.a.events, 1);
    int old = bufferevent_getfd(d.a.bev);
    CHECK(bufferevent_setfd(d.a.bev, -1) == 0);
    close(old);
    say("connect %d", dial_connect(&d));
    step("accepted");
    run_until_count(d.base, &d.a.events, 2);
    close(port);
    close_dial(&d);
}

static void write_and_read(struct end *end) {
    CHECK(bufferevent_write(end->bev, "hello", 5) == 0);
    CHECK(bufferevent_enable(end->bev, EV_READ) == 0);
}

CASE(writing_inside_the_connected_callback) /* 41 */
{
    struct dial d;
    open_dial(&d, 0);
    d.a.on_event = write_and_read;
    CHECK(dial_connect(&d) == 0);
    step("loop");
    run_until_count(d.base, &d.a.writes, 1);
    d.server = accept_one(d.listener);
    say("server has %zu", run_until_arrived(d.base, d.server, 5));
    d.a.on_event = NULL;
    send_letters(d.server, 8);
    step("answer");
    run_until_count(d.base, &d.a.reads, 1);
    close_dial(&d);
}

static void enable_both(struct end *end) {
    CHECK(bufferevent_enable(end->bev, EV_READ | EV_WRITE) == 0);
}

/* As most programs do it; with something to write it has the usual callback, and without it none. */
CASE(enabling_both_inside_the_connected_callback) /* 3, 41 */
{
    for (int length = 0; length < 20; length += 10) {
        struct dial d;
        open_dial(&d, 0);
        if (length > 0)
            write_letters(d.a.bev, (size_t)length);
        d.a.on_event = enable_both;
        CHECK(dial_connect(&d) == 0);
        step("loop");
        run_until_count(d.base, &d.a.events, 1);
        settle(d.base);
        d.server = accept_one(d.listener);
        d.a.on_event = NULL;
        send_letters(d.server, 8);
        step("answer");
        run_until_count(d.base, &d.a.reads, 1);
        bufferevent_enable(d.a.bev, EV_WRITE);
        step("kick");
        settle(d.base);
        close_dial(&d);
    }
}

/* What the server has sent by then is read after that. */
CASE(what_is_written_before_or_inside_the_connected_callback_is_sent_first) /* 42 */
{
    for (int inside = 0; inside < 2; inside++) {
        struct dial d;
        open_dial(&d, 0);
        bufferevent_enable(d.a.bev, EV_READ);
        if (inside)
            d.a.on_event = write_and_read;
        else
            write_letters(d.a.bev, 10);
        CHECK(dial_connect(&d) == 0);
        d.server = accept_one(d.listener);
        send_letters(d.server, 8);
        await_readable(bufferevent_getfd(d.a.bev));
        step("loop");
        run_until_count(d.base, &d.a.reads, 1);
        settle(d.base);
        close_dial(&d);
    }
}

CASE(freeing_while_connecting) {
    struct dial d;
    open_dial(&d, 0);
    CHECK(dial_connect(&d) == 0);
    int fd = bufferevent_getfd(d.a.bev);
    free_it(&d.a);
    settle(d.base);
    say("callbacks %u, open %d", d.a.events + d.a.writes, fd_is_open(fd));
    close_dial(&d);
}

CASE(freeing_inside_the_connected_callback) {
    struct dial d;
    open_dial(&d, 0);
    write_letters(d.a.bev, 10);
    d.a.on_event = free_it;
    CHECK(dial_connect(&d) == 0);
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    settle(d.base);
    close_dial(&d);
}

CASE(host_names_that_are_refused) /* 51 */
{
    struct dial d;
    open_dial(&d, 0);
    struct bufferevent *bev = d.a.bev;
    const int ports[] = {0, -1, 65536, 1 << 20};
    for (int i = 0; i < 4; i++)
        say("port %d: %d", ports[i],
            bufferevent_socket_connect_hostname(bev, NULL, AF_INET, "127.0.0.1", ports[i]));
    say("family unix: %d",
        bufferevent_socket_connect_hostname(bev, NULL, AF_UNIX, "127.0.0.1", 80));
    say("family 77: %d", bufferevent_socket_connect_hostname(bev, NULL, 77, "127.0.0.1", 80));
    step("loop");
    settle(d.base);
    say("dns error %d", bufferevent_socket_get_dns_error(bev));
    close_dial(&d);
}

static void connect_by_name(int family, const char *name) {
    struct dial d;
    open_dial(&d, 0);
    write_letters(d.a.bev, 5);
    say("connect %d", bufferevent_socket_connect_hostname(d.a.bev, NULL, family, name,
                                                          ntohs(d.address.sin_port)));
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    run_until_count(d.base, &d.a.writes, 1);
    say("dns error %d", bufferevent_socket_get_dns_error(d.a.bev));
    d.server = accept_one(d.listener);
    say("server has %zu", run_until_arrived(d.base, d.server, 5));
    close_dial(&d);
}

CASE(connecting_to_a_numeric_name) /* 51 */
{
    connect_by_name(AF_INET, "127.0.0.1");
}

CASE(connecting_to_a_numeric_name_of_any_family) /* 51 */
{
    connect_by_name(AF_UNSPEC, "127.0.0.1");
}

CASE(connecting_to_localhost) /* 51 */
{
    connect_by_name(AF_INET, "localhost");
}

CASE(a_numeric_name_that_refuses) /* 51 */
{
    struct dial d;
    struct sockaddr_in nobody;
    open_dial(&d, 0);
    int port = refusing_port(&nobody);
    say("connect %d", bufferevent_socket_connect_hostname(d.a.bev, NULL, AF_INET, "127.0.0.1",
                                                          ntohs(nobody.sin_port)));
    step("loop");
    run_until_count(d.base, &d.a.events, 1);
    say("dns error %d", bufferevent_socket_get_dns_error(d.a.bev));
    close(port);
    close_dial(&d);
}

CASE_DIFFERS(a_look_up_failure_comes_from_the_loop, "J51",
             "a failed look-up is reported from the loop, not inside the call") {
    struct dial d;
    open_dial(&d, 0);
    step("call");
    /* A name of the other family: the resolver refuses it without asking anybody. */
    int result = bufferevent_socket_connect_hostname(d.a.bev, NULL, AF_INET, "::1", 80);
    token("returns %d", result);
    step("loop");
    settle(d.base);
    say("dns error %d", bufferevent_socket_get_dns_error(d.a.bev) != 0);
    close_dial(&d);
}
