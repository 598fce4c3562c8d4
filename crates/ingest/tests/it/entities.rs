//! One source, many entities: each asked for by itself, a few at once, none for another's failure.

use daymark_ingest::{FetchEvent, Outcome, Reach};
use daymark_testkit::rest::{Gate, Reply};
use jiff::civil::date;

use crate::world::{ROWS, World, entities, order, rows};

const REQUEST: &str = "[request]\nurl = \"{api}/{{ entity.id }}\"\n";

#[tokio::test]
async fn one_that_fails_stops_no_other() {
    let world = World::new().await;
    world.api.on("/oslo", rows(&["a"], ""));
    world.api.on("/rome", Reply::json(r#"{"reason":"no such city"}"#).status(404));
    world.api.on("/lima", rows(&["b"], ""));
    let text = format!(
        "{REQUEST}{ROWS}[[entity]]\nid = \"oslo\"\nlatitude = 59.9\n[[entity]]\nid = \"rome\"\n\
         latitude = 41.9\n[[entity]]\nid = \"lima\"\nlatitude = -12.0\n"
    );
    let source = world.source_of(&text, &[]);
    let all = world.fetch_all(&source).await;
    let told: Vec<_> = all
        .iter()
        .map(|fetched| {
            let manifest = &fetched.outcome.as_ref().unwrap().manifest;
            assert_eq!(manifest.entity, fetched.entity);
            (manifest.entity.as_ref().unwrap().as_str(), manifest.reason.as_deref())
        })
        .collect();
    assert_eq!(told, [("oslo", None), ("rome", Some("HTTP 404: no such city")), ("lima", None)]);
    let keys = world.keys();
    for key in [
        "raw/s/s_2026-11-23_lima.json",
        "raw/s/s_2026-11-23_oslo.json",
        "manifests/s/20261123T130000.000000Z_2026-11-23_rome_00000000-0000-0000-0000-000000000000.json",
    ] {
        assert!(keys.iter().any(|found| found == key), "{key} in {keys:?}");
    }
    assert!(!keys.iter().any(|key| key.contains("raw/s/s_2026-11-23_rome")));
    let fields = &all[0].outcome.as_ref().unwrap().manifest.entity_fields;
    assert_eq!(fields["latitude"], "59.9");
}

#[tokio::test]
async fn so_many_are_asked_for_at_once_and_no_more() {
    let world = World::new().await;
    let gate = Gate::closed();
    let text = format!("{REQUEST}{ROWS}[entities]\nconcurrency = 3\n{}", entities(9));
    for number in 0..9 {
        world.api.on(&format!("/e{number}"), rows(&["a"], "").held_by(&gate));
    }
    let source = world.source_of(&text, &[]);
    let (all, ()) = tokio::join!(world.fetch_all(&source), async {
        while world.api.requests().len() < 3 {
            tokio::task::yield_now().await;
        }
        gate.open();
    });
    assert_eq!((all.len(), world.api.requests().len()), (9, 9));
    assert_eq!(world.api.most_at_once(), 3);
}

#[tokio::test]
async fn they_may_stand_in_a_csv_or_a_toml_file() {
    let files = [
        ("cities.csv", "id, name,latitude\noslo,\"Oslo, Norway\",59.9\nrome,Rome,\n"),
        ("cities.toml", "[[entity]]\nid = \"lima\"\nname = \"Lima\"\n"),
    ];
    for (file, asked) in [
        ("cities.csv", vec!["/x?name=Oslo%2C%20Norway", "/x?name=Rome"]),
        ("cities.toml", vec!["/x?name=Lima"]),
    ] {
        let world = World::new().await;
        world.api.on("/x", rows(&["a"], ""));
        let text = format!(
            "[request]\nurl = \"{{api}}/x\"\nquery = {{ name = \"{{{{ entity.name }}}}\" }}\n{ROWS}\
             [entities]\nfile = \"{file}\"\nconcurrency = 1\n"
        );
        let source = world.source_of(&text, &files);
        world.fetch_all(&source).await;
        let mut found: Vec<String> =
            world.asked().into_iter().map(|target| target.replace(',', "%2C")).collect();
        found.sort();
        assert_eq!(found, asked);
        let columns: Vec<_> = source.raw_columns().collect();
        assert!(columns.contains(&("entity_name", "text")), "{columns:?}");
    }
}

#[tokio::test]
async fn a_scheduled_instant_is_answered_once_for_each() {
    let world = World::new().await;
    world.api.on("/oslo", rows(&["a"], ""));
    world.api.on("/rome", Reply::new(404, "gone"));
    world.api.on("/rome", rows(&["b"], ""));
    let text = format!("{REQUEST}{ROWS}[[entity]]\nid = \"oslo\"\n[[entity]]\nid = \"rome\"\n");
    let source = world.source_of(&text, &[]);
    let mut order = order(date(2026, 11, 23), Reach::Forward);
    order.scheduled_at = Some(world.clock.now());
    let mut told = Vec::new();
    for _ in 0..3 {
        let all = world.ingest.fetch_all(&source, &order, &|_| true, &|_| {}).await.unwrap();
        told.push(all.iter().map(|one| one.fetched_before).collect::<Vec<_>>());
    }
    assert_eq!(told, [[false, false], [true, false], [true, true]]);
    let mut asked = world.asked();
    asked.sort();
    assert_eq!(asked, ["/oslo", "/rome", "/rome"]);
}

#[tokio::test]
async fn some_of_them_only_and_their_ends_are_told() {
    let world = World::new().await;
    world.api.on("/rome", rows(&["b"], ""));
    let text = format!("{REQUEST}{ROWS}[[entity]]\nid = \"oslo\"\n[[entity]]\nid = \"rome\"\n");
    let source = world.source_of(&text, &[]);
    let order = order(date(2026, 11, 23), Reach::Forward);
    let events = std::sync::Mutex::new(Vec::new());
    let watch = |event| events.lock().unwrap().push(event);
    let only =
        |entity: Option<&daymark_plan::EntityId>| entity.is_some_and(|id| id.as_str() == "rome");
    let all = world.ingest.fetch_all(&source, &order, &only, &watch).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].outcome.as_ref().unwrap().manifest.outcome, Outcome::Accepted);
    assert_eq!(world.asked(), ["/rome"]);
    let ended = events.into_inner().unwrap().into_iter().find_map(|event| match event {
        FetchEvent::Entity { entity, done, of } => Some((entity.to_string(), done, of)),
        _ => None,
    });
    assert_eq!(ended, Some(("rome".to_owned(), 1, 1)));
}
