//! Where each mapped field is looked for, and what is found there.
//!
//! In: the fields of a source and the root of a body. Out: per row the value of each field, written.
//! Deliberately absent: which rows there are; that is for the layouts.

use bytes::BytesMut;
use daymark_plan::{ColumnRef, Field, FieldPlace, Step};

use super::{BadValue, VALUE_SHOWN};
use crate::encode::{self, Misfit, Target};
use crate::error::{ExtractError, excerpt};
use crate::json::Json;
use crate::lookup::{Found, Lookup};
use crate::place::{Place, path_text};
use crate::trace::Traced;

/// The mapped fields, their paths sorted by where they start. Those from the root are answered.
#[derive(Debug)]
pub(super) struct Mapping<'b> {
    pub(super) fields: Vec<PlacedField<'b>>,
    from_row: Lookup<'b>,
    /// One for each level above a place.
    from_above: Vec<Lookup<'b>>,
    root_found: Found<'b>,
    /// How many columns of a grid are asked for.
    pub(super) columns: usize,
}

/// A mapped field and where it is looked for.
#[derive(Debug)]
pub(super) struct PlacedField<'b> {
    pub(super) field: &'b Field,
    pub(super) candidates: Vec<Candidate<'b>>,
}

/// One of the places of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Candidate<'b> {
    Root { slot: usize, steps: &'b [Step] },
    Above { level: usize, slot: usize, steps: &'b [Step] },
    Row { slot: usize, steps: &'b [Step] },
    Key(usize),
    Ordinal,
    Column { slot: usize, column: &'b ColumnRef },
}

/// A place, and what is the same for all of its rows.
#[derive(Debug, Default)]
pub(super) struct Here<'b> {
    pub(super) place: Option<Place<'b>>,
    /// What was found above, by level, with the value it was found in.
    above: Vec<(Option<Json<'b>>, Found<'b>)>,
    /// The columns of a grid, counted from 0, by slot.
    pub(super) positions: Vec<Option<usize>>,
}

/// A row, and what is found in it.
#[derive(Debug, Default)]
pub(super) struct RowAt<'b> {
    /// By the slots of the relative paths.
    found: Found<'b>,
    /// The cells of a grid's row.
    pub(super) cells: Vec<Json<'b>>,
    /// Its own name.
    pub(super) key: Option<Json<'b>>,
    /// Its number in its place, from 1.
    pub(super) ordinal: u64,
}

/// What a field is in a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'x, 'b> {
    Json(Json<'b>),
    Name(&'x str),
    Count(u64),
}

impl<'b> Mapping<'b> {
    /// Sorts the paths of the fields, and looks up those from the root.
    pub(super) fn new(fields: &'b [Field], root: Json<'b>) -> Result<Self, ExtractError> {
        let mut from_root = Lookup::new();
        let mut from_row = Lookup::new();
        let mut from_above: Vec<Lookup<'b>> = Vec::new();
        let mut columns = 0;
        let mut placed = Vec::with_capacity(fields.len());
        for field in fields {
            let mut candidates = Vec::with_capacity(field.places.len());
            let ambiguous = |path: &FieldPlace| ExtractError::AmbiguousPath {
                field: field.name.clone(),
                path: path.to_string(),
            };
            for place in &field.places {
                candidates.push(match place {
                    FieldPlace::Path(path) => {
                        let steps = path.steps().ok_or_else(|| ambiguous(place))?;
                        if path.is_from_root() {
                            Candidate::Root { slot: from_root.add(steps), steps }
                        } else {
                            Candidate::Row { slot: from_row.add(steps), steps }
                        }
                    }
                    FieldPlace::Above { levels, path } => {
                        let steps = path.steps().ok_or_else(|| ambiguous(place))?;
                        // No path is longer than JSON is deep, so nothing is further up than that.
                        let level = usize::try_from(*levels).unwrap_or(128).clamp(1, 128);
                        while from_above.len() < level {
                            from_above.push(Lookup::new());
                        }
                        let slot = from_above[level - 1].add(steps);
                        Candidate::Above { level, slot, steps }
                    }
                    FieldPlace::Key(level) => {
                        Candidate::Key(usize::try_from(*level).unwrap_or(usize::MAX))
                    }
                    FieldPlace::Ordinal => Candidate::Ordinal,
                    FieldPlace::Column(column) => {
                        columns += 1;
                        Candidate::Column { slot: columns - 1, column }
                    }
                });
            }
            placed.push(PlacedField { field, candidates });
        }
        let mut root_found = Vec::new();
        from_root.find(root, &mut root_found);
        Ok(Self { fields: placed, from_row, from_above, root_found, columns })
    }

    /// Goes to a place: looks up what is above it.
    pub(super) fn enter(&self, place: Place<'b>, here: &mut Here<'b>) {
        here.above.resize_with(self.from_above.len(), Default::default);
        for (level, (lookup, (of, found))) in
            self.from_above.iter().zip(&mut here.above).enumerate()
        {
            let value = place.above.get(level).copied();
            let same = match (*of, value) {
                // Neighbouring places share what is above them: it is looked through once.
                (Some(of), Some(value)) => std::ptr::eq(of.text(), value.text()),
                _ => false,
            };
            if !same && !lookup.is_empty() {
                match value {
                    Some(value) => lookup.find(value, found),
                    None => found.clear(),
                }
                *of = value;
            }
        }
        here.place = Some(place);
    }

    /// Looks up the relative paths.
    pub(super) fn find(&self, value: Json<'b>, row: &mut RowAt<'b>) {
        if !self.from_row.is_empty() {
            self.from_row.find(value, &mut row.found);
        }
    }

    /// The value of a field, and the place that has it: the first that exists.
    pub(super) fn pick<'x>(
        &self,
        field: &PlacedField<'b>,
        here: &'x Here<'b>,
        row: &RowAt<'b>,
    ) -> Option<(Value<'x, 'b>, Candidate<'b>)> {
        field.candidates.iter().find_map(|candidate| {
            let slot = |found: &Found<'b>, slot: usize| found.get(slot).copied().flatten();
            let value = match *candidate {
                Candidate::Row { slot: at, .. } => slot(&row.found, at).map(Value::Json),
                Candidate::Root { slot: at, .. } => slot(&self.root_found, at).map(Value::Json),
                Candidate::Above { level, slot: at, .. } => here
                    .above
                    .get(level - 1)
                    .and_then(|(_, found)| slot(found, at))
                    .map(Value::Json),
                Candidate::Key(0 | 1) => row.key.map(Value::Json),
                Candidate::Key(level) => {
                    let place = here.place.as_ref()?;
                    place.names().nth(level - 2).map(Value::Name)
                }
                Candidate::Ordinal => (row.ordinal > 0).then_some(Value::Count(row.ordinal)),
                Candidate::Column { slot: at, .. } => {
                    let position = here.positions.get(at).copied().flatten()?;
                    row.cells.get(position).copied().map(Value::Json)
                }
            };
            Some((value?, *candidate))
        })
    }

    /// Appends the fields of a row. `path` is the row's.
    pub(super) fn write(
        &self,
        here: &Here<'b>,
        row: &RowAt<'b>,
        path: impl Fn() -> String,
        out: &mut BytesMut,
    ) -> Result<(), BadValue> {
        for field in &self.fields {
            match self.pick(field, here, row) {
                Some((value, candidate)) => {
                    field.write(value, || candidate.path(here, &path()), out)?;
                }
                None if field.field.optional => encode::null(out),
                None => {
                    let first = field.candidates.first();
                    let path = first.map(|first| first.path(here, &path())).unwrap_or_default();
                    return Err(field.bad(path, String::new(), "missing"));
                }
            }
        }
        Ok(())
    }

    /// Where the fields of a row are. `path` is the row's.
    pub(super) fn trace(&self, here: &Here<'b>, row: &RowAt<'b>, path: &str) -> Vec<Traced> {
        let traced = self.fields.iter().map(|field| {
            if let Some((value, candidate)) = self.pick(field, here, row) {
                return field.traced(candidate.path(here, path), Some(value));
            }
            let first = field.candidates.first();
            let path = first.map(|first| first.path(here, path)).unwrap_or_default();
            field.traced(path, None)
        });
        traced.collect()
    }
}

impl Candidate<'_> {
    /// Where it is from the root, when the row's own path is `row`.
    pub(super) fn path(&self, here: &Here<'_>, row: &str) -> String {
        match *self {
            Self::Root { steps, .. } => path_text("$", steps),
            Self::Row { steps, .. } => path_text(row, steps),
            Self::Above { level, steps, .. } => {
                let base = here.place.as_ref().map(|place| place.path_above(level));
                path_text(base.as_deref().unwrap_or("$"), steps)
            }
            Self::Key(0 | 1) => format!("{row}, its name"),
            Self::Key(level) => {
                let place = here.place.as_ref().map(Place::path).unwrap_or_default();
                format!("{place}, name {} from its end", level - 1)
            }
            Self::Ordinal => format!("{row}, its number"),
            Self::Column { slot, column } => match here.positions.get(slot).copied().flatten() {
                Some(position) => format!("{row}[{position}]"),
                None => format!("{row}, column {}", column_text(column)),
            },
        }
    }

    /// Whether it is the same for the whole response.
    pub(super) fn is_from_root(&self) -> bool {
        matches!(self, Self::Root { .. })
    }
}

/// A column for people: its name in backticks, or its number.
pub(super) fn column_text(column: &ColumnRef) -> String {
    match column {
        ColumnRef::Name(name) => format!("`{name}`"),
        ColumnRef::Position(number) => number.to_string(),
    }
}

impl<'b> PlacedField<'b> {
    pub(super) fn missing(&self, here: &Here<'b>, place: &str) -> ExtractError {
        let paths = self.candidates.iter().map(|candidate| candidate.path(here, place)).collect();
        ExtractError::MissingField { field: self.field.name.clone(), paths }
    }

    pub(super) fn bad(&self, path: String, value: String, reason: &str) -> BadValue {
        BadValue { field: self.field.name.clone(), path, value, reason: reason.to_owned() }
    }

    pub(super) fn traced(&self, path: String, value: Option<Value<'_, '_>>) -> Traced {
        let value = value.map(|value| match value {
            Value::Json(value) => value.text().to_owned(),
            Value::Name(name) => name.to_owned(),
            Value::Count(count) => count.to_string(),
        });
        Traced { field: self.field.name.clone(), path, value }
    }

    pub(super) fn target(&self) -> Target<'b> {
        Target { field_type: self.field.field_type, reading: &self.field.reading }
    }

    /// Appends a value.
    pub(super) fn write(
        &self,
        value: Value<'_, '_>,
        path: impl FnOnce() -> String,
        out: &mut BytesMut,
    ) -> Result<(), BadValue> {
        let written = match value {
            Value::Json(value) => encode::value(self.target(), value, out),
            Value::Name(name) => encode::cell(self.target(), name, true, out),
            Value::Count(count) => encode::counted(self.target(), count, out),
        };
        written.map_err(|Misfit(reason)| {
            let shown = match value {
                Value::Json(value) => excerpt(value.text(), VALUE_SHOWN),
                Value::Name(name) => excerpt(name, VALUE_SHOWN),
                Value::Count(count) => count.to_string(),
            };
            self.bad(path(), shown, &reason)
        })
    }
}
