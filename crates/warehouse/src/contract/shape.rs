//! The shape of a table as PostgreSQL's catalogs have it.
//!
//! In: a table. Out: its columns, constraints and indexes in PostgreSQL's own words, so that two tables
//! can be compared however their definitions were written. Deliberately absent: what to do about a
//! difference (`change`).

use tokio_postgres::Transaction;

use crate::error::WarehouseError;

/// The comment that tells an index made from a contract from one made by hand.
pub(super) const OUR_INDEX: &str = "made by daymark from the model's [[indexes]]";

/// A column as it is stored.
#[derive(Debug, Clone)]
pub(super) struct ColumnShape {
    pub(super) name: String,
    /// The type with its modifier, and the collation if it is not the type's own.
    pub(super) kind: String,
    /// The type's number (a domain's base type), as a query's result has it.
    pub(super) type_oid: u32,
    pub(super) type_modifier: i32,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    pub(super) generated: String,
    pub(super) comment: Option<String>,
}

/// A check, a foreign key or the primary key.
#[derive(Debug, Clone)]
pub(super) struct ConstraintShape {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) definition: String,
    /// A check's condition.
    pub(super) condition: Option<String>,
    /// The table's columns it names, in its order.
    pub(super) columns: Vec<String>,
}

/// An index that backs no constraint.
#[derive(Debug, Clone)]
pub(super) struct IndexShape {
    pub(super) name: String,
    /// What it is without its and its table's name.
    pub(super) definition: String,
    pub(super) is_ours: bool,
}

/// A table as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) columns: Vec<ColumnShape>,
    pub(super) constraints: Vec<ConstraintShape>,
    pub(super) indexes: Vec<IndexShape>,
    pub(super) comment: Option<String>,
}

impl Shape {
    pub(super) fn column(&self, name: &str) -> Option<&ColumnShape> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const COLUMNS: &str = "
    select attname::text,
           format_type(atttypid, atttypmod)
             || case when attcollation <> typcollation and attcollation <> 0
                     then ' collate ' || attcollation::regcollation::text else '' end,
           case when typbasetype <> 0 then typbasetype else atttypid end,
           case when typbasetype <> 0 then typtypmod else atttypmod end,
           attnotnull, pg_get_expr(adbin, adrelid),
           attgenerated::text || attidentity::text,
           col_description(attrelid, attnum)
    from pg_attribute
    join pg_type on pg_type.oid = atttypid
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
    order by attnum";

// A foreign key's words name the schema of the other table or not, as the search path has it: its parts
// are compared instead. A constraint `n` is a not-null, which the columns tell.
const CONSTRAINTS: &str = "
    select conname::text, contype::text,
           case when contype = 'f' then
               (select relname from pg_class where oid = confrelid) || ' '
               || (select string_agg(a.attname, ',' order by at) || '>' || string_agg(b.attname, ',' order by at)
                   from unnest(conkey, confkey) with ordinality as pair (here, there, at)
                   join pg_attribute as a on a.attrelid = conrelid and a.attnum = here
                   join pg_attribute as b on b.attrelid = confrelid and b.attnum = there)
               || ' ' || confupdtype::text || confdeltype::text || confmatchtype::text
           else pg_get_constraintdef(oid) end,
           case when contype = 'c' then pg_get_expr(conbin, conrelid) end,
           array(select attname::text from unnest(conkey) with ordinality as part (number, at)
                 join pg_attribute on attrelid = conrelid and attnum = number order by at)
    from pg_constraint
    where conrelid = $1::text::regclass and contype in ('c', 'f', 'p', 'u', 'x')
    order by conname";

const INDEXES: &str = "
    select relname::text,
           case when indisunique then 'unique ' else '' end
             || substring(pg_get_indexdef(indexrelid) from ' USING (.*)$'),
           coalesce(obj_description(indexrelid, 'pg_class') = $2, false)
    from pg_index
    join pg_class on pg_class.oid = indexrelid
    where indrelid = $1::text::regclass
      and not exists (select 1 from pg_constraint where conindid = indexrelid and contype in ('p', 'u', 'x'))
    order by relname";

/// Reads the shape of a table by its quoted, qualified name.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<Shape, WarehouseError> {
    let doing = WarehouseError::statement("reading the catalog");
    let columns = transaction.query(COLUMNS, &[&table]).await.map_err(&doing)?;
    let constraints = transaction.query(CONSTRAINTS, &[&table]).await.map_err(&doing)?;
    let indexes = transaction.query(INDEXES, &[&table, &OUR_INDEX]).await.map_err(&doing)?;
    let comment = transaction
        .query_one("select obj_description($1::text::regclass, 'pg_class')", &[&table])
        .await
        .map_err(&doing)?;
    Ok(Shape {
        columns: columns
            .iter()
            .map(|row| ColumnShape {
                name: row.get(0),
                kind: row.get(1),
                type_oid: row.get(2),
                type_modifier: row.get(3),
                not_null: row.get(4),
                default: row.get(5),
                generated: row.get(6),
                comment: row.get(7),
            })
            .collect(),
        constraints: constraints
            .iter()
            .map(|row| ConstraintShape {
                name: row.get(0),
                kind: row.get(1),
                definition: row.get(2),
                condition: row.get(3),
                columns: row.get(4),
            })
            .collect(),
        indexes: indexes
            .iter()
            .map(|row| IndexShape { name: row.get(0), definition: row.get(1), is_ours: row.get(2) })
            .collect(),
        comment: comment.get(0),
    })
}
