/* Bytes in and out of evbuffers: add, prepend, drain, remove, copyout, moves between buffers. */
#include "buffer.h"

#include <stdarg.h>

CASE(buffer_add_and_remove) {
    struct evbuffer *buffer = evbuffer_new();
    char data[16];
    say_buffer("new", buffer);
    say("add nothing %d", evbuffer_add(buffer, NULL, 0));
    say("add %d", evbuffer_add(buffer, "hello ", 6));
    say("add %d", evbuffer_add(buffer, "world", 5));
    say_buffer("both", buffer);
    say("remove %d", evbuffer_remove(buffer, data, 3));
    say("got %.3s", data);
    say("remove nothing %d", evbuffer_remove(buffer, data, 0));
    say("remove more than there is %d", evbuffer_remove(buffer, data, sizeof data));
    say("got %.8s", data);
    say("remove from an empty one %d", evbuffer_remove(buffer, data, sizeof data));
    evbuffer_free(buffer);
}

CASE(buffer_drain) {
    struct evbuffer *buffer = buffer_of("0123456789");
    say("drain 0: %d", evbuffer_drain(buffer, 0));
    say("drain 3: %d", evbuffer_drain(buffer, 3));
    say_buffer("rest", buffer);
    say("drain too much: %d", evbuffer_drain(buffer, 100));
    say_buffer("empty", buffer);
    say("drain an empty one: %d", evbuffer_drain(buffer, 5));
    say("add after: %d", evbuffer_add(buffer, "again", 5));
    say("drain all there can be: %d", evbuffer_drain(buffer, SIZE_MAX));
    say_buffer("empty", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_prepend) {
    struct evbuffer *buffer = evbuffer_new();
    char letter;
    say("to an empty one %d", evbuffer_prepend(buffer, "world", 5));
    say("to a full one %d", evbuffer_prepend(buffer, "hello ", 6));
    say("nothing %d", evbuffer_prepend(buffer, "", 0));
    say_buffer("both", buffer);
    evbuffer_drain(buffer, 6);
    for (letter = 'a'; letter <= 'z'; letter++)
        CHECK(evbuffer_prepend(buffer, &letter, 1) == 0);
    say_buffer("letters", buffer);
    evbuffer_add(buffer, "!", 1);
    say_buffer("end", buffer);
    evbuffer_free(buffer);
}

/* Large amounts keep their order, prepended and added by turns. */
CASE(buffer_large_from_both_sides) {
    struct evbuffer *buffer = evbuffer_new();
    unsigned char data[5000];
    for (unsigned i = 0; i < 20; i++) {
        fill(data, sizeof data, i);
        CHECK(evbuffer_prepend(buffer, data, 200 + i * 240) == 0);
        add_filled(buffer, 37 * i * i, i + 100);
        if (i % 5 == 4)
            CHECK(evbuffer_drain(buffer, 1000) == 0);
    }
    say_buffer("all", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_of_many_megabytes) {
    enum { PIECE = 70000, PIECES = 320 };
    static unsigned char piece[PIECE];
    struct evbuffer *buffer = evbuffer_new(), *other = evbuffer_new();
    CHECK(buffer && other);
    for (int i = 0; i < PIECES; i++) {
        fill(piece, PIECE, (unsigned)i);
        CHECK(evbuffer_add(buffer, piece, PIECE) == 0);
    }
    say("%zu bytes", evbuffer_get_length(buffer));
    /* From the front, from the middle, and what is left over when most has been moved and drained. */
    say("moved: %d", evbuffer_remove_buffer(buffer, other, 17 << 20));
    CHECK(evbuffer_drain(other, (17 << 20) - 100000) == 0);
    say_buffer("the end of the first part", other);
    CHECK(evbuffer_drain(buffer, 3 << 20) == 0);
    say("moved back: %d", evbuffer_prepend_buffer(buffer, other));
    say_buffer("all that is left", buffer);
    CHECK(evbuffer_pullup(buffer, -1));
    say_buffer("in one piece", buffer);
    evbuffer_free(buffer);
    evbuffer_free(other);
}

CASE(buffer_copyout) {
    struct evbuffer *buffer = scattered("0123456789");
    struct evbuffer_ptr at;
    char data[32] = "................";
    say("copyout 4: %d", (int)evbuffer_copyout(buffer, data, 4));
    say("got %.5s", data);
    say("more than there is: %d", (int)evbuffer_copyout(buffer, data, 32));
    say("got %.11s", data);
    CHECK(evbuffer_ptr_set(buffer, &at, 7, EVBUFFER_PTR_SET) == 0);
    say("from 7: %d", (int)evbuffer_copyout_from(buffer, &at, data, 32));
    say("got %.4s", data);
    say("from NULL: %d", (int)evbuffer_copyout_from(buffer, NULL, data, 2));
    CHECK(evbuffer_ptr_set(buffer, &at, 10, EVBUFFER_PTR_SET) == 0);
    say("from the end: %d", (int)evbuffer_copyout_from(buffer, &at, data, 32));
    say_buffer("unchanged", buffer);
    evbuffer_free(buffer);
    buffer = evbuffer_new();
    say("of an empty one: %d", (int)evbuffer_copyout(buffer, data, 4));
    evbuffer_free(buffer);
}

CASE(buffer_add_buffer) {
    struct evbuffer *to = evbuffer_new(), *from = buffer_of("first ");
    say("to an empty one %d", evbuffer_add_buffer(to, from));
    say_buffer("from", from);
    evbuffer_add(from, "second", 6);
    say("to a full one %d", evbuffer_add_buffer(to, from));
    say("an empty one %d", evbuffer_add_buffer(to, from));
    say_buffer("from", from);
    say_buffer("to", to);
    evbuffer_add(from, "reused", 6);
    say_buffer("from", from);
    evbuffer_free(from); /* what was moved does not depend on it */
    say_buffer("to", to);
    evbuffer_free(to);
}

/* Moving a buffer into itself does nothing, and that is no error. */
CASE(buffer_add_buffer_to_itself) {
    struct evbuffer *buffer = evbuffer_new();
    say("empty: add %d", evbuffer_add_buffer(buffer, buffer));
    say("empty: prepend %d", evbuffer_prepend_buffer(buffer, buffer));
    evbuffer_add(buffer, "x", 1);
    say("full: add %d", evbuffer_add_buffer(buffer, buffer));
    say("full: prepend %d", evbuffer_prepend_buffer(buffer, buffer));
    say("full: remove %d", evbuffer_remove_buffer(buffer, buffer, 1));
    say_buffer("kept", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_prepend_buffer) {
    struct evbuffer *to = buffer_of("end"), *from = buffer_of("start ");
    say("to a full one %d", evbuffer_prepend_buffer(to, from));
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_drain(to, 100);
    evbuffer_add(from, "alone", 5);
    say("to an empty one %d", evbuffer_prepend_buffer(to, from));
    say("an empty one %d", evbuffer_prepend_buffer(to, from));
    say_buffer("to", to);
    evbuffer_add(from, "more", 4);
    evbuffer_add(to, "!", 1);
    say_buffer("from", from);
    say_buffer("to", to);
    evbuffer_free(from);
    evbuffer_free(to);
}

CASE(buffer_remove_buffer) {
    struct evbuffer *to = buffer_of("to:"), *from = buffer_of("0123456789");
    say("4: %d", evbuffer_remove_buffer(from, to, 4));
    say_buffer("to", to);
    say_buffer("from", from);
    say("0: %d", evbuffer_remove_buffer(from, to, 0));
    say("more than there is: %d", evbuffer_remove_buffer(from, to, 100));
    say_buffer("to", to);
    say("from an empty one: %d", evbuffer_remove_buffer(from, to, 5));
    evbuffer_free(from);
    from = scattered("abcdefghij");
    evbuffer_add(from, "klmnop", 6);
    say("within a later piece: %d", evbuffer_remove_buffer(from, to, 12));
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_free(from);
    evbuffer_free(to);
}

CASE(buffer_remove_buffer_large) {
    struct evbuffer *to = evbuffer_new(), *from = evbuffer_new();
    for (unsigned i = 0; i < 30; i++)
        add_filled(from, 3000 + i, i);
    int step_length = 1, moved = 0;
    while (evbuffer_get_length(from) > 0) {
        moved += evbuffer_remove_buffer(from, to, (size_t)step_length);
        step_length = step_length * 3 + 1;
    }
    say("moved %d", moved);
    say_buffer("to", to);
    evbuffer_free(from);
    evbuffer_free(to);
}

CASE(buffer_printf) {
    struct evbuffer *buffer = evbuffer_new();
    char *wide = malloc(9001);
    CHECK(wide);
    memset(wide, 'w', 9000);
    wide[9000] = '\0';
    say("printf %d", evbuffer_add_printf(buffer, "%d %s %5.2f", 42, "text", 1.5));
    say("nothing %d", evbuffer_add_printf(buffer, "%s", ""));
    say_buffer("short", buffer);
    say("long %d", evbuffer_add_printf(buffer, "<%s>", wide));
    say_buffer("long", buffer);
    say("zero byte %d", evbuffer_add_printf(buffer, "a%cb", 0));
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_free(buffer);
    free(wide);
}

/* Programs read what they have formatted as a string, where it lies. */
CASE(buffer_printf_ends_with_a_zero_byte) {
    static const int lengths[] = {1, 15, 100, 254, 255, 256, 511, 512, 1000, 1023, 1024, 4000, 4096, 9000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct evbuffer *buffer = evbuffer_new();
        /* Memory that held something else. */
        add_filled(buffer, 5000, 1);
        evbuffer_drain(buffer, 5000);
        evbuffer_add_printf(buffer, "%*s", lengths[i], "end");
        const char *text = (const char *)evbuffer_pullup(buffer, -1);
        say("%d: then %d", lengths[i], text[lengths[i]]);
        evbuffer_free(buffer);
    }
    struct evbuffer *buffer = evbuffer_new();
    int zeros = 0;
    for (int i = 0; i < 2000; i++) {
        struct evbuffer_iovec pieces[64];
        evbuffer_add_printf(buffer, "%*s", 1 + i % 40, "x");
        int count = evbuffer_peek(buffer, -1, NULL, pieces, 64);
        CHECK(count > 0 && count <= 64);
        zeros += ((const char *)pieces[count - 1].iov_base)[pieces[count - 1].iov_len] == 0;
    }
    say("of 2000: %d", zeros);
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_free(buffer);
}

static int add_with_vprintf(struct evbuffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int result = evbuffer_add_vprintf(buffer, format, args);
    va_end(args);
    return result;
}

CASE(buffer_vprintf) {
    struct evbuffer *buffer = buffer_of("=");
    /* Grows while it formats: the arguments must be walked more than once. */
    say("result %d", add_with_vprintf(buffer, "%s-%05d-%5000s", "abc", 77, "end"));
    say_buffer("all", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_add_iovec) {
    struct evbuffer *buffer = buffer_of(">");
    char one[] = "one", two[] = "two";
    struct evbuffer_iovec pieces[] = {{one, 3}, {NULL, 0}, {two, 3}};
    say("three %zu", evbuffer_add_iovec(buffer, pieces, 3));
    say("none %zu", evbuffer_add_iovec(buffer, pieces, 0));
    say_buffer("all", buffer);
    evbuffer_free(buffer);
}

/* Sizes that cannot be: refused, nothing changed. */
CASE(buffer_sizes_that_overflow) {
    struct evbuffer *buffer = buffer_of("kept");
    char data[] = "data";
    struct evbuffer_iovec vectors[2];
    say("add %d", evbuffer_add(buffer, data, SIZE_MAX));
    say("add half %d", evbuffer_add(buffer, data, SIZE_MAX / 2 + 1));
    say("prepend %d", evbuffer_prepend(buffer, data, SIZE_MAX));
    say("expand %d", evbuffer_expand(buffer, SIZE_MAX));
    say("expand half %d", evbuffer_expand(buffer, SIZE_MAX / 2 + 1));
    say("reserve %d", evbuffer_reserve_space(buffer, -1, vectors, 1));
    say("reserve the most %d", evbuffer_reserve_space(buffer, PTRDIFF_MAX, vectors, 2));
    say("pullup %d", evbuffer_pullup(buffer, PTRDIFF_MAX) != NULL);
    say_buffer("buffer", buffer);
    say("add %d", evbuffer_add(buffer, data, 4));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}
