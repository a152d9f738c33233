//! Which teams of a token count, and which are made.

use super::*;

const NO_TEAM: &str = "unknown identity: no such team";
const NONE_NAMED: &str = "unknown identity: no team in the token";

#[test]
fn one_team_by_id_or_the_first_of_a_list() {
    let rules = rules(|rules| rules.team_id = path("team"));
    for (team, expected) in [
        (json!("eng"), "s team [eng]"),
        (json!(["eng", "ops"]), "s team [eng]"),
        (json!(["nobody", "ops"]), NO_TEAM),
        (json!("nobody"), NO_TEAM),
        (json!("Engineering"), NO_TEAM),
        (json!("old"), "identity forbidden: its teams are blocked"),
        (json!([]), NONE_NAMED),
        (json!(""), NONE_NAMED),
        (json!([""]), NONE_NAMED),
        (json!(null), NONE_NAMED),
        (json!(7), NO_TEXT),
        (json!([7]), NO_TEXT),
        (json!({"id": "eng"}), NO_TEXT),
        (json!("eng\n"), NO_NAME),
    ] {
        check(&rules, &[(json!({"sub": "s", "team": team}), expected)]);
    }
    check(&rules, &[(json!({"sub": "s"}), NONE_NAMED)]);
}

#[test]
fn one_team_by_alias_where_no_id_is_named() {
    let rules = rules(|rules| {
        rules.team_id = path("team");
        rules.team_alias = path("team_name");
        rules.enrol_teams = true;
    });
    check(
        &rules,
        &[
            (json!({"sub": "s", "team_name": "Engineering"}), "s  [eng]"),
            (json!({"sub": "s", "team_name": "Engineering", "team": "ops"}), "s team [ops]"),
            (json!({"sub": "s", "team_name": "eng"}), NO_TEAM),
            (json!({"sub": "s", "team_name": "Left"}), "identity forbidden: its teams are blocked"),
            (json!({"sub": "s", "team_name": ["Engineering"]}), NO_TEXT),
            (json!({"sub": "s"}), NONE_NAMED),
        ],
    );
}

#[test]
fn of_several_teams_those_that_are_known_count_in_order() {
    let rules = rules(|rules| {
        rules.team_ids = path("groups");
        rules.enrol_teams = true;
    });
    for (groups, expected) in [
        (json!(["ops", "eng"]), "s  [eng,ops]"),
        (json!(["ops", "eng", "ops"]), "s  [eng,ops]"),
        (json!(["zzz", "ops", "aaa"]), "s  [ops]"),
        (json!(["old", "ops"]), "s  [ops]"),
        (json!("eng"), "s  [eng]"),
        (json!(["old", "zzz"]), "identity forbidden: its teams are blocked"),
        (json!(["zzz"]), NO_TEAM),
        (json!([]), "s  []"),
        (json!(null), "s  []"),
        (json!(["eng", 7]), NO_TEXT),
        (json!(["eng", ["ops"]]), NO_TEXT),
        (json!(["eng", "a\rb"]), NO_NAME),
    ] {
        let directory = Known::usual();
        let given = json!({"sub": "s", "groups": groups});
        assert_eq!(outcome(&rules, &given, &directory), expected, "{given}");
        assert_eq!(*directory.enrolled.lock().unwrap(), [], "a group of the provider is no team by itself: {given}");
    }
    let many = |count: usize| json!({"sub": "s", "groups": (0..count).map(|n| format!("g{n}")).collect::<Vec<_>>()});
    check(&rules, &[(many(256), NO_TEAM), (many(257), "identity forbidden: too many teams")]);
}

#[test]
fn the_default_team_is_for_those_who_name_none() {
    let with_default = |change: fn(&mut ClaimRules)| {
        rules(|rules| {
            rules.default_team = Some("all".to_owned());
            change(rules);
        })
    };
    check(&with_default(|_| {}), &[(json!({"sub": "s"}), "s team [all]")]);
    check(
        &with_default(|rules| rules.team_id = path("team")),
        &[
            (json!({"sub": "s"}), "s team [all]"),
            (json!({"sub": "s", "team": "eng"}), "s team [eng]"),
            (json!({"sub": "s", "team": []}), "s team [all]"),
            (json!({"sub": "s", "team": "nobody"}), NO_TEAM),
        ],
    );
    check(
        &with_default(|rules| rules.team_ids = path("groups")),
        &[
            (json!({"sub": "s"}), "s team [all]"),
            (json!({"sub": "s", "groups": ["ops"]}), "s team [ops]"),
            (json!({"sub": "s", "groups": ["nobody"]}), NO_TEAM),
        ],
    );
    check(
        &with_default(|rules| rules.team_alias = path("alias")),
        &[(json!({"sub": "s"}), "s team [all]"), (json!({"sub": "s", "alias": "Operations"}), "s team [ops]")],
    );
}

#[test]
fn a_team_may_be_required() {
    let required = rules(|rules| {
        rules.team_ids = path("groups");
        rules.team_required = true;
    });
    check(
        &required,
        &[
            (json!({"sub": "s"}), "identity forbidden: no team"),
            (json!({"sub": "s", "groups": []}), "identity forbidden: no team"),
            (json!({"sub": "s", "groups": ["eng"]}), "s  [eng]"),
            (json!({"sub": "s", "scope": "litellm_proxy_admin"}), "s proxy_admin []"),
        ],
    );
    let anything = rules(|rules| rules.team_required = true);
    check(&anything, &[(json!({"sub": "s"}), "identity forbidden: no team")]);
    let one = rules(|rules| {
        rules.team_id = path("team");
        rules.team_ids = path("groups");
    });
    check(&one, &[(json!({"sub": "s", "groups": ["eng"]}), NONE_NAMED)]);
}

#[test]
fn a_team_is_made_for_a_token_that_is_let_in() {
    let strict = rules(|rules| {
        rules.team_id = path("team");
        rules.user_id = path("sub");
        rules.enrol_teams = true;
    });
    let given = json!({"sub": "new", "team": "fresh"});
    let directory = Known::usual();
    assert_eq!(outcome(&strict, &given, &directory), "unknown identity: no such user");
    assert_eq!(*directory.enrolled.lock().unwrap(), [], "a refused token makes no rows");

    let enrolling = ClaimRules { enrol_users: true, ..strict };
    assert_eq!(outcome(&enrolling, &given, &directory), "new team [fresh]");
    let user = Enrolment::User { id: "new".to_owned(), email: None };
    let team = Enrolment::Team { id: "fresh".to_owned() };
    assert_eq!(*directory.enrolled.lock().unwrap(), [team, user]);
    let principal = principal(&enrolling, given, &directory).unwrap();
    assert_eq!(principal.teams[0].policy, Policy::default());

    let blocked = json!({"sub": "other", "team": "old"});
    let before = directory.enrolled.lock().unwrap().len();
    assert_eq!(outcome(&enrolling, &blocked, &directory), "identity forbidden: its teams are blocked");
    assert_eq!(directory.enrolled.lock().unwrap().len(), before);
}
