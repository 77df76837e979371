//! What a server answers.

use ferrevent_core::buffer::Buffer;

use crate::http::fields::FieldList;

/// An answer: a status, header fields, and a body.
///
/// The fields that HTTP itself needs are added when it is sent, if they are missing: `Date`, `Content-Length`,
/// `Transfer-Encoding`, `Connection`. Those that would make the client misread where the answer ends are left out.
///
/// ```
/// use ferrevent::http::Reply;
///
/// let reply = Reply::new(201)
///     .field("Location", "/things/7")
///     .field("Content-Type", "text/plain")
///     .body("made\n");
/// # drop(reply);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Reply {
    pub(super) code: u16,
    pub(super) reason: Option<Vec<u8>>,
    pub(super) fields: FieldList,
    pub(super) body: Buffer,
}

impl Reply {
    /// With this status, and nothing else.
    pub fn new(code: u16) -> Self {
        Self {
            code,
            reason: None,
            fields: FieldList::default(),
            body: Buffer::new(),
        }
    }

    /// What is written behind the status, instead of the [usual text](crate::http::status::reason).
    pub fn reason(mut self, reason: impl AsRef<[u8]>) -> Self {
        self.reason = Some(reason.as_ref().to_vec());
        self
    }

    /// Adds a header field (`evhttp_add_header`). One that no header can have is refused when the answer is given.
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

    /// The status.
    pub fn code(&self) -> u16 {
        self.code
    }
}
