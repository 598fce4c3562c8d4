//! Bodies that are not held in memory are taken, refused and kept as those that are.

use daymark_ingest::{ErrorKind, Manifest};
use daymark_plan::Source;
use daymark_testkit::rest::Reply;

use crate::world::{PATH, World};

const ROWS: usize = 60_000;

fn table(rows: usize) -> String {
    let lines: Vec<String> = (0..rows).map(|row| format!("{row},\"name, {row}\"\n")).collect();
    format!("a,b\n{}", lines.concat())
}

fn source(world: &World, rows: &str) -> Source {
    world.weather_of(&format!(
        "id = \"weather\"\n[request]\nurl = \"{}\"\n[retry]\nbase_seconds = 0.001\n[rows]\n{rows}",
        world.api.url(PATH)
    ))
}

const CSV: &str = "layout = \"csv\"\n[rows.fields]\na = { column = \"a\", type = \"bigint\" }\n\
                   b = { column = \"b\", type = \"text\" }\n";
const NDJSON: &str =
    "layout = \"ndjson\"\n[rows.fields]\na = { path = \"a\", type = \"bigint\" }\n";

async fn csv(body: impl Into<bytes::Bytes>, content_type: &str) -> (World, Manifest) {
    let world = World::new().await;
    world.api.on(PATH, Reply::new(200, body).header("content-type", content_type));
    let manifest = world.fetch(&source(&world, CSV)).await;
    (world, manifest)
}

#[tokio::test]
async fn a_large_table_is_the_small_ones_rows() {
    let body = table(ROWS);
    let (world, manifest) = csv(body.clone(), "text/csv; charset=utf-8").await;
    let rows = manifest.rows.unwrap();
    assert_eq!((rows.extracted, rows.rejected), (ROWS as u64, 0));
    let page = &manifest.pages[0];
    assert_eq!(page.sha256, daymark_plan::sha256_hex(body.as_bytes()));
    assert_eq!(page.encoding, None);
    assert_eq!(world.object(&page.archive_key), body.as_bytes());
    assert_eq!(world.object(page.raw_key.as_ref().unwrap()), body.as_bytes());
    let mut read = Vec::new();
    let mut opened = world.ingest.store().open_page(page).await.unwrap();
    std::io::Read::read_to_end(&mut opened, &mut read).unwrap();
    assert_eq!(read, body.as_bytes());
    let spec = source(&world, CSV).rows;
    assert_eq!(
        rows.rows_sha256,
        daymark_extract::scan(&spec, body.as_bytes()).unwrap().rows_sha256
    );
}

#[tokio::test]
async fn a_large_table_in_another_encoding_is_converted() {
    let mut body = table(ROWS).into_bytes();
    body.extend_from_slice(b"7,caf\xe9\n");
    let (_, manifest) = csv(body, "text/csv; charset=iso-8859-1").await;
    assert_eq!(manifest.rows.unwrap().extracted, ROWS as u64 + 1);
    assert_eq!(manifest.pages[0].encoding.as_deref(), Some("windows-1252"));
}

#[tokio::test]
async fn a_large_body_that_ends_wrong_is_refused_with_the_place() {
    let (world, manifest) = csv(format!("{}7,\"open\n", table(ROWS)), "text/csv").await;
    assert_eq!(manifest.error_kind, Some(ErrorKind::BadResponse));
    insta::assert_snapshot!(manifest.reason.unwrap(), @"the quote at line 60002 column 3 (byte 1177786) is never closed (content type `text/csv`)");
    assert_eq!(manifest.pages.len(), 1, "the evidence is kept");
    assert!(world.keys().iter().all(|key| !key.starts_with("raw/")));

    let world = World::new().await;
    let mut lines = "{\"a\":1}\n".repeat(ROWS);
    lines.push_str("{\"a\":");
    world.api.on(PATH, Reply::json(lines));
    let manifest = world.fetch(&source(&world, NDJSON)).await;
    insta::assert_snapshot!(manifest.reason.unwrap(), @"the body is not whole JSON: it ends inside a value at line 60001 column 6 (byte 480005)");
}

#[tokio::test]
async fn a_large_table_that_is_none_is_refused_in_the_words_of_a_small_one() {
    let page = format!("<html><title>Down</title>{}</html>", "x".repeat(1 << 20));
    let (_, manifest) = csv(page, "text/html").await;
    insta::assert_snapshot!(manifest.reason.unwrap(), @"the body is not CSV: it looks like HTML, it starts with `<html><title>Down</title>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` (content type `text/html`); it says: Down");
}
