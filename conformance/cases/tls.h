/* What the cases of TLS share: a certificate made at start, a TLS bufferevent whose peer is an SSL
 * object that the case works by hand, and two TLS bufferevents that talk to each other.
 *
 * The server sends no session tickets unless a case asks for them: whether the peer has read them
 * when it closes would decide between an end and a reset. */
#ifndef TLS_H
#define TLS_H

#include "case.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

enum { LETTERS = 16384 };

/* A server's context with a self-signed certificate, or a client's. The caller frees it. */
static inline SSL_CTX *tls_context(bool server) {
    SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    CHECK(context);
    if (!server)
        return context;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    CHECK(key && certificate && X509_set_version(certificate, 2));
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_NAME *name = X509_get_subject_name(certificate);
    CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                     -1, -1, 0));
    CHECK(X509_set_issuer_name(certificate, name) && X509_set_pubkey(certificate, key));
    CHECK(X509_sign(certificate, key, EVP_sha256()));
    CHECK(SSL_CTX_use_certificate(context, certificate) == 1);
    CHECK(SSL_CTX_use_PrivateKey(context, key) == 1);
    SSL_CTX_set_num_tickets(context, 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

/* A new SSL object of a context of its own. */
static inline SSL *tls_session(bool server) {
    SSL_CTX *context = tls_context(server);
    SSL *ssl = SSL_new(context);
    CHECK(ssl);
    SSL_CTX_free(context);
    return ssl;
}

static inline enum bufferevent_ssl_state tls_state(bool server) {
    return server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
}

/* A TLS bufferevent on a unix socket, and the peer's SSL object on the other end. */
struct tls_scene {
    struct event_base *base;
    struct end a; /* the bufferevent, traced without a name */
    SSL *peer;
    int peer_fd;
};

/* The bufferevent is the server if `server`. It owns its SSL object and its socket. */
static inline void open_tls(struct tls_scene *scene, bool server, int options) {
    int fd[2];
    scene->base = new_base();
    unix_pair(fd);
    watch(&scene->a, "",
          bufferevent_openssl_socket_new(scene->base, fd[0], tls_session(server), tls_state(server),
                                         options | BEV_OPT_CLOSE_ON_FREE));
    scene->peer = tls_session(!server);
    scene->peer_fd = fd[1];
    CHECK(SSL_set_fd(scene->peer, fd[1]) == 1);
    if (server)
        SSL_set_connect_state(scene->peer);
    else
        SSL_set_accept_state(scene->peer);
}

/* The peer's handshake to its end, without the bufferevent's callback having to come. */
static inline void shake_hands(struct tls_scene *scene) {
    int done = 0;
    for (int i = 0; i < 200 && done != 1; i++) {
        pass(scene->base);
        done = SSL_do_handshake(scene->peer);
    }
    CHECK(done == 1);
}

/* The same until both sides are done. */
static inline void open_tls_connected(struct tls_scene *scene, bool server, int options) {
    open_tls(scene, server, options);
    shake_hands(scene);
    settle(scene->base);
    CHECK(scene->a.events == 1);
}

static inline void peer_send(struct tls_scene *scene, size_t length) {
    char data[LETTERS];
    CHECK(length <= sizeof data);
    for (size_t i = 0; i < length; i++)
        data[i] = (char)('a' + i % 26);
    CHECK(SSL_write(scene->peer, data, (int)length) == (int)length);
}

/* What the peer can read now. */
static inline size_t peer_receive(struct tls_scene *scene) {
    char data[LETTERS];
    size_t total = 0;
    int n;
    while ((n = SSL_read(scene->peer, data, sizeof data)) > 0)
        total += (size_t)n;
    return total;
}

/* Closes the peer's socket, with or without close_notify. */
static inline void peer_close(struct tls_scene *scene, bool clean) {
    if (clean)
        SSL_shutdown(scene->peer);
    SSL_free(scene->peer);
    scene->peer = NULL;
    CHECK(close(scene->peer_fd) == 0);
    scene->peer_fd = -1;
}

static inline void close_tls(struct tls_scene *scene) {
    if (scene->a.bev)
        bufferevent_free(scene->a.bev);
    if (scene->peer)
        peer_close(scene, false);
    /* What the bufferevent owns goes in the loop. */
    pass(scene->base);
    event_base_free(scene->base);
    ERR_clear_error();
}

/* Two TLS bufferevents that are connected: "c" is the client, "s" the server. */
struct tls_duo {
    struct event_base *base;
    struct end c, s;
};

static inline void watch_duo(struct tls_duo *duo, struct bufferevent *client,
                             struct bufferevent *server) {
    watch(&duo->c, "c", client);
    watch(&duo->s, "s", server);
}

static inline struct bufferevent *tls_over(struct event_base *base, struct bufferevent *under,
                                           bool server, int options) {
    return bufferevent_openssl_filter_new(base, under, tls_session(server), tls_state(server),
                                          options | BEV_OPT_CLOSE_ON_FREE);
}

/* On a pair of unix sockets. */
static inline void open_duo(struct tls_duo *duo, int options) {
    int fd[2];
    duo->base = new_base();
    unix_pair(fd);
    options |= BEV_OPT_CLOSE_ON_FREE;
    watch_duo(duo,
              bufferevent_openssl_socket_new(duo->base, fd[0], tls_session(false),
                                             BUFFEREVENT_SSL_CONNECTING, options),
              bufferevent_openssl_socket_new(duo->base, fd[1], tls_session(true),
                                             BUFFEREVENT_SSL_ACCEPTING, options));
}

/* Each a filter over one end of a pair of bufferevents. */
static inline void open_duo_over_pair(struct tls_duo *duo, int options) {
    struct bufferevent *pair[2];
    duo->base = new_base();
    CHECK(bufferevent_pair_new(duo->base, options & BEV_OPT_THREADSAFE, pair) == 0);
    watch_duo(duo, tls_over(duo->base, pair[0], false, options),
              tls_over(duo->base, pair[1], true, options));
}

/* Each a filter over a bufferevent on a unix socket. */
static inline void open_duo_over_sockets(struct tls_duo *duo, int options) {
    int fd[2];
    duo->base = new_base();
    unix_pair(fd);
    struct bufferevent *under[2];
    for (int i = 0; i < 2; i++) {
        under[i] = bufferevent_socket_new(duo->base, fd[i],
                                          BEV_OPT_CLOSE_ON_FREE | (options & BEV_OPT_THREADSAFE));
        CHECK(under[i]);
    }
    watch_duo(duo, tls_over(duo->base, under[0], false, options),
              tls_over(duo->base, under[1], true, options));
}

static inline void close_duo(struct tls_duo *duo) {
    if (duo->c.bev)
        bufferevent_free(duo->c.bev);
    if (duo->s.bev)
        bufferevent_free(duo->s.bev);
    pass(duo->base);
    event_base_free(duo->base);
    ERR_clear_error();
}

static inline struct timeval milliseconds(int count) {
    return (struct timeval){count / 1000, count % 1000 * 1000};
}

#endif
