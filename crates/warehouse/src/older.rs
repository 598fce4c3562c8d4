//! Days that an older version of a model or a source published, and days of before there was the model.
//!
//! In: the plan, and the hashes of files that each publish took note of. Out: for each table how many days
//! other files published than there are now, and how many were published without it. What a rebuild has brought
//! over since is left out.
//! Deliberately absent: whether their rows differ (`daymark rebuild --verify`).

use daymark_plan::{Model, Plan};
use jiff::civil::Date;
use tokio_postgres::GenericClient;

use crate::error::WarehouseError;
use crate::sql::literal;

/// What other files published of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OlderDays {
    /// The table.
    pub table: String,
    /// The files that changed since; none where the model came after these days.
    pub files: Vec<String>,
    /// How many days they are.
    pub days: i64,
    /// The first of them.
    pub first: Date,
    /// The last of them.
    pub last: Date,
}

impl std::fmt::Display for OlderDays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, files, days, first, last } = self;
        let files = match files.as_slice() {
            [] => format!("the model of `{table}` came after"),
            files => format!("{} changed since", files.join(" and ")),
        };
        let were = if *days == 1 { "1 day was".to_owned() } else { format!("{days} days were") };
        let span = if first == last { first.to_string() } else { format!("{first} to {last}") };
        write!(
            f,
            "{files} {were} published ({span}): `daymark rebuild --model {table}` brings them over"
        )
    }
}

/// The hashes of the files that make a table.
pub(crate) fn code_of(plan: &Plan, model: &Model) -> String {
    let source = plan.source(&model.source).map_or("", |source| source.file_sha256.as_str());
    format!("{} {source}", model.file_sha256)
}

/// The publishes of a table, each with whether its rows are what another model, another source file or another
/// version of daymark made of them: of those before a rebuild, what the rebuild made.
pub(crate) fn publishes(plan: &Plan, model: &Model) -> String {
    let source = plan.source(&model.source).map_or("", |source| source.file_sha256.as_str());
    let code = |part: u8, said: &str| {
        format!(
            "(case when said.publish_id <= contract.rebuilt_publish \
             then split_part(contract.rebuilt_code, ' ', {part}) else said.{said} end)"
        )
    };
    format!(
        "select said.publish_id, {} <> {} as by_model, {} is distinct from {} as by_source,
                coalesce(run.program_version <> {}, false) as by_program
         from daymark.publish_table as said
         left join daymark.publish as publish on publish.publish_id = said.publish_id
         left join daymark.run as run on run.run_id = publish.run_id
         left join daymark.contract as contract on contract.table_name = said.table_name
         where said.table_name = {}",
        code(1, "model_sha256"),
        literal(&model.file_sha256),
        code(2, "source_sha256"),
        literal(source),
        literal(env!("CARGO_PKG_VERSION")),
        literal(&model.table),
    )
}

/// The tables of which other files published days.
pub(crate) async fn older_days(
    client: &impl GenericClient,
    plan: &Plan,
) -> Result<Vec<OlderDays>, WarehouseError> {
    let doing = WarehouseError::statement("looking for days of an older model");
    let mut all = Vec::new();
    for model in &plan.models {
        let Some(source) = plan.source(&model.source) else { continue };
        let without = client
            .query_one(
                "select count(distinct noted.data_date), min(noted.data_date), max(noted.data_date)
                 from daymark.fetch as noted
                 left join daymark.contract as contract on contract.table_name = $2
                 where noted.source_id = $1 and noted.state = 'published'
                   and noted.publish_id > coalesce(contract.rebuilt_publish, -1)
                   and not exists (select from daymark.publish_table as said
                                   where said.publish_id = noted.publish_id and said.table_name = $2)",
                &[&source.id.as_str(), &model.table],
            )
            .await
            .map_err(&doing)?;
        if let (Some(first), Some(last)) = (without.get(1), without.get(2)) {
            let (table, files, days) = (model.table.clone(), Vec::new(), without.get(0));
            all.push(OlderDays { table, files, days, first, last });
        }
        let statement = format!(
            "select count(distinct noted.data_date), min(noted.data_date), max(noted.data_date),
                    coalesce(bool_or(said.by_model), false), coalesce(bool_or(said.by_source), false)
             from daymark.fetch as noted join ({}) as said using (publish_id)
             where noted.source_id = $1 and noted.state = 'published' and (said.by_model or said.by_source)",
            publishes(plan, model),
        );
        let row = client.query_one(&statement, &[&source.id.as_str()]).await.map_err(&doing)?;
        let (Some(first), Some(last)) = (row.get(1), row.get(2)) else { continue };
        let files = [(row.get(3), &model.file), (row.get(4), &source.file)];
        let files = files.into_iter().filter(|(changed, _)| *changed);
        all.push(OlderDays {
            table: model.table.clone(),
            files: files.map(|(_, file)| file.clone()).collect(),
            days: row.get(0),
            first,
            last,
        });
    }
    Ok(all)
}
