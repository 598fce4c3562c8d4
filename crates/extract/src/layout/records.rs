//! The layouts whose rows are values of their own: `records` (objects in an array, or a single one),
//! `keyed` (the members of an object) and `grid` (arrays in an array).
//!
//! In: places that hold such rows. Out: the rows, in the order of the body. Deliberately absent:
//! where fields are in a row; see [`super::mapping`].

use bytes::BytesMut;
use daymark_plan::{Layout, RowsSpec, Step};

use super::grid::{self, Names};
use super::mapping::{Here, Mapping, RowAt};
use super::{BadValue, Row, VALUE_SHOWN};
use crate::error::{ExtractError, excerpt};
use crate::json::{self, Elements, Json, Kind, Members};
use crate::place::{Place, path_text};
use crate::trace::Traced;

/// The rows of every place.
#[derive(Debug)]
pub(crate) struct Records<'b> {
    layout: Layout,
    mapping: Mapping<'b>,
    names: Names,
    places: std::vec::IntoIter<Place<'b>>,
    here: Here<'b>,
    list: Option<List<'b>>,
    row: RowAt<'b>,
}

/// The rows of the place that is here, and how far they are read.
#[derive(Debug)]
struct List<'b> {
    rows: Source<'b>,
    /// How many cells a row must have, where that is known.
    width: Option<usize>,
    /// The elements that are no rows: a header.
    before: u64,
}

#[derive(Debug)]
enum Source<'b> {
    Elements(Elements<'b>),
    One(Option<Json<'b>>),
    Members(Members<'b>),
}

impl<'b> Records<'b> {
    pub(super) fn open(
        spec: &'b RowsSpec,
        mapping: Mapping<'b>,
        places: Vec<Place<'b>>,
        root: Json<'b>,
    ) -> Result<Self, ExtractError> {
        let layout = spec.layout;
        for place in &places {
            let kind = place.value.kind();
            let wanted = match layout {
                Layout::Keyed if kind != Kind::Object => "an object",
                Layout::Grid if kind != Kind::Array => "an array of arrays",
                Layout::Records if !matches!(kind, Kind::Array | Kind::Object) => {
                    "an array of objects"
                }
                _ => continue,
            };
            let (place, found) = (place.path(), kind.with_article());
            return Err(ExtractError::NotRows { place, layout: layout.word(), wanted, found });
        }
        // What can only stand at the root is missing from the response, not from a record.
        let nowhere = (Here::default(), RowAt::default());
        for field in &mapping.fields {
            let root_only = field.candidates.iter().all(super::mapping::Candidate::is_from_root);
            let found = mapping.pick(field, &nowhere.0, &nowhere.1).is_some();
            if root_only && !field.field.optional && !found {
                return Err(field.missing(&nowhere.0, "$"));
            }
        }
        let names = match layout {
            Layout::Grid => Names::of(&spec.grid, root)?,
            _ => Names::None,
        };
        let mut here = Here::default();
        if names == Names::FirstRow {
            for place in &places {
                header(&mapping, place, &mut here)?;
            }
        } else if layout == Layout::Grid {
            let names =
                if let Names::Known(names) = &names { Some(names.as_slice()) } else { None };
            here.positions = grid::positions(&mapping, names)?;
        }
        let row = RowAt::default();
        let mut records =
            Self { layout, mapping, names, places: places.into_iter(), here, list: None, row };
        records.next_list()?;
        Ok(records)
    }

    fn next_list(&mut self) -> Result<(), ExtractError> {
        self.row.ordinal = 0;
        let Some(place) = self.places.next() else {
            self.list = None;
            return Ok(());
        };
        let width = match &self.names {
            Names::None => None,
            Names::Known(names) => Some(names.len()),
            Names::FirstRow => Some(header(&self.mapping, &place, &mut self.here)?),
        };
        let rows = match (self.layout, place.value.kind()) {
            (Layout::Keyed, _) => Source::Members(place.value.members()),
            (_, Kind::Array) => {
                let mut elements = place.value.elements();
                if self.names == Names::FirstRow {
                    elements.next();
                }
                Source::Elements(elements)
            }
            _ => Source::One(Some(place.value)),
        };
        self.list = Some(List { rows, width, before: u64::from(self.names == Names::FirstRow) });
        self.mapping.enter(place, &mut self.here);
        Ok(())
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        loop {
            let Some(list) = &mut self.list else { return Ok(Row::End) };
            let Some(value) = list.next(&mut self.row) else {
                self.next_list()?;
                continue;
            };
            self.row.ordinal += 1;
            let fits = match self.layout {
                Layout::Records if value.kind() != Kind::Object => {
                    Err(format!("expected an object, found {}", value.kind().with_article()))
                }
                Layout::Grid if value.kind() != Kind::Array => {
                    Err(format!("expected an array, found {}", value.kind().with_article()))
                }
                Layout::Grid => {
                    self.row.cells.clear();
                    self.row.cells.extend(value.elements());
                    let found = self.row.cells.len();
                    match list.width {
                        Some(width) if width != found => {
                            Err(format!("expected {width} cells, found {found}"))
                        }
                        _ => Ok(()),
                    }
                }
                _ => Ok(()),
            };
            if let Err(reason) = fits {
                let value = excerpt(value.text(), VALUE_SHOWN);
                let path = list.path(&self.here, &self.row);
                return Ok(Row::Bad(BadValue { field: String::new(), path, value, reason }));
            }
            self.mapping.find(value, &mut self.row);
            let path = || list.path(&self.here, &self.row);
            return Ok(match self.mapping.write(&self.here, &self.row, path, out) {
                Ok(()) => Row::Good,
                Err(bad) => Row::Bad(bad),
            });
        }
    }
}

impl Records<'_> {
    pub(super) fn trace_row(&mut self) -> Result<Option<Vec<Traced>>, ExtractError> {
        loop {
            let Some(list) = &mut self.list else { return Ok(None) };
            let Some(value) = list.next(&mut self.row) else {
                self.next_list()?;
                continue;
            };
            self.row.ordinal += 1;
            if self.layout == Layout::Grid {
                self.row.cells.clear();
                self.row.cells.extend(value.elements());
            }
            self.mapping.find(value, &mut self.row);
            let path = list.path(&self.here, &self.row);
            return Ok(Some(self.mapping.trace(&self.here, &self.row, &path)));
        }
    }
}

/// Reads the header of a place, sets the positions of its columns and returns how many it has. A
/// place without any row has no header either, and needs none.
fn header<'b>(
    mapping: &Mapping<'b>,
    place: &Place<'b>,
    here: &mut Here<'b>,
) -> Result<usize, ExtractError> {
    let Some(first) = place.value.elements().next() else { return Ok(0) };
    let path = || format!("{}[0]", place.path());
    if first.kind() != Kind::Array {
        let found = first.kind().with_article().to_owned();
        return Err(ExtractError::NotHeader { path: path(), found });
    }
    let names = grid::names(first.elements(), path)?;
    here.positions = grid::positions(mapping, Some(&names))?;
    Ok(names.len())
}

impl<'b> List<'b> {
    fn next(&mut self, row: &mut RowAt<'b>) -> Option<Json<'b>> {
        match &mut self.rows {
            Source::Elements(elements) => elements.next(),
            Source::One(record) => record.take(),
            Source::Members(members) => {
                let member = members.next()?;
                row.key = Some(member.name);
                Some(member.value)
            }
        }
    }

    /// The path of a row.
    fn path(&self, here: &Here<'b>, row: &RowAt<'b>) -> String {
        let place = here.place.as_ref().map(Place::path).unwrap_or_default();
        match (&self.rows, row.key) {
            (Source::Members(_), Some(key)) => {
                let name = json::unescape(key.quoted());
                let name = name.map_or_else(|_| key.quoted().to_owned(), Into::into);
                path_text(&place, &[Step::Name(name)])
            }
            (Source::Elements(_), _) => {
                format!("{place}[{}]", row.ordinal.saturating_sub(1) + self.before)
            }
            _ => place,
        }
    }
}
