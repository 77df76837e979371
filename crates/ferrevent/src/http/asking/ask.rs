//! What a client asks, and what it is answered.

use ferrevent_core::buffer::Buffer;
use ferrevent_http::client::Request;
use ferrevent_http::{Method, ResponseHead, Uri, Version};

use super::builder::Origin;
use crate::http::fields::FieldList;

/// What a [`Client`](super::Client) asks: a method, a target, header fields, and a body.
///
/// `Host` and `Content-Length` are added if they are missing. With `Expect: 100-continue` among the fields, the body is sent
/// once the server wants it.
///
/// ```
/// use ferrevent::http::{Ask, Method};
///
/// let ask = Ask::new(Method::Put, "/things/7")
///     .field("Content-Type", "text/plain")
///     .body("a thing\n");
/// # drop(ask);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Ask {
    pub(super) method: Method,
    pub(super) target: Vec<u8>,
    pub(super) version: Version,
    pub(super) fields: FieldList,
    pub(super) body: Buffer,
}

impl Ask {
    /// With this method, of this target: a path and a query as a rule. Any method but [`Method::Other`].
    pub fn new(method: Method, target: impl AsRef<[u8]>) -> Self {
        Self {
            method,
            target: target.as_ref().to_vec(),
            version: Version::Http11,
            fields: FieldList::default(),
            body: Buffer::new(),
        }
    }

    /// Of the path and the query of a URL; a path that is empty is `/`.
    pub fn of(method: Method, url: &Uri) -> Self {
        let path = url.path().filter(|path| !path.is_empty());
        let mut target = path.unwrap_or(b"/").to_vec();
        if let Some(query) = url.query() {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        Self::new(method, target)
    }

    /// `GET`
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new(Method::Get, target)
    }

    /// `POST`, with a copy of `body`.
    pub fn post(target: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Self::new(Method::Post, target).body(body)
    }

    /// Asks in another version than 1.1.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Adds a header field (`evhttp_add_header`).
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push(name.as_ref(), value.as_ref());
        self
    }

    /// Sets the body to a copy of `data`.
    pub fn body(self, data: impl AsRef<[u8]>) -> Self {
        self.body_buffer(data.as_ref().into())
    }

    /// Sets the body, without a copy; it may be a file ([`FileSegment`](crate::FileSegment)).
    pub fn body_buffer(mut self, body: Buffer) -> Self {
        self.body = body;
        self
    }
}

impl Ask {
    pub(super) fn head<'a>(&'a self, origin: &'a Origin) -> Request<'a> {
        Request {
            method: self.method,
            target: &self.target,
            version: self.version,
            host: Some(&origin.field),
            body: self.body.len() as u64,
        }
    }
}

/// An answer that was collected.
#[derive(Debug)]
pub struct Response {
    code: u16,
    reason: Vec<u8>,
    version: Version,
    fields: FieldList,
    /// The body.
    pub body: Buffer,
}

impl Response {
    pub(super) fn new(head: &ResponseHead<'_>, body: Buffer) -> Self {
        let mut fields = FieldList::default();
        for (name, value) in head.fields().iter() {
            fields.push(name, value);
        }
        Self {
            code: head.code(),
            reason: head.reason().to_vec(),
            version: head.version(),
            fields,
            body,
        }
    }

    /// The status, from 100 to 999.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What is behind the status, which may be empty.
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Name and value of each header field, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter()
    }

    /// The value of the first header field of that name, in any case of letters.
    pub fn field(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        let mut fields = self.fields.iter();
        let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}
