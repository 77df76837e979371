/* Filters: when their functions run, with which limit and mode, and what becomes of events. */
#include "bufferevent.h"

/* A filter whose functions trace: <n:limit:mode for input, >n:limit:mode for output, n being the
 * bytes of the source. It copies, up to `bite` bytes at a time, and then does what `answer` says. */
struct sieve {
    const char *name;
    size_t bite; /* 0: all that the limit allows */
    enum bufferevent_filter_result in_answer, out_answer;
    bool takes_nothing; /* wants more, whatever there is */
    bool quiet;
    int freed;
    void (*inside)(struct sieve *);
    void *extra;
};

static enum bufferevent_filter_result sift(struct sieve *sieve, char sign, struct evbuffer *src,
                                           struct evbuffer *dst, ev_ssize_t limit,
                                           enum bufferevent_flush_mode mode,
                                           enum bufferevent_filter_result answer) {
    size_t length = evbuffer_get_length(src), take = length;
    if (!sieve->quiet) {
        if (limit < 0)
            token("%s%c%zu:all:%d", sieve->name, sign, length, (int)mode);
        else
            token("%s%c%zu:%d:%d", sieve->name, sign, length, (int)limit, (int)mode);
    }
    if (sieve->inside)
        sieve->inside(sieve);
    if (sieve->takes_nothing || length == 0)
        return BEV_NEED_MORE;
    if (limit >= 0 && take > (size_t)limit)
        take = (size_t)limit;
    if (sieve->bite && take > sieve->bite)
        take = sieve->bite;
    if (answer == BEV_OK)
        evbuffer_remove_buffer(src, dst, take);
    return answer;
}

static enum bufferevent_filter_result sift_in(struct evbuffer *src, struct evbuffer *dst,
                                              ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                              void *arg) {
    struct sieve *sieve = arg;
    return sift(sieve, '<', src, dst, limit, mode, sieve->in_answer);
}

static enum bufferevent_filter_result sift_out(struct evbuffer *src, struct evbuffer *dst,
                                               ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                               void *arg) {
    struct sieve *sieve = arg;
    return sift(sieve, '>', src, dst, limit, mode, sieve->out_answer);
}

static void sieve_freed(void *arg) {
    struct sieve *sieve = arg;
    sieve->freed++;
}

struct stack {
    struct event_base *base;
    struct bufferevent *below;
    struct sieve sieve;
    struct end a; /* the filter */
    int peer;
};

static void open_stack(struct stack *stack, int below, int options) {
    int fd[2];
    memset(stack, 0, sizeof *stack);
    stack->base = new_base();
    unix_pair(fd);
    stack->peer = fd[1];
    stack->below = bufferevent_socket_new(stack->base, fd[0], below | BEV_OPT_CLOSE_ON_FREE);
    CHECK(stack->below);
    stack->sieve.name = "";
    struct bufferevent *filter = bufferevent_filter_new(stack->below, sift_in, sift_out, options,
                                                        sieve_freed, &stack->sieve);
    CHECK(filter);
    watch(&stack->a, "", filter);
}

static void close_stack(struct stack *stack) {
    if (stack->a.bev)
        bufferevent_free(stack->a.bev);
    if (stack->below)
        bufferevent_free(stack->below);
    settle(stack->base);
    say("context freed %d", stack->sieve.freed);
    if (stack->peer >= 0)
        close(stack->peer);
    event_base_free(stack->base);
}

CASE(filter_as_it_is_made) /* 1, 73 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    say("enabled %d below %d", bufferevent_get_enabled(s.a.bev), bufferevent_get_enabled(s.below));
    say("underlying %d %d", bufferevent_get_underlying(s.a.bev) == s.below,
        bufferevent_get_underlying(s.below) == NULL);
    say("same descriptor %d", bufferevent_getfd(s.a.bev) == bufferevent_getfd(s.below));
    say("base %d", bufferevent_get_base(s.a.bev) == s.base);
    say("priority_set %d", bufferevent_priority_set(s.a.bev, 0));
    say("base_set %d", bufferevent_base_set(s.base, s.a.bev));
    say("max %d %d", (int)bufferevent_get_max_single_read(s.a.bev),
        (int)bufferevent_get_max_single_write(s.a.bev));
    step("loop");
    send_letters(s.peer, 5);
    settle(s.base);
    say("held below %zu", in_length(s.below));
    step("enable");
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    step("disable");
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 5);
    settle(s.base);
    say("held below %zu", in_length(s.below));
    close_stack(&s);
}

CASE(filter_writes_inside_the_call) /* 74 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    step("write");
    write_letters(s.a.bev, 10);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    step("loop");
    settle(s.base);
    step("disabled");
    bufferevent_disable(s.a.bev, EV_WRITE);
    write_letters(s.a.bev, 10);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    bufferevent_enable(s.a.bev, EV_WRITE);
    step("write");
    write_letters(s.a.bev, 3);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    close_stack(&s);
}

#define NOTHING_WAITS                                                                              \
    "bytes that wait are worked on, in the next pass, once a filter's direction is enabled or "    \
    "its input has room"

CASE_DIFFERS(filter_enabled_with_output_held, "74", NOTHING_WAITS) /* 8 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    bufferevent_disable(s.a.bev, EV_WRITE);
    write_letters(s.a.bev, 10);
    step("enable");
    bufferevent_enable(s.a.bev, EV_WRITE);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    step("loop");
    settle(s.base);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    close_stack(&s);
}

CASE_DIFFERS(filter_error_is_reported, "75", "BEV_ERROR is told to the event callback")
{
    struct stack s;
    open_stack(&s, 0, 0);
    s.sieve.in_answer = s.sieve.out_answer = BEV_ERROR;
    bufferevent_enable(s.a.bev, EV_READ);
    step("write");
    write_letters(s.a.bev, 5);
    say("enabled %d, held %zu", bufferevent_get_enabled(s.a.bev), out_length(s.a.bev));
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    say("enabled %d, below %zu", bufferevent_get_enabled(s.a.bev), in_length(s.below));
    step("again");
    write_letters(s.a.bev, 5);
    send_letters(s.peer, 5);
    settle(s.base);
    close_stack(&s);
}

CASE_DIFFERS(filter_write_timeout, "68", "no write timeout while there is nothing to write")
{
    struct stack s;
    struct timeval soon = milliseconds(20);
    open_stack(&s, 0, 0);
    bufferevent_set_timeouts(s.a.bev, NULL, &soon);
    bufferevent_enable(s.a.bev, EV_WRITE);
    step("nothing to write");
    run_for(s.base, 60);
    s.sieve.takes_nothing = true;
    step("held");
    bufferevent_enable(s.a.bev, EV_WRITE);
    write_letters(s.a.bev, 5);
    run_until_count(s.base, &s.a.events, s.a.events + 1);
    run_for(s.base, 60);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_stack(&s);
}

CASE(filter_output_keeps_to_the_mark_below) /* 74 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    bufferevent_setwatermark(s.below, EV_WRITE, 0, 3);
    step("write");
    write_letters(s.a.bev, 10);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    step("loop");
    settle(s.base);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    close_stack(&s);
}

CASE(filter_write_low_mark) /* 74 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    bufferevent_setwatermark(s.below, EV_WRITE, 0, 4);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 5, 0);
    step("write");
    write_letters(s.a.bev, 12);
    step("loop");
    settle(s.base);
    close_stack(&s);
}

static void write_more(struct end *end) {
    size_t *left = end->extra;
    if (*left > 0) {
        --*left;
        write_letters(end->bev, 2);
        token("held%zu", out_length(end->bev));
    }
}

CASE(filter_write_inside_the_write_callback) /* 26, 74 */
{
    struct stack s;
    size_t left = 3;
    open_stack(&s, 0, 0);
    s.a.on_write = write_more;
    s.a.extra = &left;
    step("write");
    write_letters(s.a.bev, 5);
    say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
    step("loop");
    settle(s.base);
    close_stack(&s);
}

CASE(filter_in_bites) /* 74 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    s.sieve.bite = 4;
    step("write");
    write_letters(s.a.bev, 10);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 10);
    step("loop");
    settle(s.base);
    close_stack(&s);
}

CASE(filter_deferred) /* 74 */
{
    struct stack s;
    open_stack(&s, 0, BEV_OPT_DEFER_CALLBACKS);
    step("write");
    write_letters(s.a.bev, 10);
    step("loop");
    settle(s.base);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 10);
    step("loop");
    settle(s.base);
    close_stack(&s);
}

CASE(filter_over_a_deferred_one) /* 74 */
{
    struct stack s;
    open_stack(&s, BEV_OPT_DEFER_CALLBACKS, 0);
    step("write");
    write_letters(s.a.bev, 10);
    step("loop");
    settle(s.base);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 10);
    step("loop");
    settle(s.base);
    close_peer((struct scene *)&(struct scene){.peer = s.peer});
    s.peer = -1;
    step("loop");
    settle(s.base);
    close_stack(&s);
}

static void take_three(struct end *end) {
    char data[3];
    size_t n = bufferevent_read(end->bev, data, sizeof data);
    token("took%zu", n);
}

CASE_DIFFERS(filter_read_high_mark, "75", NOTHING_WAITS) /* 19 */
{
    struct stack s;
    char data[16];
    open_stack(&s, 0, 0);
    bufferevent_setcb(s.a.bev, NULL, on_write, on_event, &s.a);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 25);
    step("loop");
    settle(s.base);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    bufferevent_setcb(s.a.bev, on_read, on_write, on_event, &s.a);
    step("unlimited");
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 0);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    step("loop");
    settle(s.base);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    bufferevent_read(s.a.bev, data, sizeof data);
    send_letters(s.peer, 5);
    step("more");
    settle(s.base);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    close_stack(&s);
}

CASE_DIFFERS(filter_read_resumes_as_it_drains, "75", NOTHING_WAITS) /* 19 */
{
    struct stack s;
    char data[16];
    open_stack(&s, 0, 0);
    bufferevent_enable(s.a.bev, EV_READ);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    send_letters(s.peer, 25);
    s.a.on_read = take_three;
    step("loop");
    settle(s.base);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    s.a.on_read = NULL;
    step("drain");
    bufferevent_read(s.a.bev, data, 4);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    step("loop");
    settle(s.base);
    say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
    close_stack(&s);
}

CASE(filter_low_mark) /* 14, 75 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 10, 0);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    close_stack(&s);
}

CASE(filter_need_more) /* 75 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    s.sieve.takes_nothing = true;
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    step("write");
    write_letters(s.a.bev, 4);
    write_letters(s.a.bev, 4);
    step("loop");
    settle(s.base);
    s.sieve.takes_nothing = false;
    send_letters(s.peer, 1);
    write_letters(s.a.bev, 1);
    step("loop");
    settle(s.base);
    close_stack(&s);
}

CASE(filter_flush) /* 75 */
{
    static const char *names[] = {"normal", "flush", "finished"};
    for (int mode = 0; mode < 3; mode++) {
        struct stack s;
        open_stack(&s, 0, 0);
        say("%s", names[mode]);
        step("empty");
        int both = bufferevent_flush(s.a.bev, EV_READ | EV_WRITE, (enum bufferevent_flush_mode)mode);
        token("=%d", both);
        bufferevent_disable(s.a.bev, EV_WRITE);
        write_letters(s.a.bev, 5);
        step("held output");
        int write = bufferevent_flush(s.a.bev, EV_WRITE, (enum bufferevent_flush_mode)mode);
        token("=%d", write);
        say("held %zu, below %zu", out_length(s.a.bev), out_length(s.below));
        bufferevent_enable(s.a.bev, EV_READ);
        bufferevent_setwatermark(s.a.bev, EV_READ, 0, 3);
        bufferevent_setcb(s.a.bev, NULL, on_write, on_event, &s.a);
        send_letters(s.peer, 10);
        step("full input");
        settle(s.base);
        say("held %zu below %zu", in_length(s.a.bev), in_length(s.below));
        bufferevent_setcb(s.a.bev, on_read, on_write, on_event, &s.a);
        bufferevent_disable(s.a.bev, EV_READ);
        step("flush");
        int read = bufferevent_flush(s.a.bev, EV_READ, (enum bufferevent_flush_mode)mode);
        token("=%d", read);
        say("held %zu", in_length(s.a.bev));
        step("loop");
        settle(s.base);
        close_stack(&s);
    }
}

/* With input enabled, a flush asks for what there is even if that is nothing, and does not call back. */
CASE(filter_flush_while_reading) /* 75 */
{
    static const char *names[] = {"normal", "flush", "finished"};
    for (int mode = 0; mode < 3; mode++) {
        struct stack s;
        open_stack(&s, 0, 0);
        bufferevent_enable(s.a.bev, EV_READ);
        say("%s", names[mode]);
        step("empty");
        token("=%d", bufferevent_flush(s.a.bev, EV_READ, (enum bufferevent_flush_mode)mode));
        s.sieve.takes_nothing = true;
        send_letters(s.peer, 10);
        step("held");
        settle(s.base);
        s.sieve.takes_nothing = false;
        step("flush");
        token("=%d", bufferevent_flush(s.a.bev, EV_READ, (enum bufferevent_flush_mode)mode));
        settle(s.base);
        say("has %zu, below %zu", in_length(s.a.bev), in_length(s.below));
        close_stack(&s);
    }
}

/* What is no mode counts as a flush. (Which number the function sees then is not shown.) */
CASE(filter_flush_with_unusual_arguments) /* 75 */
{
    static const short directions[] = {0, EV_READ, EV_WRITE, EV_READ | EV_WRITE, EV_TIMEOUT, EV_SIGNAL, -1};
    static const int modes[] = {3, 100, -1, 1 << 30};
    for (size_t mode = 0; mode < sizeof modes / sizeof *modes; mode++) {
        for (size_t what = 0; what < sizeof directions / sizeof *directions; what++) {
            struct stack s;
            open_stack(&s, 0, 0);
            s.sieve.quiet = true;
            bufferevent_disable(s.a.bev, EV_WRITE);
            write_letters(s.a.bev, 5);
            send_letters(s.peer, 3);
            bufferevent_enable(s.below, EV_READ);
            settle(s.base);
            say("mode %d what %d = %d", modes[mode], directions[what],
                bufferevent_flush(s.a.bev, directions[what], (enum bufferevent_flush_mode)modes[mode]));
            say("in %zu out %zu, below in %zu out %zu", in_length(s.a.bev), out_length(s.a.bev),
                in_length(s.below), out_length(s.below));
            step("loop");
            settle(s.base);
            say("of a socket = %d",
                bufferevent_flush(s.below, directions[what], (enum bufferevent_flush_mode)modes[mode]));
            close_stack(&s);
        }
    }
}

CASE(filter_flush_without_functions) /* 75 */
{
    static const short directions[] = {EV_READ, EV_WRITE, EV_READ | EV_WRITE};
    int fd[2];
    struct end a;
    struct event_base *base = new_base();
    unix_pair(fd);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    watch(&a, "", bufferevent_filter_new(below, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, NULL, NULL));
    for (int enabled = 0; enabled < 2; enabled++) {
        for (int i = 0; i < 9; i++) {
            step(i % 3 == 0 ? "normal" : i % 3 == 1 ? "flush" : "finished");
            token("=%d", bufferevent_flush(a.bev, directions[i / 3], (enum bufferevent_flush_mode)(i % 3)));
            settle(base);
        }
        bufferevent_enable(a.bev, EV_READ);
    }
    bufferevent_free(a.bev);
    event_base_free(base);
    CHECK(close(fd[1]) == 0);
}

static void count_change(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg) {
    (void)buffer;
    token("%s%zu+%zu-%zu", (const char *)arg, info->orig_size, info->n_added, info->n_deleted);
}

/* What goes down, or over to a partner, within the call is a change of its own. */
CASE(filter_output_calls_back_for_both_changes) /* 74, 85 */
{
    struct stack s;
    struct bufferevent *pair[2];
    char name[] = "o";
    open_stack(&s, 0, 0);
    CHECK(evbuffer_add_cb(bufferevent_get_output(s.a.bev), count_change, name));
    step("filter");
    write_letters(s.a.bev, 10);
    CHECK(evbuffer_add_printf(bufferevent_get_output(s.a.bev), "%d", 42) == 2);
    settle(s.base);
    CHECK(bufferevent_pair_new(s.base, 0, pair) == 0);
    CHECK(evbuffer_add_cb(bufferevent_get_output(pair[0]), count_change, name));
    bufferevent_enable(pair[1], EV_READ);
    step("pair");
    write_letters(pair[0], 10);
    CHECK(evbuffer_add_printf(bufferevent_get_output(pair[0]), "%d", 42) == 2);
    settle(s.base);
    bufferevent_free(pair[0]);
    bufferevent_free(pair[1]);
    close_stack(&s);
}

static void free_it(struct end *end) {
    token("freed");
    bufferevent_free(end->bev);
    end->bev = NULL;
}

static void answer_ten(struct end *end) {
    write_letters(end->bev, 10);
}

/* The write callback comes when the bytes are below, and they are sent from there all the same. */
CASE(filter_freed_in_the_write_callback_has_sent_its_reply) /* 74, 77 */
{
    struct stack s;
    char got[64];
    bool eof = false;
    open_stack(&s, 0, BEV_OPT_CLOSE_ON_FREE);
    s.a.on_read = answer_ten;
    s.a.on_write = free_it;
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 5);
    step("loop");
    settle(s.base);
    size_t received = recv_now(s.peer, got, sizeof got, &eof);
    say("peer has %zu, end %d, context freed %d", received, eof, s.sieve.freed);
    s.below = NULL;
    close_stack(&s);
}

CASE_DIFFERS(filter_freed_with_bytes_below, "K",
             "they have their turn to be sent, whoever frees the filter when") {
    for (int options = 0; options < 2; options++) {
        struct stack s;
        char got[64];
        bool eof = false;
        open_stack(&s, 0, BEV_OPT_CLOSE_ON_FREE | (options ? BEV_OPT_DEFER_CALLBACKS : 0));
        step("loop");
        write_letters(s.a.bev, 10);
        if (options == 0) {
            bufferevent_free(s.a.bev);
            s.a.bev = NULL;
        } else {
            s.a.on_write = free_it;
        }
        settle(s.base);
        size_t received = recv_now(s.peer, got, sizeof got, &eof);
        say("peer has %zu, end %d", received, eof);
        s.below = NULL;
        close_stack(&s);
    }
}

CASE(filter_events_pass_unchanged) /* 76 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 5);
    close(s.peer);
    s.peer = -1;
    step("loop");
    settle(s.base);
    say("enabled %d below %d", bufferevent_get_enabled(s.a.bev), bufferevent_get_enabled(s.below));
    step("write");
    write_letters(s.a.bev, 5);
    step("loop");
    settle(s.base);
    say("enabled %d below %d", bufferevent_get_enabled(s.a.bev), bufferevent_get_enabled(s.below));
    close_stack(&s);
}

CASE(filter_timeout_below) /* 76 */
{
    struct stack s;
    struct timeval soon = milliseconds(20);
    open_stack(&s, 0, 0);
    bufferevent_set_timeouts(s.below, &soon, NULL);
    bufferevent_enable(s.a.bev, EV_READ);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    run_for(s.base, 50);
    say("enabled %d below %d", bufferevent_get_enabled(s.a.bev), bufferevent_get_enabled(s.below));
    close_stack(&s);
}

CASE(filter_read_timeout) /* 65, 68 */
{
    struct stack s;
    struct timeval soon = milliseconds(20);
    open_stack(&s, 0, 0);
    bufferevent_set_timeouts(s.a.bev, &soon, NULL);
    bufferevent_enable(s.a.bev, EV_READ);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    run_for(s.base, 50);
    say("enabled %d below %d", bufferevent_get_enabled(s.a.bev), bufferevent_get_enabled(s.below));
    send_letters(s.peer, 5);
    settle(s.base);
    say("below %zu", in_length(s.below));
    step("enable");
    bufferevent_set_timeouts(s.a.bev, NULL, NULL);
    bufferevent_enable(s.a.bev, EV_READ);
    settle(s.base);
    close_stack(&s);
}

CASE(filter_frees) /* 77 */
{
    for (int close = 0; close < 2; close++) {
        struct stack s;
        open_stack(&s, 0, close ? BEV_OPT_CLOSE_ON_FREE : 0);
        int fd = bufferevent_getfd(s.below);
        bufferevent_free(s.a.bev);
        s.a.bev = NULL;
        say("context freed %d, open %d", s.sieve.freed, fd_is_open(fd));
        settle(s.base);
        say("context freed %d, open %d", s.sieve.freed, fd_is_open(fd));
        if (close) {
            s.below = NULL;
        } else {
            struct end b;
            watch(&b, "b.", s.below);
            say("enabled %d", bufferevent_get_enabled(s.below));
            step("loop");
            send_letters(s.peer, 5);
            settle(s.base);
        }
        close_stack(&s);
    }
}

CASE(filter_null_functions) /* 73 */
{
    struct end a;
    int fd[2];
    struct event_base *base = new_base();
    unix_pair(fd);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *filter =
        bufferevent_filter_new(below, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
    CHECK(filter);
    watch(&a, "", filter);
    bufferevent_enable(filter, EV_READ);
    step("write");
    write_letters(filter, 10);
    send_letters(fd[1], 7);
    step("loop");
    settle(base);
    char data[16];
    say("peer has %zu", recv_now(fd[1], data, sizeof data, NULL));
    bufferevent_free(filter);
    close(fd[1]);
    event_base_free(base);
}

CASE(filter_over_filter) /* 73 to 77 */
{
    struct stack s;
    struct end top;
    struct sieve upper = {.name = "top"};
    open_stack(&s, 0, BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *bev = bufferevent_filter_new(s.a.bev, sift_in, sift_out,
                                                     BEV_OPT_CLOSE_ON_FREE, sieve_freed, &upper);
    CHECK(bev);
    watch(&top, "t.", bev);
    say("enabled %d %d %d", bufferevent_get_enabled(bev), bufferevent_get_enabled(s.a.bev),
        bufferevent_get_enabled(s.below));
    step("write");
    write_letters(bev, 10);
    say("held %zu %zu %zu", out_length(bev), out_length(s.a.bev), out_length(s.below));
    send_letters(s.peer, 6);
    step("loop");
    settle(s.base);
    step("enable");
    bufferevent_enable(bev, EV_READ);
    step("loop");
    settle(s.base);
    close(s.peer);
    s.peer = -1;
    step("end");
    settle(s.base);
    bufferevent_free(bev);
    s.a.bev = s.below = NULL;
    close_stack(&s);
    say("upper freed %d", upper.freed);
}

CASE(filter_buffers_are_not_guarded) /* 28 */
{
    struct stack s;
    open_stack(&s, 0, 0);
    s.sieve.takes_nothing = true;
    write_letters(s.a.bev, 10);
    say("drain output %d", evbuffer_drain(bufferevent_get_output(s.a.bev), 3));
    say("prepend output %d", evbuffer_prepend(bufferevent_get_output(s.a.bev), "xy", 2));
    say("add input %d", evbuffer_add(bufferevent_get_input(s.a.bev), "xy", 2));
    say("prepend input %d", evbuffer_prepend(bufferevent_get_input(s.a.bev), "xy", 2));
    say("held %zu %zu", in_length(s.a.bev), out_length(s.a.bev));
    say("below: drain output %d", evbuffer_drain(bufferevent_get_output(s.below), 3));
    close_stack(&s);
}

CASE_DIFFERS(filter_made_with_input_below, "73", NOTHING_WAITS)
{
    struct event_base *base = new_base();
    struct sieve sieve = {.name = ""};
    struct end a;
    int fd[2];
    unix_pair(fd);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    bufferevent_enable(below, EV_READ);
    send_letters(fd[1], 5);
    settle(base);
    say("below %zu", in_length(below));
    struct bufferevent *filter = bufferevent_filter_new(below, sift_in, sift_out,
                                                        BEV_OPT_CLOSE_ON_FREE, NULL, &sieve);
    watch(&a, "", filter);
    step("enable");
    bufferevent_enable(filter, EV_READ);
    step("loop");
    settle(base);
    send_letters(fd[1], 5);
    step("more");
    settle(base);
    bufferevent_free(filter);
    close(fd[1]);
    event_base_free(base);
}

CASE(filter_setfd) /* 73 */
{
    struct stack s;
    int fd[2];
    open_stack(&s, 0, 0);
    unix_pair(fd);
    int old = bufferevent_getfd(s.a.bev);
    say("setfd %d", bufferevent_setfd(s.a.bev, fd[0]));
    say("below %d", bufferevent_getfd(s.below) == fd[0]);
    close(old);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(fd[1], 4);
    step("loop");
    settle(s.base);
    close(fd[1]);
    close_stack(&s);
}

CASE(filter_hears_a_connection_below) /* 76 */
{
    struct sockaddr_in address;
    struct sieve sieve = {.name = ""};
    struct end a;
    struct event_base *base = new_base();
    int listener = tcp_listener(&address);
    struct bufferevent *below = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *filter = bufferevent_filter_new(below, sift_in, sift_out,
                                                        BEV_OPT_CLOSE_ON_FREE, NULL, &sieve);
    watch(&a, "", filter);
    step("write");
    write_letters(filter, 5);
    CHECK(bufferevent_socket_connect(below, (struct sockaddr *)&address, sizeof address) == 0);
    step("loop");
    run_until_count(base, &a.events, 1);
    int peer = accept_one(listener);
    settle(base);
    char data[8];
    await_readable(peer);
    say("peer has %zu", recv_now(peer, data, sizeof data, NULL));
    bufferevent_free(filter);
    close(peer);
    close(listener);
    event_base_free(base);
}

/* Who is freed by whom. */
struct doom {
    struct stack stack;
    bool free_filter, free_below;
};

static void free_as_told(struct doom *doom) {
    if (doom->free_below && doom->stack.below) {
        bufferevent_free(doom->stack.below);
        doom->stack.below = NULL;
    }
    if (doom->free_filter && doom->stack.a.bev) {
        bufferevent_free(doom->stack.a.bev);
        doom->stack.a.bev = NULL;
    }
}

static void free_in_filter(struct sieve *sieve) {
    free_as_told(sieve->extra);
}

static void free_in_callback(struct end *end) {
    free_as_told(end->extra);
}

enum place { IN_OUTPUT_FILTER, IN_INPUT_FILTER, IN_WRITE, IN_READ, IN_EVENT, PLACES };

/* Frees one layer or both inside `place`, and then uses what is left. */
static void free_inside(enum place place, bool filter, bool below, int options) {
    struct doom doom = {.free_filter = filter, .free_below = below};
    struct stack *s = &doom.stack;
    open_stack(s, 0, options);
    s->sieve.quiet = true;
    s->sieve.extra = &doom;
    s->a.extra = &doom;
    bufferevent_enable(s->a.bev, EV_READ);
    if (place == IN_OUTPUT_FILTER)
        s->sieve.inside = free_in_filter;
    if (place == IN_WRITE)
        s->a.on_write = free_in_callback;
    write_letters(s->a.bev, 10);
    if (place == IN_INPUT_FILTER)
        s->sieve.inside = free_in_filter;
    if (place == IN_READ)
        s->a.on_read = free_in_callback;
    if (place == IN_EVENT)
        s->a.on_event = free_in_callback;
    send_letters(s->peer, 10);
    settle(s->base);
    shutdown(s->peer, SHUT_WR);
    settle(s->base);
    if (s->a.bev)
        write_letters(s->a.bev, 10);
    settle(s->base);
    if (options & BEV_OPT_CLOSE_ON_FREE)
        s->below = NULL;
    close_stack(s);
}

CASE(filter_freed_inside_its_functions) /* 77 */
{
    for (int place = 0; place < PLACES; place++) {
        say("place %d", place);
        free_inside((enum place)place, true, false, 0);
        free_inside((enum place)place, true, false, BEV_OPT_CLOSE_ON_FREE);
        free_inside((enum place)place, true, true, 0);
    }
}

CASE(filter_whose_underlying_is_freed) /* 77 */
{
    for (int place = 0; place < PLACES; place++) {
        free_inside((enum place)place, false, true, 0);
    }
}

CASE(filter_freed_before_and_after_its_underlying) /* 77 */
{
    for (int order = 0; order < 2; order++) {
        struct stack s;
        open_stack(&s, 0, 0);
        bufferevent_enable(s.a.bev, EV_READ);
        write_letters(s.a.bev, 10);
        struct bufferevent *first = order ? s.a.bev : s.below, *second = order ? s.below : s.a.bev;
        bufferevent_free(first);
        settle(s.base);
        bufferevent_free(second);
        s.a.bev = s.below = NULL;
        settle(s.base);
        close_stack(&s);
    }
}

CASE(filter_left_to_event_base_free) /* 77 */
{
    struct stack s;
    open_stack(&s, 0, BEV_OPT_CLOSE_ON_FREE);
    write_letters(s.a.bev, 10);
    bufferevent_free(s.a.bev);
    event_base_free(s.base);
    say("context freed %d", s.sieve.freed);
    close(s.peer);
}
