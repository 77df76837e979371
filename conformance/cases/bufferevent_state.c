/* Socket bufferevents as they come from the constructor, and enabling and disabling directions. */
#include "case.h"

CASE(write_is_enabled_at_creation) /* 1 */
{
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    unix_pair(fd);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    say("enabled %d", bufferevent_get_enabled(a.bev));
    say("lengths %zu %zu", in_length(a.bev), out_length(a.bev));
    say("fd kept %d", bufferevent_getfd(a.bev) == fd[0]);
    say("base kept %d", bufferevent_get_base(a.bev) == base);
    bufferevent_free(a.bev);
    close(fd[1]);
    event_base_free(base);
}

CASE(a_new_bufferevent_calls_nothing) /* 2 */
{
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    unix_pair(fd);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    settle(base);
    run_for(base, 20);
    say("callbacks %u", a.reads + a.writes + a.events);
    bufferevent_free(a.bev);
    close(fd[1]);
    event_base_free(base);
}

CASE(enabling_write_with_an_empty_output_kicks_once) /* 3 */
{
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    unix_pair(fd);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    for (int i = 0; i < 3; i++) {
        step("enable");
        CHECK(bufferevent_enable(a.bev, EV_WRITE) == 0);
        CHECK(a.writes == (unsigned)i); /* never inside the call */
        settle(base);
    }
    bufferevent_free(a.bev);
    close(fd[1]);
    event_base_free(base);
}
