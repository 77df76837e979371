/* What the cases of event2/rpc.h share: messages such as event_rpcgen.py makes, and a server with a
 * client's pool in one loop. */
#ifndef RPC_H
#define RPC_H

#include "case.h"

#include <event2/event_compat.h>
#include <event2/http.h>
#include <event2/http_compat.h>
#include <event2/http_struct.h>
#include <event2/rpc.h>
#include <event2/rpc_struct.h>
#include <event2/tag.h>

/* One number and one text, both of which are needed. */
struct note {
    ev_uint32_t number;
    char *text;
    bool has_number;
};

static unsigned notes; /* that there are */

static inline void *note_new_with_arg(void *arg) {
    (void)arg;
    struct note *note = calloc(1, sizeof *note);
    CHECK(note);
    notes++;
    return note;
}

static inline void note_clear(struct note *note) {
    free(note->text);
    memset(note, 0, sizeof *note);
}

static inline void note_free(struct note *note) {
    note_clear(note);
    free(note);
    notes--;
}

static inline void note_set(struct note *note, ev_uint32_t number, const char *text) {
    note_clear(note);
    note->number = number;
    note->has_number = true;
    note->text = strdup(text);
}

static inline int note_complete(struct note *note) {
    return note->has_number && note->text ? 0 : -1;
}

static inline void note_marshal(struct evbuffer *buffer, const struct note *note) {
    evtag_marshal_int(buffer, 1, note->number);
    evtag_marshal_string(buffer, 2, note->text ? note->text : "");
}

static inline int note_unmarshal(struct note *note, struct evbuffer *buffer) {
    while (evbuffer_get_length(buffer) > 0) {
        ev_uint32_t tag;
        if (evtag_peek(buffer, &tag) < 0)
            return -1;
        if (tag == 1) {
            if (evtag_unmarshal_int(buffer, 1, &note->number) < 0)
                return -1;
            note->has_number = true;
        } else if (tag == 2) {
            free(note->text);
            note->text = NULL;
            if (evtag_unmarshal_string(buffer, 2, &note->text) < 0)
                return -1;
        } else if (evtag_consume(buffer) < 0) {
            return -1;
        }
    }
    return note_complete(note);
}

EVRPC_HEADER(Ask, note, note)
EVRPC_GENERATE(Ask, note, note)

/* A server of one call, "Ask", and a pool with connections to it. */
struct rpc_scene {
    struct event_base *base;
    struct evhttp *http;
    ev_uint16_t port;
    struct evrpc_base *rpc;
    struct evrpc_pool *pool;
    struct evhttp_connection *connection;
    void (*on_call)(struct rpc_scene *, struct evrpc_req_generic *);
    unsigned calls, answers;
    EVRPC_STRUCT(Ask) * held[4]; /* calls that are not answered yet */
};

/* Answers with the number plus one, and the text twice. */
static inline void answer_call(EVRPC_STRUCT(Ask) * call) {
    char text[64];
    snprintf(text, sizeof text, "%s%s", call->request->text, call->request->text);
    note_set(call->reply, call->request->number + 1, text);
    EVRPC_REQUEST_DONE(call);
}

static inline void on_ask(EVRPC_STRUCT(Ask) * call, void *arg) {
    struct rpc_scene *scene = arg;
    scene->calls++;
    say("called with %u and %s", call->request->number, call->request->text);
    if (scene->on_call)
        scene->on_call(scene, (struct evrpc_req_generic *)call);
    else
        answer_call(call);
}

static inline struct evhttp_connection *rpc_connection(struct rpc_scene *scene) {
    struct evhttp_connection *connection = evhttp_connection_new("127.0.0.1", scene->port);
    CHECK(connection);
    return connection;
}

static inline void rpc_open(struct rpc_scene *scene) {
    struct sockaddr_in address;
    memset(scene, 0, sizeof *scene);
    /* A connection of a pool has the base of event_init until it is added. */
    scene->base = event_init();
    CHECK(scene->base);
    scene->http = evhttp_new(scene->base);
    int listener = tcp_listener(&address);
    CHECK(scene->http && evhttp_accept_socket(scene->http, listener) == 0);
    scene->port = ntohs(address.sin_port);
    scene->rpc = evrpc_init(scene->http);
    CHECK(scene->rpc);
    CHECK(EVRPC_REGISTER(scene->rpc, Ask, note, note, on_ask, scene) == 0);
    scene->pool = evrpc_pool_new(scene->base);
    CHECK(scene->pool);
    scene->connection = rpc_connection(scene);
    evrpc_pool_add_connection(scene->pool, scene->connection);
}

static inline void rpc_close(struct rpc_scene *scene) {
    if (scene->pool)
        evrpc_pool_free(scene->pool);
    if (scene->rpc) {
        CHECK(EVRPC_UNREGISTER(scene->rpc, Ask) == 0);
        evrpc_free(scene->rpc);
    }
    evhttp_free(scene->http);
    event_base_free(scene->base);
    say("notes left: %u", notes);
}

/* A call of the client's. */
struct called {
    const char *name;
    struct note *request, *reply;
    unsigned done;
    void (*on_done)(struct called *);
    void *extra;
};

static inline void called_new(struct called *called, const char *name, ev_uint32_t number,
                              const char *text) {
    memset(called, 0, sizeof *called);
    called->name = name;
    called->request = note_new_with_arg(NULL);
    called->reply = note_new_with_arg(NULL);
    note_set(called->request, number, text);
}

static inline void called_free(struct called *called) {
    note_free(called->request);
    note_free(called->reply);
}

static inline void on_reply(struct evrpc_status *status, struct note *request, struct note *reply,
                            void *arg) {
    static const char *const errors[] = {"no error", "timeout", "bad payload", "unstarted",
                                         "hook aborted"};
    struct called *called = arg;
    CHECK(request == called->request && reply == called->reply);
    called->done++;
    say("%s: %s, %u and %s, request %s", called->name, errors[status->error], reply->number,
        reply->text ? reply->text : "-", status->http_req ? "there" : "gone");
    if (called->on_done)
        called->on_done(called);
}

static inline int call(struct rpc_scene *scene, struct called *called) {
    return EVRPC_MAKE_REQUEST(Ask, scene->pool, called->request, called->reply, on_reply, called);
}

#endif
