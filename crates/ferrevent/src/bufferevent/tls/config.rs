//! What a client trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A client's configuration that trusts the public authorities (those of Mozilla, by the crate `webpki-roots`) and
/// offers these application protocols (ALPN), the preferred one first.
pub fn tls_client_config(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    trusting(roots, protocols)
}

/// As [`tls_client_config`], but trusts whom the system trusts (by the crate `rustls-native-certs`): also an authority of
/// your own that its administrator has added. `SSL_CERT_FILE` and `SSL_CERT_DIR` say where else to look. Read anew by
/// each call, so call it once.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when there is no certificate that could be used: nobody would be trusted.
#[cfg(feature = "tls-native-roots")]
pub fn tls_native_client_config(protocols: &[&[u8]]) -> crate::Result<Arc<ClientConfig>> {
    use std::io;

    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have some that rustls does not take; one is enough to go on with.
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.into_iter().next();
        let error = match why {
            Some(error) => io::Error::new(io::ErrorKind::NotFound, error),
            None => io::Error::new(io::ErrorKind::NotFound, "the system trusts nobody"),
        };
        return Err(error.into());
    }
    Ok(trusting(roots, protocols))
}

fn trusting(roots: RootCertStore, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    // The provider has what the default versions need.
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| ClientConfig::builder());
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
