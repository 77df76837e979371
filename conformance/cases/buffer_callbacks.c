/* Callbacks of evbuffers, freezing, locks. */
#include "buffer.h"

#include <event2/buffer_compat.h>

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name) {
    token("%s(%zu+%zu-%zu=%zu)", (const char *)name, info->orig_size, info->n_added,
          info->n_deleted, evbuffer_get_length(buffer));
}

/* What each kind of change tells: length before, bytes added, bytes deleted, length now. */
CASE(buffer_callback_sums) {
    struct evbuffer *buffer = evbuffer_new(), *other = buffer_of("other"), *sink = evbuffer_new();
    struct evbuffer_iovec piece;
    char data[8];
    CHECK(evbuffer_add_cb(buffer, changed, "cb"));
    step("add");
    evbuffer_add(buffer, "0123456789", 10);
    step("add nothing");
    evbuffer_add(buffer, "", 0);
    step("prepend");
    evbuffer_prepend(buffer, "ab", 2);
    step("drain");
    evbuffer_drain(buffer, 3);
    step("drain nothing");
    evbuffer_drain(buffer, 0);
    step("remove");
    evbuffer_remove(buffer, data, 2);
    step("copyout, pullup, peek, expand");
    evbuffer_copyout(buffer, data, 2);
    evbuffer_pullup(buffer, -1);
    evbuffer_peek(buffer, -1, NULL, &piece, 1);
    evbuffer_expand(buffer, 3000);
    step("add_buffer");
    evbuffer_add_buffer(buffer, other);
    step("add_buffer, empty");
    evbuffer_add_buffer(buffer, other);
    step("prepend_buffer");
    evbuffer_add(other, "xyz", 3);
    evbuffer_prepend_buffer(buffer, other);
    step("remove_buffer");
    evbuffer_remove_buffer(buffer, sink, 4);
    step("add_buffer elsewhere");
    evbuffer_add_buffer(sink, buffer);
    step("printf");
    evbuffer_add_printf(buffer, "%d", 1234);
    step("reference");
    evbuffer_add_reference(buffer, "ref\n", 4, NULL, NULL);
    step("reserve");
    CHECK(evbuffer_reserve_space(buffer, 10, &piece, 1) == 1);
    step("commit");
    memcpy(piece.iov_base, "12345", 5);
    piece.iov_len = 5;
    evbuffer_commit_space(buffer, &piece, 1);
    step("readln");
    free(evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF));
    step("drain all");
    evbuffer_drain(buffer, 1000);
    step("drain when empty");
    evbuffer_drain(buffer, 1000);
    step("add_iovec");
    struct evbuffer_iovec pieces[2] = {{"ab", 2}, {"cde", 3}};
    evbuffer_add_iovec(buffer, pieces, 2);
    step("buffer reference");
    evbuffer_add(other, "xyz", 3);
    CHECK(evbuffer_add_buffer_reference(buffer, other) == 0);
    step("free");
    evbuffer_free(buffer);
    evbuffer_free(other);
    evbuffer_free(sink);
}

/* The newest first. */
CASE(buffer_callbacks_order_and_removal) {
    struct evbuffer *buffer = evbuffer_new();
    struct evbuffer_cb_entry *a = evbuffer_add_cb(buffer, changed, "a");
    struct evbuffer_cb_entry *b = evbuffer_add_cb(buffer, changed, "b");
    CHECK(a && b && evbuffer_add_cb(buffer, changed, "c"));
    step("three");
    evbuffer_add(buffer, "x", 1);
    say("remove a by entry %d", evbuffer_remove_cb_entry(buffer, a));
    say("remove c by function %d", evbuffer_remove_cb(buffer, changed, "c"));
    say("remove an unknown one %d", evbuffer_remove_cb(buffer, changed, "d"));
    step("one");
    evbuffer_add(buffer, "x", 1);
    say("clear %d", evbuffer_cb_clear_flags(buffer, b, EVBUFFER_CB_ENABLED));
    step("disabled");
    evbuffer_add(buffer, "x", 1);
    say("set %d", evbuffer_cb_set_flags(buffer, b, EVBUFFER_CB_ENABLED));
    step("enabled");
    evbuffer_add(buffer, "x", 1);
    evbuffer_free(buffer);
}

static void removes_itself(struct evbuffer *buffer, const struct evbuffer_cb_info *info,
                           void *entry) {
    changed(buffer, info, "self");
    evbuffer_remove_cb_entry(buffer, *(struct evbuffer_cb_entry **)entry);
}

CASE(buffer_callback_removes_itself) {
    struct evbuffer *buffer = evbuffer_new();
    struct evbuffer_cb_entry *entry;
    CHECK(evbuffer_add_cb(buffer, changed, "before"));
    entry = evbuffer_add_cb(buffer, removes_itself, &entry);
    CHECK(evbuffer_add_cb(buffer, changed, "after"));
    step("first");
    evbuffer_add(buffer, "x", 1);
    step("second");
    evbuffer_add(buffer, "x", 1);
    evbuffer_free(buffer);
}

static void drains_half(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name) {
    changed(buffer, info, name);
    if (info->n_added)
        evbuffer_drain(buffer, evbuffer_get_length(buffer) / 2);
}

/* A change inside the callback calls it again, inside. */
CASE(buffer_callback_changes_the_buffer) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_cb(buffer, drains_half, "half"));
    step("add");
    evbuffer_add(buffer, "12345678", 8);
    step("add");
    evbuffer_add(buffer, "12345678", 8);
    evbuffer_free(buffer);
}

static void old_style(struct evbuffer *buffer, size_t before, size_t now, void *name) {
    (void)buffer;
    token("%s(%zu->%zu)", (const char *)name, before, now);
}

/* evbuffer_setcb of the old API replaces all callbacks. */
CASE(buffer_setcb_of_the_old_api) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_cb(buffer, changed, "new"));
    evbuffer_setcb(buffer, old_style, "old");
    step("set");
    evbuffer_add(buffer, "abc", 3);
    evbuffer_drain(buffer, 1);
    evbuffer_setcb(buffer, NULL, NULL);
    step("none");
    evbuffer_add(buffer, "abc", 3);
    evbuffer_free(buffer);
}

/* Deferred: one call from the loop with all changes since the last. */
CASE(buffer_callbacks_deferred) {
    struct event_base *base = new_base();
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_cb(buffer, changed, "cb"));
    say("defer %d", evbuffer_defer_callbacks(buffer, base));
    step("changes");
    evbuffer_add(buffer, "0123456789", 10);
    evbuffer_drain(buffer, 4);
    evbuffer_add(buffer, "ab", 2);
    step("loop");
    pass(base);
    step("quiet");
    pass(base);
    step("to nothing");
    evbuffer_add(buffer, "abc", 3);
    evbuffer_drain(buffer, 3);
    pass(base);
    evbuffer_free(buffer);
    event_base_free(base);
}

/* A deferred call that is due keeps a freed evbuffer alive and is made after all. */
CASE(buffer_freed_with_a_deferred_callback_due) {
    struct event_base *base = new_base();
    struct evbuffer *buffer = evbuffer_new();
    CHECK(evbuffer_add_cb(buffer, changed, "cb"));
    CHECK(evbuffer_defer_callbacks(buffer, base) == 0);
    step("add, free");
    evbuffer_add(buffer, "ab", 2);
    evbuffer_free(buffer);
    step("loop");
    settle(base);
    event_base_free(base);
}

static void try_all(struct evbuffer *buffer) {
    struct evbuffer *other = buffer_of("other");
    struct evbuffer_iovec piece;
    char data[4];
    token("add=%d", evbuffer_add(buffer, "a", 1));
    token("prepend=%d", evbuffer_prepend(buffer, "p", 1));
    token("drain=%d", evbuffer_drain(buffer, 1));
    token("remove=%d", evbuffer_remove(buffer, data, 1));
    token("copyout=%d", (int)evbuffer_copyout(buffer, data, 1));
    token("printf=%d", evbuffer_add_printf(buffer, "f"));
    token("reference=%d", evbuffer_add_reference(buffer, "r", 1, NULL, NULL));
    token("add_buffer=%d", evbuffer_add_buffer(buffer, other));
    token("left=%zu", evbuffer_get_length(other));
    evbuffer_drain(other, 100);
    evbuffer_add(other, "o", 1);
    token("prepend_buffer=%d", evbuffer_prepend_buffer(buffer, other));
    token("remove_buffer=%d", evbuffer_remove_buffer(buffer, other, 1));
    token("reserve=%d", evbuffer_reserve_space(buffer, 10, &piece, 1));
    token("pullup=%d", evbuffer_pullup(buffer, 2) != NULL);
    char *line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_NUL);
    token("readln=%d", line != NULL);
    free(line);
    evbuffer_free(other);
}

/* Which operations a freeze refuses. A frozen start refuses copyout too, although that changes
 * nothing; only pullup and peek still show the bytes. */
CASE(buffer_freeze) {
    struct evbuffer *buffer = buffer_of("0123456789");
    evbuffer_add(buffer, "", 1); /* the end of a line of its own kind */
    say("freeze the end %d", evbuffer_freeze(buffer, 0));
    step("end");
    try_all(buffer);
    say_buffer("buffer", buffer);
    evbuffer_drain(buffer, 100);
    say("unfreeze %d", evbuffer_unfreeze(buffer, 0));
    evbuffer_add(buffer, "0123456789", 11);
    say("freeze the start %d", evbuffer_freeze(buffer, 1));
    step("start");
    try_all(buffer);
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_freeze(buffer, 0);
    step("both");
    try_all(buffer);
    evbuffer_unfreeze(buffer, 0);
    evbuffer_unfreeze(buffer, 1);
    say("drain after all %d", evbuffer_drain(buffer, 100));
    evbuffer_free(buffer);
}

/* Moving out of a buffer whose start is frozen, and draining it, is refused. */
CASE(buffer_freeze_of_the_source) {
    struct evbuffer *to = evbuffer_new(), *from = buffer_of("data");
    evbuffer_freeze(from, 1);
    say("add_buffer %d", evbuffer_add_buffer(to, from));
    say("prepend_buffer %d", evbuffer_prepend_buffer(to, from));
    say("remove_buffer %d", evbuffer_remove_buffer(from, to, 2));
    evbuffer_unfreeze(from, 1);
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_free(from);
    evbuffer_free(to);
}

CASE(buffer_locking) {
    struct evbuffer *plain = buffer_of("x"), *locked;
    say("without threads %d", evbuffer_enable_locking(plain, NULL));
    evbuffer_lock(plain); /* without a lock: nothing */
    evbuffer_unlock(plain);
    evbuffer_free(plain);
    CHECK(evthread_use_pthreads() == 0);
    locked = buffer_of("y");
    say("with threads %d", evbuffer_enable_locking(locked, NULL));
    say("twice %d", evbuffer_enable_locking(locked, NULL));
    evbuffer_lock(locked);
    evbuffer_lock(locked); /* recursive */
    say("add under the lock %d", evbuffer_add(locked, "z", 1));
    evbuffer_unlock(locked);
    evbuffer_unlock(locked);
    say_buffer("buffer", locked);
    evbuffer_free(locked);
}
