//! The text of a body that is read from front to back: whole in memory, or a piece at a time.
//!
//! In: a checked text, or bytes as they are read. Out: what is at hand and not used yet, as text, and
//! where it stands in the body. Deliberately absent: what a line or a record is; whoever finds that the
//! text at hand ends too early asks for more.

use std::io::{ErrorKind, Read};

use crate::body;
use crate::error::{ExtractError, Position};

/// How much is read at once, at least.
const PIECE: usize = 64 * 1024;

/// A text, and how far it is used.
pub(crate) struct Window<'b> {
    held: Held<'b>,
    /// The bytes of what is held that are used.
    at: usize,
    /// The number of the line that the rest starts in, from 1.
    line: usize,
    /// The bytes of the body before what is held.
    before: usize,
}

enum Held<'b> {
    Whole(&'b str),
    Piece(Box<Piece<'b>>),
}

struct Piece<'b> {
    reader: Box<dyn Read + Send + 'b>,
    text: String,
    /// What was read and is not text yet: the beginning of a character.
    bytes: Vec<u8>,
    ended: bool,
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { held, at, line, before } = self;
        let held = match held {
            Held::Whole(text) => text.len(),
            Held::Piece(piece) => piece.text.len(),
        };
        write!(f, "Window({at} of {held} bytes behind {before}, line {line})")
    }
}

impl<'b> Window<'b> {
    /// Over a body in memory, of what is `wanted`.
    pub(crate) fn whole(body: &'b [u8], wanted: &'static str) -> Result<Self, ExtractError> {
        let (text, mark) = body::text(body, wanted)?;
        Ok(Self { held: Held::Whole(text), at: 0, line: 1, before: mark })
    }

    /// Over what is read, of what is `wanted`.
    pub(crate) fn read(
        reader: Box<dyn Read + Send + 'b>,
        wanted: &'static str,
    ) -> Result<Self, ExtractError> {
        let (text, bytes) = (String::new(), Vec::new());
        let held = Held::Piece(Box::new(Piece { reader, text, bytes, ended: false }));
        let mut window = Self { held, at: 0, line: 1, before: 0 };
        // As of a whole body: a mark is no text, and nothing but space is nothing.
        loop {
            window.more()?;
            let text = window.rest().trim_start_matches('\u{feff}').trim_ascii_start();
            if !text.is_empty() || window.ended() {
                break;
            }
        }
        let (_, mark) = body::text(window.rest().as_bytes(), wanted)?;
        window.at = mark;
        Ok(window)
    }

    /// What is at hand and not used yet.
    pub(crate) fn rest(&self) -> &str {
        let text = match &self.held {
            Held::Whole(text) => text,
            Held::Piece(piece) => piece.text.as_str(),
        };
        text.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing follows what is at hand.
    pub(crate) fn ended(&self) -> bool {
        match &self.held {
            Held::Whole(_) => true,
            Held::Piece(piece) => piece.ended,
        }
    }

    /// The number of the line that the rest starts in, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The bytes of the body before the rest.
    pub(crate) fn byte(&self) -> usize {
        self.before + self.at
    }

    /// Goes on by so many bytes; the rest then starts in `line`.
    pub(crate) fn advance(&mut self, bytes: usize, line: usize) {
        self.at += bytes;
        self.line = line;
    }

    /// Reads on: the rest gets longer, or has ended. What was used is let go.
    pub(crate) fn more(&mut self) -> Result<(), ExtractError> {
        let (line, used) = (self.line, self.at);
        let Held::Piece(piece) = &mut self.held else { return Ok(()) };
        piece.text.drain(..used);
        self.before += used;
        self.at = 0;
        // A long record is read again and again while it grows: twice as much each time.
        let wanted = piece.text.len().max(PIECE);
        let had = piece.text.len();
        while piece.text.len() == had && !piece.ended {
            let before = piece.bytes.len();
            piece.bytes.resize(before + wanted, 0);
            let read = piece.reader.read(&mut piece.bytes[before..]);
            piece.bytes.truncate(before + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(count) => piece.ended = count == 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ExtractError::Unread { reason: error.to_string() }),
            }
            let valid = match std::str::from_utf8(&piece.bytes) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() && !piece.ended => error.valid_up_to(),
                Err(error) => {
                    let text = [piece.text.as_bytes(), piece.bytes.as_slice()].concat();
                    let position = Position::of(&text, piece.text.len() + error.valid_up_to());
                    return Err(ExtractError::NotUtf8 { position }.behind(line, self.before));
                }
            };
            piece.text.push_str(std::str::from_utf8(&piece.bytes[..valid]).unwrap_or_default());
            piece.bytes.drain(..valid);
        }
        Ok(())
    }
}

/// Whether [`crate::to_utf8`] takes a body that came with `charset` as it is. For bodies that are not to
/// be in memory; it is read to its end.
pub fn is_plain_utf8(mut body: impl Read, charset: Option<&str>) -> std::io::Result<bool> {
    let named = charset.map(|charset| charset.trim_matches(['"', '\'', ' ']));
    let named = named.and_then(|charset| encoding_rs::Encoding::for_label(charset.as_bytes()));
    let mut only_ascii = named.is_some_and(|encoding| encoding != encoding_rs::UTF_8);
    if only_ascii && named.is_some_and(|encoding| !encoding.is_ascii_compatible()) {
        return Ok(false);
    }
    let mut bytes = vec![0; PIECE];
    let (mut filled, mut first) = (0, true);
    loop {
        let read = match body.read(&mut bytes[filled..]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        filled += read;
        if first && filled < 4 && read > 0 {
            continue; // Too little to tell a text in 16 bits by.
        }
        // Text in 16 bits has a zero beside each ASCII character, and may be UTF-8 all the same.
        if first && bytes[..filled.min(4)].contains(&0) {
            return Ok(false);
        }
        // A mark says more than the charset.
        only_ascii &= !(first && bytes[..filled].starts_with("\u{feff}".as_bytes()));
        first = false;
        let left = match std::str::from_utf8(&bytes[..filled]) {
            Ok(_) => 0,
            Err(error) if error.error_len().is_none() && read > 0 => filled - error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if only_ascii && !bytes[..filled].is_ascii() {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        bytes.copy_within(filled - left..filled, 0);
        filled = left;
    }
}
