//! URIs and relative references (RFC 3986).

mod grammar;
mod split;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use split::Pieces;

/// A URI, or a reference that is relative to one: `scheme://userinfo@host:port/path?query#fragment`.
///
/// Its parts are as they stand there: nothing is decoded, and no case is changed. What is not there is `None`, which is
/// something else than empty: `http://h/?` has an empty query. Under [`Conformance::Strict`] all parts are ASCII.
///
/// Stands for libevent's `struct evhttp_uri`.
///
/// ```
/// use ferrevent_http::Uri;
///
/// let mut uri: Uri = "//user@[::1]:80/a/b?c".parse()?;
/// assert_eq!(uri.scheme(), None);
/// assert_eq!(uri.user_info(), Some("user"));
/// assert_eq!(uri.host(), Some("[::1]"));
/// assert_eq!(uri.path(), Some(&b"/a/b"[..]));
/// uri.set_scheme(Some(b"http"))?;
/// uri.set_port(None);
/// assert_eq!(uri.to_string(), "http://user@[::1]/a/b?c");
/// # Ok::<(), ferrevent_http::BadUri>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uri {
    conformance: Conformance,
    scheme: Option<String>,
    user_info: Option<String>,
    host: Option<String>,
    port: Option<u32>,
    path: Option<Vec<u8>>,
    query: Option<Vec<u8>>,
    fragment: Option<Vec<u8>>,
}

/// Which characters paths, queries and fragments may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Conformance {
    /// Those of RFC 3986.
    #[default]
    Strict,
    /// Any but those that end the part. (libevent: `EVHTTP_URI_NONCONFORMANT`.)
    Lenient,
}

/// The part that makes it no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadUri {
    /// Not a letter with letters, digits, `+`, `-` and `.` behind it.
    #[error("the scheme is none")]
    Scheme,
    /// It has a character that is not allowed there.
    #[error("the user's part is none")]
    UserInfo,
    /// Neither a name, nor an address in brackets.
    #[error("the host is none")]
    Host,
    /// Not digits, or more than 65535.
    #[error("the port is none")]
    Port,
    /// It has a character that is not allowed there, or it has a colon where that would end a scheme.
    #[error("the path is none")]
    Path,
    /// It has a character that is not allowed there.
    #[error("the query is none")]
    Query,
    /// It has a character that is not allowed there.
    #[error("the fragment is none")]
    Fragment,
}

impl Uri {
    /// Nothing yet: no part is there. (libevent: `evhttp_uri_new`.)
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `text` apart. (libevent: `evhttp_uri_parse`.)
    ///
    /// # Errors
    /// If it is not a URI or a relative reference. `host:80` and `mailto:me` are URIs with a scheme; `1.2.3.4:80` is
    /// none, since no scheme begins with a digit.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, BadUri> {
        Self::parse_with(text, Conformance::Strict)
    }

    /// As [`parse`](Self::parse), with a choice of how strict to be; that also counts for later changes. (libevent:
    /// `evhttp_uri_parse_with_flags`.)
    ///
    /// # Errors
    /// If it is not a URI or a relative reference.
    pub fn parse_with(text: impl AsRef<[u8]>, conformance: Conformance) -> Result<Self, BadUri> {
        let pieces = Pieces::of(text.as_ref());
        let mut uri = Self {
            conformance,
            ..Self::default()
        };
        uri.set_scheme(pieces.scheme)?;
        if let Some(authority) = pieces.authority {
            uri.set_user_info(authority.user_info)?;
            uri.set_host(Some(authority.host))?;
            uri.port = authority.port()?;
        } else if pieces.scheme.is_none() && has_colon_in_first_segment(pieces.path) {
            return Err(BadUri::Path);
        }
        uri.set_path(Some(pieces.path))?;
        uri.set_query(pieces.query)?;
        uri.set_fragment(pieces.fragment)?;
        Ok(uri)
    }

    /// What is before the first colon: `http`.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// What is before the `@` of a host: `user`, or `user:password`.
    pub fn user_info(&self) -> Option<&str> {
        self.user_info.as_deref()
    }

    /// A name, which may be empty (`file:///etc/motd`), or an address; one of IPv6 has its brackets.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port. From [`parse`](Self::parse) it is 65535 at most; one that was set may be larger.
    pub fn port(&self) -> Option<u32> {
        self.port
    }

    /// The path. A URI that was parsed always has one, which may be empty.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// What is behind the `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }

    /// What is behind the `#`.
    pub fn fragment(&self) -> Option<&[u8]> {
        self.fragment.as_deref()
    }

    /// How strict later changes of its parts are. (libevent: `evhttp_uri_set_flags`.)
    pub fn set_conformance(&mut self, conformance: Conformance) {
        self.conformance = conformance;
    }

    /// Changes the scheme, or takes it away.
    ///
    /// # Errors
    /// If it is none. Then nothing changes; that is so for all of these.
    pub fn set_scheme(&mut self, scheme: Option<&[u8]>) -> Result<(), BadUri> {
        set(&mut self.scheme, scheme, grammar::scheme, BadUri::Scheme)
    }

    /// Changes what is before the host, or takes it away. It is part of the text only if there is a host.
    ///
    /// # Errors
    /// If it has a character that is not allowed there.
    pub fn set_user_info(&mut self, user_info: Option<&[u8]>) -> Result<(), BadUri> {
        let check = grammar::user_info;
        set(&mut self.user_info, user_info, check, BadUri::UserInfo)
    }

    /// Changes the host, or takes it away.
    ///
    /// # Errors
    /// If it is neither a name, nor an address in brackets.
    pub fn set_host(&mut self, host: Option<&[u8]>) -> Result<(), BadUri> {
        set(&mut self.host, host, grammar::host, BadUri::Host)
    }

    /// Changes the port, or takes it away. RFC 3986 sets no limit. It is part of the text only if there is a host.
    pub fn set_port(&mut self, port: Option<u32>) {
        self.port = port;
    }

    /// Changes the path, or takes it away.
    ///
    /// # Errors
    /// If it has a character that is not allowed there. A path that fits not behind the host is found out by
    /// [`join`](Self::join) only.
    pub fn set_path(&mut self, path: Option<&[u8]>) -> Result<(), BadUri> {
        let check = self.check(grammar::in_path, b"?#");
        set(&mut self.path, path, check, BadUri::Path)
    }

    /// Changes the query, or takes it away. It is without the `?`.
    ///
    /// # Errors
    /// If it has a character that is not allowed there.
    pub fn set_query(&mut self, query: Option<&[u8]>) -> Result<(), BadUri> {
        let check = self.check(grammar::in_query, b"#");
        set(&mut self.query, query, check, BadUri::Query)
    }

    /// Changes the fragment, or takes it away. It is without the `#`.
    ///
    /// # Errors
    /// If it has a character that is not allowed there.
    pub fn set_fragment(&mut self, fragment: Option<&[u8]>) -> Result<(), BadUri> {
        let check = self.check(grammar::in_query, b"");
        set(&mut self.fragment, fragment, check, BadUri::Fragment)
    }

    /// The text. Nothing is encoded; parts that were set may make it mean something else than they did. (libevent:
    /// `evhttp_uri_join`.)
    ///
    /// # Errors
    /// If there is a host, and a path that does not begin with a `/`.
    pub fn join(&self) -> Result<Vec<u8>, BadUri> {
        let path = self.path().unwrap_or_default();
        let fits = self.host.is_none() || path.is_empty() || path.starts_with(b"/");
        fits.then(|| self.text()).ok_or(BadUri::Path)
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(scheme) = &self.scheme {
            text.extend(scheme.as_bytes());
            text.push(b':');
        }
        if let Some(host) = &self.host {
            text.extend(b"//");
            if let Some(user_info) = &self.user_info {
                text.extend(user_info.as_bytes());
                text.push(b'@');
            }
            text.extend(host.as_bytes());
            if let Some(port) = self.port {
                text.extend(format!(":{port}").as_bytes());
            }
        }
        text.extend(self.path().unwrap_or_default());
        for (mark, part) in [(b'?', &self.query), (b'#', &self.fragment)] {
            if let Some(part) = part {
                text.push(mark);
                text.extend(part);
            }
        }
        text
    }

    /// What a part that may be lenient has to pass; `ends` are the characters that would end it.
    fn check(
        &self,
        allowed: fn(u8) -> bool,
        ends: &'static [u8],
    ) -> impl Fn(&[u8]) -> Option<&[u8]> + use<> {
        let conformance = self.conformance;
        move |part| match conformance {
            Conformance::Strict => grammar::checked(part, allowed).map(str::as_bytes),
            Conformance::Lenient => (!part.iter().any(|byte| ends.contains(byte))).then_some(part),
        }
    }
}

impl FromStr for Uri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Self, BadUri> {
        Self::parse(text)
    }
}

impl fmt::Display for Uri {
    /// The text, as of [`join`](Uri::join); also where that would be an error. What is not UTF-8 is replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

/// Puts what `check` lets pass into `place`.
fn set<T: ?Sized + ToOwned>(
    place: &mut Option<T::Owned>,
    part: Option<&[u8]>,
    check: impl Fn(&[u8]) -> Option<&T>,
    error: BadUri,
) -> Result<(), BadUri> {
    *place = match part {
        Some(part) => Some(check(part).ok_or(error)?.to_owned()),
        None => None,
    };
    Ok(())
}

/// Without a scheme such a path would be read as one with a scheme.
fn has_colon_in_first_segment(path: &[u8]) -> bool {
    let end = path.iter().find(|&byte| b":/".contains(byte));
    end == Some(&b':')
}
