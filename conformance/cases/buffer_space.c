/* Direct access to the memory of evbuffers: expand, reserve and commit, pullup, peek; and data by
 * reference. How the bytes are divided into pieces is libevent's affair and not traced. */
#include "buffer.h"

CASE(buffer_expand) {
    struct evbuffer *buffer = buffer_of("abc");
    say("small %d", evbuffer_expand(buffer, 10));
    say("large %d", evbuffer_expand(buffer, 100000));
    say("nothing %d", evbuffer_expand(buffer, 0));
    say_buffer("unchanged", buffer);
    add_filled(buffer, 100000, 1);
    say_buffer("filled", buffer);
    evbuffer_free(buffer);
}

/* After expand, that many bytes can be reserved in one piece. */
CASE(buffer_expand_makes_one_piece) {
    struct evbuffer *buffer = evbuffer_new();
    struct evbuffer_iovec piece;
    add_filled(buffer, 100, 1);
    CHECK(evbuffer_expand(buffer, 5000) == 0);
    say("pieces %d", evbuffer_reserve_space(buffer, 5000, &piece, 1));
    say("large enough %d", piece.iov_len >= 5000);
    evbuffer_free(buffer);
}

static void fill_pieces(struct evbuffer_iovec *pieces, int count, const char *text) {
    size_t left = strlen(text);
    for (int i = 0; i < count; i++) {
        size_t part = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        memcpy(pieces[i].iov_base, text, part);
        pieces[i].iov_len = part;
        text += part;
        left -= part;
    }
    CHECK(left == 0);
}

CASE(buffer_reserve_and_commit_one) {
    struct evbuffer *buffer = buffer_of("start:");
    struct evbuffer_iovec piece;
    int count = evbuffer_reserve_space(buffer, 1000, &piece, 1);
    say("pieces %d large enough %d", count, piece.iov_len >= 1000);
    say_buffer("reserved", buffer);
    fill_pieces(&piece, 1, "committed");
    say("commit %d", evbuffer_commit_space(buffer, &piece, 1));
    say_buffer("committed", buffer);
    count = evbuffer_reserve_space(buffer, 20000, &piece, 1);
    say("pieces %d large enough %d", count, piece.iov_len >= 20000);
    piece.iov_len = 0;
    say("commit nothing %d", evbuffer_commit_space(buffer, &piece, 1));
    say("commit no pieces %d", evbuffer_commit_space(buffer, &piece, 0));
    say("add %d", evbuffer_add(buffer, "!", 1));
    say_buffer("end", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_reserve_and_commit_several) {
    for (int limit = 2; limit <= 4; limit++) {
        struct evbuffer *buffer = evbuffer_new();
        struct evbuffer_iovec pieces[4];
        size_t room = 0;
        CHECK(evbuffer_add(buffer, "start:", 6) == 0);
        int count = evbuffer_reserve_space(buffer, 30000, pieces, limit);
        CHECK(count >= 1 && count <= limit);
        for (int i = 0; i < count; i++)
            room += pieces[i].iov_len;
        say("room %d", room >= 30000);
        unsigned char *data = malloc(30000);
        CHECK(data);
        fill(data, 30000, 5);
        size_t done = 0;
        for (int i = 0; i < count; i++) {
            size_t part = 30000 - done < pieces[i].iov_len ? 30000 - done : pieces[i].iov_len;
            memcpy(pieces[i].iov_base, data + done, part);
            pieces[i].iov_len = part;
            done += part;
        }
        free(data);
        say("commit %d", evbuffer_commit_space(buffer, pieces, count));
        say_buffer("all", buffer);
        evbuffer_free(buffer);
    }
}

/* A commit of more than was reserved, or of other memory, is refused. */
CASE(buffer_commit_of_no_pieces_changes_nothing) {
    struct evbuffer *buffer = buffer_of("abc");
    struct evbuffer_iovec piece;
    CHECK(evbuffer_reserve_space(buffer, 10, &piece, 1) == 1);
    memcpy(piece.iov_base, "de", 2);
    piece.iov_len = 2;
    say("no pieces %d", evbuffer_commit_space(buffer, &piece, 0));
    say("fewer %d", evbuffer_commit_space(buffer, &piece, -1));
    say("one %d", evbuffer_commit_space(buffer, &piece, 1));
    say_buffer("buffer", buffer);
    CHECK(evbuffer_reserve_space(buffer, 10, &piece, 1) == 1);
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("frozen %d", evbuffer_commit_space(buffer, &piece, 0));
    evbuffer_free(buffer);
}

CASE(buffer_reserve_no_room) {
    struct evbuffer *buffer = buffer_of("abc");
    struct evbuffer_iovec pieces[2];
    for (int count = 0; count < 3; count++)
        say("%d pieces: %d", count, evbuffer_reserve_space(buffer, 0, pieces, count));
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("frozen %d", evbuffer_reserve_space(buffer, 0, pieces, 2));
    evbuffer_free(buffer);
}

CASE(buffer_commit_refused) {
    struct evbuffer *buffer = buffer_of("kept");
    struct evbuffer_iovec piece, wrong;
    char elsewhere[16] = "elsewhere";
    CHECK(evbuffer_reserve_space(buffer, 100, &piece, 1) == 1);
    wrong = piece;
    wrong.iov_len = piece.iov_len + 1;
    say("too long %d", evbuffer_commit_space(buffer, &wrong, 1));
    wrong.iov_base = elsewhere;
    wrong.iov_len = 5;
    say("other memory %d", evbuffer_commit_space(buffer, &wrong, 1));
    say_buffer("unchanged", buffer);
    memcpy(piece.iov_base, "!", 1);
    piece.iov_len = 1;
    say("right %d", evbuffer_commit_space(buffer, &piece, 1));
    say_buffer("changed", buffer);
    say("reserve with no pieces %d", evbuffer_reserve_space(buffer, 10, &piece, 0));
    evbuffer_free(buffer);
}

static void say_front(const char *name, const unsigned char *front, size_t length) {
    if (front)
        say("%s: <%.*s>", name, (int)length, (const char *)front);
    else
        say("%s: NULL", name);
}

CASE(buffer_pullup) {
    struct evbuffer *buffer = scattered("0123456789");
    say_front("3", evbuffer_pullup(buffer, 3), 3);
    say("contiguous now %d", evbuffer_get_contiguous_space(buffer) >= 3);
    say_front("7", evbuffer_pullup(buffer, 7), 7);
    say_front("11", evbuffer_pullup(buffer, 11), 11);
    say("0 gives %s", evbuffer_pullup(buffer, 0) ? "a pointer" : "NULL");
    say_front("all", evbuffer_pullup(buffer, -1), 10);
    say("contiguous now %zu", evbuffer_get_contiguous_space(buffer));
    say_buffer("unchanged", buffer);
    evbuffer_drain(buffer, 4);
    say_front("after drain", evbuffer_pullup(buffer, -1), 6);
    evbuffer_drain(buffer, 6);
    say("all of an empty one %d", evbuffer_pullup(buffer, -1) != NULL);
    say("0 of an empty one %d", evbuffer_pullup(buffer, 0) != NULL);
    say("1 of an empty one %d", evbuffer_pullup(buffer, 1) != NULL);
    say("contiguous %zu", evbuffer_get_contiguous_space(buffer));
    evbuffer_free(buffer);
}

/* What was prepended, added and referenced comes together; pulling up a large buffer is right. */
CASE(buffer_pullup_large) {
    struct evbuffer *buffer = evbuffer_new();
    for (unsigned i = 0; i < 40; i++)
        add_filled(buffer, 2000 + i, i);
    say_buffer("before", buffer);
    size_t length = evbuffer_get_length(buffer);
    unsigned char *all = evbuffer_pullup(buffer, -1);
    CHECK(all);
    say("hash %016llx", (unsigned long long)hash_bytes(HASH_START, all, length));
    say_buffer("after", buffer);
    say("the memory is the buffer's: %d", evbuffer_pullup(buffer, 5) == all);
    evbuffer_free(buffer);
}

/* The pieces of peek hold the bytes in order, at least as many as asked for if there are. */
static void say_peek(struct evbuffer *buffer, ev_ssize_t length, struct evbuffer_ptr *start) {
    struct evbuffer_iovec pieces[64];
    int needed = evbuffer_peek(buffer, length, start, NULL, 0);
    int count = evbuffer_peek(buffer, length, start, pieces, 64);
    char text[128];
    size_t used = 0;
    CHECK(count >= 0 && count <= 64);
    for (int i = 0; i < count; i++) {
        CHECK(used + pieces[i].iov_len < sizeof text);
        memcpy(text + used, pieces[i].iov_base, pieces[i].iov_len);
        used += pieces[i].iov_len;
    }
    bool enough = length >= 0 && used >= (size_t)length;
    if (length >= 0 && used > (size_t)length)
        used = (size_t)length;
    text[used] = '\0';
    say("%d: <%s> enough %d, counted alike %d", (int)length, text, enough, needed == count);
}

CASE(buffer_peek) {
    struct evbuffer *buffer = scattered("0123456789");
    struct evbuffer_ptr at;
    evbuffer_add(buffer, "abcdef", 6);
    say_peek(buffer, 5, NULL);
    say_peek(buffer, 12, NULL);
    say_peek(buffer, 16, NULL);
    say_peek(buffer, 100, NULL);
    say_peek(buffer, -1, NULL);
    CHECK(evbuffer_ptr_set(buffer, &at, 8, EVBUFFER_PTR_SET) == 0);
    say_peek(buffer, 4, &at);
    say_peek(buffer, -1, &at);
    CHECK(evbuffer_ptr_set(buffer, &at, 13, EVBUFFER_PTR_SET) == 0);
    say_peek(buffer, 2, &at);
    CHECK(evbuffer_ptr_set(buffer, &at, 16, EVBUFFER_PTR_SET) == 0);
    say("at the end %d", evbuffer_peek(buffer, -1, &at, NULL, 0));
    say_buffer("unchanged", buffer);
    evbuffer_drain(buffer, 16);
    say("of an empty one %d", evbuffer_peek(buffer, -1, NULL, NULL, 0));
    evbuffer_free(buffer);
}

/* With too few pieces the answer is how many are needed, and those that are there are filled. */
CASE(buffer_peek_with_too_few_pieces) {
    struct evbuffer *buffer = evbuffer_new();
    struct evbuffer_iovec piece = {NULL, 0};
    static const char first[] = "first", second[] = "second";
    CHECK(evbuffer_add_reference(buffer, first, 5, NULL, NULL) == 0);
    CHECK(evbuffer_add_reference(buffer, second, 6, NULL, NULL) == 0);
    say("needed is more than one %d", evbuffer_peek(buffer, 11, NULL, &piece, 1) > 1);
    say("first <%.*s>", (int)piece.iov_len, (char *)piece.iov_base);
    evbuffer_free(buffer);
}

static unsigned cleanups;

static void cleanup(const void *data, size_t length, void *extra) {
    cleanups++;
    say("cleanup of %zu bytes <%.3s> extra %s", length, (const char *)data, (char *)extra);
}

CASE(buffer_reference_is_cleaned_up_once) {
    static const char data[] = "reference";
    struct evbuffer *buffer = buffer_of("a"), *other = evbuffer_new();
    const char *seen;
    say("add %d", evbuffer_add_reference(buffer, data, 9, cleanup, "x"));
    say_buffer("both", buffer);
    evbuffer_drain(buffer, 1);
    seen = (const char *)evbuffer_pullup(buffer, 9);
    say("not copied %d", seen == data);
    evbuffer_drain(buffer, 4);
    say("cleanups %u", cleanups);
    CHECK(evbuffer_add_buffer(other, buffer) == 0);
    evbuffer_free(buffer);
    say("cleanups after a move %u", cleanups);
    say_buffer("moved", other);
    evbuffer_drain(other, 5);
    say("cleanups after the last byte %u", cleanups);
    evbuffer_free(other);
    say("at the end %u", cleanups);
}

CASE(buffer_reference_cleaned_up_by_free_and_by_copying) {
    static const char data[] = "reference";
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_reference(buffer, data, 9, cleanup, "freed") == 0);
    evbuffer_free(buffer);
    say("after free %u", cleanups);
    buffer = buffer_of("ab");
    CHECK(evbuffer_add_reference(buffer, data, 9, cleanup, "pulled up") == 0);
    evbuffer_pullup(buffer, -1); /* copies the bytes, so that the original can go */
    say("after pullup %u", cleanups);
    say_buffer("all", buffer);
    evbuffer_free(buffer);
    buffer = evbuffer_new();
    CHECK(evbuffer_add_reference(buffer, data, 9, NULL, NULL) == 0);
    evbuffer_free(buffer);
    say("without a function %u", cleanups);
}

/* Referenced memory is never written to. */
CASE(buffer_reference_is_not_written_to) {
    char data[32] = "0123456789..........";
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_reference(buffer, data, 10, NULL, NULL) == 0);
    CHECK(evbuffer_add(buffer, "added", 5) == 0);
    evbuffer_drain(buffer, 5);
    CHECK(evbuffer_prepend(buffer, "front", 5) == 0);
    say_buffer("buffer", buffer);
    say("memory %s", data);
    evbuffer_free(buffer);
}

CASE(buffer_empty_reference) {
    struct evbuffer *buffer = buffer_of("a");
    say("add %d", evbuffer_add_reference(buffer, "", 0, cleanup, "x"));
    say_buffer("buffer", buffer);
    evbuffer_drain(buffer, 1);
    evbuffer_free(buffer);
    say("cleanups %u", cleanups);
}

/* The other buffer keeps its bytes; both can be changed afterwards without the other noticing. */
CASE(buffer_add_buffer_reference) {
    struct evbuffer *to = buffer_of("to:"), *from = buffer_of("shared");
    say("add %d", evbuffer_add_buffer_reference(to, from));
    say_buffer("to", to);
    say_buffer("from", from);
    say("add to from %d", evbuffer_add(from, "+", 1));
    say("prepend to from %d", evbuffer_prepend(from, "-", 1));
    say("add to to %d", evbuffer_add(to, "!", 1));
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_drain(from, 4);
    evbuffer_free(from);
    say_buffer("to", to);
    evbuffer_free(to);
}

CASE_DIFFERS(buffer_add_buffer_reference_refused, "multicast",
             "a buffer that holds references to another's content can be referenced in turn") {
    struct evbuffer *to = buffer_of("to:"), *from = buffer_of("data"), *empty = evbuffer_new();
    say("to itself %d", evbuffer_add_buffer_reference(to, to));
    say("of an empty one %d", evbuffer_add_buffer_reference(to, empty));
    CHECK(evbuffer_add_buffer_reference(to, from) == 0);
    say_buffer("to", to);
    say("of one that holds such a reference %d", evbuffer_add_buffer_reference(from, to));
    say_buffer("from", from);
    evbuffer_free(to);
    evbuffer_free(from);
    evbuffer_free(empty);
}
