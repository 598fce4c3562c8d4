//! `[pagination]`: how a fetch gets from one page to the next, and when it stops.
//!
//! In: the TOML table. Out: a [`Pagination`]. Deliberately absent: asking; and any way to stop at the
//! page limit in silence: reaching it while there is more is a failure.

use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::rows;
use crate::section::{Section, choose};

/// How a fetch gets from one page to the next.
#[derive(Debug, Clone)]
pub struct Pagination {
    /// How the next page is asked for.
    pub style: PageStyle,
    /// Where the response says whether there is more; something that is not `false`, null, `0` or
    /// empty means yes.
    pub has_more: Option<JsonPath>,
    /// Where the response says how many rows there are in all.
    pub total_rows: Option<JsonPath>,
    /// Where the response says how many pages there are.
    pub total_pages: Option<JsonPath>,
    /// The most pages a fetch may have; default 1000.
    pub max_pages: u32,
}

/// How the next page is asked for.
#[derive(Debug, Clone)]
pub enum PageStyle {
    /// There is only one.
    None,
    /// The response's `Link` header names it (RFC 8288, `rel="next"`).
    Link,
    /// The response's body names its address.
    NextUrl {
        /// Where.
        path: JsonPath,
    },
    /// The response gives a cursor that the next request carries.
    Cursor {
        /// Where.
        path: JsonPath,
        /// The parameter it goes into.
        parameter: String,
        /// Whether that is a member of the JSON or form body rather than of the query.
        in_body: bool,
    },
    /// The request says how many rows to pass over.
    Offset {
        /// The parameter for that number.
        parameter: String,
        /// The parameter for the size of a page, when the API takes it.
        limit_parameter: Option<String>,
        /// The size of a page.
        limit: u64,
        /// The first offset; mostly 0, sometimes 1 (NOAA).
        start: u64,
        /// Whether both go into the body rather than into the query.
        in_body: bool,
    },
    /// The request says which page.
    Page {
        /// The parameter for its number.
        parameter: String,
        /// The number of the first page; default 1.
        start: u64,
        /// Whether it goes into the body rather than into the query.
        in_body: bool,
    },
}

impl Pagination {
    /// One page.
    pub const NONE: Self = Self {
        style: PageStyle::None,
        has_more: None,
        total_rows: None,
        total_pages: None,
        max_pages: 1,
    };

    /// Whether what follows a page stands in its body.
    pub fn reads_bodies(&self) -> bool {
        let by_style = matches!(self.style, PageStyle::NextUrl { .. } | PageStyle::Cursor { .. });
        let stops = [&self.has_more, &self.total_rows, &self.total_pages];
        by_style || stops.iter().any(|path| path.is_some())
    }

    /// Whether a fetch may have several pages.
    pub fn is_some(&self) -> bool {
        !matches!(self.style, PageStyle::None)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    None,
    Link,
    NextUrl,
    Cursor,
    Offset,
    Page,
}

/// Reads `[pagination]`.
pub(super) fn read(
    section: Option<Section<'_>>,
    problems: &mut Vec<Problem>,
) -> Option<Pagination> {
    let Some(mut section) = section else { return Some(Pagination::NONE) };
    let kinds = [
        ("none", Kind::None),
        ("link", Kind::Link),
        ("next_url", Kind::NextUrl),
        ("cursor", Kind::Cursor),
        ("offset", Kind::Offset),
        ("page", Kind::Page),
    ];
    let kind = choose(&mut section, "type", &kinds, None, problems);
    let in_body = |section: &mut Section<'_>, problems: &mut Vec<Problem>| {
        choose(section, "in", &[("query", false), ("body", true)], Some(false), problems)
    };
    let start = |section: &mut Section<'_>, default: u32, problems: &mut Vec<Problem>| {
        u64::from(section.optional_whole("start", 0..=u32::MAX, problems).unwrap_or(default))
    };
    let style =
        match kind {
            None => None,
            Some(Kind::None) => Some(PageStyle::None),
            Some(Kind::Link) => Some(PageStyle::Link),
            Some(Kind::NextUrl) => required_path(&mut section, "path", problems)
                .map(|path| PageStyle::NextUrl { path }),
            Some(Kind::Cursor) => {
                let path = required_path(&mut section, "path", problems);
                let parameter = section.required_string("parameter", problems);
                let in_body = in_body(&mut section, problems);
                path.zip(parameter).zip(in_body).map(|((path, parameter), in_body)| {
                    PageStyle::Cursor { path, parameter, in_body }
                })
            }
            Some(Kind::Offset) => {
                let parameter = section.optional_string("parameter", problems);
                let limit_parameter = section.optional_string("limit_parameter", problems);
                let limit = section.optional_whole("limit", 1..=1_000_000, problems);
                if !section.has("limit") {
                    let problem = section.problem_here("`pagination.limit` is missing");
                    problems.push(problem.hint("the number of rows of a page"));
                }
                let start = start(&mut section, 0, problems);
                let in_body = in_body(&mut section, problems);
                limit.zip(in_body).map(|(limit, in_body)| PageStyle::Offset {
                    parameter: parameter.unwrap_or_else(|| "offset".to_owned()),
                    limit_parameter,
                    limit: u64::from(limit),
                    start,
                    in_body,
                })
            }
            Some(Kind::Page) => {
                let parameter = section.optional_string("parameter", problems);
                let start = start(&mut section, 1, problems);
                let in_body = in_body(&mut section, problems);
                in_body.map(|in_body| PageStyle::Page {
                    parameter: parameter.unwrap_or_else(|| "page".to_owned()),
                    start,
                    in_body,
                })
            }
        };
    let has_more = optional_path(&mut section, "has_more", problems);
    let total_rows = optional_path(&mut section, "total_rows", problems);
    let total_pages = optional_path(&mut section, "total_pages", problems);
    let max_pages = section.optional_whole("max_pages", 1..=100_000, problems).unwrap_or(1000);
    section.finish(problems);
    Some(Pagination { style: style?, has_more, total_rows, total_pages, max_pages })
}

/// A path from the root that may be absent.
pub(super) fn optional_path(
    section: &mut Section<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<JsonPath> {
    let text = section.optional_string(key, problems)?;
    from_root(section, key, &text, problems)
}

/// A path from the root.
pub(super) fn required_path(
    section: &mut Section<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<JsonPath> {
    let text = section.required_string(key, problems)?;
    from_root(section, key, &text, problems)
}

fn from_root(
    section: &Section<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<JsonPath> {
    let path = rows::path(section, key, text, problems)?;
    if path.is_from_root() {
        return Some(path);
    }
    let problem = section.problem(key, format!("`{text}` does not start at the root"));
    problems.push(problem.hint("write it from `$`, such as `$.next`"));
    None
}
