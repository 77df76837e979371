/* TLS: rate limits, and what libevent's defects with them were. */
#include "tls.h"

/* A limited side of a connection; all 20,000 bytes arrive, in as many ticks as they need. */
static void limited(short what) {
    struct tls_duo duo;
    struct timeval tick = milliseconds(10);
    struct ev_token_bucket_cfg *limit = ev_token_bucket_cfg_new(4000, 4000, 4000, 4000, &tick);
    CHECK(limit);
    open_duo(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_set_rate_limit(what == EV_READ ? duo.s.bev : duo.c.bev, limit) == 0);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    write_letters(duo.c.bev, 20000);
    run_until_bytes(duo.base, &duo.s.received, 20000);
    say("received %zu", duo.s.received);
    close_duo(&duo);
    ev_token_bucket_cfg_free(limit);
}

CASE(tls_rate_limit_of_writing) /* K81 */
{
    limited(EV_WRITE);
}

CASE(tls_allowance_of_nothing) /* 81, libevent #1439, #1440: an allowance of 0 means "do not read" */
{
    limited(EV_READ);
}

CASE_DIFFERS(tls_rate_limit_is_kept_to, "K81", "libevent writes without a limit") {
    struct tls_scene s;
    struct timeval tick = {60, 0};
    struct ev_token_bucket_cfg *limit = ev_token_bucket_cfg_new(1000, 1000, 1000, 1000, &tick);
    CHECK(limit);
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_set_rate_limit(s.a.bev, limit) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_send(&s, 16000);
    write_letters(s.a.bev, 16000);
    s.a.quiet = true;
    run_for(s.base, 20);
    say("read %zu, written %zu", in_length(s.a.bev), peer_receive(&s));
    close_tls(&s);
    ev_token_bucket_cfg_free(limit);
}

CASE(tls_end_below_does_not_make_the_loop_spin) /* libevent #952: a filter over a filter */
{
    struct tls_duo outer, inner;
    open_duo_over_sockets(&outer, 0);
    inner.base = outer.base;
    watch_duo(&inner, tls_over(outer.base, outer.c.bev, false, 0),
              tls_over(outer.base, outer.s.bev, true, 0));
    inner.c.quiet = inner.s.quiet = true;
    CHECK(bufferevent_enable(inner.c.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(inner.s.bev, EV_READ) == 0);
    run_until_count(inner.base, &inner.c.events, 1);
    run_until_count(inner.base, &inner.s.events, 1);
    /* The peer goes, while this side has something to write. */
    write_letters(inner.s.bev, 100000);
    CHECK(shutdown(bufferevent_getfd(outer.c.bev), SHUT_RDWR) == 0);
    run_until_count(inner.base, &inner.s.events, 2);
    run_for(inner.base, 30);
    say("told %d", inner.s.events >= 2 && inner.s.events < 10);
    close_duo(&inner);
}
