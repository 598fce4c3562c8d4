//! The layout `records`: an array of objects, or a single one, one row each.
//!
//! In: places that are arrays of objects or objects. Out: a row per object. Deliberately absent:
//! objects keyed by a value (`keyed`), which are a layout of their own.

use bytes::BytesMut;

use super::{BadValue, Mapping, Row, VALUE_SHOWN, encode_value};
use crate::encode;
use crate::error::{ExtractError, excerpt};
use crate::json::{Elements, Json, Kind};
use crate::lookup::Found;
use crate::place::Place;

/// The rows of every place.
#[derive(Debug)]
pub(crate) struct Records<'b> {
    mapping: Mapping<'b>,
    places: std::vec::IntoIter<Place<'b>>,
    list: Option<List<'b>>,
    found: Found<'b>,
}

/// One place, and how far it is read.
#[derive(Debug)]
struct List<'b> {
    path: String,
    records: Source<'b>,
    row: u64,
}

#[derive(Debug)]
enum Source<'b> {
    Array(Elements<'b>),
    Object(Option<Json<'b>>),
}

impl<'b> Records<'b> {
    pub(super) fn open(mapping: Mapping<'b>, places: Vec<Place<'b>>) -> Result<Self, ExtractError> {
        for place in &places {
            let kind = place.value.kind();
            if !matches!(kind, Kind::Array | Kind::Object) {
                let found = kind.with_article();
                return Err(ExtractError::NotRecords { place: place.path.clone(), found });
            }
        }
        // What can only stand at the root is missing from the response, not from a record.
        for field in &mapping.fields {
            let root_only = field.candidates.iter().all(|candidate| candidate.from_root);
            if root_only && !field.field.optional && mapping.pick(field, &Vec::new()).is_none() {
                return Err(field.missing("$"));
            }
        }
        let mut places = places.into_iter();
        let list = places.next().map(List::open);
        Ok(Self { mapping, places, list, found: Vec::new() })
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Row {
        loop {
            let Some(list) = &mut self.list else { return Row::End };
            if let Some((record, row)) = list.next() {
                return match self.mapping.record(record, list, row, &mut self.found, out) {
                    Ok(()) => Row::Good,
                    Err(bad) => Row::Bad(bad),
                };
            }
            self.list = self.places.next().map(List::open);
        }
    }
}

impl<'b> Mapping<'b> {
    fn record(
        &self,
        record: Json<'b>,
        list: &List<'b>,
        row: u64,
        found: &mut Found<'b>,
        out: &mut BytesMut,
    ) -> Result<(), BadValue> {
        if record.kind() != Kind::Object {
            return Err(BadValue {
                field: String::new(),
                path: list.path_of(row),
                value: excerpt(record.text(), VALUE_SHOWN),
                reason: format!("expected an object, found {}", record.kind().with_article()),
            });
        }
        self.from_place.find(record, found);
        for field in &self.fields {
            match self.pick(field, found) {
                Some((value, candidate)) => {
                    encode_value(field, value, || candidate.path(&list.path_of(row)), out)?;
                }
                None if field.field.optional => encode::null(out),
                None => {
                    let path = field.candidates.first();
                    let path = path.map(|path| path.path(&list.path_of(row))).unwrap_or_default();
                    return Err(field.bad(path, None, "missing"));
                }
            }
        }
        Ok(())
    }
}

impl<'b> List<'b> {
    fn open(place: Place<'b>) -> Self {
        let records = match place.value.kind() {
            Kind::Array => Source::Array(place.value.elements()),
            _ => Source::Object(Some(place.value)),
        };
        Self { path: place.path, records, row: 0 }
    }

    fn next(&mut self) -> Option<(Json<'b>, u64)> {
        let record = match &mut self.records {
            Source::Array(elements) => elements.next()?,
            Source::Object(record) => record.take()?,
        };
        let row = self.row;
        self.row += 1;
        Some((record, row))
    }

    fn path_of(&self, row: u64) -> String {
        match self.records {
            Source::Array(_) => format!("{}[{row}]", self.path),
            Source::Object(_) => self.path.clone(),
        }
    }
}
