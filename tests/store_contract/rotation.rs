//! Rotation: the key moves to a new string; old strings work while their grace lasts, and never become keys again.

use std::time::{Duration, SystemTime};

use portcullis_admin_api::store::{AuditQuery, KeyRow, Replay, Rotation, StoreError};

use crate::opened::{Node, Place, at, audit, hash, row};

crate::contract!(
    the_old_string_works_until_its_grace_ends,
    a_chain_of_rotations_leads_to_its_end,
    deleting_and_blocking_reach_old_strings,
    a_rotated_string_is_never_issued_again,
    one_of_many_rotations_wins,
    a_repeated_request_finds_its_rotation,
);

async fn rotate(node: &Node, from: &KeyRow, to: &str, grace_until: Option<SystemTime>) -> Result<KeyRow, StoreError> {
    let row = KeyRow { token: hash(to), rotation_count: from.rotation_count + 1, ..from.clone() };
    let audit = audit("rotated", &row);
    node.admin.rotate_key(Rotation { old: from.token, row, grace_until, replay: None }, audit).await
}

/// Far enough that no test outlasts it; whole microseconds, as it is kept.
fn soon() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() + 3600)
}

async fn the_old_string_works_until_its_grace_ends(place: Place) {
    let node = place.node();
    let (grace_end, key_end) = (soon(), soon() + Duration::from_secs(60));
    let stored = node.insert(KeyRow { expires: Some(key_end), ..row("old") }).await.unwrap();
    assert!(node.find(hash("old")).await.unwrap().is_some());
    assert_eq!(node.find(hash("new")).await.unwrap(), None);
    let moved = rotate(&node, &stored, "new", Some(grace_end)).await.unwrap();
    assert_eq!((moved.token, moved.version, moved.rotation_count), (hash("new"), 2, 1));
    let fresh = node.find(hash("new")).await.unwrap().expect("the new string works at once");
    let graced = node.find(hash("old")).await.unwrap().expect("the old one goes on");
    assert_eq!((fresh.id, fresh.expires), (hash("new"), Some(key_end)));
    assert_eq!((graced.id, graced.expires), (hash("new"), Some(grace_end)), "until the earlier of both ends");
    assert_eq!(node.admin.key(hash("old")).await.unwrap(), None, "the row moved");
    assert_eq!(node.admin.key(hash("new")).await.unwrap(), Some(moved.clone()));
    let moved = rotate(&node, &moved, "newer", Some(SystemTime::now() - Duration::from_secs(1))).await.unwrap();
    assert_eq!(node.find(hash("new")).await.unwrap(), None, "a grace that is over is none");
    rotate(&node, &moved, "newest", None).await.unwrap();
    assert_eq!(node.find(hash("newer")).await.unwrap(), None, "no grace ends it at once");
    assert!(node.find(hash("old")).await.unwrap().is_some(), "an earlier grace is not shortened");
    let log =
        node.admin.audit(&AuditQuery { action: Some("rotated".to_owned()), limit: 9, ..Default::default() }).await;
    assert_eq!(log.unwrap().total, 3);
}

async fn a_chain_of_rotations_leads_to_its_end(place: Place) {
    let node = place.node();
    let first = node.insert(row("1")).await.unwrap();
    let second = rotate(&node, &first, "2", Some(soon())).await.unwrap();
    let third = rotate(&node, &second, "3", Some(soon())).await.unwrap();
    for name in ["1", "2", "3"] {
        assert_eq!(node.find(hash(name)).await.unwrap().map(|record| record.id), Some(hash("3")), "{name}");
    }
    node.replace(KeyRow { user_id: Some("u".to_owned()), ..third }).await.unwrap();
    for name in ["1", "2", "3"] {
        let record = node.find(hash(name)).await.unwrap().unwrap();
        assert_eq!(record.user_id.as_deref(), Some("u"), "a change reaches {name} at once");
    }
}

async fn deleting_and_blocking_reach_old_strings(place: Place) {
    let node = place.node();
    let first = node.insert(row("1")).await.unwrap();
    let second = rotate(&node, &first, "2", Some(soon())).await.unwrap();
    assert!(node.find(hash("1")).await.unwrap().is_some());
    let blocked = node.replace(KeyRow { blocked: Some(true), ..second }).await.unwrap();
    assert!(node.find(hash("1")).await.unwrap().unwrap().blocked);
    let deleted = node.replace(KeyRow { deleted_at: Some(SystemTime::now()), blocked: None, ..blocked }).await.unwrap();
    assert_eq!(node.find(hash("1")).await.unwrap(), None);
    assert_eq!(node.find(hash("2")).await.unwrap(), None);
    node.replace(KeyRow { deleted_at: None, ..deleted }).await.unwrap();
    assert_eq!(node.find(hash("1")).await.unwrap(), None, "the deletion ended the grace for good");
    assert!(node.find(hash("2")).await.unwrap().is_some());
}

async fn a_rotated_string_is_never_issued_again(place: Place) {
    let node = place.node();
    let first = node.insert(row("1")).await.unwrap();
    let second = rotate(&node, &first, "2", None).await.unwrap();
    let other = node.insert(row("other")).await.unwrap();
    assert_eq!(node.insert(row("1")).await, Err(StoreError::TokenTaken));
    assert_eq!(rotate(&node, &second, "1", None).await, Err(StoreError::TokenTaken));
    assert_eq!(rotate(&node, &second, "other", None).await, Err(StoreError::TokenTaken));
    assert_eq!(rotate(&node, &first, "3", None).await, Err(StoreError::Conflict), "what was rotated away is gone");
    assert_eq!(node.admin.key(hash("2")).await.unwrap(), Some(second), "a refused rotation changes nothing");
    assert_eq!(node.admin.key(hash("other")).await.unwrap(), Some(other));
}

async fn one_of_many_rotations_wins(place: Place) {
    let (node, other) = (place.node(), place.node());
    let stored = node.insert(row("contested")).await.unwrap();
    let names: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let rotations = names.iter().enumerate().map(|(number, name)| {
        let writer = if number % 2 == 0 { &node } else { &other };
        rotate(writer, &stored, name, Some(soon()))
    });
    let done = futures_util::future::join_all(rotations).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(StoreError::Conflict))), "{done:?}");
}

async fn a_repeated_request_finds_its_rotation(place: Place) {
    let node = place.node();
    let stored = node.insert(row("old")).await.unwrap();
    let replay = Replay { request: [1; 32], salt: [2; 32], new: hash("new") };
    let row = KeyRow { token: hash("new"), updated_at: at(4), ..stored };
    let rotation = Rotation { old: hash("old"), row: row.clone(), grace_until: None, replay: Some(replay.clone()) };
    node.admin.rotate_key(rotation.clone(), audit("rotated", &row)).await.unwrap();
    assert_eq!(node.admin.replay(hash("old"), [1; 32]).await.unwrap(), Some(replay));
    assert_eq!(node.admin.replay(hash("old"), [3; 32]).await.unwrap(), None, "another request");
    assert_eq!(node.admin.replay(hash("new"), [1; 32]).await.unwrap(), None, "another key");
    assert!(node.admin.rotate_key(rotation, audit("rotated", &row)).await.is_err());
}
