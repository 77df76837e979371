/* Looking into a base, and the end of bases and of the library. */
#include "loop.h"

/* What event_base_dump_events says, without the addresses and the times. */
static void dump(struct event_base *base) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    CHECK(file);
    event_base_dump_events(base, file);
    CHECK(fclose(file) == 0);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *address = strstr(line, "0x"), *bracket = strchr(line, '[');
        char *timeout = strstr(line, "Timeout="), *active = strstr(line, "active");
        /* What the library itself waits for is its own affair. */
        if (strstr(line, " Internal"))
            continue;
        if (!address || !bracket) {
            say("%s", line);
            continue;
        }
        CHECK(address < bracket);
        /* Descriptor numbers are the system's choice; signals and -1 are not. */
        const char *rest = strpbrk(bracket, "],");
        int number;
        CHECK(rest && sscanf(bracket, "[%*s %d", &number) == 1);
        bool signal = strncmp(bracket, "[sig", 4) == 0;
        if (timeout)
            *timeout = '\0';
        say("  %.4s %d%s%s%s", bracket, signal || number < 0 ? number : 0, rest,
            timeout ? "Timeout" : "", timeout && active ? " active" : "");
    }
    free(text);
}

CASE(inspect_dump_of_an_empty_base) {
    struct event_base *base = new_base();
    dump(base);
    event_base_free(base);
}

CASE(inspect_dump_of_each_kind) {
    struct event_base *base = new_base();
    int one[2], two[2];
    unix_pair(one);
    unix_pair(two);
    CHECK(event_base_priority_init(base, 3) == 0);
    struct event *events[] = {
        new_event(base, one[0], EV_READ | EV_PERSIST, traced, "reader"),
        new_event(base, two[0], EV_READ | EV_WRITE, traced, "both"),
        new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal"),
        new_event(base, -1, 0, traced, "timer"),
        new_event(base, -1, EV_PERSIST, traced, "active"),
        new_event(base, -1, 0, traced, "idle"),
    };
    for (size_t i = 0; i < 3; i++)
        CHECK(event_add(events[i], NULL) == 0);
    CHECK(add_ms(events[3], 100000) == 0);
    CHECK(event_priority_set(events[4], 2) == 0);
    event_active(events[4], EV_READ, 1);
    dump(base);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        event_free(events[i]);
    say("and after they are gone");
    dump(base);
    event_base_free(base);
    for (int i = 0; i < 2; i++) {
        close(one[i]);
        close(two[i]);
    }
}

static void finalizer(struct event *event, void *arg) {
    (void)event;
    token("finalizer of %s", (char *)arg);
}

CASE(inspect_free_nofinalize_leaves_finalizers_out) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "event");
    CHECK(event_finalize(0, event, finalizer) == 0);
    step("without");
    event_base_free_nofinalize(base);
    say("-");
    free(event);
}

CASE(inspect_debug_logging_of_nothing) {
    event_enable_debug_logging(EVENT_DBG_NONE);
    struct event_base *base = new_base();
    say("loop %d", event_base_loop(base, EVLOOP_NONBLOCK));
    event_base_free(base);
}

CASE(inspect_global_shutdown) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "timer");
    CHECK(add_ms(event, 1) == 0);
    step("loop");
    CHECK(event_base_dispatch(base) == 1);
    event_free(event);
    event_base_free(base);
    libevent_global_shutdown();
    say("ended");
}

CASE(inspect_global_shutdown_in_debug_mode) {
    event_enable_debug_mode();
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "timer");
    event_free(event);
    event_base_free(base);
    libevent_global_shutdown();
    say("ended");
}

CASE(inspect_global_shutdown_with_threads) {
    CHECK(evthread_use_pthreads() == 0);
    struct event_base *base = new_base();
    event_base_free(base);
    libevent_global_shutdown();
    say("ended");
}
