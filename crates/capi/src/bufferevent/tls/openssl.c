/* libevent_openssl-2.1.so.7: the functions of event2/bufferevent_ssl.h.
 *
 * It does nothing but hand OpenSSL's functions to the library proper, libevent-2.1.so.7, which thereby works without
 * OpenSSL. It is compiled without OpenSSL's headers, on machines that may not have it: what it calls is declared here. */

typedef struct ssl_st SSL;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;
struct bufferevent;
struct event_base;

int SSL_do_handshake(SSL *);
int SSL_read(SSL *, void *, int);
int SSL_write(SSL *, const void *, int);
int SSL_shutdown(SSL *);
int SSL_renegotiate(SSL *);
int SSL_get_error(const SSL *, int);
void SSL_free(SSL *);
int SSL_clear(SSL *);
int SSL_get_fd(const SSL *);
int SSL_set_fd(SSL *, int);
BIO *SSL_get_rbio(const SSL *);
void SSL_set_bio(SSL *, BIO *, BIO *);
long SSL_ctrl(SSL *, int, long, void *);
void SSL_set_connect_state(SSL *);
void SSL_set_accept_state(SSL *);
int BIO_get_new_index(void);
BIO_METHOD *BIO_meth_new(int, const char *);
int BIO_meth_set_write(BIO_METHOD *, int (*)(BIO *, const char *, int));
int BIO_meth_set_read(BIO_METHOD *, int (*)(BIO *, char *, int));
int BIO_meth_set_ctrl(BIO_METHOD *, long (*)(BIO *, int, long, void *));
BIO *BIO_new(const BIO_METHOD *);
void BIO_set_data(BIO *, void *);
void *BIO_get_data(BIO *);
void BIO_set_init(BIO *, int);
void BIO_set_flags(BIO *, int);
void BIO_clear_flags(BIO *, int);
int BIO_method_type(const BIO *);
long BIO_ctrl(BIO *, int, long, void *);
int BIO_read(BIO *, void *, int);
BIO *BIO_push(BIO *, BIO *);
int BIO_up_ref(BIO *);
int BIO_free(BIO *);
const BIO_METHOD *BIO_f_buffer(void);
BIO *BIO_new_socket(int, int);
void ERR_clear_error(void);
unsigned long ERR_get_error(void);

/* `Api` in api.rs is the same. */
struct api {
	int (*ssl_do_handshake)(SSL *);
	int (*ssl_read)(SSL *, void *, int);
	int (*ssl_write)(SSL *, const void *, int);
	int (*ssl_shutdown)(SSL *);
	int (*ssl_renegotiate)(SSL *);
	int (*ssl_get_error)(const SSL *, int);
	void (*ssl_free)(SSL *);
	int (*ssl_clear)(SSL *);
	int (*ssl_get_fd)(const SSL *);
	int (*ssl_set_fd)(SSL *, int);
	BIO *(*ssl_get_rbio)(const SSL *);
	void (*ssl_set_bio)(SSL *, BIO *, BIO *);
	long (*ssl_ctrl)(SSL *, int, long, void *);
	void (*ssl_set_connect_state)(SSL *);
	void (*ssl_set_accept_state)(SSL *);
	int (*bio_get_new_index)(void);
	BIO_METHOD *(*bio_meth_new)(int, const char *);
	int (*bio_meth_set_write)(BIO_METHOD *, int (*)(BIO *, const char *, int));
	int (*bio_meth_set_read)(BIO_METHOD *, int (*)(BIO *, char *, int));
	int (*bio_meth_set_ctrl)(BIO_METHOD *, long (*)(BIO *, int, long, void *));
	BIO *(*bio_new)(const BIO_METHOD *);
	void (*bio_set_data)(BIO *, void *);
	void *(*bio_get_data)(BIO *);
	void (*bio_set_init)(BIO *, int);
	void (*bio_set_flags)(BIO *, int);
	void (*bio_clear_flags)(BIO *, int);
	int (*bio_method_type)(const BIO *);
	long (*bio_ctrl)(BIO *, int, long, void *);
	int (*bio_read)(BIO *, void *, int);
	BIO *(*bio_push)(BIO *, BIO *);
	int (*bio_up_ref)(BIO *);
	int (*bio_free)(BIO *);
	const BIO_METHOD *(*bio_f_buffer)(void);
	BIO *(*bio_new_socket)(int, int);
	void (*err_clear_error)(void);
	unsigned long (*err_get_error)(void);
};

static const struct api api = {
	SSL_do_handshake, SSL_read, SSL_write, SSL_shutdown, SSL_renegotiate, SSL_get_error, SSL_free,
	SSL_clear, SSL_get_fd, SSL_set_fd, SSL_get_rbio, SSL_set_bio, SSL_ctrl, SSL_set_connect_state,
	SSL_set_accept_state, BIO_get_new_index, BIO_meth_new, BIO_meth_set_write, BIO_meth_set_read,
	BIO_meth_set_ctrl, BIO_new, BIO_set_data, BIO_get_data, BIO_set_init, BIO_set_flags,
	BIO_clear_flags, BIO_method_type, BIO_ctrl, BIO_read, BIO_push, BIO_up_ref, BIO_free, BIO_f_buffer,
	BIO_new_socket, ERR_clear_error, ERR_get_error,
};

/* The library proper. */
struct bufferevent *ferrevent_tls_socket_new(const struct api *, struct event_base *, int, SSL *, int, int);
struct bufferevent *ferrevent_tls_filter_new(const struct api *, struct event_base *, struct bufferevent *,
    SSL *, int, int);
int ferrevent_tls_get_allow_dirty_shutdown(struct bufferevent *);
void ferrevent_tls_set_allow_dirty_shutdown(struct bufferevent *, int);
SSL *ferrevent_tls_get_ssl(struct bufferevent *);
int ferrevent_tls_renegotiate(struct bufferevent *);
unsigned long ferrevent_tls_get_error(struct bufferevent *);

struct bufferevent *
bufferevent_openssl_socket_new(struct event_base *base, int fd, SSL *ssl, int state, int options)
{
	return ferrevent_tls_socket_new(&api, base, fd, ssl, state, options);
}

struct bufferevent *
bufferevent_openssl_filter_new(struct event_base *base, struct bufferevent *underlying, SSL *ssl,
    int state, int options)
{
	return ferrevent_tls_filter_new(&api, base, underlying, ssl, state, options);
}

int
bufferevent_openssl_get_allow_dirty_shutdown(struct bufferevent *bev)
{
	return ferrevent_tls_get_allow_dirty_shutdown(bev);
}

void
bufferevent_openssl_set_allow_dirty_shutdown(struct bufferevent *bev, int allow)
{
	ferrevent_tls_set_allow_dirty_shutdown(bev, allow);
}

SSL *
bufferevent_openssl_get_ssl(struct bufferevent *bev)
{
	return ferrevent_tls_get_ssl(bev);
}

int
bufferevent_ssl_renegotiate(struct bufferevent *bev)
{
	return ferrevent_tls_renegotiate(bev);
}

unsigned long
bufferevent_get_openssl_error(struct bufferevent *bev)
{
	return ferrevent_tls_get_error(bev);
}
