/* Rate limits: buckets, groups, and what is left of them. */
#include "bufferevent.h"

static struct ev_token_bucket_cfg *config(size_t rate, size_t burst, int tick_ms) {
    struct timeval tick = milliseconds(tick_ms);
    struct ev_token_bucket_cfg *made = ev_token_bucket_cfg_new(rate, burst, rate, burst, &tick);
    CHECK(made);
    return made;
}

CASE(rate_configurations) /* 82 */
{
    struct timeval tick = {1, 0};
    const struct {
        size_t read, read_burst, write, write_burst;
    } tried[] = {
        {1, 1, 1, 1},
        {0, 1, 1, 1},
        {1, 1, 0, 1},
        {2, 1, 1, 1},
        {1, 1, 2, 1},
        {EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX},
        {1, (size_t)EV_RATE_LIMIT_MAX + 1, 1, 1},
        {1, 1, 1, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
        struct ev_token_bucket_cfg *made = ev_token_bucket_cfg_new(
            tried[i].read, tried[i].read_burst, tried[i].write, tried[i].write_burst, &tick);
        say("%zu: %d", i, made != NULL);
        if (made)
            ev_token_bucket_cfg_free(made);
    }
    struct ev_token_bucket_cfg *made = ev_token_bucket_cfg_new(10, 20, 30, 40, NULL);
    say("no tick: %d", made != NULL);
    ev_token_bucket_cfg_free(made);
}

CASE_DIFFERS(rate_tick_below_a_millisecond, "J82", "NULL instead of a division by zero later") {
    struct timeval tick = {0, 999};
    say("%d", ev_token_bucket_cfg_new(1, 1, 1, 1, &tick) != NULL);
}

static void limits(const char *when, struct bufferevent *bev) {
    ev_ssize_t read = bufferevent_get_read_limit(bev), write = bufferevent_get_write_limit(bev);
    if (read == EV_SSIZE_MAX && write == EV_SSIZE_MAX)
        token("%s none", when);
    else
        token("%s %d %d", when, (int)read, (int)write);
    say("max %d %d", (int)bufferevent_get_max_to_read(bev), (int)bufferevent_get_max_to_write(bev));
}

/* What can be said of any bufferevent. */
static void settings(struct bufferevent *bev) {
    struct ev_token_bucket_cfg *slow = config(10, 20, 3600000), *fast = config(1000, 5000, 3600000);
    limits("new", bev);
    say("config %d", bufferevent_get_token_bucket_cfg(bev) == NULL);
    say("decrement %d", bufferevent_set_max_single_read(bev, 5));
    say("set %d", bufferevent_set_rate_limit(bev, fast));
    limits("fast", bev);
    say("config %d", bufferevent_get_token_bucket_cfg(bev) == fast);
    say("decrement %d %d", bufferevent_decrement_read_limit(bev, 300),
        bufferevent_decrement_write_limit(bev, 400));
    limits("less", bev);
    say("increment %d", bufferevent_decrement_read_limit(bev, -5000));
    limits("more", bev);
    say("set %d", bufferevent_set_rate_limit(bev, slow));
    limits("slow", bev);
    say("config %d", bufferevent_get_token_bucket_cfg(bev) == slow);
    say("decrement %d %d", bufferevent_decrement_read_limit(bev, 50),
        bufferevent_decrement_write_limit(bev, 20));
    limits("overdrawn", bev);
    say("set %d", bufferevent_set_rate_limit(bev, fast));
    limits("fast", bev);
    say("lift %d", bufferevent_set_rate_limit(bev, NULL));
    limits("lifted", bev);
    say("lift %d", bufferevent_set_rate_limit(bev, NULL));
    say("config %d", bufferevent_get_token_bucket_cfg(bev) == NULL);
    say("leave %d", bufferevent_remove_from_rate_limit_group(bev));
    bufferevent_set_rate_limit(bev, fast);
    limits("again", bev);
    bufferevent_set_rate_limit(bev, NULL);
    ev_token_bucket_cfg_free(slow);
    ev_token_bucket_cfg_free(fast);
}

CASE(rate_settings_of_a_socket) /* 81 */
{
    struct scene s;
    open_scene(&s, 0);
    settings(s.a.bev);
    close_scene(&s);
}

CASE(rate_settings_of_a_pair) /* 81 */
{
    struct event_base *base = new_base();
    struct bufferevent *pair[2];
    CHECK(bufferevent_pair_new(base, 0, pair) == 0);
    settings(pair[0]);
    bufferevent_free(pair[0]);
    bufferevent_free(pair[1]);
    event_base_free(base);
}

CASE(rate_settings_of_a_filter) /* 81 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *filter =
        bufferevent_filter_new(below, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
    settings(filter);
    bufferevent_free(filter);
    close(fd[1]);
    event_base_free(base);
}

CASE(rate_of_reading) /* 81 */
{
    struct scene s;
    struct ev_token_bucket_cfg *slow = config(10, 10, 50);
    open_scene(&s, 0);
    CHECK(bufferevent_set_rate_limit(s.a.bev, slow) == 0);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 35);
    step("loop");
    run_until_count(s.base, &s.a.reads, 4);
    say("held %zu, to read %d", in_length(s.a.bev),
        (int)bufferevent_get_read_limit(s.a.bev) > 0);
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
}

CASE(rate_of_writing) /* 81 */
{
    struct scene s;
    struct ev_token_bucket_cfg *slow = config(10, 10, 50);
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 100, 0);
    CHECK(bufferevent_set_rate_limit(s.a.bev, slow) == 0);
    write_letters(s.a.bev, 35);
    step("loop");
    run_until_count(s.base, &s.a.writes, 4);
    char data[64];
    say("peer has %zu", recv_now(s.peer, data, sizeof data, NULL));
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
}

CASE(rate_lifted_while_suspended) /* 81 */
{
    struct scene s;
    struct ev_token_bucket_cfg *slow = config(10, 10, 3600000), *fast = config(20, 20, 3600000);
    open_scene(&s, 0);
    CHECK(bufferevent_set_rate_limit(s.a.bev, slow) == 0);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 100);
    step("slow");
    settle(s.base);
    say("to read %d", (int)bufferevent_get_read_limit(s.a.bev));
    step("decremented");
    bufferevent_decrement_read_limit(s.a.bev, -7);
    settle(s.base);
    step("lifted");
    bufferevent_set_rate_limit(s.a.bev, NULL);
    settle(s.base);
    step("fast");
    bufferevent_set_rate_limit(s.a.bev, fast);
    send_letters(s.peer, 100);
    settle(s.base);
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
    ev_token_bucket_cfg_free(fast);
}

CASE(rate_zero_allowance_never_reads) /* #1439 */
{
    struct scene s;
    struct ev_token_bucket_cfg *slow = config(10, 10, 3600000);
    open_scene(&s, 0);
    CHECK(bufferevent_set_rate_limit(s.a.bev, slow) == 0);
    CHECK(bufferevent_decrement_read_limit(s.a.bev, 10) == 0);
    CHECK(bufferevent_decrement_write_limit(s.a.bev, 10) == 0);
    bufferevent_enable(s.a.bev, EV_READ | EV_WRITE);
    send_letters(s.peer, 20);
    write_letters(s.a.bev, 20);
    say("max %d %d", (int)bufferevent_get_max_to_read(s.a.bev),
        (int)bufferevent_get_max_to_write(s.a.bev));
    step("loop");
    settle(s.base);
    say("in %zu out %zu", in_length(s.a.bev), out_length(s.a.bev));
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
}

CASE(rate_of_a_group) /* 82 */
{
    struct event_base *base = new_base();
    struct ev_token_bucket_cfg *slow = config(1000, 1000, 3600000), *fast = config(3000, 4000, 3600000);
    struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, slow);
    struct end a, b;
    int one[2], two[2];
    ev_uint64_t read = 1, written = 1;
    CHECK(group);
    unix_pair(one);
    unix_pair(two);
    watch_new(&a, "a.", base, one[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&b, "b.", base, two[0], BEV_OPT_CLOSE_ON_FREE);
    say("limit %d %d", (int)bufferevent_rate_limit_group_get_read_limit(group),
        (int)bufferevent_rate_limit_group_get_write_limit(group));
    say("share %d %d", bufferevent_rate_limit_group_set_min_share(group, 100),
        bufferevent_rate_limit_group_set_min_share(group, SIZE_MAX));
    say("add %d %d %d", bufferevent_add_to_rate_limit_group(a.bev, group),
        bufferevent_add_to_rate_limit_group(a.bev, group),
        bufferevent_add_to_rate_limit_group(b.bev, group));
    limits("a", a.bev);
    bufferevent_enable(a.bev, EV_READ);
    bufferevent_enable(b.bev, EV_READ);
    a.quiet = b.quiet = true;
    send_letters(one[1], 5000);
    send_letters(two[1], 5000);
    settle(base);
    bufferevent_rate_limit_group_get_totals(group, &read, &written);
    say("in together: all of the bucket %d, not much more %d", read >= 1000, read < 1200);
    say("totals fit %d, written %d", read == in_length(a.bev) + in_length(b.bev), (int)written);
    say("left %d", (int)bufferevent_rate_limit_group_get_read_limit(group) <= 0);
    limits("a", a.bev);
    write_letters(a.bev, 300);
    settle(base);
    bufferevent_rate_limit_group_get_totals(group, &read, &written);
    say("written %d, left %d", (int)written,
        (int)bufferevent_rate_limit_group_get_write_limit(group));
    bufferevent_rate_limit_group_reset_totals(group);
    bufferevent_rate_limit_group_get_totals(group, &read, NULL);
    bufferevent_rate_limit_group_get_totals(group, NULL, &written);
    say("reset %d %d", (int)read, (int)written);
    say("decrement %d %d", bufferevent_rate_limit_group_decrement_read(group, -1500),
        bufferevent_rate_limit_group_decrement_write(group, 200));
    say("write %d", (int)bufferevent_rate_limit_group_get_write_limit(group));
    settle(base);
    bufferevent_rate_limit_group_get_totals(group, &read, &written);
    say("more %d", read > 0);
    say("set %d", bufferevent_rate_limit_group_set_cfg(group, fast));
    say("write %d", (int)bufferevent_rate_limit_group_get_write_limit(group));
    say("leave %d %d", bufferevent_remove_from_rate_limit_group(a.bev),
        bufferevent_remove_from_rate_limit_group(a.bev));
    settle(base);
    say("all of a %d", in_length(a.bev) == 5000);
    bufferevent_free(a.bev);
    CHECK(bufferevent_remove_from_rate_limit_group(b.bev) == 0);
    settle(base);
    say("all of b %d", in_length(b.bev) == 5000);
    bufferevent_free(b.bev);
    bufferevent_rate_limit_group_free(group);
    ev_token_bucket_cfg_free(slow);
    ev_token_bucket_cfg_free(fast);
    close(one[1]);
    close(two[1]);
    event_base_free(base);
}

CASE(rate_of_a_group_over_time) /* 82 */
{
    struct event_base *base = new_base();
    struct ev_token_bucket_cfg *slow = config(100, 100, 20);
    struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, slow);
    struct end a, b;
    int one[2], two[2];
    unix_pair(one);
    unix_pair(two);
    watch_new(&a, "a.", base, one[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&b, "b.", base, two[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_add_to_rate_limit_group(a.bev, group) == 0);
    CHECK(bufferevent_add_to_rate_limit_group(b.bev, group) == 0);
    a.quiet = b.quiet = a.drain = b.drain = true;
    bufferevent_enable(a.bev, EV_READ);
    bufferevent_enable(b.bev, EV_READ);
    send_letters(one[1], 400);
    send_letters(two[1], 400);
    run_until_bytes(base, &a.received, 400);
    run_until_bytes(base, &b.received, 400);
    say("%zu %zu", a.received, b.received);
    bufferevent_free(a.bev);
    bufferevent_free(b.bev);
    settle(base);
    bufferevent_rate_limit_group_free(group);
    ev_token_bucket_cfg_free(slow);
    close(one[1]);
    close(two[1]);
    event_base_free(base);
}

CASE(rate_with_a_long_tick) /* 82 */
{
    struct scene s;
    struct timeval tick = {100000000, 0};
    struct ev_token_bucket_cfg *slow = ev_token_bucket_cfg_new(10, 10, 10, 10, &tick);
    CHECK(slow);
    open_scene(&s, 0);
    bufferevent_set_rate_limit(s.a.bev, slow);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 100);
    step("loop");
    settle(s.base);
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
}

CASE(rate_limited_and_freed) /* 81 */
{
    struct scene s;
    struct ev_token_bucket_cfg *slow = config(10, 10, 20);
    open_scene(&s, 0);
    struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(s.base, slow);
    bufferevent_set_rate_limit(s.a.bev, slow);
    bufferevent_add_to_rate_limit_group(s.a.bev, group);
    bufferevent_enable(s.a.bev, EV_READ);
    send_letters(s.peer, 100);
    step("loop");
    run_until_count(s.base, &s.a.reads, 1);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    bufferevent_rate_limit_group_free(group);
    close_scene(&s);
    ev_token_bucket_cfg_free(slow);
}
