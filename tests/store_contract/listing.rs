//! Listings: conditions, orders, pages that neither overlap nor miss a row.

use portcullis_admin_api::store::{KeyQuery, KeyRow, KeySort, KeyStatus};

use crate::opened::{Node, Place, aliased, at, hash, row};

crate::contract!(
    each_condition_restricts,
    a_status_is_judged_at_the_given_instant,
    every_order_is_total_and_reverses,
    pages_neither_overlap_nor_miss,
    aliases_are_listed_in_order,
    letters_of_a_pattern_mean_themselves,
);

fn all() -> KeyQuery {
    KeyQuery { limit: 100, now: Some(at(100)), ..KeyQuery::default() }
}

async fn names(node: &Node, query: &KeyQuery) -> Vec<String> {
    let page = node.admin.keys(query).await.unwrap();
    assert_eq!(page.total, page.rows.len() as u64, "these listings fit on one page");
    page.rows.into_iter().map(|row| row.key_name.unwrap()).collect()
}

async fn insert(node: &Node, name: &str, row: KeyRow) {
    node.insert(KeyRow { token: hash(name), key_name: Some(name.to_owned()), ..row }).await.unwrap();
}

async fn each_condition_restricts(place: Place) {
    let node = place.node();
    let some = |text: &str| Some(text.to_owned());
    insert(
        &node,
        "a",
        KeyRow { user_id: some("u1"), team_id: some("t1"), created_at: at(1), ..aliased("", "Ärger One") },
    )
    .await;
    insert(
        &node,
        "b",
        KeyRow { user_id: some("u1"), organization_id: some("o1"), created_at: at(2), ..aliased("", "one") },
    )
    .await;
    insert(&node, "c", KeyRow { user_id: some("u2"), team_id: some("t1"), created_at: at(3), ..row("") }).await;
    let cases = [
        (all(), vec!["a", "b", "c"]),
        (KeyQuery { user_id: some("u1"), ..all() }, vec!["a", "b"]),
        (KeyQuery { team_id: some("t1"), ..all() }, vec!["a", "c"]),
        (KeyQuery { organization_id: some("o1"), ..all() }, vec!["b"]),
        (KeyQuery { user_id: some("u1"), team_id: some("t1"), ..all() }, vec!["a"]),
        (KeyQuery { token: Some(hash("c")), ..all() }, vec!["c"]),
        (KeyQuery { alias: some("one"), ..all() }, vec!["b"]),
        (KeyQuery { alias: some("ONE"), substring: true, ..all() }, vec!["a", "b"]),
        (KeyQuery { alias: some("äRG"), substring: true, ..all() }, vec!["a"]),
        (KeyQuery { user_id: some(""), ..all() }, vec![]),
        (KeyQuery { user_id: some("u1' OR '1'='1"), ..all() }, vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(names(&node, &query).await, expected, "{query:?}");
    }
}

async fn a_status_is_judged_at_the_given_instant(place: Place) {
    let node = place.node();
    insert(&node, "endless", KeyRow { created_at: at(1), ..row("") }).await;
    insert(&node, "ending", KeyRow { created_at: at(2), expires: Some(at(101)), blocked: Some(false), ..row("") })
        .await;
    insert(&node, "ended", KeyRow { created_at: at(3), expires: Some(at(100)), ..row("") }).await;
    insert(&node, "blocked", KeyRow { created_at: at(4), blocked: Some(true), ..row("") }).await;
    insert(&node, "deleted", KeyRow { created_at: at(5), deleted_at: Some(at(50)), ..row("") }).await;
    let with = |status| KeyQuery { status, ..all() };
    assert_eq!(names(&node, &with(None)).await, ["endless", "ending", "ended", "blocked"]);
    assert_eq!(names(&node, &with(Some(KeyStatus::Active))).await, ["endless", "ending"]);
    assert_eq!(names(&node, &with(Some(KeyStatus::Expired))).await, ["ended"]);
    assert_eq!(names(&node, &with(Some(KeyStatus::Revoked))).await, ["blocked"]);
    assert_eq!(names(&node, &with(Some(KeyStatus::Deleted))).await, ["deleted"]);
}

async fn every_order_is_total_and_reverses(place: Place) {
    let node = place.node();
    let give = |created, updated, expires: Option<u64>, spend, alias: Option<&str>| KeyRow {
        created_at: at(created),
        updated_at: at(updated),
        expires: expires.map(at),
        spend,
        key_alias: alias.map(str::to_owned),
        ..row("")
    };
    insert(&node, "a", give(1, 9, None, 0.5, Some("b"))).await;
    insert(&node, "b", give(2, 7, Some(300), 2.0, None)).await;
    insert(&node, "c", give(3, 8, Some(200), 10.0, Some("B"))).await;
    insert(&node, "d", give(4, 6, None, 1.0, Some("ä"))).await;
    let mut unending = ["a", "d"];
    unending.sort_by_key(|name| hash(name));
    let cases = [
        (KeySort::CreatedAt, ["a", "b", "c", "d"]),
        (KeySort::UpdatedAt, ["d", "b", "c", "a"]),
        (KeySort::Expires, ["c", "b", unending[0], unending[1]]),
        (KeySort::Alias, ["c", "a", "d", "b"]),
        (KeySort::Spend, ["a", "d", "b", "c"]),
    ];
    for (sort, mut expected) in cases {
        assert_eq!(names(&node, &KeyQuery { sort, ..all() }).await, expected, "{sort:?}");
        expected.reverse();
        assert_eq!(names(&node, &KeyQuery { sort, descending: true, ..all() }).await, expected, "{sort:?} reversed");
    }
}

async fn pages_neither_overlap_nor_miss(place: Place) {
    let node = place.node();
    for number in 0..25 {
        // Equal in every order: only the token tells them apart.
        node.insert(row(&number.to_string())).await.unwrap();
    }
    for sort in [KeySort::CreatedAt, KeySort::UpdatedAt, KeySort::Expires, KeySort::Alias, KeySort::Spend] {
        let mut seen = Vec::new();
        for offset in (0..30).step_by(7) {
            let page = node.admin.keys(&KeyQuery { sort, offset, limit: 7, ..all() }).await.unwrap();
            assert_eq!(page.total, 25);
            seen.extend(page.rows.into_iter().map(|row| row.token));
        }
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((seen.len(), distinct.len()), (25, 25), "{sort:?}");
    }
    let beyond = node.admin.keys(&KeyQuery { offset: u64::MAX, limit: u64::MAX, ..all() }).await.unwrap();
    assert_eq!((beyond.rows.len(), beyond.total), (0, 25));
}

async fn aliases_are_listed_in_order(place: Place) {
    let node = place.node();
    for (name, alias) in [("1", "delta"), ("2", "Alpha"), ("3", "beta"), ("4", "alphabet")] {
        let team_id = (name != "3").then(|| "t".to_owned());
        node.insert(KeyRow { team_id, ..aliased(name, alias) }).await.unwrap();
    }
    node.insert(KeyRow { deleted_at: Some(at(1)), ..aliased("5", "gone") }).await.unwrap();
    node.insert(row("6")).await.unwrap();
    let page = node.admin.aliases(None, None, 1, 2).await.unwrap();
    assert_eq!((page.rows, page.total), (vec!["alphabet".to_owned(), "beta".to_owned()], 4));
    let page = node.admin.aliases(Some("ALPHA"), Some("t"), 0, 10).await.unwrap();
    assert_eq!((page.rows, page.total), (vec!["Alpha".to_owned(), "alphabet".to_owned()], 2));
}

async fn letters_of_a_pattern_mean_themselves(place: Place) {
    let node = place.node();
    for alias in ["100%", "1000", "a_b", "axb", "c\\d"] {
        node.insert(aliased(alias, alias)).await.unwrap();
    }
    for (part, expected) in [("00%", "100%"), ("a_b", "a_b"), ("\\", "c\\d")] {
        let page = node.admin.aliases(Some(part), None, 0, 10).await.unwrap();
        assert_eq!(page.rows, [expected], "{part}");
    }
}
