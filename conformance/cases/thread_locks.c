/* event2/thread.h: conditions, thread numbers, lock debugging. */
#include <pthread.h>

#include "loop.h"

static void *make_condition(unsigned type) {
    pthread_cond_t *condition = malloc(sizeof *condition);
    (void)type;
    CHECK(condition && pthread_cond_init(condition, NULL) == 0);
    return condition;
}

static void unmake_condition(void *condition) {
    pthread_cond_destroy(condition);
    free(condition);
}

static int tell(void *condition, int all) {
    return all ? pthread_cond_broadcast(condition) : pthread_cond_signal(condition);
}

static int wait_for(void *condition, void *lock, const struct timeval *limit) {
    (void)limit;
    return pthread_cond_wait(condition, lock);
}

static struct evthread_condition_callbacks conditions(void) {
    return (struct evthread_condition_callbacks){EVTHREAD_CONDITION_API_VERSION, make_condition,
                                                 unmake_condition, tell, wait_for};
}

CASE(thread_condition_callbacks) {
    struct evthread_condition_callbacks callbacks = conditions(), other = conditions();
    event_set_log_callback(no_log);
    other.wait_condition = NULL;
    say("incomplete %d", evthread_set_condition_callbacks(&other));
    say("set %d", evthread_set_condition_callbacks(&callbacks));
    say("again %d", evthread_set_condition_callbacks(&callbacks));
    other = conditions();
    other.signal_condition = NULL;
    say("incomplete %d", evthread_set_condition_callbacks(&other));
    say("none %d", evthread_set_condition_callbacks(NULL));
    say("set %d", evthread_set_condition_callbacks(&callbacks));
}

CASE(thread_condition_callbacks_after_pthreads) {
    struct evthread_condition_callbacks callbacks = conditions();
    event_set_log_callback(no_log);
    CHECK(evthread_use_pthreads() == 0);
    say("set %d", evthread_set_condition_callbacks(&callbacks));
}

static unsigned long this_thread(void) {
    return (unsigned long)pthread_self();
}

static void ends(evutil_socket_t fd, short what, void *base) {
    (void)fd;
    token("called %x", (unsigned)what);
    event_base_loopbreak(base);
}

static void *activates(void *event) {
    event_active(event, EV_READ, 1);
    return NULL;
}

/* A program that brings its own everything gets its loop woken all the same. */
CASE(thread_numbers_of_the_program) {
    struct evthread_condition_callbacks callbacks = conditions();
    CHECK(evthread_use_pthreads() == 0);
    event_set_log_callback(no_log);
    evthread_set_condition_callbacks(&callbacks);
    evthread_set_id_callback(this_thread);
    struct event_base *base = new_base();
    CHECK(evthread_make_base_notifiable(base) == 0);
    struct event *event = new_event(base, -1, EV_PERSIST, ends, base);
    CHECK(add_ms(event, 100000) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, activates, event) == 0);
    step("loop");
    CHECK(event_base_dispatch(base) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    event_free(event);
    event_base_free(base);
}

static void with_lock_debugging(void) {
    CHECK(evthread_use_pthreads() == 0);
    struct event_base *base = new_base();
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_THREADSAFE);
    CHECK(bev);
    bufferevent_lock(bev);
    bufferevent_lock(bev);
    bufferevent_unlock(bev);
    bufferevent_unlock(bev);
    bufferevent_free(bev);
    struct event *event = new_event(base, -1, 0, traced, "timer");
    CHECK(add_ms(event, 1) == 0);
    step("loop");
    CHECK(event_base_dispatch(base) == 1);
    event_free(event);
    event_base_free(base);
}

CASE(thread_lock_debugging) {
    evthread_enable_lock_debugging();
    with_lock_debugging();
}

CASE(thread_lock_debugging_as_it_was_spelled) {
    evthread_enable_lock_debuging();
    with_lock_debugging();
}

static void says_fatal(int code) {
    say("fatal %#x", (unsigned)code);
    exit(0);
}

/* Where checkers of memory find it after the exit. */
static struct evbuffer *debugged;

static struct evbuffer *debugged_buffer(void) {
    event_set_log_callback(no_log);
    event_set_fatal_callback(says_fatal);
    evthread_enable_lock_debugging();
    CHECK(evthread_use_pthreads() == 0);
    debugged = evbuffer_new();
    CHECK(debugged && evbuffer_enable_locking(debugged, NULL) == 0);
    return debugged;
}

CASE(thread_lock_debugging_of_a_lock_that_nobody_holds) {
    evbuffer_unlock(debugged_buffer());
    say("not noticed");
}

CASE(thread_lock_debugging_of_a_lock_that_is_freed) {
    struct evbuffer *buffer = debugged_buffer();
    evbuffer_lock(buffer);
    evbuffer_free(buffer);
    say("not noticed");
}

static struct event_base *logging_base;
static struct event *logging_event;

static void asks_the_base(int severity, const char *text) {
    (void)text;
    token("log %d added %d", severity,
          event_base_get_num_events(logging_base, EVENT_BASE_COUNT_ADDED));
    CHECK(event_del(logging_event) == 0);
}

/* A log callback that uses the base which complains. */
static void complains(void) {
    struct event_base *base = logging_base = new_base();
    logging_event = new_event(base, -1, 0, traced, "other");
    struct event *refused = new_event(base, SIGKILL, EV_SIGNAL, traced, "refused");
    CHECK(add_ms(logging_event, 100000) == 0);
    event_set_log_callback(asks_the_base);
    step("add");
    say("%d", event_add(refused, NULL));
    event_set_log_callback(NULL);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(refused);
    event_free(logging_event);
    event_base_free(base);
}

CASE_DIFFERS(thread_log_callback_uses_the_base, "no deadlock",
             "libevent calls it with the base's lock, which is not recursive, and hangs") {
    CHECK(evthread_use_pthreads() == 0);
    complains();
}

CASE(thread_log_callback_uses_the_base_without_locks) {
    complains();
}
