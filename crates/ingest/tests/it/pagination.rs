//! From page to page: what is asked, what is kept, and every way in which turning pages can go wrong.

use daymark_ingest::{ErrorKind, Manifest, Outcome};
use daymark_testkit::rest::{Reply, RestServer};

use crate::world::{ROWS, World, rows};

/// A source with pages. Fewer rows than one are fine: an empty page ends some.
fn source(request: &str, pagination: &str) -> String {
    format!(
        "[request]\nurl = \"{{api}}/x\"\n{request}\n[pagination]\n{pagination}\n[expect]\nmin_rows = 0\n{ROWS}"
    )
}

async fn fetch(world: &World, request: &str, pagination: &str) -> Manifest {
    world.fetch(&world.source_of(&source(request, pagination), &[])).await
}

/// Why a fetch was refused.
async fn refusal(world: &World, pagination: &str) -> String {
    let manifest = fetch(world, "", pagination).await;
    assert_eq!(manifest.outcome, Outcome::Refused);
    assert!(manifest.pages.iter().all(|page| page.raw_key.is_none()), "{:?}", manifest.pages);
    world.stable(&manifest.reason.unwrap())
}

#[tokio::test]
async fn links_are_followed_and_every_page_is_kept() {
    let world = World::new().await;
    let link = |target: &str| format!("<{target}>; rel=\"next\", </x?page=9>; rel=\"last\"");
    world.api.on("/x", rows(&["a", "b"], "").header("link", &link(&world.api.url("/x?page=2"))));
    world.api.on("/x?page=2", rows(&["c"], "").header("link", &link("/x?page=3")));
    world.api.on("/x?page=3", rows(&["d"], "").header("link", "</x?page=1>; rel=\"first\""));
    let manifest = fetch(&world, "", "type = \"link\"").await;
    assert_eq!(world.asked(), ["/x", "/x?page=2", "/x?page=3"]);
    assert_eq!(
        world.tale(&manifest),
        "\
accepted: -
attempts: 200, 200, 200
rows: 4 extracted, 0 rejected
objects:
  archive/s/2026-11-23/<sha256>.json
  archive/s/2026-11-23/<sha256>.json
  archive/s/2026-11-23/<sha256>.json
  manifests/s/20261123T130000.000000Z_2026-11-23_<run>.json
  raw/s/s_2026-11-23_p1.json
  raw/s/s_2026-11-23_p2.json
  raw/s/s_2026-11-23_p3.json"
    );
    for (page, expected) in
        manifest.pages.iter().zip([(1, 2, "/x"), (2, 1, "/x?page=2"), (3, 1, "/x?page=3")])
    {
        assert_eq!((page.number, page.rows), (Some(expected.0), Some(expected.1)));
        assert_eq!(page.url.as_deref(), Some(world.api.url(expected.2).as_str()));
        let raw = world.object(page.raw_key.as_ref().unwrap());
        assert_eq!(world.object(&page.archive_key), raw);
    }
    let pages: Vec<u32> = manifest.attempts.iter().map(|attempt| attempt.page).collect();
    assert_eq!(pages, [1, 2, 3]);
}

#[tokio::test]
async fn a_next_address_may_be_relative_and_end_in_null() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","next":"?after=a%20b""#));
    world.api.on("/x?after=a%20b", rows(&["b"], r#","next":null"#));
    let manifest = fetch(&world, "", "type = \"next_url\"\npath = \"$.next\"").await;
    assert_eq!(manifest.rows.unwrap().extracted, 2);
    assert_eq!(world.asked(), ["/x", "/x?after=a%20b"]);
}

#[tokio::test]
async fn a_cursor_goes_into_the_query_or_the_body_as_what_it_is() {
    let pages = || {
        [
            rows(&["a"], r#","next":"0012=/""#),
            rows(&["b"], r#","next":"0013""#),
            rows(&["c"], r#","next":"""#),
        ]
    };
    let world = World::new().await;
    for page in pages() {
        world.api.on("/x", page);
    }
    let in_query = "type = \"cursor\"\npath = \"$.next\"\nparameter = \"after\"";
    let manifest = fetch(&world, "query = { after = \"\", size = 1 }", in_query).await;
    assert_eq!(manifest.rows.unwrap().extracted, 3);
    let asked = world.asked();
    assert_eq!(asked, ["/x?after=&size=1", "/x?size=1&after=0012%3D%2F", "/x?size=1&after=0013"]);

    let in_body = format!("{in_query}\nin = \"body\"");
    let bodies = |world: &World| -> Vec<String> {
        world.api.requests().into_iter().map(|request| request.body).collect()
    };
    let world = World::new().await;
    for page in pages() {
        world.api.on("/x", page);
    }
    fetch(&world, "json = { size = 1 }", &in_body).await;
    assert_eq!(
        bodies(&world),
        [r#"{"size":1}"#, r#"{"size":1,"after":"0012=/"}"#, r#"{"size":1,"after":"0013"}"#]
    );
    // A number stays one.
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","next":12345678901234567890"#));
    world.api.on("/x", rows(&["b"], ""));
    fetch(&world, "json = {}", &in_body).await;
    assert_eq!(bodies(&world), ["{}", r#"{"after":12345678901234567890}"#]);
    let world = World::new().await;
    for page in pages() {
        world.api.on("/x", page);
    }
    fetch(&world, "form = { size = 1 }", &in_body).await;
    assert_eq!(bodies(&world), ["size=1", "size=1&after=0012%3D%2F", "size=1&after=0013"]);
}

#[tokio::test]
async fn offsets_count_on_until_a_page_is_empty_or_all_is_there() {
    let world = World::new().await;
    for at in [&["a", "b"][..], &["c", "d"], &[]] {
        world.api.on("/x", rows(at, ""));
    }
    let manifest =
        fetch(&world, "", "type = \"offset\"\nlimit = 2\nlimit_parameter = \"limit\"\nstart = 1")
            .await;
    assert_eq!(manifest.rows.unwrap().extracted, 4);
    assert_eq!(
        world.asked(),
        ["/x?offset=1&limit=2", "/x?limit=2&offset=3", "/x?limit=2&offset=5"]
    );
    // The empty page is a page as well.
    assert_eq!(
        manifest.pages.iter().map(|page| page.rows).collect::<Vec<_>>(),
        [Some(2), Some(2), Some(0)]
    );

    // With a total no page too much is asked for.
    let world = World::new().await;
    world.api.on("/x", rows(&["a", "b"], r#","count":"3""#));
    world.api.on("/x", rows(&["c"], r#","count":"3""#));
    let total = "type = \"offset\"\nparameter = \"skip\"\nlimit = 2\ntotal_rows = \"$.count\"";
    let manifest = fetch(&world, "", total).await;
    assert_eq!(manifest.rows.unwrap().extracted, 3);
    assert_eq!(world.asked(), ["/x?skip=0", "/x?skip=2"]);
}

#[tokio::test]
async fn pages_are_numbered_from_where_the_api_starts() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","pages":2"#));
    world.api.on("/x", rows(&["b"], r#","pages":2"#));
    fetch(&world, "", "type = \"page\"\nstart = 0\ntotal_pages = \"$.pages\"").await;
    assert_eq!(world.asked(), ["/x?page=0", "/x?page=1"]);

    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","more":true"#));
    world.api.on("/x", rows(&["b"], r#","more":false"#));
    let in_body = "type = \"page\"\nparameter = \"p\"\nin = \"body\"\nhas_more = \"$.more\"";
    fetch(&world, "json = {}", in_body).await;
    let bodies: Vec<String> = world.api.requests().into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, [r#"{"p":1}"#, r#"{"p":2}"#]);
}

#[tokio::test]
async fn what_says_whether_there_is_more_may_be_a_word_a_number_or_missing() {
    let pagination = "type = \"page\"\nhas_more = \"$.more\"";
    for no in ["false", "0", "\"no\"", "\"\"", "null"] {
        let world = World::new().await;
        world.api.on("/x", rows(&["a"], &format!(r#","more":{no}"#)));
        assert_eq!(fetch(&world, "", pagination).await.pages.len(), 1, "{no}");
    }
    for yes in ["true", "3", "\"yes\""] {
        let world = World::new().await;
        world.api.on("/x", rows(&["a"], &format!(r#","more":{yes}"#)));
        world.api.on("/x", rows(&["b"], r#","more":false"#));
        assert_eq!(fetch(&world, "", pagination).await.pages.len(), 2, "{yes}");
    }
    // A path that leads nowhere does not end it in silence: the next page is asked for.
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    world.api.on("/x", rows(&[], ""));
    assert_eq!(fetch(&world, "", pagination).await.pages.len(), 2);
}

#[tokio::test]
async fn a_page_limit_is_no_silent_end() {
    let world = World::new().await;
    for at in ["a", "b", "c"] {
        world.api.on("/x", rows(&[at], ""));
    }
    let said = refusal(&world, "type = \"page\"\nmax_pages = 2").await;
    assert_eq!(said, "there are more than 2 pages (`pagination.max_pages`)");
    assert_eq!(world.asked(), ["/x?page=1", "/x?page=2"]);
    // The pages there were are kept as evidence.
    let kept = world.keys().iter().filter(|key| key.starts_with("archive/")).count();
    assert_eq!(kept, 2);
    // As many pages as are allowed are fine.
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    world.api.on("/x", rows(&[], ""));
    let manifest = fetch(&world, "", "type = \"page\"\nmax_pages = 2").await;
    assert_eq!(manifest.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn going_in_circles_is_noticed() {
    let cursor = "type = \"cursor\"\npath = \"$.next\"\nparameter = \"after\"";
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","next":"k1""#));
    world.api.on("/x", rows(&["b"], r#","next":"k1""#));
    assert_eq!(refusal(&world, cursor).await, "page 2 gives the cursor `k1` again");

    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    assert_eq!(
        refusal(&world, "type = \"page\"").await,
        "page 2 is byte for byte a page before it: the API does not turn pages as `[pagination]` says"
    );

    let world = World::new().await;
    world.api.on("/x", rows(&["a"], "").header("link", "</y>; rel=next"));
    world.api.on("/y", rows(&["b"], "").header("link", "</x>; rel=next"));
    assert_eq!(
        refusal(&world, "type = \"link\"").await,
        "page 2 leads to a page that was asked for before"
    );
}

#[tokio::test]
async fn a_page_leads_only_where_the_source_may_go() {
    let other = RestServer::start().await;
    let elsewhere = other.url("/x");
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], &format!(r#","next":"{elsewhere}""#)));
    let pagination = "type = \"next_url\"\npath = \"$.next\"";
    let said = refusal(&world, pagination).await.replace(&other.port().to_string(), "<other>");
    assert_eq!(
        said,
        "page 1 leads to `http://127.0.0.1:<other>`, which is not followed (`request.redirect_hosts`)"
    );
    assert_eq!(other.requests().len(), 0);

    // Allowed by name it may, without the credentials.
    other.on("/x", rows(&["b"], ""));
    let request = "redirect_hosts = [\"127.0.0.1\"]\nheaders = { X-Api-Key = \"${TEST_KEY}\" }";
    let manifest = fetch(&world, request, pagination).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    assert_eq!(other.requests()[0].header("x-api-key"), None);
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","next":"http://[nonsense""#));
    let said = refusal(&world, pagination).await;
    assert_eq!(said, "page 1 gives no address: invalid IPv6 address");
}

#[tokio::test]
async fn one_bad_page_refuses_the_fetch_and_says_which() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    world.api.on("/x", Reply::json(r#"{"message":"page too far"}"#).status(400));
    let manifest = fetch(&world, "", "type = \"page\"").await;
    assert_eq!(manifest.reason.as_deref(), Some("HTTP 400: page too far"));
    assert_eq!(manifest.error_kind, Some(ErrorKind::BadStatus));
    let attempts: Vec<_> = manifest.attempts.iter().map(|one| (one.page, one.status)).collect();
    assert_eq!(attempts, [(1, Some(200)), (2, Some(400))]);
    assert_eq!(manifest.pages.len(), 2);
    assert!(manifest.pages.iter().all(|page| page.raw_key.is_none()));

    let world = World::new().await;
    world.api.on("/x", rows(&["a"], r#","more":true"#));
    let said = refusal(&world, "type = \"link\"\nhas_more = \"$.more\"").await;
    assert_eq!(said, "page 1 says that there is more, and not where");
}

#[tokio::test]
async fn a_page_is_asked_for_again_by_itself() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    world.api.on("/x", Reply::new(503, "busy"));
    world.api.on("/x", rows(&[], ""));
    let manifest = fetch(&world, "", "type = \"page\"").await;
    assert_eq!(manifest.outcome, Outcome::Accepted);
    let attempts: Vec<_> = manifest.attempts.iter().map(|one| (one.page, one.number)).collect();
    assert_eq!(attempts, [(1, 1), (2, 1), (2, 2)]);
    assert_eq!(world.asked(), ["/x?page=1", "/x?page=2", "/x?page=2"]);
}

#[tokio::test]
async fn none_is_a_word_for_one_page() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    let manifest = fetch(&world, "", "type = \"none\"").await;
    assert_eq!((manifest.pages.len(), manifest.pages[0].number), (1, None));
}
