/* event2/rpc.h: hooks, what they see, and how they change, end and hold calls. */
#include "rpc.h"

/* The four ways of a call, in the order in which it takes them. */
enum way { CLIENT_OUT, SERVER_IN, SERVER_OUT, CLIENT_IN, WAYS };

static const char *const way_names[] = {"client out", "server in", "server out", "client in"};

struct hook {
    const char *name;
    int result;
    const char *meta; /* it attaches this */
    void *ctx;        /* of the last run */
    unsigned runs;
    void (*on_run)(struct hook *);
    void *extra;
};

static int on_hook(void *ctx, struct evhttp_request *request, struct evbuffer *buffer, void *arg) {
    struct hook *hook = arg;
    void *data = NULL;
    size_t length = 0;
    hook->ctx = ctx;
    hook->runs++;
    step(hook->name);
    token("%zu bytes,", evbuffer_get_length(buffer));
    token("uri %s,", evhttp_request_get_uri(request) ? evhttp_request_get_uri(request) : "-");
    if (evrpc_hook_find_meta(ctx, "key", &data, &length) == 0)
        token("meta %.*s,", (int)length, (char *)data);
    token("connection %d", evrpc_hook_get_connection(ctx) != NULL);
    if (hook->meta)
        evrpc_hook_add_meta(ctx, "key", hook->meta, strlen(hook->meta));
    if (hook->on_run)
        hook->on_run(hook);
    return hook->result;
}

struct hooked {
    struct rpc_scene scene;
    struct called one;
    struct hook hooks[WAYS];
    void *handles[WAYS];
};

static void *vbase_of(struct hooked *hooked, int way) {
    bool server = way == SERVER_IN || way == SERVER_OUT;
    return server ? (void *)hooked->scene.rpc : (void *)hooked->scene.pool;
}

static enum EVRPC_HOOK_TYPE type_of(int way) {
    return way == SERVER_IN || way == CLIENT_IN ? EVRPC_INPUT : EVRPC_OUTPUT;
}

static void hooked_open(struct hooked *hooked) {
    memset(hooked, 0, sizeof *hooked);
    rpc_open(&hooked->scene);
    called_new(&hooked->one, "one", 1, "text");
    for (int way = 0; way < WAYS; way++) {
        hooked->hooks[way].name = way_names[way];
        hooked->handles[way] =
            evrpc_add_hook(vbase_of(hooked, way), type_of(way), on_hook, &hooked->hooks[way]);
        CHECK(hooked->handles[way]);
    }
    hooked->hooks[CLIENT_OUT].meta = "client's";
    hooked->hooks[SERVER_IN].meta = "server's";
}

static void hooked_call(struct hooked *hooked) {
    unsigned done = hooked->one.done;
    note_clear(hooked->one.reply);
    say("%d", call(&hooked->scene, &hooked->one));
    run_until_count(hooked->scene.base, &hooked->one.done, done + 1);
}

static void hooked_close(struct hooked *hooked) {
    called_free(&hooked->one);
    rpc_close(&hooked->scene);
}

static int remove_hook(struct hooked *hooked, int way, int handle) {
    return evrpc_remove_hook(vbase_of(hooked, way), type_of(way), hooked->handles[handle]);
}

CASE(rpc_hooks) {
    struct hooked hooked;
    hooked_open(&hooked);
    hooked_call(&hooked);
    say("removed: %d %d %d %d", remove_hook(&hooked, SERVER_IN, SERVER_IN),
        remove_hook(&hooked, SERVER_IN, SERVER_IN), remove_hook(&hooked, CLIENT_OUT, CLIENT_IN),
        remove_hook(&hooked, CLIENT_IN, CLIENT_IN));
    hooked_call(&hooked);
    hooked_close(&hooked);
}

CASE(rpc_hooks_end_calls) {
    for (int way = 0; way < WAYS; way++) {
        struct hooked hooked;
        hooked_open(&hooked);
        say("ended on its way %s", way_names[way]);
        hooked.hooks[way].result = EVRPC_TERMINATE;
        hooked_call(&hooked);
        hooked_close(&hooked);
    }
}

/* A call that a hook holds. */
static void open_held(struct hooked *hooked, int way) {
    hooked_open(hooked);
    say("held on its way %s", way_names[way]);
    hooked->hooks[way].result = EVRPC_PAUSE;
    say("%d", call(&hooked->scene, &hooked->one));
    run_until_count(hooked->scene.base, &hooked->hooks[way].runs, 1);
    calm(hooked->scene.base);
    say("done %u", hooked->one.done);
}

static void go_on(enum EVRPC_HOOK_RESULT result) {
    for (int way = 0; way < WAYS; way++) {
        struct hooked hooked;
        open_held(&hooked, way);
        void *vbase = vbase_of(&hooked, way), *ctx = hooked.hooks[way].ctx;
        say("resume %d", evrpc_resume_request(vbase, ctx, result));
        run_until_count(hooked.scene.base, &hooked.one.done, 1);
        say("again %d", evrpc_resume_request(vbase, ctx, result));
        hooked_close(&hooked);
    }
}

CASE(rpc_hooks_hold_calls) {
    go_on(EVRPC_CONTINUE);
}

CASE(rpc_hooks_hold_and_end_calls) {
    go_on(EVRPC_TERMINATE);
}

static void free_held(int way) {
    struct hooked hooked;
    open_held(&hooked, way);
    hooked_close(&hooked);
}

CASE(rpc_held_calls_are_freed) {
    free_held(CLIENT_OUT);
    free_held(SERVER_IN);
    free_held(CLIENT_IN);
}

CASE_DIFFERS(rpc_held_reply_is_freed, "memory safety", "libevent loses it") {
    free_held(SERVER_OUT);
}

CASE(rpc_metas) /* the first one of a name */ {
    struct hooked hooked;
    void *data, *ctx;
    size_t length;
    open_held(&hooked, CLIENT_IN);
    ctx = hooked.hooks[CLIENT_IN].ctx;
    evrpc_hook_add_meta(ctx, "key", "another", 8);
    evrpc_hook_add_meta(ctx, "bytes", "\0x", 2);
    CHECK(evrpc_hook_find_meta(ctx, "key", &data, &length) == 0);
    say("%zu %.*s", length, (int)length, (char *)data);
    CHECK(evrpc_hook_find_meta(ctx, "bytes", &data, &length) == 0);
    say("%zu %d", length, memcmp(data, "\0x", 2));
    say("%d", evrpc_hook_find_meta(ctx, "none", &data, &length));
    hooked_close(&hooked);
}

static int add_text(void *ctx, struct evhttp_request *request, struct evbuffer *buffer, void *arg) {
    (void)ctx;
    (void)request;
    say("%s: %zu bytes", (char *)arg, evbuffer_get_length(buffer));
    evtag_marshal_string(buffer, 2, arg);
    return EVRPC_CONTINUE;
}

CASE(rpc_hooks_change_calls) /* in the order in which they came */ {
    struct rpc_scene scene;
    struct called one;
    rpc_open(&scene);
    CHECK(evrpc_add_hook(scene.pool, EVRPC_OUTPUT, add_text, "first"));
    CHECK(evrpc_add_hook(scene.pool, EVRPC_OUTPUT, add_text, "second"));
    called_new(&one, "one", 1, "text");
    CHECK(call(&scene, &one) == 0);
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    rpc_close(&scene);
}

static void free_pool(struct hook *hook) {
    struct rpc_scene *scene = hook->extra;
    evrpc_pool_free(scene->pool);
    scene->pool = NULL;
}

static void free_rpc(struct hook *hook) {
    struct rpc_scene *scene = hook->extra;
    evrpc_free(scene->rpc);
    scene->rpc = NULL;
}

CASE_DIFFERS(rpc_freed_in_hooks, "memory safety", "libevent crashes") {
    for (int way = 0; way < WAYS; way++) {
        struct hooked hooked;
        bool server = way == SERVER_IN || way == SERVER_OUT;
        hooked_open(&hooked);
        say("freed on the way %s", way_names[way]);
        /* Another one that would be run behind it. */
        CHECK(evrpc_add_hook(vbase_of(&hooked, way), type_of(way), on_hook, &hooked.hooks[way]));
        hooked.hooks[way].on_run = server ? free_rpc : free_pool;
        hooked.hooks[way].extra = &hooked.scene;
        say("%d", call(&hooked.scene, &hooked.one));
        run_until_count(hooked.scene.base, &hooked.hooks[way].runs, 1);
        if (server)
            run_until_count(hooked.scene.base, &hooked.one.done, 1);
        calm(hooked.scene.base);
        say("done %u", hooked.one.done);
        hooked_close(&hooked);
    }
}
