//! Sources with entities, from the API to the table.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;

use crate::world::World;

on_both_databases! {
    a_keys_column_may_have_any_name_and_two_entities_no_key_in_common;
}

const SOURCE: &str = r#"
id = "prices"
[request]
query = { of = "{{ entity.id }}", on = "{{ data_date }}" }
[[entity]]
id = "a"
[[entity]]
id = "b"
[rows]
layout = "records"
[rows.fields]
day = { path = "day", type = "date" }
entity = { path = "entity", type = "text" }
state = { path = "state", type = "text" }
"#;

const MODEL: &str = "/* model
table = \"prices\"
key = [\"day\", \"entity\", \"state\"]
[columns]
day = \"date not null\"
entity = \"text not null\"
state = \"text not null\"
*/
select day, entity, state, _fetch_id, _fetch_row from raw_prices";

/// The columns of a key are named as columns of the ledger are, which every statement about two
/// entities has to bear; and of two that claim one key neither is shown.
async fn a_keys_column_may_have_any_name_and_two_entities_no_key_in_common(kind: Kind) {
    let world = World::answering(kind).await;
    let url = world.api.url("/prices");
    world.write(
        "sources/prices.toml",
        &SOURCE.replace("[request]\n", &format!("[request]\nurl = \"{url}\"\n")),
    );
    world.write("models/prices.sql", MODEL);
    let body = r#"[{"day":"2026-03-02","entity":"x","state":"new"}]"#;
    world.api.only("/prices", Reply::json(body));
    let run = ["run", "--source", "prices", "--date", "2026-03-02", "--json"];
    let claimed = world.daymark(&run).await;
    claimed.expect_code(1);
    let report = claimed.stdout;
    let reason =
        "models/prices.sql: two entities yield the same key for one data date: (2026-03-02,x,new)";
    assert!(report.contains(reason), "{report}");
    assert!(report.contains("(also of a)") && report.contains("(also of b)"), "{report}");
    assert!(world.rows("select * from prices").await.is_empty());

    // With the entity in the key both are shown, and stay when both are fetched again.
    world.write(
        "models/prices.sql",
        &MODEL.replace("day, entity, state, _f", "day, _entity || entity as entity, state, _f"),
    );
    world.daymark(&run).await.expect_code(0);
    world.daymark(&run).await.expect_code(0);
    let rows = world.rows("select entity from prices order by 1").await;
    assert_eq!(rows, [r#"["ax"]"#, r#"["bx"]"#]);
}
