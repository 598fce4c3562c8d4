//! How the responses of a line are served.
//!
//! In: files, literals, and the word of the table. Out: a server that has them:
//!
//! ```text
//! 200                  the bytes of the file, whatever is asked; 400, 429, ... with another status
//! 503,200              several files, one after the other
//! 200 text/html        with another content type
//! 302 -> URL           a redirect
//! cut 1000             a 200 of so many bytes, after which the server says that it failed, as Open-Meteo does
//! split 7              one recorded page as pages of seven rows, by their numbers or offsets
//! exchange             a recording, for whoever asks what was asked then
//! path                 a recording, whatever is asked of its path
//! ```

use std::path::Path;

use daymark_testkit::recorded::{Exchange, exchanges};
use daymark_testkit::rest::{Reply, RestServer};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::literals;
use crate::table::FIXTURES;

/// How Open-Meteo ends a body that it cannot go on with (`JsonWriter.swift`).
const FAILED_WHILE_STREAMING: &str = "Unexpected error while streaming data: timeoutReached";

/// The bytes of a file or a literal.
fn body(file: &str) -> Vec<u8> {
    match file.strip_prefix('=') {
        Some(name) => literals::body(name).as_bytes().to_vec(),
        None => std::fs::read(Path::new(FIXTURES).join(file)).unwrap(),
    }
}

/// What a server would say the bytes are.
fn content_type(file: &str, body: &[u8]) -> &'static str {
    match (Path::new(file).extension().and_then(|word| word.to_str()), body.first()) {
        (Some("csv"), _) => "text/csv",
        (Some("txt"), _) => "text/plain;charset=utf-8",
        (Some("json"), _) | (_, Some(b'{' | b'[')) => "application/json; charset=utf-8",
        (_, Some(b'<')) => "text/html",
        _ => "text/plain;charset=utf-8",
    }
}

/// The exchanges of a recording, or the one that `#2` says.
fn recorded(file: &str) -> Vec<Exchange> {
    let (file, number) = file.split_once('#').unwrap_or((file, ""));
    let all = exchanges(&Path::new(FIXTURES).join(file));
    match number.parse::<usize>() {
        Ok(number) => vec![all[number - 1].clone()],
        Err(_) => all,
    }
}

/// Serves the files of one fetch at `path`; gives the time they were answered at, where that is known.
pub(crate) fn serve(
    api: &RestServer,
    path: &str,
    files: &[String],
    how: &str,
) -> Option<Timestamp> {
    let (word, rest) = how.split_once(' ').unwrap_or((how, ""));
    let mut replies = Vec::new();
    let mut at = None;
    match word {
        "exchange" => {
            for exchange in files.iter().flat_map(|file| recorded(file)) {
                at = at.or(exchange.date());
                api.replay(&exchange);
            }
            return at;
        }
        "path" => {
            for exchange in files.iter().flat_map(|file| recorded(file)) {
                at = at.or(exchange.date());
                let reply = Reply::new(exchange.status, exchange.body);
                let headers = exchange.headers.iter();
                replies.push(headers.fold(reply, |reply, (name, value)| reply.header(name, value)));
            }
        }
        "split" => {
            let rows = rest.parse().unwrap();
            for page in pages(&files[0], rows) {
                replies.push(Reply::json(page));
            }
        }
        "cut" => {
            let mut bytes = body(&files[0]);
            bytes.truncate(rest.parse().unwrap());
            bytes.extend(FAILED_WHILE_STREAMING.as_bytes());
            replies.push(Reply::json(bytes));
        }
        statuses => {
            for (file, status) in files.iter().zip(statuses.split(',')) {
                let bytes = body(file);
                let mut said = content_type(file, &bytes).to_owned();
                let mut reply = Reply::new(status.parse().unwrap(), bytes);
                match rest.strip_prefix("-> ") {
                    Some(location) => reply = reply.header("location", location),
                    None if rest.is_empty() => {}
                    None => rest.clone_into(&mut said),
                }
                replies.push(reply.header("content-type", &said));
            }
        }
    }
    let mut replies = replies.into_iter();
    if let Some(first) = replies.next() {
        api.only(path, first);
    }
    for reply in replies {
        api.on(path, reply);
    }
    at
}

/// A recorded page in pages of some rows, each with what the API says of it: where it is among the others.
fn pages(file: &str, size: usize) -> Vec<Vec<u8>> {
    // The one exchange of a recording that is asked for, or a file that is the body.
    let whole = match Path::new(file.split('#').next().unwrap()).extension() {
        Some(extension) if extension == "yml" => recorded(file)[0].body.to_vec(),
        _ => body(file),
    };
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let list =
        ["/1", "/results", "/observations"].into_iter().find(|at| whole.pointer(at).is_some());
    let list = list.expect("the page has a list of rows");
    let rows = whole.pointer(list).unwrap().as_array().unwrap();
    let chunks: Vec<&[Value]> = rows.chunks(size).collect();
    let mut pages = Vec::new();
    for (number, chunk) in chunks.iter().enumerate() {
        let mut page = whole.clone();
        *page.pointer_mut(list).unwrap() = json!(chunk);
        let mut set = |at: &str, value: usize| {
            if let Some(found) = page.pointer_mut(at) {
                *found = json!(value);
            }
        };
        set("/0/page", number + 1);
        set("/0/pages", chunks.len());
        set("/0/per_page", size);
        set("/metadata/resultset/offset", number * size + 1);
        set("/metadata/resultset/limit", size);
        set("/metadata/resultset/count", rows.len());
        set("/offset", number * size);
        set("/limit", size);
        set("/count", rows.len());
        pages.push(serde_json::to_vec(&page).unwrap());
    }
    pages
}
