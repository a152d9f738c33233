//! Rows as they are kept: written whole, read back whole, by one writer at a time, with their audit rows.

use std::time::{Duration, SystemTime};

use portcullis_admin_api::store::{AuditQuery, KeyRow, StoreError};
use serde_json::json;

use crate::opened::{Place, aliased, at, audit, hash, row};

crate::contract!(
    a_key_comes_back_as_it_was_stored,
    texts_and_documents_survive_whatever_they_hold,
    times_are_kept_to_the_microsecond,
    a_key_string_is_issued_once,
    a_live_alias_is_unique,
    one_of_many_writers_wins,
    one_of_many_equal_aliases_wins,
    a_write_and_its_audit_row_are_one,
    the_audit_log_reads_backwards,
    the_hot_path_sees_what_is_in_force,
    limits_are_read_with_the_key_or_the_key_is_not,
    a_new_key_ends_the_memory_of_its_absence,
    concurrent_openings_migrate_once,
);

async fn a_key_comes_back_as_it_was_stored(place: Place) {
    let node = place.node();
    let given = KeyRow {
        user_id: Some("u".to_owned()),
        team_id: Some("t".to_owned()),
        organization_id: Some("o".to_owned()),
        models: vec!["gpt-4o".to_owned(), "claude/*".to_owned()],
        allowed_routes: vec!["llm_api_routes".to_owned()],
        aliases: [("fast".to_owned(), "gpt-4o".to_owned())].into(),
        expires: Some(at(7)),
        blocked: Some(false),
        spend: 0.1 + 0.2,
        sets_spend: false,
        budget_reset_at: Some(at(9)),
        settings: json!({"rpm_limit": 3, "metadata": {"a": [1, 2.5, null]}}).as_object().unwrap().clone(),
        rotation_count: 2,
        last_rotation_at: Some(at(5)),
        updated_by: Some("someone".to_owned()),
        ..aliased("whole", "whole")
    };
    assert_eq!(node.insert(given.clone()).await.unwrap(), given);
    assert_eq!(node.admin.key(given.token).await.unwrap(), Some(given.clone()));
    assert_eq!(node.admin.key_by_alias("whole").await.unwrap(), Some(given.clone()));
    assert_eq!(node.admin.key(hash("other")).await.unwrap(), None);
    assert_eq!(node.admin.key_by_alias("other").await.unwrap(), None);
    let changed = KeyRow { version: 2, blocked: Some(true), models: Vec::new(), expires: None, ..given.clone() };
    let written = node.replace(KeyRow { version: 1, ..changed.clone() }).await.unwrap();
    assert_eq!(written, changed);
    assert_eq!(node.admin.key(given.token).await.unwrap(), Some(changed));
    node.admin.ready().await.unwrap();
}

/// What nobody could have stored through the API is an error, never a key without a limit.
async fn limits_are_read_with_the_key_or_the_key_is_not(place: Place) {
    let node = place.node();
    for (n, settings, limits) in [
        (0, json!({}), Some(0)),
        (1, json!({"rpm_limit": null, "max_parallel_requests": null, "model_rpm_limit": null}), Some(0)),
        (2, json!({"rpm_limit": 3}), Some(1)),
        (3, json!({"max_parallel_requests": 5, "model_rpm_limit": {"a": 1, "b": 2}}), Some(3)),
        (4, json!({"rpm_limit": "three"}), None),
        (5, json!({"rpm_limit": -1}), None),
        (6, json!({"model_rpm_limit": {"a": null}}), None),
    ] {
        let given = KeyRow { settings: settings.as_object().unwrap().clone(), ..row(&n.to_string()) };
        node.insert(given.clone()).await.unwrap();
        let found = node.find(given.token).await;
        let found = found.map(|key| key.unwrap().limits.as_deref().unwrap_or_default().len());
        assert_eq!(found.ok(), limits, "{settings}");
    }
}

async fn texts_and_documents_survive_whatever_they_hold(place: Place) {
    let node = place.node();
    let strange = "it's \"q\"; DROP TABLE virtual_keys; -- %_\\ $1 ?1 \u{1F512} 平台 \u{202e} \n\t";
    let document =
        json!({strange: strange, "nul": "a\u{0}b", "big": 1e300, "small": -0.5, "int": i64::MIN, "u": u64::MAX});
    let given = KeyRow {
        key_name: Some(String::new()),
        user_id: Some(strange.to_owned()),
        models: vec![strange.to_owned(), String::new()],
        aliases: [(strange.to_owned(), strange.to_owned())].into(),
        settings: document.as_object().unwrap().clone(),
        ..aliased("strange", strange)
    };
    node.insert(given.clone()).await.unwrap();
    assert_eq!(node.admin.key(given.token).await.unwrap(), Some(given.clone()));
    assert_eq!(node.admin.key_by_alias(strange).await.unwrap(), Some(given));
}

async fn times_are_kept_to_the_microsecond(place: Place) {
    let node = place.node();
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(200_000_000_000);
    let cases = [at(1), at(999_999), SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - Duration::from_micros(1), far];
    for (number, time) in cases.into_iter().enumerate() {
        let given = KeyRow { expires: Some(time), created_at: time, ..row(&number.to_string()) };
        node.insert(given.clone()).await.unwrap();
        assert_eq!(node.admin.key(given.token).await.unwrap(), Some(given));
    }
    let finer = KeyRow { expires: Some(at(3) + Duration::from_nanos(999)), ..row("finer") };
    let stored = node.insert(finer).await.unwrap();
    assert_eq!(stored.expires, Some(at(3)), "what is returned is what is kept");
    let endless = KeyRow {
        expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into()) * 1000),
        ..row("endless")
    };
    let stored = node.insert(endless).await.unwrap();
    assert_eq!(node.admin.key(stored.token).await.unwrap(), Some(stored));
}

async fn a_key_string_is_issued_once(place: Place) {
    let node = place.node();
    let stored = node.insert(row("once")).await.unwrap();
    assert_eq!(node.insert(aliased("once", "other")).await, Err(StoreError::TokenTaken));
    node.replace(KeyRow { deleted_at: Some(at(9)), deleted_by: Some("me".to_owned()), ..stored }).await.unwrap();
    assert_eq!(node.insert(row("once")).await, Err(StoreError::TokenTaken), "also after the key was deleted");
    let kept = node.admin.key(hash("once")).await.unwrap().expect("a deleted key keeps its row");
    assert_eq!((kept.deleted_at, kept.deleted_by.as_deref()), (Some(at(9)), Some("me")));
}

async fn a_live_alias_is_unique(place: Place) {
    let node = place.node();
    let first = node.insert(aliased("1", "name")).await.unwrap();
    let second = node.insert(aliased("2", "Name")).await.unwrap();
    assert_eq!(node.insert(aliased("3", "name")).await, Err(StoreError::AliasTaken));
    assert_eq!(
        node.replace(KeyRow { key_alias: first.key_alias.clone(), ..second }).await,
        Err(StoreError::AliasTaken)
    );
    node.replace(KeyRow { deleted_at: Some(at(9)), ..first }).await.unwrap();
    let heir = node.insert(aliased("3", "name")).await.unwrap();
    assert_eq!(node.admin.key_by_alias("name").await.unwrap(), Some(heir));
}

async fn one_of_many_writers_wins(place: Place) {
    let (node, other) = (place.node(), place.node());
    let stored = node.insert(row("contested")).await.unwrap();
    let writes = (0..16).map(|number| {
        let writer = if number % 2 == 0 { &node } else { &other };
        writer.replace(KeyRow { spend: f64::from(number), sets_spend: true, ..stored.clone() })
    });
    let done = futures_util::future::join_all(writes).await;
    let won: Vec<_> = done.iter().filter_map(|done| done.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "{done:?}");
    assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(StoreError::Conflict))), "{done:?}");
    assert_eq!(node.admin.key(stored.token).await.unwrap().as_ref(), Some(won[0]));
    assert_eq!(node.replace(row("absent")).await, Err(StoreError::Conflict));
}

async fn one_of_many_equal_aliases_wins(place: Place) {
    let (node, other) = (place.node(), place.node());
    let writes = (0..16).map(|number| {
        let writer = if number % 2 == 0 { &node } else { &other };
        writer.insert(aliased(&number.to_string(), "same"))
    });
    let done = futures_util::future::join_all(writes).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(StoreError::AliasTaken))), "{done:?}");
}

async fn a_write_and_its_audit_row_are_one(place: Place) {
    let node = place.node();
    let stored = node.insert(aliased("a", "name")).await.unwrap();
    node.insert(row("b")).await.unwrap();
    let refused = [
        node.insert(row("a")).await,
        node.insert(aliased("c", "name")).await,
        node.replace(KeyRow { version: 7, ..stored.clone() }).await,
        node.replace(aliased("b", "name")).await,
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let log = node.admin.audit(&AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(log.total, 2, "a refused write leaves no audit row");
    assert_eq!(node.admin.key(hash("c")).await.unwrap(), None);
    place.execute("ALTER TABLE audit_log RENAME TO elsewhere").await;
    assert!(matches!(
        node.replace(KeyRow { spend: 1.0, sets_spend: true, ..stored.clone() }).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(node.insert(row("d")).await, Err(StoreError::Unavailable(_))));
    assert_eq!(node.admin.key(hash("d")).await.unwrap(), None, "a write that cannot be audited does not happen");
    assert_eq!(node.admin.key(stored.token).await.unwrap(), Some(stored));
}

async fn the_audit_log_reads_backwards(place: Place) {
    let node = place.node();
    for name in ["a", "b", "c"] {
        let stored = node.insert(row(name)).await.unwrap();
        node.replace(KeyRow { spend: 2.5, sets_spend: true, ..stored }).await.unwrap();
    }
    let query = AuditQuery { limit: 4, ..AuditQuery::default() };
    let newest = node.admin.audit(&query).await.unwrap();
    assert_eq!((newest.total, newest.rows.len()), (6, 4));
    assert!(newest.rows.is_sorted_by(|later, earlier| later.id > earlier.id));
    let expected = audit("updated", &KeyRow { spend: 2.5, ..row("c") });
    assert_eq!(newest.rows[0], portcullis_admin_api::store::AuditRow { id: newest.rows[0].id, ..expected });
    let rest = node.admin.audit(&AuditQuery { offset: 4, ..query.clone() }).await.unwrap();
    assert_eq!(rest.rows.len(), 2);
    let one =
        AuditQuery { object_id: Some(hash("b").to_string()), action: Some("created".to_owned()), ..query.clone() };
    assert_eq!(node.admin.audit(&one).await.unwrap().total, 1);
    let row = newest.rows[1].clone();
    assert_eq!(node.admin.audit(&AuditQuery { id: Some(row.id), ..query.clone() }).await.unwrap().rows, [row]);
    assert_eq!(node.admin.audit(&AuditQuery { actor: Some("nobody".to_owned()), ..query }).await.unwrap().total, 0);
}

async fn the_hot_path_sees_what_is_in_force(place: Place) {
    let node = place.node();
    let given = KeyRow { user_id: Some("u".to_owned()), expires: Some(at(7)), ..aliased("live", "name") };
    let stored = node.insert(given).await.unwrap();
    let record = node.find(stored.token).await.unwrap().expect("a live key is found");
    assert_eq!(
        (record.id, record.alias.as_deref(), record.user_id.as_deref()),
        (stored.token, Some("name"), Some("u"))
    );
    assert_eq!((record.expires, record.blocked), (Some(at(7)), false));
    let stored = node.replace(KeyRow { blocked: Some(true), expires: None, ..stored }).await.unwrap();
    let record = node.find(stored.token).await.unwrap().expect("a blocked key is found");
    assert_eq!((record.expires, record.blocked), (None, true), "the write returned, so the old answer is gone");
    node.replace(KeyRow { deleted_at: Some(at(9)), ..stored.clone() }).await.unwrap();
    assert_eq!(node.find(stored.token).await.unwrap(), None);
}

async fn a_new_key_ends_the_memory_of_its_absence(place: Place) {
    let node = place.node();
    node.admin.ready().await.unwrap();
    for _ in 0..3 {
        assert_eq!(node.find(hash("late")).await.unwrap(), None);
    }
    node.insert(row("late")).await.unwrap();
    assert!(node.find(hash("late")).await.unwrap().is_some());
}

async fn concurrent_openings_migrate_once(place: Place) {
    let handle = tokio::runtime::Handle::current();
    let nodes: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            let _inside = handle.enter();
            place.node()
        };
        let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        opening.into_iter().map(|node| node.join().unwrap()).collect()
    });
    for (number, node) in nodes.iter().enumerate() {
        node.insert(row(&number.to_string())).await.unwrap();
    }
}
