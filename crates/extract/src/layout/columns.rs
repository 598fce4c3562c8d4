//! The layout `columns`: parallel arrays of equal length, zipped into rows.
//!
//! In: places whose fields are arrays, or scalars that repeat on every row. Out: the rows, element by
//! element. Deliberately absent: filling up short arrays; unequal lengths refuse the body.

use bytes::{BufMut, BytesMut};

use super::mapping::{Candidate, Here, Mapping, PlacedField, RowAt, Value};
use super::{BadValue, Row};
use crate::encode;
use crate::error::ExtractError;
use crate::json::{Elements, Json, Kind};
use crate::place::Place;
use crate::trace::Traced;

/// The rows of every place.
#[derive(Debug)]
pub(crate) struct Columns<'b> {
    mapping: Mapping<'b>,
    places: std::vec::IntoIter<Place<'b>>,
    here: Here<'b>,
    table: Option<Table<'b>>,
    found: RowAt<'b>,
}

/// The columns of the place that is here, and how far they are read.
#[derive(Debug)]
struct Table<'b> {
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
    Unfit(Box<BadValue>),
    /// The number of the row.
    Ordinal,
}

impl<'b> Columns<'b> {
    /// Finds the fields of every place, so that a body is refused before its first row is written.
    pub(super) fn open(mapping: Mapping<'b>, places: Vec<Place<'b>>) -> Result<Self, ExtractError> {
        let mut found = RowAt::default();
        let mut here = Here::default();
        // The others are checked now and opened again when their turn comes: thousands of places
        // must not hold their columns all at once.
        for place in places.iter().skip(1) {
            mapping.enter(place.clone(), &mut here);
            Table::open(&mapping, place.value, &here, &mut found)?;
        }
        let mut columns = Self { mapping, places: places.into_iter(), here, table: None, found };
        columns.next_table()?;
        Ok(columns)
    }

    fn next_table(&mut self) -> Result<(), ExtractError> {
        self.table = match self.places.next() {
            Some(place) => {
                let value = place.value;
                self.mapping.enter(place, &mut self.here);
                Some(Table::open(&self.mapping, value, &self.here, &mut self.found)?)
            }
            None => None,
        };
        Ok(())
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        loop {
            let Some(table) = &mut self.table else { return Ok(Row::End) };
            if table.row < table.rows {
                return Ok(match table.next_row(&self.mapping.fields, &self.here, out) {
                    Ok(()) => Row::Good,
                    Err(bad) => Row::Bad(bad),
                });
            }
            self.next_table()?;
        }
    }

    pub(super) fn trace_row(&mut self) -> Result<Option<Vec<Traced>>, ExtractError> {
        loop {
            let Some(table) = &self.table else { return Ok(None) };
            if table.row < table.rows {
                let number = usize::try_from(table.row).unwrap_or(usize::MAX);
                return Ok(Some(self.traced(number)));
            }
            self.next_table()?;
        }
    }

    /// Where the values of a row of the place that is here are.
    fn traced(&self, number: usize) -> Vec<Traced> {
        let place = self.here.place.as_ref().map(Place::path).unwrap_or_default();
        let traced = self.mapping.fields.iter().map(|field| {
            let first = field.candidates.first();
            if let Some(ordinal @ Candidate::Ordinal) = first {
                let count = Value::Count((number as u64).saturating_add(1));
                return field.traced(ordinal.path(&self.here, &place), Some(count));
            }
            let Some((value, candidate)) = self.mapping.pick(field, &self.here, &self.found) else {
                let path = first.map(|first| first.path(&self.here, &place));
                return field.traced(path.unwrap_or_default(), None);
            };
            let path = candidate.path(&self.here, &place);
            match value {
                Value::Json(array) if array.kind() == Kind::Array => {
                    let element = array.elements().nth(number).map(Value::Json);
                    field.traced(format!("{path}[{number}]"), element)
                }
                _ => field.traced(path, Some(value)),
            }
        });
        traced.collect()
    }
}

impl<'b> Table<'b> {
    fn open(
        mapping: &Mapping<'b>,
        value: Json<'b>,
        here: &Here<'b>,
        found: &mut RowAt<'b>,
    ) -> Result<Self, ExtractError> {
        let path = || here.place.as_ref().map(Place::path).unwrap_or_default();
        mapping.find(value, found);
        let mut columns = Vec::with_capacity(mapping.fields.len());
        let mut lengths = Vec::new();
        let mut any = false;
        for field in &mapping.fields {
            if matches!(field.candidates.first(), Some(Candidate::Ordinal)) {
                columns.push(Column::Ordinal);
                continue;
            }
            let Some((value, candidate)) = mapping.pick(field, here, found) else {
                if !field.field.optional {
                    return Err(field.missing(here, &path()));
                }
                columns.push(Column::null());
                continue;
            };
            match value {
                Value::Json(array) if array.kind() == Kind::Array => {
                    any = true;
                    lengths.push((field, array.count()));
                    columns.push(Column::Each { elements: array.elements(), candidate });
                }
                _ => {
                    any |= matches!(value, Value::Json(_));
                    let path = || candidate.path(here, &path());
                    columns.push(Column::repeated(field, value, path));
                }
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
            return Err(ExtractError::UnequalLengths { place: path(), lengths });
        }
        Ok(Self { columns, row: 0, rows })
    }

    fn next_row(
        &mut self,
        fields: &[PlacedField<'b>],
        here: &Here<'b>,
        out: &mut BytesMut,
    ) -> Result<(), BadValue> {
        let row = self.row;
        self.row += 1;
        let place = || here.place.as_ref().map(Place::path).unwrap_or_default();
        let mut outcome = Ok(());
        for (column, field) in self.columns.iter_mut().zip(fields) {
            match column {
                Column::Each { elements, candidate } => {
                    // Also behind a bad value: every column goes on to its next element.
                    let value = elements.next().unwrap_or(Json::checked("null"));
                    if outcome.is_ok() {
                        let path = || format!("{}[{row}]", candidate.path(here, &place()));
                        outcome = field.write(Value::Json(value), path, out);
                    }
                }
                Column::Repeated(bytes) => out.put_slice(bytes),
                Column::Unfit(bad) => {
                    if outcome.is_ok() {
                        outcome = Err(BadValue::clone(bad));
                    }
                }
                Column::Ordinal => {
                    if outcome.is_ok() {
                        let path = || format!("{}, row {row}", place());
                        outcome = field.write(Value::Count(row + 1), path, out);
                    }
                }
            }
        }
        outcome
    }
}

impl Column<'_> {
    fn null() -> Self {
        let mut bytes = BytesMut::new();
        encode::null(&mut bytes);
        Self::Repeated(bytes.to_vec())
    }

    fn repeated(
        field: &PlacedField<'_>,
        value: Value<'_, '_>,
        path: impl FnOnce() -> String,
    ) -> Self {
        let mut bytes = BytesMut::new();
        match field.write(value, path, &mut bytes) {
            Ok(()) => Self::Repeated(bytes.to_vec()),
            Err(bad) => Self::Unfit(Box::new(bad)),
        }
    }
}
