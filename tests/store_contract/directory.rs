//! Users and teams: what a token's bearer is told to be, what is remembered of it, and rows that a first token makes.

use portcullis::store::StoreUrl;
use portcullis_admin_api::store::AuditQuery;
use portcullis_bench::postgres::PostgresServer;
use portcullis_filters::authn::virtual_key::{KeyHash, StoreUnavailable};
use portcullis_filters::directory::{Enrolment, TeamName};
use portcullis_filters::policy::AccessGroups;
use portcullis_filters::principal::Role;

use crate::opened::{Node, Place, eventually};

crate::contract!(
    users_and_teams_are_read_as_they_are_kept,
    a_row_that_cannot_be_read_lets_nobody_in,
    what_is_known_is_remembered_until_it_changes,
    a_first_token_makes_one_row,
    many_first_tokens_make_their_rows_in_batches,
);

impl Node {
    /// The role of this user, if there is one.
    async fn role(&self, id: &str) -> Result<Option<Role>, StoreUnavailable> {
        Ok(self.store.directory().user(id).await?.map(|user| user.role))
    }

    async fn team(&self, name: TeamName<'_>) -> Option<String> {
        self.store.directory().team(name).await.unwrap().map(|team| team.id.to_string())
    }
}

/// SQL for a user with these columns, in either dialect.
fn user(place: &Place, id: &str, role: &str, models: &str) -> String {
    let now = now(place);
    format!(
        "INSERT INTO users (user_id, role, models, settings, created_at, updated_at, version)
         VALUES ('{id}', {role}, '{models}', '{{}}', {now}, {now}, 1);"
    )
}

fn team(place: &Place, id: &str, alias: &str, more: &str) -> String {
    let now = now(place);
    format!(
        "INSERT INTO teams (team_id, team_alias, organization_id, models, blocked, settings, created_at, updated_at, version)
         VALUES ('{id}', {alias}, {more}, '{{}}', {now}, {now}, 1);"
    )
}

fn now(place: &Place) -> &'static str {
    if matches!(place.url, StoreUrl::Sqlite(_)) { "1" } else { "now()" }
}

async fn users_and_teams_are_read_as_they_are_kept(place: Place) {
    let node = place.node();
    node.admin.ready().await.unwrap();
    let rows = [
        user(&place, "viewer", "'internal_user_viewer'", "[\"gpt-4o\", \"claude/*\"]"),
        user(&place, "admin", "'proxy_admin'", "[]"),
        user(&place, "misspelt", "'proxy-admin'", "[]"),
        user(&place, "nobody", "NULL", "[]"),
        team(&place, "t1", "'one'", "'org', '[\"gpt-4o\"]', TRUE"),
        team(&place, "t2", "'twice'", "NULL, '[]', FALSE"),
        team(&place, "t3", "'twice'", "NULL, '[]', FALSE"),
        team(&place, "one", "NULL", "NULL, '[]', FALSE"),
    ];
    place.execute(&rows.concat()).await;
    let roles = [
        ("viewer", Some(Role::InternalUserViewer)),
        ("admin", Some(Role::Admin)),
        ("misspelt", Some(Role::None)),
        ("nobody", Some(Role::None)),
        ("Viewer", None),
        ("t1", None),
        ("a\u{0}b", None),
    ];
    for (id, role) in roles {
        assert_eq!(node.role(id).await.unwrap(), role, "{id:?}");
    }
    let viewer = node.store.directory().user("viewer").await.unwrap().unwrap();
    let may = |model| viewer.policy.allows_model(model, &AccessGroups::default());
    assert_eq!(["gpt-4o", "claude/x", "o3"].map(may), [true, true, false]);
    let teams = [
        (TeamName::Id("t1"), Some("t1")),
        (TeamName::Alias("one"), Some("t1")),
        (TeamName::Id("one"), Some("one")),
        (TeamName::Alias("t1"), None),
        (TeamName::Alias("twice"), None),
        (TeamName::Alias(""), None),
        (TeamName::Alias("a\nb"), None),
    ];
    for (name, id) in teams {
        assert_eq!(node.team(name).await.as_deref(), id, "{name:?}");
    }
    let one = node.store.directory().team(TeamName::Alias("one")).await.unwrap().unwrap();
    assert_eq!((one.blocked, one.organization_id.as_deref(), one.alias.as_deref()), (true, Some("org"), Some("one")));
    assert!(!one.policy.allows_model("o3", &AccessGroups::default()));
}

async fn a_row_that_cannot_be_read_lets_nobody_in(place: Place) {
    let node = place.node();
    node.admin.ready().await.unwrap();
    place.execute(&user(&place, "odd", "'internal_user'", "{\"gpt-4o\": true}")).await;
    assert!(node.role("odd").await.is_err(), "fewer restrictions than somebody meant would be a hole");
}

async fn what_is_known_is_remembered_until_it_changes(place: Place) {
    let node = place.node();
    node.admin.ready().await.unwrap();
    assert_eq!(node.role("u").await.unwrap(), None);
    assert_eq!(node.team(TeamName::Alias("name")).await, None);
    place
        .execute(&(user(&place, "u", "'internal_user'", "[]") + &team(&place, "t", "'name'", "NULL, '[]', FALSE")))
        .await;
    assert_eq!(node.role("u").await.unwrap(), None, "nobody said that it changed");
    let changed = "UPDATE change_epoch SET epoch = epoch + 1;";
    place.execute(changed).await;
    eventually(async || node.role("u").await.unwrap() == Some(Role::InternalUser)).await;
    eventually(async || node.team(TeamName::Alias("name")).await.as_deref() == Some("t")).await;
    place.execute(&format!("UPDATE users SET role = 'proxy_admin'; DELETE FROM teams; {changed}")).await;
    eventually(async || node.role("u").await.unwrap() == Some(Role::Admin)).await;
    eventually(async || node.team(TeamName::Alias("name")).await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_forgotten_by_name_and_nothing_else_is() {
    let place = Place::postgres().await;
    let node = place.node();
    node.admin.ready().await.unwrap();
    place.execute(&(user(&place, "a", "NULL", "[]") + &user(&place, "b", "NULL", "[]"))).await;
    for id in ["a", "b"] {
        assert_eq!(node.role(id).await.unwrap(), Some(Role::None));
    }
    let announced = format!("1 {}", KeyHash::of("user:a"));
    place
        .execute(&format!(
            "BEGIN; UPDATE users SET role = 'team'; UPDATE change_epoch SET epoch = 1;
             SELECT pg_notify('portcullis_changes', '{announced}'); COMMIT"
        ))
        .await;
    eventually(async || node.role("a").await.unwrap() == Some(Role::Team)).await;
    assert_eq!(node.role("b").await.unwrap(), Some(Role::None), "the message did not name it");
}

fn enrolled(id: &str) -> Enrolment {
    Enrolment::User { id: id.to_owned(), email: Some(format!("{id}@example.com")) }
}

/// How many rows the audit log has of things that were made by tokens.
async fn made(node: &Node, object_id: Option<&str>) -> u64 {
    let query = AuditQuery {
        actor: Some("jwt".to_owned()),
        action: Some("created".to_owned()),
        object_id: object_id.map(str::to_owned),
        limit: 1,
        ..AuditQuery::default()
    };
    node.admin.audit(&query).await.unwrap().total
}

async fn a_first_token_makes_one_row(place: Place) {
    let (one, two) = (place.node(), place.node());
    for node in [&one, &two] {
        assert_eq!(node.role("alice").await.unwrap(), None);
        assert_eq!(node.team(TeamName::Id("team")).await, None);
    }
    for node in [&one, &two, &one, &two] {
        node.store.directory().enrol(enrolled("alice"));
        node.store.directory().enrol(Enrolment::Team { id: "team".to_owned() });
    }
    for node in [&one, &two] {
        eventually(async || node.role("alice").await.unwrap() == Some(Role::InternalUser)).await;
        eventually(async || node.team(TeamName::Id("team")).await.is_some()).await;
    }
    // A row that comes later says that what was asked for before has been dealt with.
    for (node, id) in [(&one, "last of one"), (&two, "last of two")] {
        node.store.directory().enrol(enrolled(id));
        eventually(async || made(&one, Some(id)).await == 1).await;
    }
    assert_eq!((made(&one, Some("alice")).await, made(&one, Some("team")).await, made(&one, None).await), (1, 1, 4));
    place
        .execute(
            "UPDATE users SET role = 'proxy_admin' WHERE user_email = 'alice@example.com';
        UPDATE change_epoch SET epoch = epoch + 1",
        )
        .await;
    eventually(async || one.role("alice").await.unwrap() == Some(Role::Admin)).await;
    one.store.directory().enrol(enrolled("alice"));
    one.store.directory().enrol(enrolled("after"));
    eventually(async || made(&one, Some("after")).await == 1).await;
    assert_eq!(one.role("alice").await.unwrap(), Some(Role::Admin), "a row that is there stays as it is");
}

async fn many_first_tokens_make_their_rows_in_batches(place: Place) {
    let node = place.node();
    node.admin.ready().await.unwrap();
    for number in 0..350 {
        node.store.directory().enrol(enrolled(&number.to_string()));
        node.store.directory().enrol(enrolled("a\u{0}b"));
    }
    eventually(async || made(&node, None).await == 350).await;
    for id in ["0", "99", "100", "349"] {
        assert_eq!(node.role(id).await.unwrap(), Some(Role::InternalUser), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_known_outlive_the_database_and_the_new_wait_for_it() {
    let server = PostgresServer::start();
    let node = Node::open(&StoreUrl::parse(&server.database().await).unwrap());
    node.admin.ready().await.unwrap();
    node.store.directory().enrol(enrolled("known"));
    eventually(async || node.role("known").await.unwrap().is_some()).await;
    server.stop();
    eventually(async || node.role("new").await.is_err()).await;
    assert_eq!(node.role("known").await.unwrap(), Some(Role::InternalUser));
    let unknown = node.store.directory().team(TeamName::Id("any")).await;
    assert!(unknown.is_err(), "an absent database says nothing about a team");
    node.store.directory().enrol(enrolled("new"));
    server.launch();
    eventually(async || matches!(node.role("new").await, Ok(Some(Role::InternalUser)))).await;
}
