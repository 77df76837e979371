/* TLS: data, callbacks, watermarks, limits. */
#include "tls.h"

static void transfer(void (*open)(struct tls_duo *, int), int options, size_t up, size_t down) {
    struct tls_duo duo;
    open(&duo, options);
    duo.c.quiet = duo.s.quiet = true;
    duo.c.drain = duo.s.drain = true;
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    char *data = malloc(up + down);
    CHECK(data);
    fill(data, up + down, 7);
    CHECK(bufferevent_write(duo.c.bev, data, up) == 0);
    CHECK(bufferevent_write(duo.s.bev, data + up, down) == 0);
    run_until_bytes(duo.base, &duo.s.received, up);
    run_until_bytes(duo.base, &duo.c.received, down);
    settle(duo.base);
    say("all %d %d", duo.s.received == up, duo.c.received == down);
    say("right %d %d", duo.s.hash == hash_bytes(HASH_START, data, up),
        duo.c.hash == hash_bytes(HASH_START, data + up, down));
    say("left %zu %zu", out_length(duo.c.bev), out_length(duo.s.bev));
    say("flags %02x %02x", duo.c.flags, duo.s.flags);
    free(data);
    close_duo(&duo);
}

CASE(tls_data_both_ways_on_sockets) {
    transfer(open_duo, 0, 3000000, 1000000);
}

CASE(tls_data_both_ways_deferred) {
    transfer(open_duo, BEV_OPT_DEFER_CALLBACKS, 300000, 100000);
}

CASE(tls_data_both_ways_unlocked) {
    CHECK(evthread_use_pthreads() == 0);
    transfer(open_duo, BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS,
             300000, 100000);
}

CASE(tls_data_both_ways_over_socket_bufferevents) {
    transfer(open_duo_over_sockets, 0, 3000000, 1000000);
}

CASE(tls_data_both_ways_over_a_pair) {
    transfer(open_duo_over_pair, 0, 3000000, 1000000);
}

CASE(tls_data_both_ways_over_threadsafe_bufferevents) /* 12 */
{
    CHECK(evthread_use_pthreads() == 0);
    transfer(open_duo_over_sockets, BEV_OPT_THREADSAFE, 300000, 100000);
}

CASE(tls_data_of_many_small_writes) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    for (int i = 0; i < 3000; i++)
        write_letters(duo.c.bev, 100);
    run_until_bytes(duo.base, &duo.s.received, 300000);
    settle(duo.base);
    say("received %zu, left %zu", duo.s.received, out_length(duo.c.bev));
    close_duo(&duo);
}

CASE(tls_data_by_reference) /* chains of the program's own memory */
{
    static char block[50000];
    struct tls_duo duo;
    open_duo(&duo, 0);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    fill(block, sizeof block, 3);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    struct evbuffer *output = bufferevent_get_output(duo.c.bev);
    uint64_t hash = HASH_START;
    for (int i = 0; i < 4; i++) {
        CHECK(evbuffer_add_reference(output, block, sizeof block, NULL, NULL) == 0);
        hash = hash_bytes(hash, block, sizeof block);
    }
    run_until_bytes(duo.base, &duo.s.received, 4 * sizeof block);
    say("right %d", duo.s.hash == hash);
    close_duo(&duo);
}

CASE(tls_data_of_a_file) {
    static char block[50000];
    struct tls_duo duo;
    FILE *file = tmpfile();
    CHECK(file);
    fill(block, sizeof block, 5);
    CHECK(fwrite(block, 1, sizeof block, file) == sizeof block && fflush(file) == 0);
    open_duo(&duo, 0);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    struct evbuffer *output = bufferevent_get_output(duo.c.bev);
    CHECK(evbuffer_add(output, "head", 4) == 0);
    CHECK(evbuffer_add_file(output, dup(fileno(file)), 100, sizeof block - 100) == 0);
    fclose(file);
    run_until_bytes(duo.base, &duo.s.received, sizeof block - 96);
    uint64_t hash = hash_bytes(HASH_START, "head", 4);
    say("right %d", duo.s.hash == hash_bytes(hash, block + 100, sizeof block - 100));
    close_duo(&duo);
}

CASE(tls_read_callbacks) /* 14, 15 */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 10, 0);
    peer_send(&s, 5);
    step("below");
    settle(s.base);
    peer_send(&s, 5);
    step("at");
    settle(s.base);
    step("idle");
    settle(s.base);
    peer_send(&s, 1);
    step("above");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 0);
    step("lower");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_data_before_reading_is_enabled) /* 5 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    peer_send(&s, 40);
    step("disabled");
    settle(s.base);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    say("inside the call %zu", in_length(s.a.bev));
    step("enabled");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_data_with_the_end_of_the_handshake) /* what comes with the last message is announced */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    int done = 0;
    step("loop");
    for (int i = 0; i < 200 && done != 1; i++) {
        pass(s.base);
        done = SSL_do_handshake(s.peer);
    }
    CHECK(done == 1);
    /* In the same bytes as the client's last message of the handshake, which is not read yet. */
    peer_send(&s, 30);
    settle(s.base);
    close_tls(&s);
}

/* What the callback finds is one message, and is taken; then the event is due. */
static void take_message(struct end *end) {
    char text[40];
    size_t n = bufferevent_read(end->bev, text, sizeof text - 1);
    text[n] = '\0';
    say("  message %s", text);
    event_active(end->extra, EV_TIMEOUT, 1);
}

static void after_message(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    say("  between");
}

static void messages_at_once(int options) {
    struct tls_scene s;
    open_tls_connected(&s, true, options);
    struct event *between = event_new(s.base, -1, 0, after_message, NULL);
    s.a.on_read = take_message;
    s.a.extra = between;
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    const char *messages[] = {"first", "second", "third"};
    for (size_t i = 0; i < 3; i++)
        CHECK(SSL_write(s.peer, messages[i], (int)strlen(messages[i])) > 0);
    settle(s.base);
    event_free(between);
    close_tls(&s);
}

/* coturn's server answers each message from the loop; its client takes a record for one answer. */
CASE(tls_small_records_are_announced_one_by_one) {
    messages_at_once(0);
    messages_at_once(BEV_OPT_DEFER_CALLBACKS);
}

static void disable_reading(struct end *end) {
    CHECK(bufferevent_disable(end->bev, EV_READ) == 0);
}

CASE(tls_reading_disabled_inside_the_read_callback) /* 7; nothing that was decrypted is lost */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    s.a.on_read = disable_reading;
    peer_send(&s, 16000);
    peer_send(&s, 16000);
    s.a.quiet = true;
    settle(s.base);
    size_t first = in_length(s.a.bev);
    say("some %d", first > 0 && s.a.reads == 1);
    s.a.on_read = NULL;
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    settle(s.base);
    say("all %zu", in_length(s.a.bev));
    close_tls(&s);
}

CASE(tls_disabled_and_enabled_again_with_unread_input) /* 9 */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_send(&s, 10);
    step("data");
    settle(s.base);
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("enabled");
    settle(s.base);
    close_tls(&s);
}

CASE_DIFFERS(tls_high_mark, "J18", "reading stops exactly at the mark; no endless calls")
/* 17, 19, 21 */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_send(&s, 25);
    step("data");
    settle(s.base);
    for (int i = 0; i < 3; i++) {
        CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), 9) == 0);
        step("drained");
        settle(s.base);
    }
    close_tls(&s);
}

CASE_DIFFERS(tls_high_mark_and_large_records, "J18", "libevent comes to a stand; ferrevent goes on")
/* 19: what TLS still holds arrives without the network */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    s.a.quiet = true;
    s.a.drain = true;
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 1000);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    for (int i = 0; i < 5; i++)
        peer_send(&s, 16000);
    run_until_bytes(s.base, &s.a.received, 80000);
    say("received %zu", s.a.received);
    close_tls(&s);
}

CASE(tls_single_reads_are_limited) {
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    s.a.quiet = true;
    s.a.drain = true;
    CHECK(bufferevent_set_max_single_read(s.a.bev, 100) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_send(&s, 16000);
    run_until_bytes(s.base, &s.a.received, 16000);
    say("received %zu", s.a.received);
    close_tls(&s);
}

CASE(tls_enabling_writing_calls_nothing) /* 3: unlike a plain socket */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    step("write");
    settle(s.base);
    CHECK(bufferevent_enable(s.a.bev, EV_READ | EV_WRITE) == 0);
    step("both");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_write_callback) /* 24, 25 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    write_letters(s.a.bev, 300);
    say("output %zu", out_length(s.a.bev));
    step("loop");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

CASE(tls_write_low_mark) /* 25 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    trace_merge(true);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 50000, 0);
    write_letters(s.a.bev, 100000);
    size_t total = 0;
    step("loop");
    for (int i = 0; i < 200 && total < 100000; i++) {
        pass(s.base);
        total += peer_receive(&s);
    }
    settle(s.base);
    say("peer %zu", total + peer_receive(&s));
    close_tls(&s);
}

CASE(tls_output_is_empty_only_when_it_has_been_sent) {
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    s.a.quiet = true;
    /* More than a socket takes. */
    write_letters(s.a.bev, 4000000);
    settle(s.base);
    say("left %d, called %u", out_length(s.a.bev) > 0, s.a.writes);
    size_t total = 0;
    for (int i = 0; i < 100000 && out_length(s.a.bev) > 0; i++) {
        pass(s.base);
        total += peer_receive(&s);
    }
    settle(s.base);
    say("called %u", s.a.writes);
    say("peer %zu", total + peer_receive(&s));
    close_tls(&s);
}

CASE(tls_writing_disabled) /* 8 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_disable(s.a.bev, EV_WRITE) == 0);
    write_letters(s.a.bev, 300);
    step("disabled");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    step("enabled");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

static void write_more(struct end *end) {
    if (end->writes < 3)
        write_letters(end->bev, 50);
}

CASE(tls_write_inside_the_write_callback) /* 26 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    s.a.on_write = write_more;
    write_letters(s.a.bev, 50);
    step("loop");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

static void echo(struct end *end) {
    CHECK(bufferevent_write_buffer(end->bev, bufferevent_get_input(end->bev)) == 0);
}

CASE(tls_echo) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    duo.s.on_read = echo;
    duo.c.drain = true;
    duo.c.quiet = duo.s.quiet = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    for (int i = 1; i <= 50; i++) {
        write_letters(duo.c.bev, 100 * (size_t)i);
        run_until_bytes(duo.base, &duo.c.received, 50 * (size_t)i * (size_t)(i + 1));
    }
    say("received %zu", duo.c.received);
    close_duo(&duo);
}

CASE(tls_trigger) /* 62 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    step("trigger");
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    bufferevent_trigger_event(s.a.bev, BEV_EVENT_EOF | BEV_EVENT_READING, 0);
    settle(s.base);
    close_tls(&s);
}

CASE(tls_flush_does_nothing) /* 30 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    write_letters(s.a.bev, 10);
    say("flush %d %d %d", bufferevent_flush(s.a.bev, EV_READ | EV_WRITE, BEV_NORMAL),
        bufferevent_flush(s.a.bev, EV_READ | EV_WRITE, BEV_FLUSH),
        bufferevent_flush(s.a.bev, EV_WRITE, BEV_FINISHED));
    say("peer %zu", peer_receive(&s));
    step("loop");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

CASE(tls_filter_stops_at_the_mark_below) /* 27 */
{
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    struct bufferevent *below = bufferevent_get_underlying(duo.c.bev);
    bufferevent_setwatermark(below, EV_WRITE, 0, 2000);
    for (int i = 0; i < 100; i++)
        write_letters(duo.c.bev, 1000);
    say("some are kept %d", out_length(duo.c.bev) > 0);
    run_until_bytes(duo.base, &duo.s.received, 100000);
    say("received %zu", duo.s.received);
    close_duo(&duo);
}

CASE(tls_filter_holds_the_reading_below) /* 73 */
{
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    duo.c.quiet = duo.s.quiet = true;
    write_letters(duo.c.bev, 100000);
    settle(duo.base);
    say("nothing is read %zu %d", in_length(duo.s.bev),
        in_length(bufferevent_get_underlying(duo.s.bev)) < 100000);
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    run_until_bytes(duo.base, &duo.s.received, 100000);
    say("received %zu", duo.s.received);
    close_duo(&duo);
}
