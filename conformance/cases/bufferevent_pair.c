/* Pairs: two bufferevents that are each other's transport. */
#include "bufferevent.h"

struct two {
    struct event_base *base;
    struct end a, b;
};

static void open_two(struct two *two, int options) {
    struct bufferevent *pair[2];
    two->base = new_base();
    CHECK(bufferevent_pair_new(two->base, options, pair) == 0);
    watch(&two->a, "a.", pair[0]);
    watch(&two->b, "b.", pair[1]);
}

static void close_two(struct two *two) {
    if (two->a.bev)
        bufferevent_free(two->a.bev);
    if (two->b.bev)
        bufferevent_free(two->b.bev);
    event_base_free(two->base);
}

static void lengths(struct two *two) {
    say("a in %zu out %zu, b in %zu out %zu", in_length(two->a.bev), out_length(two->a.bev),
        in_length(two->b.bev), out_length(two->b.bev));
}

CASE(pair_as_it_is_made) /* 1, 69, 72 */
{
    struct two t;
    open_two(&t, 0);
    say("enabled %d %d", bufferevent_get_enabled(t.a.bev), bufferevent_get_enabled(t.b.bev));
    say("partners %d %d", bufferevent_pair_get_partner(t.a.bev) == t.b.bev,
        bufferevent_pair_get_partner(t.b.bev) == t.a.bev);
    say("getfd %d setfd %d", bufferevent_getfd(t.a.bev), bufferevent_setfd(t.a.bev, 0));
    say("underlying %d", bufferevent_get_underlying(t.a.bev) == NULL);
    say("priority_set %d", bufferevent_priority_set(t.a.bev, 0));
    say("base %d set %d", bufferevent_get_base(t.a.bev) == t.base,
        bufferevent_base_set(t.base, t.a.bev));
    say("max %d %d, to read %d write %d", (int)bufferevent_get_max_single_read(t.a.bev),
        (int)bufferevent_get_max_single_write(t.a.bev), (int)bufferevent_get_max_to_read(t.a.bev),
        (int)bufferevent_get_max_to_write(t.a.bev));
    struct bufferevent *socket = bufferevent_socket_new(t.base, -1, 0);
    say("partner of a socket %d", bufferevent_pair_get_partner(socket) == NULL);
    bufferevent_free(socket);
    close_two(&t);
}

CASE(pair_bytes_move_inside_the_calls) /* 69 */
{
    struct two t;
    open_two(&t, 0);
    step("write");
    write_letters(t.a.bev, 5);
    lengths(&t);
    step("enable");
    bufferevent_enable(t.b.bev, EV_READ);
    lengths(&t);
    step("loop");
    settle(t.base);
    step("write");
    write_letters(t.a.bev, 5);
    lengths(&t);
    step("loop");
    settle(t.base);
    bufferevent_disable(t.a.bev, EV_WRITE);
    step("disabled");
    write_letters(t.a.bev, 5);
    lengths(&t);
    settle(t.base);
    step("enable");
    bufferevent_enable(t.a.bev, EV_WRITE);
    lengths(&t);
    settle(t.base);
    step("enable again");
    bufferevent_enable(t.a.bev, EV_WRITE);
    bufferevent_enable(t.b.bev, EV_READ);
    settle(t.base);
    close_two(&t);
}

CASE(pair_both_ways) /* 69 */
{
    struct two t;
    open_two(&t, 0);
    bufferevent_enable(t.a.bev, EV_READ);
    bufferevent_enable(t.b.bev, EV_READ);
    write_letters(t.a.bev, 5);
    write_letters(t.b.bev, 7);
    write_letters(t.a.bev, 1);
    lengths(&t);
    step("loop");
    settle(t.base);
    close_two(&t);
}

static void echo_back(struct end *end) {
    size_t *left = end->extra;
    if (*left > 0) {
        --*left;
        bufferevent_write_buffer(end->bev, bufferevent_get_input(end->bev));
    }
}

CASE(pair_echo) /* 69 */
{
    struct two t;
    size_t left = 5;
    open_two(&t, 0);
    t.a.extra = t.b.extra = &left;
    t.a.on_read = t.b.on_read = echo_back;
    bufferevent_enable(t.a.bev, EV_READ);
    bufferevent_enable(t.b.bev, EV_READ);
    step("loop");
    write_letters(t.a.bev, 3);
    settle(t.base);
    lengths(&t);
    close_two(&t);
}

CASE(pair_read_high_mark) /* 70 */
{
    struct two t;
    char data[3];
    open_two(&t, 0);
    bufferevent_setcb(t.b.bev, NULL, on_write, on_event, &t.b);
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 4);
    bufferevent_enable(t.b.bev, EV_READ);
    step("write");
    write_letters(t.a.bev, 10);
    lengths(&t);
    settle(t.base);
    while (in_length(t.b.bev) > 0) {
        size_t n = bufferevent_read(t.b.bev, data, sizeof data);
        step("take");
        token("%zu", n);
        lengths(&t);
        settle(t.base);
    }
    write_letters(t.a.bev, 10);
    lengths(&t);
    step("raise");
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 6);
    lengths(&t);
    settle(t.base);
    step("lift");
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 0);
    lengths(&t);
    settle(t.base);
    close_two(&t);
}

CASE(pair_low_marks) /* 70 */
{
    struct two t;
    open_two(&t, 0);
    bufferevent_setwatermark(t.b.bev, EV_READ, 8, 0);
    bufferevent_enable(t.b.bev, EV_READ);
    step("loop");
    write_letters(t.a.bev, 5);
    settle(t.base);
    step("loop");
    write_letters(t.a.bev, 5);
    settle(t.base);
    bufferevent_setcb(t.b.bev, NULL, NULL, NULL, NULL);
    bufferevent_setwatermark(t.a.bev, EV_WRITE, 5, 0);
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 14);
    step("loop");
    write_letters(t.a.bev, 12);
    lengths(&t);
    settle(t.base);
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 18);
    lengths(&t);
    settle(t.base);
    close_two(&t);
}

CASE(pair_flush) /* 71 */
{
    static const char *names[] = {"normal", "flush", "finished"};
    for (int mode = 0; mode < 3; mode++) {
        for (int what = EV_READ; what <= (EV_READ | EV_WRITE); what += EV_READ) {
            struct two t;
            open_two(&t, 0);
            write_letters(t.a.bev, 10);
            write_letters(t.b.bev, 20);
            say("%s %d", names[mode], what);
            int result =
                bufferevent_flush(t.a.bev, (short)what, (enum bufferevent_flush_mode)mode);
            say("= %d", result);
            lengths(&t);
            say("enabled %d %d", bufferevent_get_enabled(t.a.bev),
                bufferevent_get_enabled(t.b.bev));
            step("loop");
            settle(t.base);
            say("enabled %d %d", bufferevent_get_enabled(t.a.bev),
                bufferevent_get_enabled(t.b.bev));
            result = bufferevent_flush(t.a.bev, (short)what, (enum bufferevent_flush_mode)mode);
            say("again = %d", result);
            lengths(&t);
            step("loop");
            settle(t.base);
            close_two(&t);
        }
    }
}

CASE(pair_flush_past_the_high_mark) /* 71 */
{
    struct two t;
    open_two(&t, 0);
    bufferevent_setcb(t.b.bev, NULL, on_write, on_event, &t.b);
    bufferevent_setwatermark(t.b.bev, EV_READ, 0, 4);
    bufferevent_enable(t.b.bev, EV_READ);
    write_letters(t.a.bev, 10);
    lengths(&t);
    settle(t.base);
    step("flush");
    bufferevent_flush(t.a.bev, EV_WRITE, BEV_FLUSH);
    lengths(&t);
    settle(t.base);
    close_two(&t);
}

/* Writes in pieces, and flushes after each: up to the high mark, and beyond it once it is reached. */
static void flush_in_pieces(size_t high, size_t low, bool reads, bool by_reader, int mode) {
    struct two t;
    char data[5];
    open_two(&t, 0);
    /* Without a read callback, which libevent calls again and again at the mark. */
    bufferevent_setcb(t.b.bev, NULL, on_write, on_event, &t.b);
    bufferevent_setwatermark(t.b.bev, EV_READ, low, high);
    if (reads)
        bufferevent_enable(t.b.bev, EV_READ);
    say("high %zu low %zu reads %d by the reader %d mode %d", high, low, reads, by_reader, mode);
    for (int piece = 0; piece < 3; piece++) {
        write_letters(t.a.bev, piece == 1 ? 7 : 3);
        lengths(&t);
        if (by_reader)
            bufferevent_flush(t.b.bev, EV_READ, (enum bufferevent_flush_mode)mode);
        else
            bufferevent_flush(t.a.bev, EV_WRITE, (enum bufferevent_flush_mode)mode);
        lengths(&t);
        step("loop");
        settle(t.base);
        lengths(&t);
    }
    for (int piece = 0; piece < 3; piece++) {
        bufferevent_read(t.b.bev, data, piece == 0 ? 2 : 5);
        lengths(&t);
        if (piece == 1)
            bufferevent_flush(t.a.bev, EV_WRITE, (enum bufferevent_flush_mode)mode);
        step("loop");
        settle(t.base);
        lengths(&t);
    }
    close_two(&t);
}

CASE(pair_flush_in_pieces_and_the_high_mark) /* 71 */
{
    static const size_t highs[] = {0, 1, 4, 8, 100};
    for (size_t high = 0; high < sizeof highs / sizeof *highs; high++)
        for (int variant = 0; variant < 8; variant++)
            for (int mode = BEV_NORMAL; mode <= BEV_FINISHED; mode++)
                flush_in_pieces(highs[high], variant & 1 ? 6 : 0, variant & 2, variant & 4, mode);
}

CASE(pair_flush_with_unusual_arguments) /* 71 */
{
    static const short directions[] = {0, EV_READ, EV_WRITE, EV_READ | EV_WRITE, EV_TIMEOUT, EV_SIGNAL,
                                       EV_PERSIST, ~(EV_READ | EV_WRITE), -1};
    static const int modes[] = {BEV_NORMAL, BEV_FLUSH, BEV_FINISHED, 3, 100, -1, 1 << 30};
    for (size_t mode = 0; mode < sizeof modes / sizeof *modes; mode++) {
        for (size_t what = 0; what < sizeof directions / sizeof *directions; what++) {
            struct two t;
            open_two(&t, 0);
            write_letters(t.a.bev, 5);
            write_letters(t.b.bev, 3);
            for (int time = 0; time < 2; time++) {
                int result = bufferevent_flush(t.a.bev, directions[what],
                                               (enum bufferevent_flush_mode)modes[mode]);
                say("mode %d what %d = %d", modes[mode], directions[what], result);
                lengths(&t);
                step("loop");
                settle(t.base);
            }
            say("enabled %d %d", bufferevent_get_enabled(t.a.bev),
                bufferevent_get_enabled(t.b.bev));
            close_two(&t);
        }
    }
}

CASE(pair_freed_one_end) /* 72 */
{
    struct two t;
    open_two(&t, 0);
    bufferevent_enable(t.a.bev, EV_READ);
    bufferevent_enable(t.b.bev, EV_READ);
    write_letters(t.a.bev, 5);
    step("free");
    bufferevent_free(t.a.bev);
    t.a.bev = NULL;
    step("loop");
    settle(t.base);
    say("partner %d", bufferevent_pair_get_partner(t.b.bev) == NULL);
    say("write %d", bufferevent_write(t.b.bev, "xyz", 3));
    say("flush %d", bufferevent_flush(t.b.bev, EV_WRITE, BEV_FINISHED));
    say("in %zu out %zu enabled %d", in_length(t.b.bev), out_length(t.b.bev),
        bufferevent_get_enabled(t.b.bev));
    step("loop");
    settle(t.base);
    close_two(&t);
}

static void free_end(struct end *end) {
    struct bufferevent *doomed = end->bev;
    end->bev = NULL;
    bufferevent_free(doomed);
}

static void free_other(struct end *end) {
    struct end *other = end->extra;
    free_end(other);
}

CASE(pair_freed_inside_callbacks) /* 72 */
{
    for (int which = 0; which < 4; which++) {
        struct two t;
        open_two(&t, 0);
        bufferevent_enable(t.b.bev, EV_READ);
        t.b.extra = &t.a;
        t.a.extra = &t.b;
        if (which == 0)
            t.b.on_read = free_end;
        if (which == 1)
            t.b.on_read = free_other;
        if (which == 2)
            t.a.on_write = free_end;
        if (which == 3)
            t.a.on_write = free_other;
        step("loop");
        write_letters(t.a.bev, 5);
        settle(t.base);
        close_two(&t);
    }
}

CASE(pair_timeouts) /* 68 */
{
    struct two t;
    struct timeval soon = milliseconds(20);
    open_two(&t, 0);
    bufferevent_set_timeouts(t.a.bev, &soon, &soon);
    bufferevent_enable(t.a.bev, EV_READ | EV_WRITE);
    step("idle");
    run_until_count(t.base, &t.a.events, 1);
    run_for(t.base, 60);
    say("enabled %d", bufferevent_get_enabled(t.a.bev));
    close_two(&t);
}

CASE_DIFFERS(pair_write_timeout, "66",
             "a write timeout runs as long as there is output that does not move, on a pair too")
{
    struct two t;
    struct timeval soon = milliseconds(20);
    open_two(&t, 0);
    bufferevent_set_timeouts(t.a.bev, NULL, &soon);
    step("held");
    write_letters(t.a.bev, 5);
    run_for(t.base, 100);
    say("enabled %d", bufferevent_get_enabled(t.a.bev));
    bufferevent_enable(t.b.bev, EV_READ);
    step("again");
    bufferevent_enable(t.a.bev, EV_WRITE);
    settle(t.base);
    lengths(&t);
    close_two(&t);
}

CASE(pair_guards) /* 28 */
{
    struct two t;
    open_two(&t, 0);
    write_letters(t.a.bev, 5);
    for (int round = 0; round < 2; round++) {
        say("drain output %d", evbuffer_drain(bufferevent_get_output(t.a.bev), 3));
        say("prepend output %d", evbuffer_prepend(bufferevent_get_output(t.a.bev), "x", 1));
        say("add input %d", evbuffer_add(bufferevent_get_input(t.a.bev), "xy", 2));
        say("prepend input %d", evbuffer_prepend(bufferevent_get_input(t.a.bev), "xy", 2));
        lengths(&t);
        bufferevent_enable(t.b.bev, EV_READ);
        bufferevent_enable(t.a.bev, EV_READ);
        write_letters(t.b.bev, 4);
        settle(t.base);
        lengths(&t);
    }
    close_two(&t);
}

CASE(pair_options) /* 11, 12 */
{
    struct bufferevent *pair[2];
    struct event_base *base = new_base();
    const int options[] = {BEV_OPT_UNLOCK_CALLBACKS, BEV_OPT_THREADSAFE,
                           BEV_OPT_UNLOCK_CALLBACKS | BEV_OPT_DEFER_CALLBACKS};
    for (int i = 0; i < 3; i++) {
        int made = bufferevent_pair_new(base, options[i], pair);
        say("%d", made);
        if (made == 0) {
            bufferevent_free(pair[0]);
            bufferevent_free(pair[1]);
        }
    }
    event_base_free(base);
}

CASE(pair_incref) /* 57 */
{
    struct two t;
    open_two(&t, 0);
    bufferevent_enable(t.a.bev, EV_READ);
    bufferevent_enable(t.b.bev, EV_READ);
    bufferevent_incref(t.a.bev);
    bufferevent_free(t.a.bev);
    step("loop");
    settle(t.base);
    say("decref %d", bufferevent_decref(t.a.bev));
    t.a.bev = NULL;
    say("partner %d", bufferevent_pair_get_partner(t.b.bev) == NULL);
    settle(t.base);
    close_two(&t);
}

static enum bufferevent_filter_result pass_on(struct evbuffer *src, struct evbuffer *dst,
                                              ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                              void *name) {
    size_t length = evbuffer_get_length(src);
    (void)limit;
    if (length == 0)
        return BEV_NEED_MORE;
    token("%s%zu:%d", (char *)name, length, (int)mode);
    evbuffer_remove_buffer(src, dst, length);
    return BEV_OK;
}

CASE(pair_under_filters) /* 69 to 77 */
{
    struct two t;
    struct bufferevent *pair[2];
    t.base = new_base();
    CHECK(bufferevent_pair_new(t.base, 0, pair) == 0);
    struct bufferevent *a = bufferevent_filter_new(pair[0], pass_on, pass_on,
                                                   BEV_OPT_CLOSE_ON_FREE, NULL, "fa");
    struct bufferevent *b = bufferevent_filter_new(pair[1], pass_on, pass_on,
                                                   BEV_OPT_CLOSE_ON_FREE, NULL, "fb");
    watch(&t.a, "a.", a);
    watch(&t.b, "b.", b);
    step("write");
    write_letters(a, 5);
    say("pair: in %zu out %zu, in %zu out %zu", in_length(pair[0]), out_length(pair[0]),
        in_length(pair[1]), out_length(pair[1]));
    step("enable");
    bufferevent_enable(b, EV_READ);
    say("pair: in %zu out %zu, in %zu out %zu", in_length(pair[0]), out_length(pair[0]),
        in_length(pair[1]), out_length(pair[1]));
    step("loop");
    settle(t.base);
    lengths(&t);
    step("finish");
    int result = bufferevent_flush(a, EV_WRITE, BEV_FINISHED);
    token("=%d", result);
    step("loop");
    settle(t.base);
    close_two(&t);
}

CASE_DIFFERS(filter_runs_what_it_held_back_at_the_end, "K",
             "at the end of the stream below, input that a filter held back is run as finished")
{
    struct two t;
    struct bufferevent *pair[2];
    t.base = new_base();
    CHECK(bufferevent_pair_new(t.base, 0, pair) == 0);
    struct bufferevent *b = bufferevent_filter_new(pair[1], pass_on, pass_on,
                                                   BEV_OPT_CLOSE_ON_FREE, NULL, "fb");
    watch(&t.a, "a.", pair[0]);
    watch(&t.b, "b.", b);
    write_letters(pair[0], 5);
    step("loop");
    bufferevent_flush(pair[0], EV_WRITE, BEV_FINISHED);
    settle(t.base);
    say("held %zu, below %zu", in_length(b), in_length(pair[1]));
    close_two(&t);
}
