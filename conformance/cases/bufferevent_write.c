/* Writing: when it happens, its callback, the rules of both buffers, sizes that cannot be. */
#include "bufferevent.h"

CASE(a_write_waits_for_the_loop) /* 24 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    write_letters(s.a.bev, 30);
    say("inside: held %zu, peer has %zu", out_length(s.a.bev),
        recv_now(s.peer, got, sizeof got, NULL));
    step("loop");
    settle(s.base);
    say("after: held %zu, peer has %zu", out_length(s.a.bev),
        recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(writes_are_sent_in_order) /* 24 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    struct evbuffer *more = evbuffer_new();
    CHECK(bufferevent_write(s.a.bev, "one ", 4) == 0);
    CHECK(evbuffer_add(more, "two ", 4) == 0);
    CHECK(bufferevent_write_buffer(s.a.bev, more) == 0);
    say("moved, left %zu", evbuffer_get_length(more));
    CHECK(evbuffer_add(bufferevent_get_output(s.a.bev), "three ", 6) == 0);
    CHECK(evbuffer_add_printf(bufferevent_get_output(s.a.bev), "%s", "four") == 4);
    CHECK(bufferevent_write_buffer(s.a.bev, more) == 0);
    step("loop");
    settle(s.base);
    size_t n = recv_now(s.peer, got, sizeof got, NULL);
    say("peer has %.*s", (int)n, got);
    evbuffer_free(more);
    close_scene(&s);
}

/* Reads all from `peer` while the loop runs, until `wanted` bytes have come. */
struct sink {
    int peer;
    size_t got, wanted;
};

static bool sink_full(void *arg) {
    struct sink *sink = arg;
    char data[16384];
    size_t n;
    while ((n = recv_now(sink->peer, data, sizeof data, NULL)) > 0)
        sink->got += n;
    return sink->got >= sink->wanted;
}

CASE(write_callback_comes_once_when_all_is_sent) /* 25 */
{
    struct scene s;
    open_scene(&s, 0);
    struct sink sink = {s.peer, 0, 100000};
    write_letters(s.a.bev, 100000);
    step("loop");
    run_until(s.base, sink_full, &sink);
    settle(s.base);
    say("peer has %zu", sink.got);
    close_scene(&s);
}

static void check_low_mark(struct end *end) {
    if (out_length(end->bev) > 50000)
        token("above");
    if (end->writes > 1 && out_length(end->bev) >= *(size_t *)end->extra)
        token("not-falling");
    *(size_t *)end->extra = out_length(end->bev);
}

CASE(write_callback_comes_at_every_write_under_the_low_mark) /* 25 */
{
    struct scene s;
    size_t last = 0;
    open_scene(&s, 0);
    struct sink sink = {s.peer, 0, 100000};
    trace_merge(true);
    s.a.on_write = check_low_mark;
    s.a.extra = &last;
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 50000, 0);
    write_letters(s.a.bev, 100000);
    step("loop");
    run_until(s.base, sink_full, &sink);
    settle(s.base);
    say("peer has %zu", sink.got);
    close_scene(&s);
}

CASE(small_writes_under_the_low_mark) /* 25 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 50, 0);
    for (int i = 0; i < 3; i++) {
        write_letters(s.a.bev, 10);
        step("10 bytes");
        settle(s.base);
    }
    close_scene(&s);
}

static unsigned depth;

static void write_again(struct end *end) {
    if (depth)
        token("nested");
    depth++;
    if (end->writes < 4)
        CHECK(bufferevent_write(end->bev, "more", 4) == 0);
    depth--;
}

CASE(writing_inside_the_write_callback_does_not_nest) /* 26 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    s.a.on_write = write_again;
    CHECK(bufferevent_write(s.a.bev, "first", 5) == 0);
    step("loop");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(the_write_high_mark_limits_nothing) /* 27 */
{
    struct scene s;
    char got[256];
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 0, 10);
    write_letters(s.a.bev, 100);
    say("held %zu", out_length(s.a.bev));
    step("loop");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

static void try_both_buffers(struct bufferevent *bev) {
    struct evbuffer *in = bufferevent_get_input(bev), *out = bufferevent_get_output(bev);
    struct evbuffer *other = evbuffer_new();
    char got[8];
    CHECK(evbuffer_add(other, "other", 5) == 0);
    say("output: drain %d", evbuffer_drain(out, 1));
    say("output: prepend %d", evbuffer_prepend(out, "x", 1));
    say("output: remove %d", evbuffer_remove(out, got, 1));
    say("output: move out %d", evbuffer_remove_buffer(out, other, 1));
    say("output: append to other %d", evbuffer_add_buffer(other, out));
    say("output: copy out %d", (int)evbuffer_copyout(out, got, 1));
    say("output: add %d", evbuffer_add(out, "y", 1));
    say("input: add %d", evbuffer_add(in, "z", 1));
    say("input: add a buffer %d", evbuffer_add_buffer(in, other));
    say("input: expand %d", evbuffer_expand(in, 100));
    say("input: prepend %d", evbuffer_prepend(in, "w", 1));
    say("input: drain %d", evbuffer_drain(in, 1));
    say("lengths %zu %zu %zu", evbuffer_get_length(in), evbuffer_get_length(out),
        evbuffer_get_length(other));
    evbuffer_free(other);
}

CASE(only_append_to_output_and_take_from_input) /* 28 */
{
    struct scene s;
    open_scene(&s, 0);
    write_letters(s.a.bev, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    try_both_buffers(s.a.bev);
    close_scene(&s);
}

CASE(setfd_lifts_the_rules_of_both_buffers) /* 29, J29 keeps it */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_setfd(s.a.bev, bufferevent_getfd(s.a.bev)) == 0);
    write_letters(s.a.bev, 10);
    try_both_buffers(s.a.bev);
    close_scene(&s);
}

CASE(a_transfer_brings_the_rules_back) /* 29 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    CHECK(bufferevent_setfd(s.a.bev, bufferevent_getfd(s.a.bev)) == 0);
    bufferevent_enable(s.a.bev, EV_READ);
    write_letters(s.a.bev, 10);
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    bufferevent_disable(s.a.bev, EV_WRITE);
    write_letters(s.a.bev, 10);
    say("written");
    try_both_buffers(s.a.bev);
    send_letters(s.peer, 10);
    settle(s.base);
    say("read");
    try_both_buffers(s.a.bev);
    close_scene(&s);
}

static void add_in_the_callback(struct evbuffer *input, const struct evbuffer_cb_info *info,
                                void *arg) {
    unsigned *calls = arg;
    if ((*calls)++ == 0)
        say("%zu added, and one more: %d", info->n_added, evbuffer_add(input, "x", 1));
}

CASE(the_callback_of_an_input_may_add_to_it) /* 28 */
{
    struct scene s;
    unsigned calls = 0;
    open_scene(&s, 0);
    CHECK(evbuffer_add_cb(bufferevent_get_input(s.a.bev), add_in_the_callback, &calls));
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 10);
    step("loop");
    settle(s.base);
    say("and later: %d", evbuffer_add(bufferevent_get_input(s.a.bev), "x", 1));
    close_scene(&s);
}

CASE(flush_of_a_socket_does_nothing) /* 30 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    const enum bufferevent_flush_mode modes[] = {BEV_NORMAL, BEV_FLUSH, BEV_FINISHED};
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    write_letters(s.a.bev, 10);
    for (int i = 0; i < 3; i++) {
        int write = bufferevent_flush(s.a.bev, EV_WRITE, modes[i]);
        int both = bufferevent_flush(s.a.bev, EV_READ | EV_WRITE, modes[i]);
        say("%d %d, held %zu, peer has %zu", write, both, out_length(s.a.bev),
            recv_now(s.peer, got, sizeof got, NULL));
    }
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(free_drops_what_was_not_sent) /* 31 */
{
    struct scene s;
    char got[64];
    bool eof = false;
    open_scene(&s, 0);
    write_letters(s.a.bev, 10);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    size_t n = recv_now(s.peer, got, sizeof got, &eof);
    say("peer has %zu, end %d", n, eof);
    close_scene(&s);
}

CASE(close_on_free_closes_in_the_loop) /* 31 */
{
    struct scene s;
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    say("right after: open %d", fd_is_open(fd));
    settle(s.base);
    say("after the loop: open %d", fd_is_open(fd));
    close_scene(&s);
}

CASE(close_on_free_closes_with_the_base) /* 31 */
{
    struct scene s;
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    close_scene(&s);
    say("after the base: open %d", fd_is_open(fd));
}

CASE(without_close_on_free_the_descriptor_stays) /* 31 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_socket_new(base, fd[0], 0);
    CHECK(bev);
    bufferevent_free(bev);
    settle(base);
    event_base_free(base);
    say("open %d", fd_is_open(fd[0]));
    close(fd[0]);
    close(fd[1]);
}

CASE(sizes_that_cannot_be_are_refused) {
    struct scene s;
    char got[64], data[8] = "abcdefg";
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    say("0: %d", bufferevent_write(bev, data, 0));
    say("NULL and 0: %d", bufferevent_write(bev, NULL, 0));
    say("SIZE_MAX: %d", bufferevent_write(bev, data, SIZE_MAX));
    say("SIZE_MAX-1: %d", bufferevent_write(bev, data, SIZE_MAX - 1));
    say("half: %d", bufferevent_write(bev, data, SIZE_MAX / 2 + 1));
    say("held %zu", out_length(bev));
    CHECK(bufferevent_write(bev, data, 7) == 0);
    say("SIZE_MAX with bytes before: %d", bufferevent_write(bev, data, SIZE_MAX));
    say("SIZE_MAX-7 with bytes before: %d", bufferevent_write(bev, data, SIZE_MAX - 7));
    struct evbuffer *out = bufferevent_get_output(bev);
    say("expand: %d", evbuffer_expand(out, SIZE_MAX));
    say("held %zu", out_length(bev));
    step("loop");
    settle(s.base);
    size_t n = recv_now(s.peer, got, sizeof got, NULL);
    say("peer has %.*s", (int)n, got);
    close_scene(&s);
}

CASE(buffer_sizes_that_cannot_be_are_refused) {
    struct evbuffer *buffer = evbuffer_new(), *other = evbuffer_new();
    struct evbuffer_iovec vec[2];
    char data[8] = "abcdefg", got[8];
    CHECK(evbuffer_add(buffer, data, 7) == 0);
    say("add %d", evbuffer_add(buffer, data, SIZE_MAX));
    say("prepend %d", evbuffer_prepend(buffer, data, SIZE_MAX));
    say("expand %d", evbuffer_expand(buffer, SIZE_MAX));
    say("pullup %d", evbuffer_pullup(buffer, 8) != NULL);
    say("reserve %d", evbuffer_reserve_space(buffer, -1, vec, 2));
    say("length %zu", evbuffer_get_length(buffer));
    say("copyout %d", (int)evbuffer_copyout(buffer, got, SIZE_MAX > sizeof got ? 8 : 0));
    say("move %d", evbuffer_remove_buffer(buffer, other, SIZE_MAX));
    say("lengths %zu %zu", evbuffer_get_length(buffer), evbuffer_get_length(other));
    say("drain %d", evbuffer_drain(other, SIZE_MAX));
    say("length %zu", evbuffer_get_length(other));
    evbuffer_free(buffer);
    evbuffer_free(other);
}

CASE(write_buffer_of_a_null_or_empty_buffer) {
    struct scene s;
    open_scene(&s, 0);
    struct evbuffer *empty = evbuffer_new();
    say("empty %d", bufferevent_write_buffer(s.a.bev, empty));
    step("loop");
    settle(s.base);
    say("held %zu", out_length(s.a.bev));
    evbuffer_free(empty);
    close_scene(&s);
}
