//! Bodies that are not UTF-8: kept as they came, read as what they are, with a note.

use daymark_ingest::{ErrorKind, Outcome};
use daymark_testkit::rest::Reply;

use crate::world::{ROWS, World};

const BODY: &str = r#"{"rows":[{"at":"Köln"},{"at":"größer"}]}"#;

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

fn sixteen(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn the_encoding_is_noted_and_the_bytes_stay() {
    let marked = |mark: &[u8], body: Vec<u8>| [mark.to_vec(), body].concat();
    let utf8 = BODY.as_bytes().to_vec();
    let mut hashes = Vec::new();
    for (body, content_type, encoding) in [
        (utf8.clone(), "application/json", None),
        (marked(b"\xef\xbb\xbf", utf8), "application/json", None),
        (latin(BODY), "application/json; charset=iso-8859-1", Some("windows-1252")),
        (latin(BODY), "application/json", Some("windows-1252")),
        (marked(b"\xff\xfe", sixteen(BODY)), "application/json", Some("UTF-16LE")),
        (sixteen(BODY), "application/json", Some("UTF-16LE")),
    ] {
        let world = World::new().await;
        world.api.on("/x", Reply::new(200, body.clone()).header("content-type", content_type));
        let text = format!("[request]\nurl = \"{{api}}/x\"{ROWS}");
        let manifest = world.fetch(&world.source_of(&text, &[])).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{content_type}: {:?}", manifest.reason);
        let page = &manifest.pages[0];
        assert_eq!(page.encoding.as_deref(), encoding, "{content_type}");
        assert_eq!(world.object(&page.archive_key), body);
        assert_eq!(world.object(page.raw_key.as_ref().unwrap()), body);
        hashes.push(manifest.rows.unwrap().rows_sha256);
    }
    // The same rows, whatever they were written in.
    hashes.dedup();
    assert_eq!(hashes.len(), 1);
}

#[tokio::test]
async fn what_has_no_meaning_in_its_encoding_is_refused_with_its_place() {
    let world = World::new().await;
    let mut body = BODY.as_bytes().to_vec();
    let last = body.len() - 4;
    body[last] = 0xff;
    world.api.on("/x", Reply::json(body.clone()));
    let text = format!("[request]\nurl = \"{{api}}/x\"{ROWS}");
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    assert_eq!(manifest.error_kind, Some(ErrorKind::BadResponse));
    assert_eq!(manifest.reason.unwrap(), "the body is not UTF-8 at line 1 column 37 (byte 39)");
    assert_eq!(world.object(&manifest.pages[0].archive_key), body);
}
