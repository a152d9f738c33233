//! Teams as they are kept: written whole with their members, by one writer at a time, and known at once by every node.

use portcullis_admin_api::store::{
    AuditQuery, AuditRow, KeyRow, MemberChange, MemberRole, Page, StoreError, TeamMember, TeamQuery, TeamRow,
};
use portcullis_filters::directory::TeamName;
use serde_json::{Map, Value, json};

use crate::opened::{Node, Place, at, eventually, hash, row};

crate::contract!(
    a_team_comes_back_as_it_was_stored,
    one_of_many_writers_of_a_team_wins,
    a_team_is_known_by_every_name_that_it_has_and_had,
    a_deleted_team_takes_its_keys_with_it,
    somebody_who_is_expelled_leaves_their_keys_of_the_team,
    more_keys_than_a_message_names_end_with_their_team,
    teams_are_listed_by_what_they_are,
);

pub(crate) fn team(id: &str) -> TeamRow {
    TeamRow {
        team_id: id.to_owned(),
        version: 1,
        team_alias: None,
        organization_id: None,
        models: Vec::new(),
        blocked: false,
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Map::new(),
        members: Vec::new(),
        created_at: at(0),
        created_by: Some("somebody".to_owned()),
        updated_at: at(1),
        updated_by: None,
    }
}

fn member(user_id: &str, role: MemberRole) -> TeamMember {
    let settings = json!({"max_budget": 2.5}).as_object().unwrap().clone();
    TeamMember { settings, spend: 0.25, ..TeamMember::new(user_id.to_owned(), Some("a@b".to_owned()), role) }
}

fn audit(action: &str, id: &str) -> AuditRow {
    let (object_type, object_id) = ("team".to_owned(), id.to_owned());
    AuditRow { object_type, object_id, ..crate::opened::audit(action, &row("any")) }
}

impl Node {
    async fn make(&self, row: TeamRow) -> Result<TeamRow, StoreError> {
        let audit = audit("created", &row.team_id);
        self.admin.insert_team(row, audit).await
    }

    async fn change(&self, row: TeamRow, changes: Vec<MemberChange>) -> Result<TeamRow, StoreError> {
        let audit = audit("updated", &row.team_id);
        self.admin.replace_team(row, changes, audit).await
    }

    async fn knows(&self, name: TeamName<'_>) -> bool {
        self.store.directory().team(name).await.unwrap().is_some()
    }

    async fn audited(&self, id: &str) -> u64 {
        let query = AuditQuery { object_id: Some(id.to_owned()), limit: 1, ..AuditQuery::default() };
        self.admin.audit(&query).await.unwrap().total
    }
}

async fn a_team_comes_back_as_it_was_stored(place: Place) {
    let node = place.node();
    let given = TeamRow {
        team_alias: Some("One".to_owned()),
        organization_id: Some("org".to_owned()),
        models: vec!["gpt-4o".to_owned()],
        blocked: true,
        spend: 0.1 + 0.2,
        settings: json!({"max_budget": 7, "metadata": {"a": [1, null]}}).as_object().unwrap().clone(),
        members: vec![member("ada", MemberRole::Admin), member("bob", MemberRole::User)],
        updated_by: Some("else".to_owned()),
        ..team("t")
    };
    assert_eq!(node.make(given.clone()).await.unwrap(), given);
    assert_eq!(node.admin.team("t").await.unwrap(), Some(given.clone()));
    assert_eq!(node.admin.team("T").await.unwrap(), None);
    assert_eq!(node.make(team("t")).await, Err(StoreError::IdTaken));
    assert_eq!(node.audited("t").await, 1, "what was not written is not recorded");

    let changes = vec![
        MemberChange::Remove("ada".to_owned()),
        MemberChange::Put(member("cy", MemberRole::Admin)),
        MemberChange::Put(member("bob", MemberRole::Admin)),
    ];
    let members = vec![member("bob", MemberRole::Admin), member("cy", MemberRole::Admin)];
    let other = TeamRow { blocked: false, models: Vec::new(), team_alias: None, ..given.clone() };
    let written = node.change(other.clone(), changes).await.unwrap();
    assert_eq!(written, TeamRow { version: 2, members, ..other });
    assert_eq!(node.admin.team("t").await.unwrap(), Some(written.clone()));
    assert_eq!(node.change(given, Vec::new()).await, Err(StoreError::Conflict));
    node.admin.delete_team(written, audit("deleted", "t")).await.unwrap();
    assert_eq!(node.admin.team("t").await.unwrap(), None);
    let again = node.make(team("t")).await.unwrap();
    assert_eq!(node.admin.team("t").await.unwrap(), Some(again), "no member of the old team is in the new one");
}

async fn one_of_many_writers_of_a_team_wins(place: Place) {
    let node = place.node();
    node.make(team("t")).await.unwrap();
    let writes = (0..8).map(|n| {
        let change = MemberChange::Put(member(&n.to_string(), MemberRole::User));
        node.change(team("t"), vec![change])
    });
    let done = futures_util::future::join_all(writes).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert_eq!(node.admin.team("t").await.unwrap().map(|row| (row.version, row.members.len())), Some((2, 1)));
    assert_eq!(node.admin.delete_team(team("t"), audit("deleted", "t")).await, Err(StoreError::Conflict));
    assert_eq!(node.audited("t").await, 2);
}

async fn a_team_is_known_by_every_name_that_it_has_and_had(place: Place) {
    let (one, two) = (place.node(), place.node());
    for node in [&one, &two] {
        assert!(!node.knows(TeamName::Id("t")).await && !node.knows(TeamName::Alias("old")).await);
    }
    let made = one.make(TeamRow { team_alias: Some("old".to_owned()), ..team("t") }).await.unwrap();
    assert!(one.knows(TeamName::Id("t")).await && one.knows(TeamName::Alias("old")).await, "at once where it is made");
    eventually(async || two.knows(TeamName::Id("t")).await && two.knows(TeamName::Alias("old")).await).await;
    let renamed = TeamRow { team_alias: Some("new".to_owned()), blocked: true, ..made };
    one.change(renamed, Vec::new()).await.unwrap();
    let is_changed = async |node: &Node| {
        let team = node.store.directory().team(TeamName::Id("t")).await.unwrap().unwrap();
        team.blocked && node.knows(TeamName::Alias("new")).await && !node.knows(TeamName::Alias("old")).await
    };
    assert!(is_changed(&one).await, "at once where it is changed");
    eventually(async || is_changed(&two).await).await;
}

async fn a_deleted_team_takes_its_keys_with_it(place: Place) {
    let (one, two) = (place.node(), place.node());
    let made = one.make(team("t")).await.unwrap();
    let of = |name: &str, team: &str| KeyRow { team_id: Some(team.to_owned()), ..row(name) };
    for key in [of("first", "t"), of("second", "t"), of("other", "u")] {
        one.insert(key).await.unwrap();
    }
    for node in [&one, &two] {
        for key in ["first", "second", "other"] {
            node.until(hash(key), |found| matches!(found, Ok(Some(_)))).await;
        }
        assert!(node.knows(TeamName::Id("t")).await);
    }
    let ended = TeamRow { updated_at: at(9), updated_by: Some("ender".to_owned()), ..made };
    one.admin.delete_team(ended, audit("deleted", "t")).await.unwrap();
    for key in ["first", "second"] {
        assert_eq!(one.find(hash(key)).await, Ok(None), "at once where it is deleted");
        two.until(hash(key), |found| *found == Ok(None)).await;
        let kept = one.admin.key(hash(key)).await.unwrap().unwrap();
        assert_eq!((kept.deleted_at, kept.deleted_by.as_deref(), kept.version), (Some(at(9)), Some("ender"), 2));
    }
    assert!(one.find(hash("other")).await.unwrap().is_some() && !one.knows(TeamName::Id("t")).await);
}

async fn somebody_who_is_expelled_leaves_their_keys_of_the_team(place: Place) {
    let (one, two) = (place.node(), place.node());
    let members = vec![member("ada", MemberRole::User), member("bob", MemberRole::User)];
    let made = one.make(TeamRow { members, ..team("t") }).await.unwrap();
    let of = |name: &str, team: Option<&str>, user: &str| KeyRow {
        team_id: team.map(str::to_owned),
        user_id: Some(user.to_owned()),
        ..row(name)
    };
    let keys = [
        of("theirs", Some("t"), "ada"),
        of("own", None, "ada"),
        of("elsewhere", Some("u"), "ada"),
        of("another", Some("t"), "bob"),
    ];
    for key in keys {
        let key = one.insert(key).await.unwrap().token;
        two.until(key, |found| matches!(found, Ok(Some(_)))).await;
    }
    let row = TeamRow { updated_at: at(9), updated_by: Some("ender".to_owned()), ..made };
    let left = one.change(row, vec![MemberChange::Expel("ada".to_owned())]).await.unwrap();
    assert_eq!(left.members, [member("bob", MemberRole::User)]);
    assert_eq!(one.find(hash("theirs")).await, Ok(None), "at once where it is done");
    two.until(hash("theirs"), |found| *found == Ok(None)).await;
    let kept = one.admin.key(hash("theirs")).await.unwrap().unwrap();
    assert_eq!((kept.deleted_at, kept.deleted_by.as_deref(), kept.version), (Some(at(9)), Some("ender"), 2));
    for key in ["own", "elsewhere", "another"] {
        assert!(one.find(hash(key)).await.unwrap().is_some(), "{key}");
    }
}

async fn more_keys_than_a_message_names_end_with_their_team(place: Place) {
    let (one, two) = (place.node(), place.node());
    let made = one.make(team("t")).await.unwrap();
    let names: Vec<String> = (0..150).map(|n| n.to_string()).collect();
    for name in &names {
        one.insert(KeyRow { team_id: Some("t".to_owned()), ..row(name) }).await.unwrap();
    }
    for name in &names {
        two.until(hash(name), |found| matches!(found, Ok(Some(_)))).await;
    }
    one.admin.delete_team(made, audit("deleted", "t")).await.unwrap();
    for name in &names {
        assert_eq!(one.find(hash(name)).await, Ok(None));
        two.until(hash(name), |found| *found == Ok(None)).await;
    }
}

async fn teams_are_listed_by_what_they_are(place: Place) {
    let node = place.node();
    for n in 0..6_u64 {
        let row = TeamRow {
            team_alias: (n < 2).then(|| "few".to_owned()),
            organization_id: (n < 3).then(|| "org".to_owned()),
            members: vec![member(if n < 4 { "ada" } else { "bob" }, MemberRole::User)],
            created_at: at(n),
            ..team(&format!("t{n}"))
        };
        node.make(row).await.unwrap();
    }
    let listed = async |query: TeamQuery| {
        let Page { rows, total } = node.admin.teams(&TeamQuery { limit: 3, ..query }).await.unwrap();
        assert!(rows.iter().all(|row| row.members.len() == 1), "with their members");
        (rows.into_iter().map(|row| row.team_id).collect::<Vec<_>>().join(" "), total)
    };
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (TeamQuery::default(), "t5 t4 t3", 6),
        (TeamQuery { offset: 4, ..TeamQuery::default() }, "t1 t0", 6),
        (TeamQuery { alias: some("few"), ..TeamQuery::default() }, "t1 t0", 2),
        (TeamQuery { organization_id: some("org"), ..TeamQuery::default() }, "t2 t1 t0", 3),
        (TeamQuery { user_id: some("ada"), ..TeamQuery::default() }, "t3 t2 t1", 4),
        (TeamQuery { user_id: some("bob"), organization_id: some("org"), ..TeamQuery::default() }, "", 0),
        (TeamQuery { team_id: some("t4"), ..TeamQuery::default() }, "t4", 1),
    ];
    for (query, rows, total) in cases {
        assert_eq!(listed(query.clone()).await, (rows.to_owned(), total), "{query:?}");
    }
    assert_eq!(node.admin.team("t0").await.unwrap().unwrap().settings, Map::<String, Value>::new());
}
