//! One HTTP answer, made without HTTP.

/// Status, content type and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The `Content-Type` header.
    pub(super) content_type: &'static str,
    /// The body, byte for byte.
    pub(super) body: String,
}

/// The query parameters of a request, decoded, in its order.
pub(super) type Query = [(String, String)];

/// The last value of a parameter, if it is there.
pub(super) fn parameter<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
