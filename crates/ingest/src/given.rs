//! A fetch whose answer is given, for tests of models: everything of a fetch but the asking.
//!
//! In: a source and what its API is said to have answered. Out: the manifest of an accepted or refused
//! fetch, stored like any other: status, expectations, extraction, archive are a fetch's own. Deliberately
//! absent: HTTP, secrets, retries.

use daymark_plan::{Entity, Method, Secrets, Source};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::Semaphore;
use url::Url;

use crate::answer::{Answer, Redirects};
use crate::error::{ErrorKind, IngestError};
use crate::fetch::{FetchOrder, Ingest, Prepared};
use crate::history::History;
use crate::keep::{Collected, Kept};
use crate::manifest::{SentRequest, StoredManifest};
use crate::scrub::Scrubber;
use crate::verify::{Looked, Refusal, enough};
use crate::words::words_of;

/// Where a given answer is said to come from: no host has that name (RFC 6761 section 6.4).
const NOWHERE: &str = "http://given.invalid/";

/// What an API is said to have answered.
#[derive(Debug, Clone)]
pub struct GivenAnswer {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: String,
    /// The bodies, one for each page.
    pub pages: Vec<Vec<u8>>,
}

impl Ingest {
    /// One fetch of a source, or of an entity of it, with an answer that is given. Its time is the clock's.
    pub async fn take(
        &self,
        source: &Source,
        entity: Option<&Entity>,
        order: &FetchOrder,
        given: &GivenAnswer,
    ) -> Result<StoredManifest, IngestError> {
        let history = History::new(self.store.clone(), source.id.clone(), self.clock.now());
        let asking = Semaphore::new(1);
        let comes_fast = false.into();
        let prepared = Prepared { secrets: Secrets::default(), history, asking, comes_fast };
        let cursor = self.position(source, entity, order, &prepared).await?;
        let request = SentRequest {
            method: match source.request.method {
                Method::Get => "GET".to_owned(),
                Method::Post => "POST".to_owned(),
            },
            url: NOWHERE.to_owned(),
            headers: std::collections::BTreeMap::new(),
            body: None,
        };
        let mut collected = Collected::new(source, entity, order, cursor, request);
        let scrubber = Scrubber::default();
        for (number, body) in (1_u32..).zip(&given.pages) {
            let answer = self.given_page(given, body).await?;
            collected.answer(&answer, &scrubber);
            let url: Url = NOWHERE.parse().expect("it is an address");
            let redirects = Redirects { asked: &url, hosts: &[], max: 0, left: 0 };
            let words = if answer.status.is_success() { None } else { words_of(body) };
            let (answer, looked) = match answer.judged(words.as_deref(), &redirects) {
                Ok(answer) => {
                    let looked = self.look_at(source, &answer, &scrubber).await?;
                    (Some(answer), looked)
                }
                Err(failure) => {
                    let refusal = Refusal { kind: failure.kind, message: failure.message };
                    let looked = Looked { refusal: Some(refusal), ..Looked::default() };
                    (failure.answer.map(|answer| *answer), looked)
                }
            };
            let page = source.pagination.is_some().then_some(number);
            let page = Kept { number: page, url: NOWHERE.to_owned() };
            self.keep_page(&mut collected, page, answer.as_ref(), looked, &scrubber).await?;
            if collected.is_refused() {
                break;
            }
        }
        if !collected.is_refused()
            && let Some(message) = enough(source, collected.rows())
        {
            collected.refuse(Refusal { kind: ErrorKind::Refused, message });
        }
        self.keep(collected, &prepared).await
    }

    async fn given_page(&self, given: &GivenAnswer, body: &[u8]) -> Result<Answer, IngestError> {
        let mut spool = self.store.spool();
        spool.write(body.to_vec().into()).await.map_err(IngestError::Spool)?;
        let mut headers = HeaderMap::new();
        // What is no header's value is none of a server's either.
        if let Ok(value) = HeaderValue::from_str(&given.content_type) {
            headers.insert(CONTENT_TYPE, value);
        }
        Ok(Answer {
            status: StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK),
            headers,
            received_at: self.clock.now(),
            url: NOWHERE.parse().expect("it is an address"),
            body: Some(spool.finish().await.map_err(IngestError::Spool)?),
            came_fast: false,
        })
    }
}
