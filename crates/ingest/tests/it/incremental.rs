//! Only what is new: where the cursor stands, what is asked from it, and what moves it.

use daymark_ingest::{ErrorKind, Outcome, cursor, set_cursor};
use daymark_plan::{EntityId, Source};
use daymark_testkit::rest::Reply;
use jiff::civil::date;

use crate::world::{ROWS, World, order, rows};

/// A source asked from a cursor on; `kind` and what more `[incremental]` holds.
fn source(world: &World, request: &str, incremental: &str) -> Source {
    let text = format!(
        "[request]\nurl = \"{{api}}/x\"\n{request}\n[incremental]\ncursor = \"$.rows[*].at\"\n{incremental}\n\
         [expect]\nmin_rows = 0\n{ROWS}"
    );
    world.source_of(&text, &[])
}

const SINCE: &str = "query = { since = \"{{ cursor }}\" }";
const STAMPS: &str = "type = \"timestamp\"\ninitial = \"2026-01-01T00:00:00Z\"";

async fn stands_at(world: &World, source: &Source) -> Option<String> {
    let position = cursor(world.ingest.store(), &source.id, None, world.clock.now()).await.unwrap();
    position.map(|position| position.cursor)
}

#[tokio::test]
async fn the_cursor_is_the_furthest_value_and_stands_in_the_fetch_that_moved_it() {
    let world = World::new().await;
    let source = source(&world, SINCE, STAMPS);
    assert_eq!(stands_at(&world, &source).await, None);
    // By instant, not by the look of the text.
    world.api.on(
        "/x",
        rows(&["2026-11-20T10:00:00Z", "2026-11-20T13:00:00+02:00", "2026-11-19T23:00:00Z"], ""),
    );
    world.api.on("/x", rows(&["2026-11-22T00:00:00Z"], ""));
    world.api.on("/x", rows(&[], ""));
    let first = world.fetch(&source).await;
    assert_eq!(first.cursor_before.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(first.cursor.as_deref(), Some("2026-11-20T13:00:00+02:00"));
    let second = world.fetch(&source).await;
    assert_eq!(second.cursor_before, first.cursor);
    // A fetch that brings nothing leaves it where it is.
    let third = world.fetch(&source).await;
    assert_eq!(
        (third.outcome, third.cursor.as_deref()),
        (Outcome::Accepted, Some("2026-11-22T00:00:00Z"))
    );
    assert_eq!(
        world.asked(),
        [
            "/x?since=2026-01-01T00:00:00Z",
            "/x?since=2026-11-20T11:00:00Z",
            "/x?since=2026-11-22T00:00:00Z"
        ]
    );
    assert_eq!(stands_at(&world, &source).await.as_deref(), Some("2026-11-22T00:00:00Z"));
}

#[tokio::test]
async fn what_was_refused_moves_nothing() {
    let world = World::new().await;
    let source = source(&world, SINCE, STAMPS);
    world.api.on("/x", rows(&["2026-11-20T10:00:00Z"], ""));
    world.api.on("/x", rows(&["2026-11-21T10:00:00Z", "yesterday"], ""));
    world.api.on("/x", Reply::json(r#"{"rows":[{"at":"2026-11-21T10:00:00Z"}]"#));
    world.api.on("/x", Reply::new(400, "no"));
    world.api.on("/x", rows(&["2026-11-21T10:00:00Z"], ""));
    let reasons: Vec<Option<String>> = [
        world.fetch(&source).await,
        world.fetch(&source).await,
        world.fetch(&source).await,
        world.fetch(&source).await,
    ]
    .into_iter()
    .map(|manifest| manifest.reason)
    .collect();
    assert_eq!(reasons[0], None);
    assert_eq!(
        reasons[1].as_deref(),
        Some(
            "the cursor `yesterday` at `$.rows[*].at` is not an instant such as 2026-01-31T00:00:00Z"
        )
    );
    assert_eq!(reasons[3].as_deref(), Some("HTTP 400: no"));
    assert_eq!(stands_at(&world, &source).await.as_deref(), Some("2026-11-20T10:00:00Z"));
    assert_eq!(world.fetch(&source).await.cursor.as_deref(), Some("2026-11-21T10:00:00Z"));
    let asked = world.asked();
    assert!(asked[1..].iter().all(|target| target == "/x?since=2026-11-20T10:00:00Z"), "{asked:?}");
}

#[tokio::test]
async fn a_lag_asks_again_for_what_came_late() {
    let world = World::new().await;
    let source = source(&world, SINCE, &format!("{STAMPS}\nlag = \"90min\""));
    world.api.on("/x", rows(&["2026-11-20T10:00:00Z"], ""));
    // The late ones are before the cursor, which does not go back.
    world.api.on("/x", rows(&["2026-11-20T09:00:00Z"], ""));
    world.fetch(&source).await;
    assert_eq!(world.fetch(&source).await.cursor.as_deref(), Some("2026-11-20T10:00:00Z"));
    assert_eq!(world.asked(), ["/x?since=2025-12-31T22:30:00Z", "/x?since=2026-11-20T08:30:00Z"]);
}

#[tokio::test]
async fn numbers_and_words_are_cursors_too() {
    for (kind, at, next) in [
        ("type = \"integer\"\ninitial = \"0\"", &["9", "100", "20"], "100"),
        ("type = \"text\"\ninitial = \"0\"", &["9", "100", "20"], "9"),
    ] {
        let world = World::new().await;
        let source = source(&world, SINCE, kind);
        world.api.on("/x", rows(at, ""));
        assert_eq!(world.fetch(&source).await.cursor.as_deref(), Some(next), "{kind}");
        world.fetch(&source).await;
        assert_eq!(world.asked(), ["/x?since=0".to_owned(), format!("/x?since={next}")]);
        // They cannot be asked about a day.
        let order = order(date(2026, 11, 1), daymark_ingest::Reach::ByDay);
        let error = world.ingest.fetch(&source, &order, &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadConfig);
        assert_eq!(
            error.to_string(),
            "the request of `s` cannot be made: `incremental`: its cursor is no date, so it cannot be \
             asked about a day"
        );
    }
}

#[tokio::test]
async fn the_furthest_of_all_pages_counts() {
    let world = World::new().await;
    let text = format!(
        "[request]\nurl = \"{{api}}/x\"\n{SINCE}\n[pagination]\ntype = \"page\"\n[incremental]\n\
         cursor = \"$.rows[*].at\"\n{STAMPS}\n[expect]\nmin_rows = 0\n{ROWS}"
    );
    let source = world.source_of(&text, &[]);
    world.api.on("/x", rows(&["2026-11-22T00:00:00Z"], ""));
    world.api.on("/x", rows(&["2026-11-21T00:00:00Z"], ""));
    world.api.on("/x", rows(&[], ""));
    assert_eq!(world.fetch(&source).await.cursor.as_deref(), Some("2026-11-22T00:00:00Z"));
    // A page that fails takes the cursor of those before with it.
    world.api.only("/x", rows(&["2026-11-23T00:00:00Z"], ""));
    world.api.on("/x", Reply::new(404, ""));
    assert_eq!(world.fetch(&source).await.cursor, None);
    assert_eq!(stands_at(&world, &source).await.as_deref(), Some("2026-11-22T00:00:00Z"));
}

#[tokio::test]
async fn each_entity_has_a_cursor_of_its_own() {
    let world = World::new().await;
    let text = format!(
        "[request]\nurl = \"{{api}}/{{{{ entity.id }}}}\"\n{SINCE}\n[incremental]\ncursor = \"$.rows[*].at\"\n\
         type = \"date\"\ninitial = \"2026-11-01\"\n{ROWS}[[entity]]\nid = \"a\"\n[[entity]]\nid = \"b\"\n\
         [entities]\nconcurrency = 1\n"
    );
    let source = world.source_of(&text, &[]);
    world.api.on("/a", rows(&["2026-11-20"], ""));
    world.api.on("/b", rows(&["2026-11-10"], ""));
    world.fetch_all(&source).await;
    world.fetch_all(&source).await;
    // Which entity goes first is nobody's promise.
    let mut asked = world.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "/a?since=2026-11-01",
            "/a?since=2026-11-20",
            "/b?since=2026-11-01",
            "/b?since=2026-11-10"
        ]
    );
}

#[tokio::test]
async fn a_day_by_itself_has_a_window_and_leaves_the_cursor() {
    let window = "query = { from = \"{{ window.start }}\", to = \"{{ window.end }}\" }";
    let world = World::new().await;
    let source = source(&world, window, STAMPS);
    world.api.on("/x", rows(&["2026-11-20T10:00:00Z"], ""));
    world.fetch(&source).await;
    let day = world.fetch_day(&source, date(2026, 3, 5)).await;
    assert_eq!((day.cursor_before, day.cursor), (None, None));
    assert_eq!(day.data_date, date(2026, 3, 5));
    world.fetch(&source).await;
    assert_eq!(
        world.asked(),
        [
            // From the cursor to the end of the day the fetch is for.
            "/x?from=2026-01-01T00:00:00Z&to=2026-11-24T00:00:00Z",
            "/x?from=2026-03-05T00:00:00Z&to=2026-03-06T00:00:00Z",
            "/x?from=2026-11-20T10:00:00Z&to=2026-11-24T00:00:00Z",
        ]
    );
}

#[tokio::test]
async fn a_window_of_dates_is_never_turned_round() {
    let window = "query = { from = \"{{ window.start }}\", to = \"{{ window.end }}\", c = \"{{ cursor }}\" }";
    let world = World::new().await;
    let source = source(&world, window, "type = \"date\"\ninitial = \"2026-11-20\"");
    // A forecast has days to come.
    world.api.on("/x", rows(&["2026-11-29"], ""));
    world.fetch(&source).await;
    world.fetch(&source).await;
    world.fetch_day(&source, date(2026, 3, 5)).await;
    assert_eq!(
        world.asked(),
        [
            "/x?from=2026-11-20&to=2026-11-23&c=2026-11-20",
            "/x?from=2026-11-23&to=2026-11-23&c=2026-11-29",
            "/x?from=2026-03-05&to=2026-03-05&c=2026-03-05",
        ]
    );
}

#[tokio::test]
async fn a_person_can_set_it_and_a_fetch_moves_on_from_there() {
    let world = World::new().await;
    let source = source(&world, SINCE, STAMPS);
    world.api.on("/x", rows(&["2026-11-20T10:00:00Z"], ""));
    world.fetch(&source).await;
    let (store, now) = (world.ingest.store(), world.clock.now());
    set_cursor(store, &source.id, None, "2026-10-01T00:00:00Z", "missed a week", now)
        .await
        .unwrap();
    let position = cursor(store, &source.id, None, now).await.unwrap().unwrap();
    assert_eq!(position.set_by_hand.as_deref(), Some("missed a week"));
    let manifest = world.fetch(&source).await;
    assert_eq!(world.asked()[1], "/x?since=2026-10-01T00:00:00Z");
    assert_eq!(manifest.cursor.as_deref(), Some("2026-11-20T10:00:00Z"));
    // Another entity's is not this one's.
    let other = EntityId::new("other").unwrap();
    assert!(cursor(store, &source.id, Some(&other), now).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_set_by_hand_and_is_no_cursor_is_said() {
    let world = World::new().await;
    let source = source(&world, SINCE, STAMPS);
    let now = world.clock.now();
    set_cursor(world.ingest.store(), &source.id, None, "last week", "?", now).await.unwrap();
    let error = world.try_fetch(&source).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request of `s` cannot be made: `incremental`: the cursor `last week` is not an instant such \
         as 2026-01-31T00:00:00Z"
    );
}
