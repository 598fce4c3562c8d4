//! How the values of a response lie: one module per layout.
//!
//! In: the places of a body and the mapped fields. Out: one row after the other, as the mapped
//! fields of a tuple. Deliberately absent: the system columns, counting and hashing, which are the
//! same for every layout; see [`crate::extraction`]. A new layout is a module here and an arm of
//! [`Rows`].

mod columns;
mod records;

use bytes::BytesMut;
use daymark_plan::{Field, FieldType, Layout, RowsSpec, Step};

use crate::encode;
use crate::error::{ExtractError, excerpt};
use crate::json::Json;
use crate::lookup::{Found, Lookup};
use crate::place::{Place, path_text};

/// How much of a value a reject keeps.
const VALUE_SHOWN: usize = 200;

/// The rows of a body.
#[derive(Debug)]
pub(crate) enum Rows<'b> {
    Columns(columns::Columns<'b>),
    Records(records::Records<'b>),
}

/// What came of one row.
#[derive(Debug)]
pub(crate) enum Row {
    /// Its mapped fields were appended.
    Good,
    /// It does not fit; what was appended means nothing.
    Bad(BadValue),
    /// There is no further row; nothing was appended.
    End,
}

/// The first value of a row that does not fit.
#[derive(Debug)]
pub(crate) struct BadValue {
    pub(crate) field: String,
    pub(crate) path: String,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl<'b> Rows<'b> {
    /// Finds and checks the fields at every place.
    pub(crate) fn open(
        spec: &'b RowsSpec,
        root: Json<'b>,
        places: Vec<Place<'b>>,
    ) -> Result<Self, ExtractError> {
        let mapping = Mapping::new(&spec.fields, root)?;
        match spec.layout {
            Layout::Columns => columns::Columns::open(mapping, places).map(Self::Columns),
            Layout::Records => records::Records::open(mapping, places).map(Self::Records),
        }
    }

    /// Appends the mapped fields of the next row.
    pub(crate) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        match self {
            Self::Columns(columns) => columns.next_row(out),
            Self::Records(records) => Ok(records.next_row(out)),
        }
    }
}

/// The mapped fields, their paths sorted into those from the root, which are answered, and those
/// from a place, which are yet to be.
#[derive(Debug)]
struct Mapping<'b> {
    fields: Vec<PlacedField<'b>>,
    from_place: Lookup<'b>,
    root_found: Found<'b>,
}

/// A mapped field and where it is looked for.
#[derive(Debug)]
struct PlacedField<'b> {
    field: &'b Field,
    candidates: Vec<Candidate<'b>>,
}

/// One of the paths of a field.
#[derive(Debug, Clone, Copy)]
struct Candidate<'b> {
    from_root: bool,
    slot: usize,
    steps: &'b [Step],
}

impl<'b> Mapping<'b> {
    fn new(fields: &'b [Field], root: Json<'b>) -> Result<Self, ExtractError> {
        let mut from_root = Lookup::new();
        let mut from_place = Lookup::new();
        let mut placed = Vec::with_capacity(fields.len());
        for field in fields {
            let mut candidates = Vec::with_capacity(field.paths.len());
            for path in &field.paths {
                let steps = path.steps().ok_or_else(|| ExtractError::AmbiguousPath {
                    field: field.name.clone(),
                    path: path.text().to_owned(),
                })?;
                let lookup = if path.is_from_root() { &mut from_root } else { &mut from_place };
                let slot = lookup.add(steps);
                candidates.push(Candidate { from_root: path.is_from_root(), slot, steps });
            }
            placed.push(PlacedField { field, candidates });
        }
        let mut root_found = Vec::new();
        from_root.find(root, &mut root_found);
        Ok(Self { fields: placed, from_place, root_found })
    }

    /// The value of a field, and the path that has it: the first that exists.
    fn pick(
        &self,
        field: &PlacedField<'b>,
        found: &Found<'b>,
    ) -> Option<(Json<'b>, Candidate<'b>)> {
        field.candidates.iter().find_map(|candidate| {
            let found = if candidate.from_root { &self.root_found } else { found };
            let value = found.get(candidate.slot).copied().flatten()?;
            Some((value, *candidate))
        })
    }
}

impl Candidate<'_> {
    /// The path from the root, when the place's own path is `place`.
    fn path(&self, place: &str) -> String {
        path_text(if self.from_root { "$" } else { place }, self.steps)
    }
}

impl PlacedField<'_> {
    fn missing(&self, place: &str) -> ExtractError {
        let paths = self.candidates.iter().map(|candidate| candidate.path(place)).collect();
        ExtractError::MissingField { field: self.field.name.clone(), paths }
    }

    fn bad(&self, path: String, value: Option<Json<'_>>, reason: &str) -> BadValue {
        BadValue {
            field: self.field.name.clone(),
            path,
            value: value.map(|value| excerpt(value.text(), VALUE_SHOWN)).unwrap_or_default(),
            reason: reason.to_owned(),
        }
    }

    fn field_type(&self) -> FieldType {
        self.field.field_type
    }
}

fn encode_value(
    field: &PlacedField<'_>,
    value: Json<'_>,
    path: impl FnOnce() -> String,
    out: &mut BytesMut,
) -> Result<(), BadValue> {
    encode::value(field.field_type(), value, out)
        .map_err(|misfit| field.bad(path(), Some(value), &misfit.0))
}
