//! Users as they are kept: written whole, by one writer at a time, and known at once by every node.

use portcullis_admin_api::store::{AuditRow, KeyRow, MemberRole, StoreError, TeamMember, TeamRow, UserQuery, UserRow};
use portcullis_filters::principal::Role;
use serde_json::{Map, json};

use crate::opened::{Place, at, eventually, hash, row};

crate::contract!(
    a_user_comes_back_as_they_were_stored,
    a_change_to_a_user_is_known_everywhere,
    a_deleted_user_leaves_no_key_and_no_team,
    users_are_listed_by_what_they_are,
);

pub(crate) fn user(id: &str) -> UserRow {
    UserRow {
        user_id: id.to_owned(),
        version: 1,
        user_email: None,
        user_alias: None,
        role: None,
        models: Vec::new(),
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Map::new(),
        created_at: at(0),
        created_by: Some("somebody".to_owned()),
        updated_at: at(1),
        updated_by: None,
    }
}

fn audit(action: &str, id: &str) -> AuditRow {
    let (object_type, object_id) = ("user".to_owned(), id.to_owned());
    AuditRow { object_type, object_id, ..crate::opened::audit(action, &row("any")) }
}

async fn a_user_comes_back_as_they_were_stored(place: Place) {
    let node = place.node();
    let given = UserRow {
        user_email: Some("ada@example.com".to_owned()),
        user_alias: Some("Ada".to_owned()),
        role: Some("internal_user".to_owned()),
        models: vec!["gpt-4o".to_owned()],
        spend: 0.1 + 0.2,
        settings: json!({"max_budget": 7, "metadata": {"a": [1, null]}}).as_object().unwrap().clone(),
        updated_by: Some("else".to_owned()),
        ..user("ada")
    };
    let make = async |row: UserRow| node.admin.insert_user(row, audit("created", "ada")).await;
    assert_eq!(make(given.clone()).await.unwrap(), given);
    assert_eq!(node.admin.user("ada").await.unwrap(), Some(given.clone()));
    assert_eq!(node.admin.user("Ada").await.unwrap(), None);
    assert_eq!(make(user("ada")).await, Err(StoreError::IdTaken));
    let change = async |row: UserRow| node.admin.replace_user(row, audit("updated", "ada")).await;
    let other = UserRow { models: Vec::new(), user_email: None, ..given.clone() };
    assert_eq!(change(other.clone()).await.unwrap(), UserRow { version: 2, ..other.clone() });
    assert_eq!(change(given.clone()).await, Err(StoreError::Conflict));
    assert_eq!(node.admin.user("ada").await.unwrap(), Some(UserRow { version: 2, ..other }));
    assert_eq!(node.admin.delete_user(given, audit("deleted", "ada")).await, Err(StoreError::Conflict));
}

async fn a_change_to_a_user_is_known_everywhere(place: Place) {
    let (one, two) = (place.node(), place.node());
    for node in [&one, &two] {
        assert!(node.store.directory().user("u").await.unwrap().is_none());
    }
    let made = one.admin.insert_user(user("u"), audit("created", "u")).await.unwrap();
    eventually(async || two.store.directory().user("u").await.unwrap().is_some()).await;
    let admin = UserRow { role: Some("proxy_admin".to_owned()), ..made };
    one.admin.replace_user(admin, audit("updated", "u")).await.unwrap();
    let role = async |node: &crate::opened::Node| node.store.directory().user("u").await.unwrap().map(|user| user.role);
    assert_eq!(role(&one).await, Some(Role::Admin), "at once where it is changed");
    eventually(async || role(&two).await == Some(Role::Admin)).await;
}

async fn a_deleted_user_leaves_no_key_and_no_team(place: Place) {
    let (one, two) = (place.node(), place.node());
    let made = one.admin.insert_user(user("u"), audit("created", "u")).await.unwrap();
    let member = TeamMember::new("u".to_owned(), None, MemberRole::Admin);
    let team = TeamRow {
        team_id: "t".to_owned(),
        version: 1,
        team_alias: None,
        organization_id: None,
        models: Vec::new(),
        blocked: false,
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Map::new(),
        members: vec![member],
        created_at: at(0),
        created_by: None,
        updated_at: at(0),
        updated_by: None,
    };
    let team = one.admin.insert_team(team, audit("created", "t")).await.unwrap();
    for (name, owner) in [("theirs", "u"), ("other", "v")] {
        one.insert(KeyRow { user_id: Some(owner.to_owned()), ..row(name) }).await.unwrap();
        two.until(hash(name), |found| matches!(found, Ok(Some(_)))).await;
    }
    one.admin.delete_user(made, audit("deleted", "u")).await.unwrap();
    assert_eq!(one.find(hash("theirs")).await, Ok(None), "at once where they are deleted");
    two.until(hash("theirs"), |found| *found == Ok(None)).await;
    assert!(two.find(hash("other")).await.unwrap().is_some());
    assert!(one.store.directory().user("u").await.unwrap().is_none() && one.admin.user("u").await.unwrap().is_none());
    assert_eq!(one.admin.team("t").await.unwrap().map(|row| (row.version, row.members.len())), Some((2, 0)));
    let late = one.admin.replace_team(team, Vec::new(), audit("updated", "t")).await;
    assert_eq!(late, Err(StoreError::Conflict), "whoever read the team before has to read it again");
}

async fn users_are_listed_by_what_they_are(place: Place) {
    let node = place.node();
    for n in 0..5_u64 {
        let row = UserRow {
            user_email: Some(format!("{n}@example.com")),
            role: (n < 3).then(|| "internal_user".to_owned()),
            created_at: at(n),
            ..user(&format!("u{n}"))
        };
        node.admin.insert_user(row, audit("created", "u")).await.unwrap();
    }
    let some = |text: &str| Some(text.to_owned());
    for (query, rows, total) in [
        (UserQuery::default(), "u4 u3", 5),
        (UserQuery { offset: 4, ..UserQuery::default() }, "u0", 5),
        (UserQuery { role: some("internal_user"), ..UserQuery::default() }, "u2 u1", 3),
        (UserQuery { email: some("3@example.com"), ..UserQuery::default() }, "u3", 1),
        (UserQuery { email: some("@example.com"), ..UserQuery::default() }, "", 0),
    ] {
        let found = node.admin.users(&UserQuery { limit: 2, ..query.clone() }).await.unwrap();
        let ids: Vec<_> = found.rows.into_iter().map(|row| row.user_id).collect();
        assert_eq!((ids.join(" ").as_str(), found.total), (rows, total), "{query:?}");
    }
}
