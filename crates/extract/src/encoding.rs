//! Making a body UTF-8.
//!
//! In: bytes as received and the charset of their content type. Out: the same text in UTF-8, and
//! which encoding it was in when it was another; or the first byte that has no meaning in it.
//! Deliberately absent: replacement characters: a text is taken whole or not at all.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::error::{ExtractError, Position};

/// How much is decoded at once.
const STEP: usize = 64 * 1024;

/// The body in UTF-8, and the name of its encoding when that was not plain UTF-8. In this order: a
/// byte order mark, the charset it came with, UTF-8 if it is that, and what its bytes look like.
pub fn to_utf8<'b>(
    body: &'b [u8],
    charset: Option<&str>,
) -> Result<(Cow<'b, [u8]>, Option<&'static str>), ExtractError> {
    if let Some((encoding, mark)) = Encoding::for_bom(body) {
        return decode(encoding, body, mark);
    }
    let named = charset.map(|charset| charset.trim_matches(['"', '\'', ' ']));
    if let Some(encoding) = named.and_then(|charset| Encoding::for_label(charset.as_bytes())) {
        return decode(encoding, body, 0);
    }
    if let Some(encoding) = sixteen_bits(body) {
        return decode(encoding, body, 0);
    }
    match std::str::from_utf8(body) {
        Ok(_) => return Ok((Cow::Borrowed(body), None)),
        // What was UTF-8 up to here is damaged, and not in another encoding.
        Err(error) if !body[..error.valid_up_to()].is_ascii() => {
            return decode(UTF_8, body, 0);
        }
        Err(_) => {}
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(body, true);
    decode(detector.guess(None, Utf8Detection::Deny), body, 0)
}

/// UTF-16 without a mark: every text of an API starts with two ASCII characters.
fn sixteen_bits(body: &[u8]) -> Option<&'static Encoding> {
    match *body.first_chunk::<4>()? {
        [first, 0, second, 0] if first != 0 && second != 0 => Some(UTF_16LE),
        [0, first, 0, second] if first != 0 && second != 0 => Some(UTF_16BE),
        _ => None,
    }
}

/// Decodes what stands behind the mark.
fn decode<'b>(
    encoding: &'static Encoding,
    body: &'b [u8],
    mark: usize,
) -> Result<(Cow<'b, [u8]>, Option<&'static str>), ExtractError> {
    if encoding == UTF_8 {
        return match std::str::from_utf8(body) {
            Ok(_) => Ok((Cow::Borrowed(body), None)),
            Err(error) => {
                let position = Position::of(body, error.valid_up_to());
                Err(ExtractError::NotUtf8 { position })
            }
        };
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(body.len());
    let mut at = mark;
    loop {
        text.reserve(STEP);
        let rest = &body[at..];
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        at += read;
        match result {
            // Nothing to note where the bytes are the same in both.
            DecoderResult::InputEmpty if text.as_bytes() == body => {
                return Ok((Cow::Borrowed(body), None));
            }
            DecoderResult::InputEmpty => {
                return Ok((Cow::Owned(text.into_bytes()), Some(encoding.name())));
            }
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, behind) => {
                let bad = at.saturating_sub(usize::from(length) + usize::from(behind));
                let position = Position { byte: bad, ..Position::of(text.as_bytes(), text.len()) };
                return Err(ExtractError::NotDecodable { encoding: encoding.name(), position });
            }
        }
    }
}
