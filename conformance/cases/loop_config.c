/* Making a base: configuration, methods, features, environment; versions, log and memory hooks. */
#include "loop.h"

#include <sys/wait.h>

static bool has_method(const char *name) {
    for (const char **method = event_get_supported_methods(); *method; method++)
        if (strcmp(*method, name) == 0)
            return true;
    return false;
}

static const char *method_without(const char *first, const char *second) {
    static char name[32];
    struct event_config *config = event_config_new();
    CHECK(config);
    if (first)
        CHECK(event_config_avoid_method(config, first) == 0);
    if (second)
        CHECK(event_config_avoid_method(config, second) == 0);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config); /* the base keeps nothing of it */
    snprintf(name, sizeof name, "%s", base ? event_base_get_method(base) : "none");
    if (base)
        event_base_free(base);
    return name;
}

CASE(config_methods) {
    say("epoll %d poll %d select %d kqueue %d", has_method("epoll"), has_method("poll"),
        has_method("select"), has_method("kqueue"));
    say("default %s", method_without(NULL, NULL));
    say("without epoll %s", method_without("epoll", NULL));
    say("without epoll and poll %s", method_without("epoll", "poll"));
    say("without an unknown one %s", method_without("nonesuch", NULL));
}

/* One event of each kind works on every method. */
static void works_on(const char *avoid1, const char *avoid2) {
    struct event_config *config = event_config_new();
    CHECK(config);
    if (avoid1)
        CHECK(event_config_avoid_method(config, avoid1) == 0);
    if (avoid2)
        CHECK(event_config_avoid_method(config, avoid2) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base);
    event_config_free(config);
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "read");
    struct event *writer = new_event(base, fd[0], EV_WRITE, traced, "write");
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL, traced, "signal");
    step(event_base_get_method(base));
    CHECK(event_add(reader, NULL) == 0);
    pass(base);
    CHECK(event_add(writer, NULL) == 0);
    pass(base);
    send_all(fd[1], "x", 1);
    pass(base);
    CHECK(add_ms(timer, 1) == 0);
    event_base_loop(base, EVLOOP_ONCE);
    CHECK(event_add(signals, NULL) == 0);
    raise(SIGUSR1);
    event_base_loop(base, EVLOOP_ONCE);
    close(fd[1]);
    pass(base);
    event_free(reader);
    event_free(writer);
    event_free(timer);
    event_free(signals);
    event_base_free(base);
    close(fd[0]);
}

CASE(config_each_method_works) {
    works_on(NULL, NULL);
    works_on("epoll", NULL);
    works_on("epoll", "poll");
}

static void say_features(int required, const char *name) {
    struct event_config *config = event_config_new();
    CHECK(config);
    int result = event_config_require_features(config, (enum event_method_feature)required);
    struct event_base *base = event_base_new_with_config(config);
    say("%s: %d base %d", name, result, base != NULL);
    if (base)
        event_base_free(base);
    event_config_free(config);
}

CASE(config_features) {
    struct event_base *base = new_base();
    int features = event_base_get_features(base);
    say("edge %d O(1) %d any descriptor %d early close %d", (features & EV_FEATURE_ET) != 0,
        (features & EV_FEATURE_O1) != 0, (features & EV_FEATURE_FDS) != 0,
        (features & EV_FEATURE_EARLY_CLOSE) != 0);
    event_base_free(base);
    event_set_log_callback(no_log);
    say_features(EV_FEATURE_ET, "edge");
    say_features(EV_FEATURE_FDS, "any descriptor");
    say_features(EV_FEATURE_ET | EV_FEATURE_FDS, "both");
    say_features(EV_FEATURE_EARLY_CLOSE, "early close");
    say_features(0x10, "what there is not");
    say_features(EV_FEATURE_O1 | 0x100, "more than there is");
}

/* poll can do files, but no edges. */
CASE(config_any_descriptor_means_files_too) {
    struct event_config *config = event_config_new();
    CHECK(config && event_config_require_features(config, EV_FEATURE_FDS) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base);
    event_config_free(config);
    FILE *file = tmpfile();
    CHECK(file);
    struct event *event = new_event(base, fileno(file), EV_READ | EV_WRITE, traced, "file");
    say("method %s", event_base_get_method(base));
    say("add %d", event_add(event, NULL));
    step("loop");
    event_base_dispatch(base);
    event_free(event);
    event_base_free(base);
    fclose(file);
}

CASE(config_environment_names_methods_to_avoid) {
    CHECK(setenv("EVENT_NOEPOLL", "1", 1) == 0);
    say("no epoll %s", method_without(NULL, NULL));
    CHECK(setenv("EVENT_NOPOLL", "", 1) == 0);
    say("nor poll %s", method_without(NULL, NULL));
    struct event_config *config = event_config_new();
    CHECK(config && event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base);
    say("environment ignored %s", event_base_get_method(base));
    event_base_free(base);
    event_config_free(config);
    CHECK(unsetenv("EVENT_NOEPOLL") == 0 && unsetenv("EVENT_NOPOLL") == 0);
    CHECK(setenv("EVENT_SHOW_METHOD", "1", 1) == 0);
    event_set_log_callback(no_log);
    say("again %s", method_without(NULL, NULL));
}

/* No method is left: no base. */
CASE(config_no_method_left) {
    struct event_config *config = event_config_new();
    CHECK(config);
    event_set_log_callback(no_log);
    for (const char **method = event_get_supported_methods(); *method; method++)
        CHECK(event_config_avoid_method(config, *method) == 0);
    say("base %d", event_base_new_with_config(config) != NULL);
    event_config_free(config);
}

static void flag_works(int flag, const char *name) {
    struct event_config *config = event_config_new();
    CHECK(config);
    int set = event_config_set_flag(config, flag);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    CHECK(base);
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    CHECK(add_ms(timer, 1) == 0);
    step(name);
    token("set=%d", set);
    event_base_dispatch(base);
    event_free(timer);
    event_base_free(base);
}

CASE(config_flags) {
    flag_works(EVENT_BASE_FLAG_NOLOCK, "nolock");
    flag_works(EVENT_BASE_FLAG_NO_CACHE_TIME, "no cached time");
    flag_works(EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST, "changelist");
    flag_works(EVENT_BASE_FLAG_PRECISE_TIMER, "precise");
    struct event_config *config = event_config_new();
    say("hint %d", event_config_set_num_cpus_hint(config, 4));
    event_config_free(config);
}

static struct event *high;

static void wakes_high_by_fd(evutil_socket_t fd, short what, void *arg) {
    traced(fd, what, "low");
    send_all(*(int *)arg, "x", 1);
}

/* After so many callbacks of low priority the loop looks whether something higher is ready. */
CASE(config_max_callbacks_between_looks) {
    struct event_config *config = event_config_new();
    CHECK(config && event_config_set_max_dispatch_interval(config, NULL, 2, 1) == 0);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    CHECK(base && event_base_priority_init(base, 2) == 0);
    int fd[2];
    unix_pair(fd);
    struct event *low[5];
    high = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "high");
    CHECK(event_priority_set(high, 0) == 0 && event_add(high, NULL) == 0);
    for (int i = 0; i < 5; i++) {
        low[i] = new_event(base, -1, 0, wakes_high_by_fd, &fd[1]);
        CHECK(event_priority_set(low[i], 1) == 0);
        event_active(low[i], EV_WRITE, 1);
    }
    step("loop");
    event_base_loop(base, EVLOOP_NONBLOCK);
    for (int i = 0; i < 5; i++)
        event_free(low[i]);
    event_free(high);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(config_version) {
    say("%s %#x", event_get_version(), event_get_version_number());
    say("headers agree %d", event_get_version_number() == LIBEVENT_VERSION_NUMBER &&
                                strcmp(event_get_version(), LIBEVENT_VERSION) == 0);
}

static void log_severity(int severity, const char *text) {
    token("severity=%d text=%d newline=%d", severity, text[0] != '\0', strchr(text, '\n') != NULL);
}

/* The callback hears of warnings, without prefix and newline; NULL restores the default. */
CASE(config_log_callback) {
    event_set_log_callback(log_severity);
    step("log");
    CHECK(evutil_make_socket_nonblocking(-1) == -1);
}

static unsigned allocated, released;

static void *my_malloc(size_t size) {
    allocated++;
    return malloc(size);
}

static void *my_realloc(void *old, size_t size) {
    if (!old)
        allocated++;
    return realloc(old, size);
}

static void my_free(void *memory) {
    released++;
    free(memory);
}

/*
 * Memory that the caller frees, or that is handed to it as a struct, comes from the replaced functions. (libevent takes
 * all of its memory from them.)
 */
CASE(config_memory_functions) {
    event_set_mem_functions(my_malloc, my_realloc, my_free);
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer && evbuffer_add(buffer, "line\n", 5) == 0);
    unsigned before = allocated;
    char *line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF);
    CHECK(line);
    say("line %s from my malloc %d", line, allocated > before);
    my_free(line);
    evbuffer_free(buffer);
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "a");
    CHECK(add_ms(event, 1) == 0);
    event_base_dispatch(base);
    event_free(event);
    event_base_free(base);
    say("some allocated %d, none twice released %d", allocated > 1, released <= allocated);
}

/* After fork the child reinitializes; its changes do not reach the parent. */
CASE(config_reinit_after_fork) {
    struct event_base *base = new_base();
    int fd[2], status;
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced, "reader");
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    CHECK(event_add(reader, NULL) == 0 && event_add(signals, NULL) == 0);
    pass(base);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        say("child reinit %d", event_reinit(base));
        send_all(fd[1], "x", 1);
        step("child reads");
        event_base_loop(base, EVLOOP_ONCE);
        event_del(reader);
        raise(SIGUSR1);
        step("child signal");
        event_base_loop(base, EVLOOP_ONCE);
        event_free(reader);
        event_free(signals);
        event_base_free(base);
        say("child done");
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    say("child status %d", status);
    step("parent reads");
    event_base_loop(base, EVLOOP_ONCE);
    event_del(reader);
    raise(SIGUSR1);
    step("parent signal");
    event_base_loop(base, EVLOOP_ONCE);
    event_free(reader);
    event_free(signals);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* No header declares these, but programs made by event_rpcgen call them. */
void event_warn(const char *format, ...);
void event_warnx(const char *format, ...);
void event_msgx(const char *format, ...);
void event_errx(int code, const char *format, ...);

static void says_log(int severity, const char *text) {
    say("%d %s", severity, text);
}

static void says_fatal(int code) {
    say("fatal %#x", (unsigned)code);
    exit(0);
}

CASE(config_messages_of_the_program) {
    event_set_log_callback(says_log);
    event_set_fatal_callback(says_fatal);
    errno = ENOENT;
    event_warn("%s of %d", "one", 3);
    event_warnx("%s of %d", "two", 3);
    event_msgx("%d of %d", 3, 3);
    event_errx(7, "the %s", "end");
}

CASE(config_debug_mode_twice) {
    event_set_log_callback(says_log);
    event_set_fatal_callback(says_fatal);
    event_enable_debug_mode();
    event_enable_debug_mode();
}

CASE(config_debug_mode_too_late) {
    struct event_base *base = new_base();
    event_set_log_callback(says_log);
    event_set_fatal_callback(says_fatal);
    event_enable_debug_mode();
    event_base_free(base);
}

/* Debug mode ends a program that uses an event which is not set up, or sets up a pending one. Only
 * the text differs. */
static void mistaken(bool pending_one) {
    event_enable_debug_mode();
    event_set_log_callback(no_log);
    event_set_fatal_callback(says_fatal);
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "a");
    if (pending_one) {
        CHECK(add_ms(event, 100000) == 0);
        event_assign(event, base, -1, 0, traced, "a");
    } else {
        event_debug_unassign(event);
        event_active(event, EV_READ, 1);
    }
    say("not noticed");
}

CASE(config_debug_mode_unassigned_event) {
    mistaken(false);
}

CASE(config_debug_mode_assign_of_a_pending_event) {
    mistaken(true);
}

/* EVENT_SHOW_METHOD has the method told in the log, whether a base heeds the environment or not. */
CASE(config_shows_the_method_in_the_log) {
    event_set_log_callback(says_log);
    struct event_config *config = event_config_new();
    CHECK(config && event_config_avoid_method(config, "epoll") == 0);
    CHECK(event_config_avoid_method(config, "poll") == 0);
    CHECK(event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0);
    CHECK(setenv("EVENT_SHOW_METHOD", "", 1) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base);
    event_base_free(base);
    event_config_free(config);
}

/* A message for which there is no reader harms nobody. */
CASE(config_log_that_nobody_reads) {
    int fd[2];
    CHECK(pipe(fd) == 0 && dup2(fd[1], STDERR_FILENO) == STDERR_FILENO);
    close(fd[0]);
    close(fd[1]);
    event_warnx("nobody reads this");
    struct event_base *base = new_base();
    struct event *event = new_event(base, 65, EV_SIGNAL, traced, "a");
    say("add %d", event_add(event, NULL));
    event_free(event);
    event_base_free(base);
}
