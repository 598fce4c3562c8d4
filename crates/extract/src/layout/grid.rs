//! The columns of a grid: which cell of a row a field is.
//!
//! In: the header of a source and the places of a body. Out: per asked-for column its position, or
//! the error that it is not there. Deliberately absent: the rows; see [`super::records`].

use daymark_plan::{ColumnRef, GridHeader};

use super::mapping::{Candidate, Mapping, column_text};
use crate::error::{ExtractError, excerpt};
use crate::json::{self, Json, Kind};
use crate::place;

/// How much of a header an error shows.
pub(super) const HEADER_SHOWN: usize = 200;

/// The names of the columns, if they have any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// They are numbered.
    None,
    /// The same at every place.
    Known(Vec<String>),
    /// In the first row of each place.
    FirstRow,
}

impl Names {
    pub(super) fn of(header: &GridHeader, root: Json<'_>) -> Result<Self, ExtractError> {
        let path = match header {
            GridHeader::None => return Ok(Self::None),
            GridHeader::FirstRow => return Ok(Self::FirstRow),
            GridHeader::At(path) => path,
        };
        let places = place::places(path, 0, root)?;
        match places.as_slice() {
            [] => Err(ExtractError::NoPlace { path: path.text().to_owned() }),
            [place] if place.value.kind() == Kind::Array => {
                names(place.value.elements(), || place.path()).map(Self::Known)
            }
            several => {
                let path = || path.text().to_owned();
                names(several.iter().map(|place| place.value), path).map(Self::Known)
            }
        }
    }
}

/// The names in a row of strings.
pub(super) fn names<'b>(
    cells: impl Iterator<Item = Json<'b>>,
    path: impl Fn() -> String,
) -> Result<Vec<String>, ExtractError> {
    let names = cells.map(|cell| {
        let name = (cell.kind() == Kind::String).then(|| json::unescape(cell.quoted()).ok());
        name.flatten().map(std::borrow::Cow::into_owned).ok_or_else(|| {
            let found = format!("`{}`", excerpt(cell.text(), HEADER_SHOWN));
            ExtractError::NotHeader { path: path(), found }
        })
    });
    names.collect()
}

/// The position of every asked-for column, by slot.
pub(super) fn positions(
    mapping: &Mapping<'_>,
    names: Option<&[String]>,
) -> Result<Vec<Option<usize>>, ExtractError> {
    let mut positions = Vec::with_capacity(mapping.columns);
    for field in &mapping.fields {
        let mut columns = Vec::new();
        let mut found = false;
        for candidate in &field.candidates {
            let Candidate::Column { column, .. } = candidate else { continue };
            let position = position(column, names)?;
            found |= position.is_some();
            positions.push(position);
            columns.push(column_text(column));
        }
        if !found && !columns.is_empty() && !field.field.optional {
            let header = names.map(|names| names.join(", ")).unwrap_or_default();
            return Err(ExtractError::MissingColumn {
                field: field.field.name.clone(),
                columns,
                named: true,
                header: excerpt(&header, HEADER_SHOWN),
            });
        }
    }
    Ok(positions)
}

/// Where a column is, counted from 0; without names every number is somewhere.
pub(super) fn position(
    column: &ColumnRef,
    names: Option<&[String]>,
) -> Result<Option<usize>, ExtractError> {
    match column {
        ColumnRef::Position(number) => {
            let position = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1));
            Ok(position.filter(|position| names.is_none_or(|names| *position < names.len())))
        }
        ColumnRef::Name(name) => {
            let names = names.unwrap_or_default();
            let mut found = names.iter().enumerate().filter(|(_, other)| *other == name);
            let position = found.next().map(|(position, _)| position);
            if found.next().is_some() {
                let header = excerpt(&names.join(", "), HEADER_SHOWN);
                return Err(ExtractError::RepeatedColumn { column: name.clone(), header });
            }
            Ok(position)
        }
    }
}
