//! Taking a table of text apart into records and cells, without copying.
//!
//! In: text and how it is written ([`CsvFormat`]). Out: one record after the other, each with the
//! line it starts on and its cells, told apart by whether they were quoted. Deliberately absent: the
//! crate `csv`, which does not tell a quoted empty cell from none at all and takes a body that ends
//! inside a quoted cell; the tests compare with it.

use std::borrow::Cow;

use daymark_plan::CsvFormat;

use crate::error::{ExtractError, Position};

/// A text, and how far it is read.
#[derive(Debug, Clone)]
pub(super) struct Cells<'b> {
    text: &'b str,
    at: usize,
    /// The line the text starts in.
    first_line: usize,
    line: usize,
    format: CsvFormat,
    /// The bytes of the body before `text`.
    mark: usize,
}

/// Where a cell is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    start: usize,
    end: usize,
    /// Whether it was wrapped in quotes.
    pub(super) quoted: bool,
    /// Whether a doubled quote stands in it.
    doubled: bool,
}

/// A record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'b> {
    /// The line it starts on, from 1.
    pub(super) line: usize,
    /// It as it is written, without the line break.
    pub(super) text: &'b str,
    /// Whether text stands behind a closing quote, so that nobody knows what was meant.
    pub(super) garbled: bool,
}

impl<'b> Cells<'b> {
    /// The text from `line` on, which starts behind `mark` bytes of the body.
    pub(super) fn new(text: &'b str, format: CsvFormat, line: usize, mark: usize) -> Self {
        Self { text, at: 0, first_line: line, line, format, mark }
    }

    /// Passes over the lines in front of the table.
    pub(super) fn skip_lines(&mut self) {
        for _ in 0..self.format.skip_lines {
            self.skip_line();
        }
    }

    /// How much of the text is read, and the number of the line that the rest starts in.
    pub(super) fn read(&self) -> (usize, usize) {
        (self.at, self.line)
    }

    /// Whether the text is read to its end: if it goes on, so may what was read last.
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Reads the next record; `cells` are its cells.
    pub(super) fn next(
        &mut self,
        cells: &mut Vec<Cell>,
    ) -> Result<Option<Record<'b>>, ExtractError> {
        cells.clear();
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                None => return Ok(None),
                Some(b'\n' | b'\r') => self.line_break(),
                Some(byte) if Some(*byte) == self.format.comment => self.skip_line(),
                Some(_) => break,
            }
        }
        let (start, line) = (self.at, self.line);
        let mut garbled = false;
        loop {
            let cell = if self.format.quote.is_some_and(|q| bytes.get(self.at) == Some(&q)) {
                self.quoted_cell()?
            } else {
                let start = self.at;
                self.skip_cell();
                Cell { start, end: self.at, quoted: false, doubled: false }
            };
            cells.push(cell);
            if cell.quoted {
                let behind = self.at;
                self.skip_cell();
                garbled |= self.at > behind;
            }
            match bytes.get(self.at) {
                Some(byte) if *byte == self.format.separator => self.at += 1,
                _ => break,
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.line_break();
        Ok(Some(Record { line, text, garbled }))
    }

    /// The text of a cell of the last record.
    pub(super) fn text(&self, cell: Cell) -> Cow<'b, str> {
        let text = self.text.get(cell.start..cell.end).unwrap_or_default();
        match self.format.quote {
            Some(quote) if cell.doubled => {
                let quote = char::from(quote);
                Cow::Owned(text.replace(&format!("{quote}{quote}"), &quote.to_string()))
            }
            _ => Cow::Borrowed(text),
        }
    }

    fn skip_cell(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let separator = self.format.separator;
        let more = rest.iter().position(|byte| *byte == separator || matches!(byte, b'\n' | b'\r'));
        self.at += more.unwrap_or(rest.len());
    }

    /// Reads the cell whose opening quote is here, up to behind its closing one.
    fn quoted_cell(&mut self) -> Result<Cell, ExtractError> {
        let bytes = self.text.as_bytes();
        let open = self.at;
        self.at += 1;
        let mut doubled = false;
        loop {
            match bytes.get(self.at) {
                None => {
                    let position = Position::of(bytes, open);
                    let error = ExtractError::OpenQuote { position };
                    return Err(error.behind(self.first_line, self.mark));
                }
                Some(byte) if Some(*byte) == self.format.quote => {
                    if bytes.get(self.at + 1) == Some(byte) {
                        doubled = true;
                        self.at += 2;
                    } else {
                        let cell = Cell { start: open + 1, end: self.at, quoted: true, doubled };
                        self.at += 1;
                        return Ok(cell);
                    }
                }
                Some(b'\n' | b'\r') => self.line_break(),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Goes behind the line break that is here, if one is.
    fn line_break(&mut self) {
        let length = match self.text.as_bytes().get(self.at..).unwrap_or_default() {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return,
        };
        self.at += length;
        self.line += 1;
    }

    fn skip_line(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        self.at += end.unwrap_or(rest.len());
        self.line_break();
    }
}
