/* event2/util.h: texts, numbers, dates, clocks, random bytes. */
#include <limits.h>
#include <stdarg.h>

#include "loop.h"

CASE(util_snprintf) {
    char text[16];
    memset(text, 'z', sizeof text);
    say("%d %s", evutil_snprintf(text, sizeof text, "%d-%s", 12, "ab"), text);
    say("%d %s", evutil_snprintf(text, 4, "%d-%s", 12, "ab"), text);
    say("%d %s", evutil_snprintf(text, 1, "%s", "abc"), text);
    strcpy(text, "kept");
    say("%d %s", evutil_snprintf(text, 0, "%s", "abc"), text);
    say("%d %s", evutil_snprintf(text, sizeof text, "%s", ""), text);
    say("%d", evutil_snprintf(NULL, 0, "%s", "abc"));
    say("%d", evutil_snprintf(text, sizeof text, "%.1f %c %x %lld", 1.5, 'c', 255, LLONG_MAX));
    say("%s", text);
}

static int by_list(char *text, size_t room, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int result = evutil_vsnprintf(text, room, format, list);
    va_end(list);
    return result;
}

CASE(util_vsnprintf) {
    char text[16] = "kept";
    say("%d %s", by_list(text, 0, "%d", 12), text);
    say("%d %s", by_list(text, sizeof text, "%d-%s", 12, "ab"), text);
    say("%d %s", by_list(text, 3, "%d-%s", 12, "ab"), text);
    say("%d %s", by_list(text, sizeof text, "%1.2f|%s|%s|%d|%d|%d|%d", 1.0, "a", "b", 1, 2, 3, 4),
        text);
}

CASE(util_strtoll) {
    static const struct {
        const char *text;
        int base;
    } rows[] = {
        {"0", 10}, {"12x", 10}, {" \t-12", 10}, {"+7", 10}, {"", 10}, {"x", 10}, {"ff", 16},
        {"0xff", 16}, {"0xff", 0}, {"077", 0}, {"077", 10}, {"zz", 36}, {"12", 2}, {"-", 10},
        {"9223372036854775807", 10}, {"9223372036854775808", 10}, {"-9223372036854775808", 10},
        {"-9223372036854775809", 10}, {"99999999999999999999999999", 10}, {"1", 1}, {"1", 37},
        {"0x", 16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *end = NULL;
        errno = 0;
        ev_int64_t number = evutil_strtoll(rows[i].text, &end, rows[i].base);
        say("\"%s\" %d: %lld, rest \"%s\"%s%s", rows[i].text, rows[i].base, (long long)number,
            end ? end : "NULL", errno == ERANGE ? " ERANGE" : "", errno == EINVAL ? " EINVAL" : "");
    }
    say("%lld", (long long)evutil_strtoll("-5", NULL, 10));
}

CASE(util_ascii_strcasecmp) {
    static const char *const pairs[][2] = {
        {"", ""}, {"a", "A"}, {"a", "b"}, {"B", "a"}, {"abc", "ABCD"}, {"abcd", "ABC"}, {"", "a"},
        {"Z", "["}, {"z", "["}, {"@", "`"}, {"\xe4", "\xc4"}, {"\xff", "a"}, {"a_", "aZ"},
        {"content-LENGTH", "Content-Length"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *one = pairs[i][0], *other = pairs[i][1];
        token("%d", evutil_ascii_strcasecmp(one, other));
        for (size_t n = 0; n < 4; n++)
            token("%d", evutil_ascii_strncasecmp(one, other, n));
        say("of row %zu", i);
    }
    /* No byte behind the first that differs, and none beyond the length, is looked at. */
    static const char no_end[3] = {'a', 'b', 'c'};
    say("%d %d", evutil_ascii_strncasecmp(no_end, "ABC", 3),
        evutil_ascii_strncasecmp(no_end, "ABD", 3));
    say("%d", evutil_ascii_strncasecmp("ab", "AB", (size_t)-1));
}

CASE(util_date_rfc1123) {
    struct tm date = {.tm_sec = 9, .tm_min = 8, .tm_hour = 7, .tm_mday = 1, .tm_mon = 0,
                      .tm_year = 100, .tm_wday = 6};
    char text[40];
    memset(text, 'z', sizeof text);
    say("%d %s", evutil_date_rfc1123(text, sizeof text, &date), text);
    for (int month = 0; month < 12; month++) {
        date.tm_mon = month;
        date.tm_wday = month % 7;
        date.tm_mday = 31 - month;
        date.tm_year = 70 + month * 11;
        CHECK(evutil_date_rfc1123(text, sizeof text, &date) == 29);
        say("%s", text);
    }
    date.tm_year = 8099;
    say("%d %s", evutil_date_rfc1123(text, sizeof text, &date), text);
    static const size_t rooms[] = {1, 2, 28, 29, 30};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        memset(text, 'z', sizeof text);
        int result = evutil_date_rfc1123(text, rooms[i], &date);
        CHECK(text[rooms[i]] == 'z');
        say("%zu: %d %s", rooms[i], result, text);
    }
    /* NULL is now. */
    say("%d", evutil_date_rfc1123(text, sizeof text, NULL));
    say("%d%d%d", text[3] == ',', text[25] == ' ', strcmp(text + 26, "GMT") == 0);
}

static bool not_before(struct timeval a, struct timeval b) {
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_usec >= b.tv_usec);
}

CASE(util_monotonic_timer) {
    static const int flags[] = {0, EV_MONOT_PRECISE, EV_MONOT_FALLBACK,
                                EV_MONOT_PRECISE | EV_MONOT_FALLBACK};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
        struct timeval before, now;
        bool grew = false;
        CHECK(timer);
        say("configure %d", evutil_configure_monotonic_time(timer, flags[i]));
        say("first %d", evutil_gettime_monotonic(timer, &before));
        /* It never goes back, and it does go on. */
        for (int round = 0; round < 100000000 && !grew; round++) {
            CHECK(evutil_gettime_monotonic(timer, &now) == 0);
            CHECK(now.tv_usec >= 0 && now.tv_usec < 1000000);
            CHECK(not_before(now, before));
            grew = now.tv_usec != before.tv_usec;
            before = now;
        }
        say("grew %d", grew);
        evutil_monotonic_timer_free(timer);
    }
    evutil_monotonic_timer_free(NULL);
}

CASE(util_secure_rng) {
    unsigned char bytes[3][1024];
    unsigned seen[256] = {0}, values = 0;
    say("init %d", evutil_secure_rng_init());
    memset(bytes, 0, sizeof bytes);
    evutil_secure_rng_get_bytes(bytes[0], sizeof bytes[0]);
    evutil_secure_rng_get_bytes(bytes[1], sizeof bytes[1]);
    evutil_secure_rng_add_bytes("some bytes", 10);
    evutil_secure_rng_get_bytes(bytes[2], sizeof bytes[2]);
    say("different %d %d", memcmp(bytes[0], bytes[1], sizeof bytes[0]) != 0,
        memcmp(bytes[1], bytes[2], sizeof bytes[1]) != 0);
    for (size_t i = 0; i < sizeof bytes; i++)
        values += seen[((unsigned char *)bytes)[i]]++ == 0;
    /* Of 3,072 random bytes at least 200 values are different, but for odds of far below 10^-100. */
    say("spread %d", values > 200);
    memset(bytes[0], 0x5a, 8);
    evutil_secure_rng_get_bytes(bytes[0], 0);
    say("none asked, none written %d", bytes[0][0] == 0x5a);
    evutil_secure_rng_get_bytes(bytes[0], 3);
    say("no more than asked %d", bytes[0][3] == 0x5a && bytes[0][4] == 0x5a);
}

CASE(util_secure_rng_device_file) {
    char name[] = "/dev/urandom";
    unsigned char byte;
    say("before it is used %d", evutil_secure_rng_set_urandom_device_file(name));
    evutil_secure_rng_get_bytes(&byte, 1);
    say("and after %d", evutil_secure_rng_set_urandom_device_file(name));
}

CASE(util_secure_rng_in_a_child) {
    unsigned char bytes[2][32];
    int fd[2];
    CHECK(pipe(fd) == 0);
    evutil_secure_rng_get_bytes(bytes[0], sizeof bytes[0]);
    if (fork() == 0) {
        evutil_secure_rng_get_bytes(bytes[0], sizeof bytes[0]);
        _exit(write(fd[1], bytes[0], sizeof bytes[0]) == sizeof bytes[0] ? 0 : 1);
    }
    evutil_secure_rng_get_bytes(bytes[0], sizeof bytes[0]);
    CHECK(read(fd[0], bytes[1], sizeof bytes[1]) == sizeof bytes[1]);
    say("different %d", memcmp(bytes[0], bytes[1], sizeof bytes[0]) != 0);
    close(fd[0]);
    close(fd[1]);
}

CASE(util_time_macros) {
    struct timeval a = {1, 600000}, b = {2, 700000}, sum, difference;
    evutil_timeradd(&a, &b, &sum);
    evutil_timersub(&b, &a, &difference);
    say("%ld.%06ld %ld.%06ld", (long)sum.tv_sec, (long)sum.tv_usec, (long)difference.tv_sec,
        (long)difference.tv_usec);
    say("%d %d %d", evutil_timercmp(&a, &b, <), evutil_timercmp(&a, &a, ==),
        evutil_timercmp(&a, &b, >=));
    say("set %d", evutil_timerisset(&a) != 0);
    evutil_timerclear(&a);
    say("cleared %d", evutil_timerisset(&a) == 0);
    CHECK(evutil_gettimeofday(&a, NULL) == 0);
    say("%d", a.tv_sec > 1600000000);
}
