//! The table of the entries.

use tokio_postgres::{Client, Error};
use xxhash_rust::xxh3::xxh3_128;

use super::super::LogError;
use super::session::text;

/// The collation compares bytes, so that it never changes the index.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS eventfold_log (log text COLLATE \"C\" NOT NULL, \
                      seq bigint NOT NULL CHECK (seq > 0), body text NOT NULL, PRIMARY KEY (log, seq))";
const FIND: &str = "
    SELECT c.oid, c.relkind = 'r' AND c.relpersistence = 'p',
        has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT'),
        (SELECT string_agg(format('%s %s', attname, atttypid::regtype), ', ' ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(attname::text, ', ' ORDER BY k.place)
            FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
            WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid
            AND a.attrelid = c.oid AND a.attnum = k.attnum),
        current_user::text
    FROM pg_class c WHERE c.oid = to_regclass('eventfold_log')";
const COLUMNS: &str = "log text, seq bigint, body text";
const KEY: &str = "log, seq";

const LONGEST_NAME: usize = 512;
/// The server cuts longer names of channels.
const LONGEST_CHANNEL: usize = 63;

pub(super) fn check_name(name: &str) -> Result<(), LogError> {
    let problem = match name {
        "" => "is empty",
        _ if name.len() > LONGEST_NAME => "is too long",
        _ if name.chars().any(char::is_control) => "has control characters",
        _ => return Ok(()),
    };
    Err(LogError::Unusable(format!(
        "the name {name:?} of the log {problem}: use a name of 1 to {LONGEST_NAME} bytes, such as `shop`"
    )))
}

/// The identifier of the table, if it exists. Other schemas have tables of the same name.
pub(super) async fn find(client: &Client) -> Result<Option<u32>, Error> {
    let row = client.query_typed_opt(FIND, &[]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Creates the table if it is missing, and checks that it is ours.
pub(super) async fn prepare(client: &Client) -> Result<(), LogError> {
    let failed = |error: Error| match is_of_operator(&error) {
        true => LogError::Unusable(format!(
            "the table `eventfold_log` cannot be read: {}",
            text(&error)
        )),
        false => LogError::Unavailable(text(&error)),
    };
    if find(client).await.map_err(failed)?.is_none() {
        let created = client.batch_execute(CREATE).await;
        // `IF NOT EXISTS` does not see a table that another node is creating, and waits for it with an error.
        if let (Err(error), None) = (created, find(client).await.map_err(failed)?) {
            return Err(not_created(&error));
        }
    }
    let row = client.query_typed_one(FIND, &[]).await.map_err(failed)?;
    let columns: Option<&str> = row.try_get(3).map_err(failed)?;
    let key: Option<&str> = row.try_get(4).map_err(failed)?;
    if columns != Some(COLUMNS) || key != Some(KEY) {
        return Err(LogError::Unusable(format!(
            "the table `eventfold_log` is not that of a log: its columns are ({}) with the primary key ({}), not ({COLUMNS}) with the \
             primary key ({KEY}). Use another database, or another schema with `options=-c%20search_path%3Dshop` in the URL",
            columns.unwrap_or_default(),
            key.unwrap_or_default(),
        )));
    }
    if !row.try_get::<_, bool>(1).map_err(failed)? {
        return Err(LogError::Unusable(
            "the table `eventfold_log` does not survive a crash: it is unlogged, temporary, or a view. Run `ALTER TABLE eventfold_log SET LOGGED`, \
             or remove it"
                .to_owned(),
        ));
    }
    if !row.try_get::<_, bool>(2).map_err(failed)? {
        let user: &str = row.try_get(5).map_err(failed)?;
        return Err(LogError::Unusable(format!(
            "the user `{user}` may not use the table `eventfold_log`: run `GRANT SELECT, INSERT ON eventfold_log TO \"{user}\"` as its owner"
        )));
    }
    Ok(())
}

fn not_created(error: &Error) -> LogError {
    match is_of_operator(error) {
        true => LogError::Unusable(format!(
            "the table `eventfold_log` is missing, and cannot be created: {}. Create it as the owner of the database with `{CREATE}`, and \
             grant SELECT and INSERT",
            text(error)
        )),
        false => LogError::Unavailable(text(error)),
    }
}

/// Rights, and a missing schema. Other errors, such as a full disk or a time-out, may pass.
fn is_of_operator(error: &Error) -> bool {
    let code = error.code().map_or("", |code| code.code());
    code.starts_with("42") || code.starts_with("3F")
}

/// The channel of a log for `NOTIFY`.
pub(super) fn channel(table: u32, log: &str) -> String {
    let channel = format!("eventfold_{table}_{log}");
    match channel.len() > LONGEST_CHANNEL {
        true => format!("eventfold_{table}#{:032x}", xxh3_128(log.as_bytes())),
        false => channel,
    }
}
