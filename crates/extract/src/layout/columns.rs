//! The layout `columns`: parallel arrays of equal length, zipped into rows.
//!
//! In: places whose fields are arrays, or scalars that repeat on every row. Out: the rows, element by
//! element. Deliberately absent: filling up short arrays; unequal lengths refuse the body.

use bytes::{BufMut, BytesMut};

use super::{BadValue, Candidate, Mapping, PlacedField, Row, encode_value};
use crate::encode;
use crate::error::ExtractError;
use crate::json::{Elements, Json, Kind};
use crate::lookup::Found;
use crate::place::Place;

/// The rows of every place.
#[derive(Debug)]
pub(crate) struct Columns<'b> {
    mapping: Mapping<'b>,
    places: std::vec::IntoIter<Place<'b>>,
    table: Option<Table<'b>>,
    found: Found<'b>,
}

/// One place: its columns, and how far they are read.
#[derive(Debug)]
struct Table<'b> {
    place: Place<'b>,
    columns: Vec<Column<'b>>,
    row: u64,
    rows: u64,
}

/// The values of one field at one place.
#[derive(Debug)]
enum Column<'b> {
    /// One for each row.
    Each { elements: Elements<'b>, candidate: Candidate<'b> },
    /// The same for every row, written once.
    Repeated(Vec<u8>),
    /// The same for every row, and it does not fit.
    Unfit { value: Json<'b>, candidate: Candidate<'b> },
}

impl<'b> Columns<'b> {
    /// Finds the fields of every place, so that a body is refused before its first row is written.
    pub(super) fn open(mapping: Mapping<'b>, places: Vec<Place<'b>>) -> Result<Self, ExtractError> {
        let mut found = Vec::new();
        let mut places = places.into_iter();
        let table = match places.next() {
            Some(place) => Some(Table::open(&mapping, place, &mut found)?),
            None => None,
        };
        // The others are checked now and opened again when their turn comes: thousands of places
        // must not hold their columns all at once.
        for place in places.as_slice() {
            let again = Place { value: place.value, path: place.path.clone() };
            Table::open(&mapping, again, &mut found)?;
        }
        Ok(Self { mapping, places, table, found })
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        loop {
            let Some(table) = &mut self.table else { return Ok(Row::End) };
            if table.row < table.rows {
                return Ok(match table.next_row(&self.mapping.fields, out) {
                    Ok(()) => Row::Good,
                    Err(bad) => Row::Bad(bad),
                });
            }
            self.table = match self.places.next() {
                Some(place) => Some(Table::open(&self.mapping, place, &mut self.found)?),
                None => None,
            };
        }
    }
}

impl<'b> Table<'b> {
    fn open(
        mapping: &Mapping<'b>,
        place: Place<'b>,
        found: &mut Found<'b>,
    ) -> Result<Self, ExtractError> {
        mapping.from_place.find(place.value, found);
        let mut columns = Vec::with_capacity(mapping.fields.len());
        let mut lengths = Vec::new();
        let mut any = false;
        for field in &mapping.fields {
            let Some((value, candidate)) = mapping.pick(field, found) else {
                if !field.field.optional {
                    return Err(field.missing(&place.path));
                }
                columns.push(Column::null());
                continue;
            };
            any = true;
            if value.kind() == Kind::Array {
                let elements = value.elements();
                lengths.push((field, elements.clone().map(|_| 1_u64).sum()));
                columns.push(Column::Each { elements, candidate });
            } else {
                columns.push(Column::repeated(field, value, candidate));
            }
        }
        let rows = match lengths.first() {
            Some((_, length)) => *length,
            // Scalars make one row; a place that has no field at all makes none.
            None => u64::from(any),
        };
        if lengths.iter().any(|(_, length)| *length != rows) {
            let lengths = lengths
                .into_iter()
                .map(|(field, length)| (field.field.name.clone(), length))
                .collect();
            return Err(ExtractError::UnequalLengths { place: place.path, lengths });
        }
        Ok(Self { place, columns, row: 0, rows })
    }

    fn next_row(&mut self, fields: &[PlacedField<'b>], out: &mut BytesMut) -> Result<(), BadValue> {
        let row = self.row;
        self.row += 1;
        let place = &self.place.path;
        let mut outcome = Ok(());
        for (column, field) in self.columns.iter_mut().zip(fields) {
            match column {
                Column::Each { elements, candidate } => {
                    // Also behind a bad value: every column goes on to its next element.
                    let value = elements.next().unwrap_or(Json::checked("null"));
                    if outcome.is_ok() {
                        let path = || format!("{}[{row}]", candidate.path(place));
                        outcome = encode_value(field, value, path, out);
                    }
                }
                Column::Repeated(bytes) => out.put_slice(bytes),
                Column::Unfit { value, candidate } => {
                    if outcome.is_ok() {
                        outcome = encode_value(field, *value, || candidate.path(place), out);
                    }
                }
            }
        }
        outcome
    }
}

impl<'b> Column<'b> {
    fn null() -> Self {
        let mut bytes = BytesMut::new();
        encode::null(&mut bytes);
        Self::Repeated(bytes.to_vec())
    }

    fn repeated(field: &PlacedField<'_>, value: Json<'b>, candidate: Candidate<'b>) -> Self {
        let mut bytes = BytesMut::new();
        match encode::value(field.field_type(), value, &mut bytes) {
            Ok(()) => Self::Repeated(bytes.to_vec()),
            Err(_) => Self::Unfit { value, candidate },
        }
    }
}
