/* What ferrevent has beyond libevent 2.1. A program that uses these functions runs on ferrevent only;
 * one that wants to run on both looks for them with dlsym, or declares them weak. */
#ifndef EVENT2_FERREVENT_H
#define EVENT2_FERREVENT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct timeval;

/* Ends writing. Once everything that was written is gone, through all filters below, the receiver is
 * told the end of the stream (TLS sends close_notify, after its handshake; a socket is shut down for
 * sending, the other end of a pair gets BEV_EVENT_EOF), and the event callback gets
 * BEV_EVENT_EOF|BEV_EVENT_WRITING, with EV_WRITE off. If that takes longer than `patience`, it gets
 * BEV_EVENT_TIMEOUT|BEV_EVENT_WRITING instead, and if writing fails, what it gets then in any case.
 * NULL: no deadline. Reading goes on. Do not write any more after this call.
 *
 * 0, or -1 if it is ending already, a filter or TLS stands on it, or its TLS handshake has failed. */
int ferrevent_bufferevent_finish(struct bufferevent *bev, const struct timeval *patience);

/* bufferevent_free(), once everything that was written is gone and its end is told as above; or after
 * `patience`; or when writing fails. No callback runs after this call, and `bev` is not used any more.
 *
 * 0, or -1 if it has TLS and was made without BEV_OPT_CLOSE_ON_FREE, so that the SSL object is yours:
 * you could not know when it is needed no more. Nothing is done then. */
int ferrevent_bufferevent_free_when_drained(struct bufferevent *bev, const struct timeval *patience);

/* Has everything that `from` reads go to the output of `to`, from the loop, instead of to the read
 * callback. While `to` holds `limit` bytes or more, `from` is not read, until half of that is gone: the
 * two never hold more than twice the limit, apart from the records that TLS is at. At the end of the
 * stream, `to` is finished as above, and the event callback of `from` is told as ever. Enable reading
 * of `from` yourself. NULL for `to` ends the pipe.
 *
 * 0, or -1 if the two are on different bases, or another one's bytes go to `to` already. */
int ferrevent_bufferevent_pipe(struct bufferevent *from, struct bufferevent *to, size_t limit);

#ifdef __cplusplus
}
#endif

#endif
