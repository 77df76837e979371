/* Files in evbuffers that are only written to descriptors: they are sent, and never looked at. */
#include "bufferevent.h"
#include "buffer.h"

/* An evbuffer that may keep files as what they are; never NULL. */
static struct evbuffer *draining(void) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer);
    CHECK(evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD) == 0);
    return buffer;
}

/* A descriptor of a nameless file of `length` bytes that depend on `seed`. */
static int file_filled(size_t length, unsigned seed) {
    unsigned char *data = malloc(length);
    FILE *file = tmpfile();
    CHECK(data && file);
    fill(data, length, seed);
    int fd = dup(fileno(file));
    CHECK(fd >= 0 && write(fd, data, length) == (ssize_t)length);
    fclose(file);
    free(data);
    return fd;
}

static void segment_gone(const struct evbuffer_file_segment *segment, int flags, void *arg) {
    (void)segment;
    say("%s gone, flags %d", (const char *)arg, flags);
}

static struct evbuffer_file_segment *segment_of(int fd, ev_off_t offset, ev_off_t length,
                                                unsigned flags, const char *name) {
    struct evbuffer_file_segment *segment = evbuffer_file_segment_new(fd, offset, length, flags);
    CHECK(segment);
    evbuffer_file_segment_add_cleanup_cb(segment, segment_gone, (void *)(uintptr_t)name);
    return segment;
}

/* Writes all of the buffer to fd[0] and traces what came out of fd[1]. */
static void send_and_say(struct evbuffer *buffer, int fd[2]) {
    static unsigned char received[65536];
    uint64_t hash = HASH_START;
    size_t total = 0, n;
    while (evbuffer_get_length(buffer) > 0) {
        int written = evbuffer_write(buffer, fd[0]);
        if (written <= 0 && (written == 0 || errno != EAGAIN)) {
            say("write %d, %zu left", written, evbuffer_get_length(buffer));
            break;
        }
        n = recv_now(fd[1], received, sizeof received, NULL);
        hash = hash_bytes(hash, received, n);
        total += n;
    }
    while ((n = recv_now(fd[1], received, sizeof received, NULL)) > 0) {
        hash = hash_bytes(hash, received, n);
        total += n;
    }
    say("received %zu, hash %016llx", total, (unsigned long long)hash);
}

CASE(buffer_file_is_sent_between_other_bytes) {
    struct evbuffer *buffer = draining();
    int file = file_filled(300000, 1), fd[2];
    unix_pair(fd);
    evbuffer_add(buffer, "head", 4);
    say("add %d", evbuffer_add_file(buffer, file, 1000, 250000));
    evbuffer_add(buffer, "tail", 4);
    say("length %zu", evbuffer_get_length(buffer));
    send_and_say(buffer, fd);
    say("file open %d", fd_is_open(file));
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* libevent counts the whole file from whatever offset on, and sends as much as there is room for. */
CASE_DIFFERS(buffer_file_is_sent_in_pieces, "K",
             "no more bytes than are asked for, and no more than the file has behind the offset") {
    struct evbuffer *buffer = draining();
    int file = file_of("0123456789abcdef"), fd[2];
    char text[32];
    unix_pair(fd);
    say("add %d", evbuffer_add_file(buffer, file, 4, -1));
    say("length %zu", evbuffer_get_length(buffer));
    for (int most = 1; evbuffer_get_length(buffer) > 0; most++) {
        int n = evbuffer_write_atmost(buffer, fd[0], most);
        CHECK(n > 0 && n <= most);
        text[recv_now(fd[1], text, sizeof text - 1, NULL)] = '\0';
        say("at most %d: %d <%s>", most, n, text);
    }
    say("file open %d", fd_is_open(file));
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* What is drained is not sent; the file ends with its last byte. */
CASE(buffer_file_is_drained) {
    struct evbuffer *buffer = draining();
    int file = file_of("0123456789"), fd[2];
    unix_pair(fd);
    CHECK(evbuffer_add_file(buffer, file, 0, 10) == 0);
    say("drain %d", evbuffer_drain(buffer, 4));
    say("length %zu, file open %d", evbuffer_get_length(buffer), fd_is_open(file));
    send_and_say(buffer, fd);
    say("length %zu, file open %d", evbuffer_get_length(buffer), fd_is_open(file));
    file = file_of("0123456789");
    CHECK(evbuffer_add_file(buffer, file, 0, 10) == 0);
    say("drain %d", evbuffer_drain(buffer, 10));
    say("length %zu, file open %d", evbuffer_get_length(buffer), fd_is_open(file));
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

CASE(buffer_file_segment_in_several_buffers) {
    struct evbuffer *a = draining(), *b = draining();
    int file = file_filled(100000, 2), fd[2];
    unix_pair(fd);
    struct evbuffer_file_segment *segment =
        segment_of(file, 500, 90000, EVBUF_FS_CLOSE_ON_FREE, "segment");
    say("a %d %d", evbuffer_add_file_segment(a, segment, 0, -1),
        evbuffer_add_file_segment(a, segment, 40000, 50000));
    say("b %d", evbuffer_add_file_segment(b, segment, 10, 20));
    evbuffer_file_segment_free(segment);
    say("lengths %zu %zu", evbuffer_get_length(a), evbuffer_get_length(b));
    send_and_say(a, fd);
    evbuffer_free(a);
    say("file open %d", fd_is_open(file));
    send_and_say(b, fd);
    say("file open %d", fd_is_open(file));
    evbuffer_free(b);
    close(fd[0]);
    close(fd[1]);
}

/* Whole buffers move with their files. */
CASE(buffer_file_moves_with_its_buffer) {
    struct evbuffer *a = draining(), *b = draining();
    int file = file_of("0123456789"), fd[2];
    unix_pair(fd);
    evbuffer_add(a, "<", 1);
    CHECK(evbuffer_add_file(a, file, 0, 10) == 0);
    evbuffer_add(b, "first ", 6);
    say("add_buffer %d", evbuffer_add_buffer(b, a));
    evbuffer_add(a, "last", 4);
    say("prepend_buffer %d", evbuffer_prepend_buffer(a, b));
    evbuffer_free(b);
    say("length %zu", evbuffer_get_length(a));
    send_and_say(a, fd);
    say("file open %d", fd_is_open(file));
    evbuffer_free(a);
    close(fd[0]);
    close(fd[1]);
}

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name) {
    (void)buffer;
    token("%s(%zu+%zu-%zu)", (const char *)name, info->orig_size, info->n_added, info->n_deleted);
}

CASE(buffer_file_calls_back) {
    struct evbuffer *buffer = draining();
    int file = file_of("0123456789"), fd[2];
    unix_pair(fd);
    CHECK(evbuffer_add_cb(buffer, changed, "cb"));
    step("add");
    evbuffer_add_file(buffer, file, 0, 10);
    step("write");
    evbuffer_write(buffer, fd[0]);
    step("add");
    evbuffer_add_file(buffer, file_of("abc"), 0, 3);
    step("drain");
    evbuffer_drain(buffer, 100);
    step("end");
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* Nothing is known of a file until it is sent. */
CASE(buffer_file_shorter_than_was_said) {
    struct evbuffer *buffer = draining();
    int file = file_of("0123456789"), fd[2], n;
    unix_pair(fd);
    say("add %d", evbuffer_add_file(buffer, file, 0, 100));
    say("length %zu", evbuffer_get_length(buffer));
    n = evbuffer_write(buffer, fd[0]);
    say("write %d", n);
    n = evbuffer_write(buffer, fd[0]);
    say("write %d", n);
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_free(buffer);
    say("file open %d", fd_is_open(file));
    close(fd[0]);
    close(fd[1]);
}

CASE_DIFFERS(buffer_file_shrinks_while_it_is_sent, "K", "no more bytes than are asked for") {
    struct evbuffer *buffer = draining();
    int file = file_filled(100000, 3), fd[2];
    unix_pair(fd);
    say("add %d", evbuffer_add_file(buffer, file, 0, 100000));
    say("write %d", evbuffer_write_atmost(buffer, fd[0], 1000));
    CHECK(ftruncate(file, 500) == 0);
    say("write %d, length %zu", evbuffer_write(buffer, fd[0]), evbuffer_get_length(buffer));
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

CASE(buffer_file_descriptor_is_not_open) {
    struct evbuffer *buffer = draining();
    int fd[2];
    unix_pair(fd);
    struct evbuffer_file_segment *segment = evbuffer_file_segment_new(999, 0, 10, 0);
    CHECK(segment);
    say("add %d", evbuffer_add_file_segment(buffer, segment, 0, 10));
    evbuffer_file_segment_free(segment);
    errno = 0;
    int n = evbuffer_write(buffer, fd[0]);
    say("write %d, %s", n, strerrorname_np(errno));
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_free(buffer);
    say("of unknown length %d", evbuffer_file_segment_new(999, 0, -1, 0) != NULL);
    say("of a negative offset %d", evbuffer_file_segment_new(fd[0], -1, 10, 0) != NULL);
    close(fd[0]);
    close(fd[1]);
}

/* These are in memory, whatever the buffer is for. */
CASE(buffer_file_without_sendfile) {
    struct evbuffer *buffer = draining();
    int file = file_of("0123456789");
    struct evbuffer_file_segment *segment =
        segment_of(file, 0, 10, EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE, "mapped");
    CHECK(evbuffer_add_file_segment(buffer, segment, 2, 3) == 0);
    evbuffer_file_segment_free(segment);
    say_buffer("mapped", buffer);
    evbuffer_drain(buffer, 3);
    file = file_of("0123456789");
    segment = segment_of(file, 0, 10,
                         EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP |
                             EVBUF_FS_DISABLE_LOCKING,
                         "read");
    CHECK(evbuffer_add_file_segment(buffer, segment, 7, -1) == 0);
    evbuffer_file_segment_free(segment);
    say_buffer("read", buffer);
    say("clear %d", evbuffer_clear_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
    evbuffer_free(buffer);
}

static void drain_events(struct event_base *base, struct end *end) {
    for (int i = 0; i < 20 && end->events == 0; i++)
        pass(base);
}

/* The output of a bufferevent on a socket drains to it. */
CASE(buffer_file_through_a_bufferevent) {
    struct event_base *base = new_base();
    struct end from, to;
    int file = file_filled(500000, 4), fd[2];
    unix_pair(fd);
    watch_new(&from, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&to, "to", base, fd[1], BEV_OPT_CLOSE_ON_FREE);
    from.quiet = to.quiet = true;
    to.drain = true;
    to.hash = HASH_START;
    bufferevent_enable(to.bev, EV_READ);
    say("add %d", evbuffer_add_file(bufferevent_get_output(from.bev), file, 10, 499990));
    bufferevent_write(from.bev, "end", 3);
    run_until_bytes(base, &to.received, 499993);
    say("received %zu, hash %016llx", to.received, (unsigned long long)to.hash);
    settle(base);
    say("output %zu, file open %d", out_length(from.bev), fd_is_open(file));
    bufferevent_free(from.bev);
    bufferevent_free(to.bev);
    settle(base);
    event_base_free(base);
}

/* A file that has become too short ends the sending, and does not keep the loop busy. */
CASE(buffer_file_shrinks_in_a_bufferevent) {
    struct event_base *base = new_base();
    struct end from, to;
    int file = file_of("0123456789"), fd[2];
    unix_pair(fd);
    watch_new(&from, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&to, "to", base, fd[1], BEV_OPT_CLOSE_ON_FREE);
    to.quiet = to.drain = true;
    to.hash = HASH_START;
    bufferevent_enable(to.bev, EV_READ);
    CHECK(evbuffer_add_file(bufferevent_get_output(from.bev), file, 0, 10) == 0);
    CHECK(ftruncate(file, 4) == 0);
    step("send");
    drain_events(base, &from);
    settle(base);
    say("received %zu, output %zu, writing %d", to.received, out_length(from.bev),
        bufferevent_get_enabled(from.bev) & EV_WRITE);
    bufferevent_free(from.bev);
    bufferevent_free(to.bev);
    settle(base);
    event_base_free(base);
    say("file open %d", fd_is_open(file));
}

/* libevent reads through a NULL pointer in all of these. */
CASE_DIFFERS(buffer_file_is_looked_at_after_all, "memory safety",
             "a file in a buffer that drains to a descriptor is read when somebody looks at it") {
    struct evbuffer *buffer = draining(), *other = evbuffer_new();
    struct evbuffer_iovec piece;
    char text[16] = "";
    int file = file_of("0123\n56789");
    size_t length;
    CHECK(evbuffer_add_file(buffer, file, 0, 10) == 0);
    say("copyout %d <%.4s>", (int)evbuffer_copyout(buffer, text, 4), text);
    say("search %d", (int)evbuffer_search(buffer, "67", 2, NULL).pos);
    int pieces = evbuffer_peek(buffer, -1, NULL, &piece, 1);
    say("peek %d of %zu", pieces, piece.iov_len);
    char *line = evbuffer_readln(buffer, &length, EVBUFFER_EOL_LF);
    say("line %zu <%s>", length, line);
    free(line);
    say("remove_buffer %d", evbuffer_remove_buffer(buffer, other, 2));
    say_buffer("other", other);
    say("pullup %.3s", (const char *)evbuffer_pullup(buffer, 3));
    say("reference %d", evbuffer_add_buffer_reference(other, buffer));
    evbuffer_free(buffer);
    say_buffer("other", other);
    say("file open %d", fd_is_open(file));
    evbuffer_free(other);
    say("file open %d", fd_is_open(file));
}

/* What cannot be read is an error, and the buffer unchanged. */
CASE_DIFFERS(buffer_file_cannot_be_read_after_all, "memory safety",
             "a file in a buffer that drains to a descriptor is read when somebody looks at it") {
    struct evbuffer *buffer = draining();
    struct evbuffer_iovec piece;
    char text[16];
    int file = file_of("0123456789");
    size_t length;
    CHECK(evbuffer_add_file(buffer, file, 0, 20) == 0);
    say("copyout %d", (int)evbuffer_copyout(buffer, text, 4));
    say("remove %d", evbuffer_remove(buffer, text, 4));
    say("search %d", (int)evbuffer_search(buffer, "67", 2, NULL).pos);
    say("search_eol %d",
        (int)evbuffer_search_eol(buffer, NULL, NULL, EVBUFFER_EOL_LF).pos);
    say("peek %d", evbuffer_peek(buffer, -1, NULL, &piece, 1));
    say("readln %d", evbuffer_readln(buffer, &length, EVBUFFER_EOL_LF) != NULL);
    say("pullup %d", evbuffer_pullup(buffer, 3) != NULL);
    say("length %zu", evbuffer_get_length(buffer));
    say("drain %d", evbuffer_drain(buffer, 20));
    say("file open %d", fd_is_open(file));
    evbuffer_free(buffer);
}
