/* Deferred callbacks, triggers, references, and freeing at inconvenient moments. */
#include "bufferevent.h"

#include <pthread.h>

CASE(deferred_callbacks_come_in_a_fixed_order) /* 52 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_EOF | BEV_EVENT_READING, 0);
    bufferevent_trigger(s.a.bev, EV_WRITE, 0);
    bufferevent_trigger(s.a.bev, EV_READ, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_CONNECTED, 0);
    say("inside %u", s.a.reads + s.a.writes + s.a.events);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(deferred_event_flags_are_joined) /* 52 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_READING | BEV_EVENT_EOF, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_WRITING | BEV_EVENT_ERROR, 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(a_deferred_callback_sees_what_has_not_been_sent) /* 52 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger(s.a.bev, EV_WRITE, 0);
    write_letters(s.a.bev, 7);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(what_is_sent_and_read_in_one_pass_is_heard_of_together) /* 52 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    send_letters(s.peer, 5);
    write_letters(s.a.bev, 7);
    bufferevent_enable(s.a.bev, EV_READ);
    step("read and written");
    settle(s.base);
    close_peer(&s);
    write_letters(s.a.bev, 7);
    step("end and error");
    settle(s.base);
    close_scene(&s);
}

static void defer_again(struct end *end) {
    if (end->reads < 3)
        bufferevent_trigger(end->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
}

/* One that defers itself in every call keeps nobody waiting. */
CASE(each_kind_of_deferred_callback_has_its_turn) /* 52 */
{
    struct bufferevent *pair[2];
    struct event_base *base = new_base();
    struct end one, two;
    CHECK(bufferevent_pair_new(base, 0, pair) == 0);
    watch(&one, "a.", pair[0]);
    watch(&two, "b.", pair[1]);
    one.on_read = defer_again;
    bufferevent_trigger_event(one.bev, BEV_EVENT_EOF, 0);
    bufferevent_trigger(one.bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger(two.bev, EV_READ | EV_WRITE, 0);
    step("loop");
    settle(base);
    bufferevent_free(one.bev);
    bufferevent_free(two.bev);
    event_base_free(base);
}

static void write_five(struct end *end) {
    write_letters(end->bev, 5);
}

CASE(a_trigger_of_both_looks_at_the_output_after_the_read_callback) /* 62 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_read = write_five;
    step("trigger");
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    step("loop");
    settle(s.base);
    step("in any case");
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS);
    close_scene(&s);
}

static void join_flags(struct end *end) {
    *(int *)end->extra |= end->flags;
}

/* Whether the two come in one call depends on when the library writes. */
CASE(deferred_errors_of_both_directions_are_reported) /* 52 */
{
    struct scene s;
    int flags = 0;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    s.a.quiet = true;
    s.a.on_event = join_flags;
    s.a.extra = &flags;
    write_letters(s.a.bev, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    close_peer(&s);
    settle(s.base);
    say("together %02x, enabled %d", (unsigned)flags, bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(deferred_read_and_end_are_two_callbacks) /* 52 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    send_letters(s.peer, 10);
    CHECK(shutdown(s.peer, SHUT_WR) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(deferred_callbacks_of_one_kind_merge) /* 53 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    for (int i = 0; i < 5; i++) {
        bufferevent_trigger(s.a.bev, EV_READ, 0);
        bufferevent_trigger_event(s.a.bev, BEV_EVENT_TIMEOUT, 0);
    }
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(every_one_of_many_deferred_callbacks_comes) /* 53 */
{
    enum { COUNT = 100 };
    struct event_base *base = new_base();
    static struct end end[COUNT];
    unsigned reads = 0;
    for (int i = 0; i < COUNT; i++) {
        watch_new(&end[i], "", base, -1, BEV_OPT_DEFER_CALLBACKS);
        end[i].quiet = true;
        bufferevent_trigger(end[i].bev, EV_READ, 0);
    }
    for (int i = 0; i < 8; i++)
        settle(base);
    for (int i = 0; i < COUNT; i++) {
        reads += end[i].reads;
        bufferevent_free(end[i].bev);
    }
    say("callbacks %u", reads);
    event_base_free(base);
}

CASE(free_cancels_deferred_callbacks) /* 54 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_ERROR, 0);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    say("callbacks %u", s.a.reads + s.a.writes + s.a.events);
    close_scene(&s);
}

CASE_DIFFERS(clearing_a_callback_clears_its_mark, "J55",
             "setcb clears pending deferred marks of the callbacks that it replaces by NULL") {
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger(s.a.bev, EV_READ, 0);
    bufferevent_setcb(s.a.bev, NULL, NULL, NULL, NULL);
    step("cleared");
    settle(s.base);
    bufferevent_setcb(s.a.bev, on_read, on_write, on_event, &s.a);
    bufferevent_trigger(s.a.bev, EV_WRITE, 0);
    step("set again");
    settle(s.base);
    close_scene(&s);
}

static void free_it(struct end *end) {
    bufferevent_free(end->bev);
    end->bev = NULL;
    token("freed");
}

static void free_in_read(int options) {
    struct scene s;
    open_scene(&s, options);
    int fd = bufferevent_getfd(s.a.bev);
    s.a.on_read = free_it;
    send_letters(s.peer, 10);
    CHECK(shutdown(s.peer, SHUT_WR) == 0);
    write_letters(s.a.bev, 20);
    CHECK(bufferevent_disable(s.a.bev, EV_WRITE) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    say("open %d", fd_is_open(fd));
    close_scene(&s);
}

CASE(freeing_in_the_read_callback) /* 56 */
{
    free_in_read(0);
}

CASE(freeing_in_the_deferred_read_callback) /* 56 */
{
    free_in_read(BEV_OPT_DEFER_CALLBACKS);
}

static void free_in_write(int options) {
    struct scene s;
    open_scene(&s, options);
    int fd = bufferevent_getfd(s.a.bev);
    s.a.on_write = free_it;
    write_letters(s.a.bev, 20);
    step("loop");
    settle(s.base);
    say("open %d", fd_is_open(fd));
    close_scene(&s);
}

CASE(freeing_in_the_write_callback) /* 56 */
{
    free_in_write(0);
}

CASE(freeing_in_the_deferred_write_callback) /* 56 */
{
    free_in_write(BEV_OPT_DEFER_CALLBACKS);
}

CASE(freeing_in_the_event_callback_of_an_error) /* 56 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = free_it;
    close_peer(&s);
    write_letters(s.a.bev, 20);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(freeing_in_the_deferred_event_callback) /* 56 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    int fd = bufferevent_getfd(s.a.bev);
    s.a.quiet = true;
    s.a.on_event = free_it;
    close_peer(&s);
    write_letters(s.a.bev, 20);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    say("events %u, open %d", s.a.events, fd_is_open(fd));
    close_scene(&s);
}

static void free_in_unlocked_callback(int trigger) {
    struct scene s;
    CHECK(evthread_use_pthreads() == 0);
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_THREADSAFE | BEV_OPT_UNLOCK_CALLBACKS);
    s.a.on_read = s.a.on_write = s.a.on_event = free_it;
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_TIMEOUT, 0);
    bufferevent_trigger(s.a.bev, (short)trigger, 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(freeing_in_the_unlocked_read_callback_silences_the_rest) /* 56, 59 */
{
    free_in_unlocked_callback(EV_READ | EV_WRITE);
}

CASE(freeing_in_the_unlocked_write_callback_silences_the_rest) /* 56, 59 */
{
    free_in_unlocked_callback(EV_WRITE);
}

CASE(freeing_in_the_unlocked_event_callback) /* 56, 59 */
{
    free_in_unlocked_callback(0);
}

static void free_the_other(struct end *end) {
    struct end *other = end->extra;
    if (other->bev) {
        bufferevent_free(other->bev);
        other->bev = NULL;
        token("other freed");
    }
}

CASE(freeing_another_bufferevent_that_is_ready) /* 56, 61 */
{
    struct event_base *base = new_base();
    struct end a, b;
    int fd[2], peer[2];
    unix_pair(fd);
    unix_pair(peer);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&b, "", base, peer[0], BEV_OPT_CLOSE_ON_FREE);
    a.on_read = b.on_read = free_the_other;
    a.extra = &b;
    b.extra = &a;
    send_letters(fd[1], 5);
    send_letters(peer[1], 5);
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(b.bev, EV_READ) == 0);
    step("loop");
    settle(base);
    say("callbacks %u", a.reads + b.reads);
    if (a.bev)
        bufferevent_free(a.bev);
    if (b.bev)
        bufferevent_free(b.bev);
    close(fd[1]);
    close(peer[1]);
    event_base_free(base);
}

CASE(a_reference_keeps_a_freed_one_silent_and_alive) /* 57 */
{
    struct scene s;
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    bufferevent_incref(s.a.bev);
    bufferevent_free(s.a.bev);
    send_letters(s.peer, 10);
    step("freed");
    settle(s.base);
    say("still there: fd %d, open %d", bufferevent_getfd(s.a.bev) == fd, fd_is_open(fd));
    say("last reference %d", bufferevent_decref(s.a.bev));
    s.a.bev = NULL;
    settle(s.base);
    say("open %d", fd_is_open(fd));
    close_scene(&s);
}

CASE(counting_references) /* 57 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_incref(s.a.bev);
    bufferevent_incref(s.a.bev);
    say("not the last %d", bufferevent_decref(s.a.bev));
    say("not the last %d", bufferevent_decref(s.a.bev));
    send_letters(s.peer, 4);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("alive");
    settle(s.base);
    close_scene(&s);
}

CASE(free_between_lock_and_unlock) /* 58 */
{
    struct scene s;
    CHECK(evthread_use_pthreads() == 0);
    open_scene(&s, BEV_OPT_THREADSAFE);
    int fd = bufferevent_getfd(s.a.bev);
    struct bufferevent *bev = s.a.bev;
    bufferevent_lock(bev);
    bufferevent_lock(bev);
    bufferevent_unlock(bev);
    bufferevent_free(bev);
    s.a.bev = NULL;
    settle(s.base);
    say("locked: open %d", fd_is_open(fd));
    bufferevent_unlock(bev);
    settle(s.base);
    say("unlocked: open %d", fd_is_open(fd));
    close_scene(&s);
}

static void change_everything(struct end *end) {
    int *other = end->extra;
    int old = bufferevent_getfd(end->bev);
    end->on_read = NULL;
    CHECK(bufferevent_setfd(end->bev, other[0]) == 0);
    close(old);
    bufferevent_setwatermark(end->bev, EV_READ, 2, 0);
    bufferevent_setcb(end->bev, on_read, NULL, on_event, end);
    CHECK(bufferevent_disable(end->bev, EV_READ) == 0);
    CHECK(bufferevent_enable(end->bev, EV_READ) == 0);
    CHECK(bufferevent_write(end->bev, "hello", 5) == 0);
}

CASE(a_callback_may_change_its_own_bufferevent) /* 61 */
{
    struct scene s;
    int other[2];
    char got[64];
    open_scene(&s, 0);
    unix_pair(other);
    s.a.on_read = change_everything;
    s.a.extra = other;
    send_letters(s.peer, 5);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("old");
    settle(s.base);
    say("the new peer has %zu", recv_now(other[1], got, sizeof got, NULL));
    send_letters(other[1], 4);
    step("new");
    settle(s.base);
    close(other[1]);
    close_scene(&s);
}

CASE(trigger_looks_at_the_marks) /* 62 */
{
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    step("low 0");
    bufferevent_trigger(bev, EV_READ, 0);
    bufferevent_trigger(bev, EV_WRITE, 0);
    bufferevent_trigger(bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger(bev, 0, 0);
    bufferevent_setwatermark(bev, EV_READ, 5, 0);
    step("low 5");
    bufferevent_trigger(bev, EV_READ, 0);
    step("ignored");
    bufferevent_trigger(bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS);
    CHECK(bufferevent_disable(bev, EV_WRITE) == 0);
    write_letters(bev, 10);
    step("output 10");
    bufferevent_trigger(bev, EV_WRITE, 0);
    step("ignored");
    bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS);
    bufferevent_setwatermark(bev, EV_WRITE, 10, 0);
    step("at the mark");
    bufferevent_trigger(bev, EV_WRITE, 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(trigger_can_be_deferred) /* 62 */
{
    struct scene s;
    open_scene(&s, 0);
    step("inside");
    bufferevent_trigger(s.a.bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger(s.a.bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_EOF, BEV_TRIG_DEFER_CALLBACKS);
    step("loop");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 5, 0);
    bufferevent_trigger(s.a.bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
    step("below the mark");
    settle(s.base);
    bufferevent_trigger(s.a.bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
    step("ignored");
    settle(s.base);
    close_scene(&s);
}

CASE(trigger_event_passes_any_flags) /* 62 */
{
    struct scene s;
    open_scene(&s, 0);
    const short flags[] = {BEV_EVENT_CONNECTED, BEV_EVENT_TIMEOUT | BEV_EVENT_WRITING,
                           BEV_EVENT_READING | BEV_EVENT_WRITING | BEV_EVENT_EOF, 0x7f, 0, 0x400};
    step("inside");
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        bufferevent_trigger_event(s.a.bev, flags[i], 0);
    step("loop");
    settle(s.base);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(trigger_without_callbacks) /* 62 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setcb(s.a.bev, NULL, NULL, NULL, NULL);
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_EOF, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_EOF, BEV_TRIG_DEFER_CALLBACKS);
    settle(s.base);
    say("callbacks %u", s.a.reads + s.a.writes + s.a.events);
    close_scene(&s);
}

CASE(freeing_inside_a_triggered_callback) /* 56, 62 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_read = free_it;
    step("inside");
    bufferevent_trigger(s.a.bev, EV_READ, 0);
    settle(s.base);
    close_scene(&s);
}

CASE(both_directions_ready_in_one_pass) /* 63 */
{
    struct scene s;
    open_scene(&s, 0);
    send_letters(s.peer, 3);
    CHECK(bufferevent_enable(s.a.bev, EV_READ | EV_WRITE) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

static void *lock_and_unlock(void *bev) {
    bufferevent_lock(bev);
    bufferevent_unlock(bev);
    return NULL;
}

static void let_a_thread_lock(struct end *end) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, lock_and_unlock, end->bev) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    token("locked");
}

CASE(an_unlocked_callback_leaves_the_lock_to_others) /* 59 */
{
    struct scene s;
    CHECK(evthread_use_pthreads() == 0);
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_THREADSAFE | BEV_OPT_UNLOCK_CALLBACKS);
    s.a.on_read = s.a.on_write = s.a.on_event = let_a_thread_lock;
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_TIMEOUT, 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

static void lock_again(struct end *end) {
    bufferevent_lock(end->bev);
    bufferevent_unlock(end->bev);
    token("locked");
}

CASE(the_lock_is_recursive_inside_a_callback) /* 59 */
{
    struct scene s;
    CHECK(evthread_use_pthreads() == 0);
    open_scene(&s, BEV_OPT_THREADSAFE);
    s.a.on_read = s.a.on_write = s.a.on_event = lock_again;
    send_letters(s.peer, 5);
    close_peer(&s);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(locking_without_thread_support_does_nothing) /* 58 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_lock(s.a.bev);
    bufferevent_unlock(s.a.bev);
    send_letters(s.peer, 5);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}
