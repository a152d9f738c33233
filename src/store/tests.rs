//! The statements against real databases: at fifty thousand keys, every one that a request or a page waits for is
//! answered from an index. (What they answer is the matter of `tests/store_contract`.)

use std::sync::Arc;

use portcullis_admin_api::store::{AuditQuery, DenialQuery, KeyQuery, KeySort, KeyStatus, TeamQuery, UserQuery};
use portcullis_bench::postgres::PostgresServer;
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::cache::{CacheSettings, KeyCache};
use portcullis_filters::directory::TeamName;
use tokio_postgres::NoTls;

use super::statement::Statement;
use super::statement::people::KeysOf;
use super::*;

/// Fifty thousand keys of a thousand users, every hundredth blocked, deleted, ending or rotated, in either dialect's words.
fn fill(series: &str, digest: impl Fn(&str) -> String, time: impl Fn(&str) -> String, yes: &str) -> String {
    let (token, old, n) = (digest("n"), digest("-n"), "n");
    let (created, end, no) = (time(n), time("n + 1000"), format!("NOT {yes}"));
    format!(
        "INSERT INTO virtual_keys (token, version, key_alias, alias_folded, user_id, team_id, organization_id, models,
           allowed_routes, aliases, expires, blocked, spend, settings, rotation_count, created_at, updated_at, deleted_at)
         SELECT {token}, 1, 'Key ' || n, 'key ' || n, 'user ' || (n % 1000), 'team ' || (n % 100), 'org ' || (n % 100),
           '[]', '[]', '{{}}', CASE WHEN n % 100 = 1 THEN {end} END, CASE WHEN n % 100 = 2 THEN {yes} END, n * 0.01, '{{}}',
           0, {created}, {created}, CASE WHEN n % 100 = 3 THEN {end} END
         FROM {series};
         INSERT INTO grace_keys (token, active_token, revoke_at) SELECT {old}, {token}, {end} FROM {series} WHERE n % 100 = 4;
         INSERT INTO rotation_replays (old_token, request, salt, new_token)
         SELECT {old}, {token}, {token}, {token} FROM {series} WHERE n % 100 = 4;
         INSERT INTO audit_log (happened_at, actor, action, object_type, object_id, fields_before, fields_after)
         SELECT {created}, 'actor ' || (n % 100), 'action ' || (n % 100), 'key', 'object ' || (n % 1000), 'null', 'null'
         FROM {series};
         INSERT INTO token_denials (claim, issuer, value, until, epoch, created_at)
         SELECT CASE n % 3 WHEN 0 THEN 'jti' WHEN 1 THEN 'sub' ELSE 'sid' END, 'issuer', 'value ' || n, {end}, n, {created}
         FROM {series};
         INSERT INTO users (user_id, user_email, models, settings, created_at, updated_at, version)
         SELECT 'user ' || n, n || '@example.com', '[]', '{{}}', {created}, {created}, 1 FROM {series};
         INSERT INTO teams (team_id, team_alias, models, blocked, settings, created_at, updated_at, version)
         SELECT 'team ' || n, 'Team ' || n, '[]', {no}, '{{}}', {created}, {created}, 1 FROM {series};
         INSERT INTO team_members (team_id, user_id, role, settings)
         SELECT 'team ' || (n % 10000 + 1), 'user ' || n, 'user', '{{}}' FROM {series};
         ANALYZE;"
    )
}

/// Every statement that somebody waits for, with its name and whether it must come in order without being sorted.
fn waited_for() -> Vec<(String, bool, Statement)> {
    let now = std::time::UNIX_EPOCH + Duration::from_secs(25_000);
    let token = KeyHash::of("any");
    let mut all = vec![
        ("find".to_owned(), false, statement::find(token, now)),
        ("key".to_owned(), false, statement::key(token)),
        ("key_by_alias".to_owned(), false, statement::key_by_alias("Key 7")),
        ("grace_tokens".to_owned(), false, statement::grace_tokens(token)),
        ("never_rotated_away".to_owned(), false, statement::never_rotated_away(token)),
        ("end_grace".to_owned(), false, statement::end_grace(token, now)),
        ("replay".to_owned(), false, statement::replay(token, [0; 32])),
        ("aliases".to_owned(), true, listing::aliases(None, None, 0, 50).page),
        ("user".to_owned(), false, statement::people::user("user 7")),
        ("team".to_owned(), false, statement::people::team(TeamName::Id("team 7"))),
        ("team by alias".to_owned(), false, statement::people::team(TeamName::Alias("Team 7"))),
        ("team row".to_owned(), false, statement::people::team_row("team 7")),
        ("members".to_owned(), false, statement::people::members("team 7")),
        ("remove member".to_owned(), false, statement::people::remove_member("team 7", "user 7")),
        ("delete team".to_owned(), false, statement::people::delete_team("team 7", 1)),
        ("keys of a team".to_owned(), false, statement::people::delete_keys(KeysOf::Team("team 7"), now, &None)),
        ("keys of a user".to_owned(), false, statement::people::delete_keys(KeysOf::User("user 7"), now, &None)),
        ("user row".to_owned(), false, statement::people::user_row("user 7")),
        ("delete user".to_owned(), false, statement::people::delete_user("user 7", 1)),
        ("teams of a user".to_owned(), false, statement::people::touch_teams_of("user 7")),
        ("leave teams".to_owned(), false, statement::people::leave_teams("user 7")),
        ("denial".to_owned(), false, statement::denials::denial(DeniedClaim::Sub, "issuer", "value 7")),
        ("denials since".to_owned(), true, statement::denials::since(49_990, now, 5_000)),
        ("purge".to_owned(), false, statement::denials::purge(std::time::UNIX_EPOCH, 1_000)),
    ];
    let page = KeyQuery { limit: 50, now: Some(now), ..KeyQuery::default() };
    for sort in [KeySort::CreatedAt, KeySort::UpdatedAt, KeySort::Expires, KeySort::Alias, KeySort::Spend] {
        for descending in [false, true] {
            let query = KeyQuery { sort, descending, ..page.clone() };
            all.push((format!("by {sort:?}, descending {descending}"), true, listing::keys(&query).page));
        }
    }
    let some = |text: &str| Some(text.to_owned());
    let restricted = [
        ("user", KeyQuery { user_id: some("user 7"), ..page.clone() }),
        ("team", KeyQuery { team_id: some("team 7"), ..page.clone() }),
        ("organization", KeyQuery { organization_id: some("org 7"), ..page.clone() }),
        ("token", KeyQuery { token: Some(token), ..page.clone() }),
        ("alias", KeyQuery { alias: some("Key 7"), ..page.clone() }),
        ("expired", KeyQuery { status: Some(KeyStatus::Expired), ..page.clone() }),
        ("revoked", KeyQuery { status: Some(KeyStatus::Revoked), ..page.clone() }),
        ("deleted", KeyQuery { status: Some(KeyStatus::Deleted), ..page.clone() }),
    ];
    for (name, query) in restricted {
        let listing = listing::keys(&query);
        all.push((format!("{name}, page"), false, listing.page));
        all.push((format!("{name}, total"), false, listing.total));
    }
    let page = TeamQuery { limit: 50, ..TeamQuery::default() };
    let restricted = [
        ("teams", page.clone()),
        ("teams of an alias", TeamQuery { alias: some("Team 7"), ..page.clone() }),
        ("teams of an organization", TeamQuery { organization_id: some("org 7"), ..page.clone() }),
        ("teams of a user", TeamQuery { user_id: some("user 7"), ..page }),
    ];
    for (name, query) in restricted {
        let page = listing::teams(&query).page;
        all.push((format!("{name}, members"), false, statement::people::members_of(&page)));
        all.push((name.to_owned(), name == "teams", page));
    }
    let page = UserQuery { limit: 50, ..UserQuery::default() };
    all.push(("users".to_owned(), true, listing::users(&page).page));
    let of_email = UserQuery { email: some("7@example.com"), ..page };
    all.push(("users of an address".to_owned(), false, listing::users(&of_email).page));
    let listed = DenialQuery { claim: None, issuer: None, value: None, now, offset: 0, limit: 50 };
    let one = DenialQuery { value: some("value 7"), ..listed.clone() };
    all.push(("denied".to_owned(), true, listing::denials(&listed).page));
    all.push(("denied, one value, page".to_owned(), false, listing::denials(&one).page));
    all.push(("denied, one value, total".to_owned(), false, listing::denials(&one).total));
    let log = AuditQuery { limit: 50, ..AuditQuery::default() };
    let restricted = [
        ("log", log.clone()),
        ("log of an object", AuditQuery { object_id: some("object 7"), ..log.clone() }),
        ("log of an actor", AuditQuery { actor: some("actor 7"), ..log.clone() }),
        ("log of an action", AuditQuery { action: some("action 7"), ..log }),
    ];
    all.extend(restricted.map(|(name, query)| (name.to_owned(), name == "log", listing::audit(&query).page)));
    all
}

#[test]
fn sqlite_answers_from_indexes() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    migrations::apply_to_sqlite(&mut connection).unwrap();
    let series = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50000) SELECT n FROM s)";
    // Thirty-two bytes, different for each number.
    let digest = |n: &str| format!("CAST(printf('%032d', {n}) AS BLOB)");
    connection.execute_batch(&fill(series, digest, |n| format!("({n}) * 1000000"), "TRUE")).unwrap();
    for (name, is_ordered, statement) in waited_for() {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql)).unwrap();
        for (position, param) in statement.params.iter().enumerate() {
            let index = explained.parameter_index(&format!("${}", position + 1)).unwrap().unwrap();
            explained.raw_bind_parameter(index, param).unwrap();
        }
        let mut plan = Vec::<String>::new();
        let mut rows = explained.raw_query();
        while let Some(row) = rows.next().unwrap() {
            plan.push(row.get(3).unwrap());
        }
        // `page` is what a page of teams selects: no table.
        let free = ["INDEX", "CONSTANT ROW", "SCAN page"];
        let scans = |line: &String| line.starts_with("SCAN") && !free.iter().any(|word| line.contains(word));
        assert!(!plan.iter().any(scans), "{name}: {plan:#?}");
        assert!(!is_ordered || !plan.iter().any(|line| line.contains("TEMP B-TREE")), "{name}: {plan:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_from_indexes() {
    let server = PostgresServer::start();
    let url = server.database().await;
    let cache = Arc::new(KeyCache::new(CacheSettings::default()));
    let settings = StoreSettings::new(StoreUrl::parse(&url).unwrap());
    Store::open(settings, cache, Handle::current()).unwrap().migrate().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path TO portcullis").await.unwrap();
    let digest = |n: &str| format!("sha256(({n})::text::bytea)");
    let filled = fill("generate_series(1, 50000) AS n", digest, |n| format!("to_timestamp({n})"), "TRUE");
    client.batch_execute(&filled).await.unwrap();
    for (name, is_ordered, statement) in waited_for() {
        let params: Vec<_> =
            statement.params.iter().map(|param| param as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let rows = client.query(&format!("EXPLAIN {}", statement.sql), &params).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{name}: {plan:#?}");
        assert!(!is_ordered || !plan.iter().any(|line| line.contains("Sort")), "{name}: {plan:#?}");
    }
}
