//! From one page to the next, and when to stop.
//!
//! In: the `[pagination]` of a source and what a page brought. Out: the request for the next page, the
//! end, or the reason why the fetch is refused: a page limit reached while there is more, a cursor or
//! a page seen before, an address the source may not be asked at. Deliberately absent: sending.

use std::collections::HashSet;

use daymark_extract::{ExtractError, Scalar, scalars_at};
use daymark_plan::{JsonPath, PageStyle, Pagination};
use reqwest::header::{HeaderMap, LINK};
use serde_json::Value;
use url::Url;

use crate::answer::may_follow;
use crate::request::Outgoing;
use crate::words::{chain, short};

/// Where a fetch is in its pages.
#[derive(Debug)]
pub(crate) struct Pager<'s> {
    pagination: &'s Pagination,
    redirect_hosts: &'s [String],
    first: Outgoing,
    /// The page that was asked for last, counted from 1.
    number: u32,
    /// The rows of all pages so far, rejects among them.
    rows: u64,
    /// Cursors and addresses that were asked for.
    asked: HashSet<String>,
    /// Hashes of the pages that had rows.
    seen: HashSet<String>,
}

/// What a page brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBrought<'p> {
    /// The headers it came with.
    pub(crate) headers: &'p HeaderMap,
    /// The address it came from.
    pub(crate) url: &'p Url,
    /// Its body, in UTF-8.
    pub(crate) body: &'p [u8],
    /// Its SHA-256.
    pub(crate) sha256: &'p str,
    /// Its rows, rejects among them.
    pub(crate) rows: u64,
}

/// What follows a page.
#[derive(Debug)]
pub(crate) enum After {
    /// Another.
    Page(Box<Outgoing>),
    /// Nothing: it was the last.
    End,
}

impl<'s> Pager<'s> {
    /// The pager of a fetch, and the request for its first page.
    pub(crate) fn new(
        pagination: &'s Pagination,
        redirect_hosts: &'s [String],
        outgoing: Outgoing,
    ) -> (Self, Outgoing) {
        let first = match &pagination.style {
            PageStyle::Offset { parameter, limit_parameter, limit, start, in_body } => {
                let mut first = outgoing.with(parameter, &(*start).into(), *in_body);
                if let Some(limit_parameter) = limit_parameter {
                    first = first.with(limit_parameter, &(*limit).into(), *in_body);
                }
                first
            }
            PageStyle::Page { parameter, start, in_body } => {
                outgoing.with(parameter, &(*start).into(), *in_body)
            }
            PageStyle::None
            | PageStyle::Link
            | PageStyle::NextUrl { .. }
            | PageStyle::Cursor { .. } => outgoing,
        };
        let mut asked = HashSet::new();
        asked.insert(first.url.to_string());
        let pager = Self {
            pagination,
            redirect_hosts,
            first: first.clone(),
            number: 1,
            rows: 0,
            asked,
            seen: HashSet::new(),
        };
        (pager, first)
    }

    /// The page asked for last, counted from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What follows a page; the error is the reason to refuse the fetch.
    pub(crate) fn after(&mut self, page: PageBrought<'_>) -> Result<After, String> {
        if !self.pagination.is_some() {
            return Ok(After::End);
        }
        self.rows += page.rows;
        // Two empty pages may well be equal.
        if page.rows > 0 && !self.seen.insert(page.sha256.to_owned()) {
            return Err(format!(
                "page {} is byte for byte a page before it: the API does not turn pages as \
                 `[pagination]` says",
                self.number
            ));
        }
        let Some(next) = self.next(page)? else { return Ok(After::End) };
        if self.number >= self.pagination.max_pages {
            return Err(format!(
                "there are more than {} pages (`pagination.max_pages`)",
                self.pagination.max_pages
            ));
        }
        self.number += 1;
        Ok(After::Page(Box::new(next)))
    }

    fn next(&mut self, page: PageBrought<'_>) -> Result<Option<Outgoing>, String> {
        let scalar = |path: &Option<JsonPath>| match path {
            Some(path) => first_scalar(path, page.body),
            None => Ok(None),
        };
        // Where the response does not say, the other rules do: a page too much is asked for rather than
        // one too few.
        let more = scalar(&self.pagination.has_more)?.map(|more| is_true(&more));
        if more == Some(false) {
            return Ok(None);
        }
        if let Some(total) = scalar(&self.pagination.total_rows)?.and_then(|total| whole(&total))
            && self.rows >= total
        {
            return Ok(None);
        }
        if let Some(total) = scalar(&self.pagination.total_pages)?.and_then(|total| whole(&total))
            && u64::from(self.number) >= total
        {
            return Ok(None);
        }
        let next = match &self.pagination.style {
            PageStyle::None => None,
            PageStyle::Link => match next_link(page.headers) {
                Some(target) => Some(self.address(page.url, &target)?),
                None => None,
            },
            PageStyle::NextUrl { path } => match word(first_scalar(path, page.body)?) {
                Some(target) => Some(self.address(page.url, &target)?),
                None => None,
            },
            PageStyle::Cursor { path, parameter, in_body } => {
                let found = first_scalar(path, page.body)?;
                let number = matches!(found, Some(Scalar::Number(_)));
                match word(found) {
                    Some(cursor) => {
                        if !self.asked.insert(cursor.clone()) {
                            return Err(format!(
                                "page {} gives the cursor `{}` again",
                                self.number,
                                short(&cursor)
                            ));
                        }
                        let as_number = || cursor.parse::<serde_json::Number>().ok();
                        let value = Some(()).filter(|()| number).and_then(|()| as_number());
                        let value = value.map_or_else(|| cursor.as_str().into(), Value::Number);
                        Some(self.first.clone().with(parameter, &value, *in_body))
                    }
                    None => None,
                }
            }
            PageStyle::Offset { parameter, limit, start, in_body, .. } => {
                let offset = start + u64::from(self.number) * limit;
                let next = || self.first.clone().with(parameter, &offset.into(), *in_body);
                (page.rows > 0).then(next)
            }
            PageStyle::Page { parameter, start, in_body } => {
                let number = start + u64::from(self.number);
                let next = || self.first.clone().with(parameter, &number.into(), *in_body);
                (page.rows > 0).then(next)
            }
        };
        if next.is_none()
            && more == Some(true)
            && matches!(
                self.pagination.style,
                PageStyle::Link | PageStyle::NextUrl { .. } | PageStyle::Cursor { .. }
            )
        {
            return Err(format!("page {} says that there is more, and not where", self.number));
        }
        Ok(next)
    }

    /// A request for an address that the server gave.
    fn address(&mut self, base: &Url, target: &str) -> Result<Outgoing, String> {
        let url = base
            .join(target)
            .map_err(|reason| format!("page {} gives no address: {reason}", self.number))?;
        if !may_follow(&self.first.url, &url, self.redirect_hosts) {
            return Err(format!(
                "page {} leads to `{}`, which is not followed (`request.redirect_hosts`)",
                self.number,
                url.origin().ascii_serialization()
            ));
        }
        if !self.asked.insert(url.to_string()) {
            return Err(format!("page {} leads to a page that was asked for before", self.number));
        }
        Ok(self.first.clone().at(url))
    }
}

fn first_scalar(path: &JsonPath, body: &[u8]) -> Result<Option<Scalar>, String> {
    match scalars_at(path, body) {
        Ok(scalars) => Ok(scalars.into_iter().next()),
        Err(ExtractError::Empty) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

/// A scalar as the text that goes into a request; none for what means "no more".
fn word(scalar: Option<Scalar>) -> Option<String> {
    match scalar? {
        Scalar::Text(text) | Scalar::Number(text) => Some(text).filter(|text| !text.is_empty()),
        Scalar::Null | Scalar::Boolean(_) => None,
    }
}

fn is_true(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Boolean(yes) => *yes,
        Scalar::Null => false,
        Scalar::Number(text) => text != "0",
        Scalar::Text(text) => {
            !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "0" | "no")
        }
    }
}

fn whole(scalar: &Scalar) -> Option<u64> {
    match scalar {
        Scalar::Number(text) | Scalar::Text(text) => text.trim().parse().ok(),
        Scalar::Null | Scalar::Boolean(_) => None,
    }
}

/// The target of `rel="next"` in the `Link` headers (RFC 8288 section 3).
fn next_link(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.find_map(|value| {
        let mut rest = value;
        while let Some(start) = rest.find('<') {
            let (target, after) = rest[start + 1..].split_once('>')?;
            // The parameters end at the comma that starts the next link; a comma in quotes does not.
            let mut quoted = false;
            let end = after.find(|c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            let (parameters, tail) = after.split_at(end.unwrap_or(after.len()));
            let is_next = parameters.split(';').any(|parameter| {
                let Some((name, value)) = parameter.split_once('=') else { return false };
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(target.trim().to_owned());
            }
            rest = tail;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_in_every_recorded_form() {
        let next = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LINK, value.parse().unwrap());
            }
            next_link(&headers)
        };
        let github = "<https://api.github.com/x?page=1>; rel=\"prev\", \
                      <https://api.github.com/x?page=3>; rel=\"next\", \
                      <https://api.github.com/x?page=50>; rel=\"last\"";
        assert_eq!(next(&[github]).as_deref(), Some("https://api.github.com/x?page=3"));
        assert_eq!(next(&["</y?a=1,2>; title=\"a, b\"; REL=next"]).as_deref(), Some("/y?a=1,2"));
        assert_eq!(
            next(&["<a>; rel=\"last\"", "<b>; rel=\"nofollow next\""]).as_deref(),
            Some("b")
        );
        assert_eq!(next(&["<a>; rel=\"last\""]), None);
        assert_eq!(next(&["<a; rel=next"]), None);
        assert_eq!(next(&[]), None);
    }
}
