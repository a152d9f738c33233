//! What is whose: which keys, teams and reports a caller sees and changes, and that nobody gives what they have not got.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use portcullis_admin_api::Authenticated;
use portcullis_filters::authn::custom::CustomIdentity;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyStore};
use portcullis_filters::directory::Directory;
use portcullis_filters::policy::AccessGroups;
use portcullis_filters::principal::{KeyHolder, Principal};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, request};

/// Ann and Bob have keys of their own; the chief administers the team `t`, to which Mem belongs.
struct Scene {
    api: Api,
    ann: String,
    bob: String,
    chief: String,
    mem: String,
    viewer: String,
    /// Mem's key of the team.
    of_team: String,
}

impl Scene {
    async fn new() -> Self {
        let api = Api::new();
        let user = async |id: &str, role: &str| {
            let made = api.post("/user/new", json!({"user_id": id, "user_role": role})).await.ok();
            made["key"].as_str().unwrap().to_owned()
        };
        let (ann, bob) = (user("ann", "internal_user").await, user("bob", "internal_user").await);
        let (chief, mem) = (user("chief", "internal_user").await, user("mem", "internal_user").await);
        let viewer = user("viewer", "proxy_admin_viewer").await;
        let members = json!([{"user_id": "chief", "role": "admin"}, {"user_id": "mem", "role": "user"}]);
        api.post("/team/new", json!({"team_id": "t", "members_with_roles": members})).await.ok();
        api.post("/team/new", json!({"team_id": "other"})).await.ok();
        let of_team = api.key(json!({"user_id": "mem", "team_id": "t"})).await;
        Self { api, ann, bob, chief, mem, viewer, of_team }
    }

    async fn post(&self, who: &str, path: &str, body: Value) -> Answer {
        self.api.call(Method::POST, path, Some(who), body.to_string()).await
    }

    async fn get(&self, who: &str, path: &str) -> Answer {
        self.api.call(Method::GET, path, Some(who), "").await
    }

    /// The keys of a listing, or the status of its refusal.
    async fn listed(&self, who: &str, query: &str) -> Result<usize, u16> {
        let answer = self.get(who, &format!("/key/list?size=100{query}")).await;
        match answer.status.as_u16() {
            200 => Ok(answer.json()["keys"].as_array().unwrap().len()),
            status => Err(status),
        }
    }
}

#[tokio::test]
async fn keys_are_their_owners_and_their_teams() {
    let scene = Scene::new().await;
    let ownerless = scene.api.key(json!({})).await;
    let Scene { ann, bob, chief, mem, viewer, of_team, .. } = &scene;
    for (who, key, sees, changes) in [
        (ann, ann, 200, 200),
        (ann, bob, 403, 403),
        (ann, of_team, 403, 403),
        (ann, &ownerless, 403, 403),
        (chief, of_team, 200, 200),
        (chief, ann, 403, 403),
        (mem, of_team, 200, 403),
        (of_team, of_team, 200, 403),
        (of_team, mem, 403, 403),
        (&ownerless, &ownerless, 200, 403),
        (viewer, ann, 200, 403),
        (viewer, &ownerless, 200, 403),
    ] {
        let hash = KeyHash::of(key);
        let seen = scene.get(who, &format!("/key/info?key={hash}")).await;
        assert_eq!(seen.status.as_u16(), sees, "{who} {key}: {}", seen.text);
        for (path, body) in [
            ("/key/update", json!({"key": key, "metadata": {"a": 1}})),
            ("/key/regenerate", json!({"key": key, "new_key": null, "grace_period": "1h"})),
        ] {
            if changes != 200 || path == "/key/update" {
                let changed = scene.post(who, path, body).await;
                assert_eq!(changed.status.as_u16(), changes, "{path} {who} {key}: {}", changed.text);
            }
        }
        if changes != 200 {
            assert_eq!(scene.post(who, "/key/block", json!({"key": key})).await.status.as_u16(), 403);
            let deleted = scene.post(who, "/key/delete", json!({"keys": [key]})).await;
            assert!(matches!(deleted.status.as_u16(), 403 | 404), "{}", deleted.text);
        }
    }
    // Another's key and none at all are refused alike.
    let nobodys = scene.post(ann, "/key/update", json!({"key": "0".repeat(64)})).await;
    let bobs = scene.post(ann, "/key/update", json!({"key": KeyHash::of(bob).to_string()})).await;
    assert_eq!((nobodys.status, &nobodys.text), (bobs.status, &bobs.text));
    let by_alias = scene.post(ann, "/key/update", json!({"key_alias": "none"})).await;
    assert_eq!(by_alias.text, bobs.text);
    // Whoever may block their key may not lift a block.
    assert_eq!(scene.post(bob, "/key/block", json!({"key": bob})).await.status, 200);
    assert_eq!(scene.post(ann, "/key/unblock", json!({"key": ann})).await.status, 403);
}

#[tokio::test]
async fn listings_and_reports_show_what_is_the_callers() {
    let scene = Scene::new().await;
    let Scene { ann, chief, mem, viewer, .. } = &scene;
    assert_eq!(scene.listed(ann, "").await, Ok(1));
    assert_eq!(scene.listed(ann, "&user_id=ann").await, Ok(1));
    assert_eq!(scene.listed(ann, "&user_id=bob").await, Err(403));
    assert_eq!(scene.listed(ann, "&team_id=t").await, Ok(0));
    assert_eq!(scene.listed(mem, "").await, Ok(2));
    assert_eq!(scene.listed(chief, "&team_id=t").await, Ok(1));
    assert_eq!(scene.listed(chief, "&team_id=other").await, Ok(0));
    assert_eq!(scene.listed(viewer, "").await, Ok(6));
    let keys = |answer: Answer| answer.json()["keys"].as_array().map(Vec::len);
    scene.api.key(json!({"team_id": "t"})).await;
    assert_eq!(keys(scene.get(chief, "/team/info?team_id=t").await), Some(2));
    assert_eq!(keys(scene.get(mem, "/team/info?team_id=t").await), Some(1), "a member sees their own");
    assert_eq!(scene.get(ann, "/team/info?team_id=t").await.status, 403);
    assert_eq!(scene.get(ann, "/team/info?team_id=none").await.status, 403);
    let teams = |answer: Answer| answer.json().as_array().map(Vec::len);
    assert_eq!(teams(scene.get(mem, "/team/list").await), Some(1));
    assert_eq!(teams(scene.get(ann, "/team/list").await), Some(0));
    assert_eq!(teams(scene.get(viewer, "/team/list").await), Some(2));
    assert_eq!(scene.get(ann, "/user/info").await.json()["user_id"], "ann");
    assert_eq!(scene.get(ann, "/user/info?user_id=bob").await.status, 403);
    let activity = "/user/daily/activity?start_date=2026-01-01&end_date=2026-01-02";
    for (who, query, status) in [(ann, "", 200), (ann, "&user_id=bob", 403), (viewer, "&user_id=bob", 200)] {
        assert_eq!(scene.get(who, &format!("{activity}{query}")).await.status, status, "{query}");
        assert_eq!(scene.get(who, &format!("/spend/logs?page=1{query}")).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn users_make_keys_for_themselves_and_for_teams_that_let_them() {
    let scene = Scene::new().await;
    let Scene { ann, chief, mem, .. } = &scene;
    let made = async |who: &str, body: Value| {
        let answer = scene.post(who, "/key/generate", body).await;
        let owner = (answer.status == 200).then(|| answer.json()["user_id"].as_str().unwrap().to_owned());
        owner.ok_or(answer.status.as_u16())
    };
    let own = |id: &str| Ok(id.to_owned());
    assert_eq!(made(ann, json!({})).await, own("ann"));
    assert_eq!(made(ann, json!({"user_id": "ann", "max_budget": 5})).await, own("ann"));
    for forbidden in [
        json!({"user_id": "bob"}),
        json!({"team_id": "t"}),
        json!({"team_id": "none"}),
        json!({"allowed_routes": ["/key/info"]}),
        json!({"key_type": "management"}),
        json!({"spend": 0}),
        json!({"organization_id": "o"}),
        json!({"permissions": {"a": true}}),
        json!({"key": "sk-chosen-by-somebody-0123"}),
    ] {
        assert_eq!(made(ann, forbidden.clone()).await, Err(403), "{forbidden}");
    }
    assert_eq!(made(chief, json!({"team_id": "t"})).await, own("chief"));
    assert_eq!(made(chief, json!({"team_id": "t", "user_id": "mem"})).await, own("mem"));
    assert_eq!(made(chief, json!({"team_id": "t", "user_id": "ann"})).await, Err(403), "she does not belong to it");
    assert_eq!(made(chief, json!({"team_id": "other"})).await, Err(403));
    assert_eq!(made(mem, json!({"team_id": "t"})).await, Err(403));
    let allowed = json!({"team_id": "t", "team_member_permissions": ["/key/generate", "/key/update"]});
    scene.api.post("/team/update", allowed).await.ok();
    assert_eq!(made(mem, json!({"team_id": "t"})).await, own("mem"));
    assert_eq!(made(mem, json!({"team_id": "t", "user_id": "chief"})).await, Err(403));
    let update = json!({"key": scene.of_team, "metadata": {}});
    assert_eq!(scene.post(mem, "/key/update", update).await.status, 200);
    // A key stays where it is.
    for change in [json!({"user_id": "bob"}), json!({"team_id": "t"})] {
        let mut body = change;
        body["key"] = json!(ann);
        assert_eq!(scene.post(ann, "/key/update", body.clone()).await.status, 403, "{body}");
        assert_eq!(scene.post(ann, "/key/regenerate", body.clone()).await.status, 403, "{body}");
    }
    let service = |team: &str| json!({"team_id": team, "key_alias": format!("robot {team}")});
    let path = "/key/service-account/generate";
    assert_eq!(scene.post(chief, path, service("t")).await.json()["user_id"], json!(null));
    assert_eq!(scene.post(chief, path, service("other")).await.status, 403);
    assert_eq!(scene.post(mem, path, service("t")).await.status, 403);
}

#[tokio::test]
async fn members_are_their_teams_administrators_to_change() {
    let scene = Scene::new().await;
    let Scene { ann, chief, mem, .. } = &scene;
    let add =
        |team: &str| json!({"team_id": team, "member": {"user_id": "ann", "role": "user"}, "max_budget_in_team": 2});
    for (who, team, status) in [(ann, "t", 403), (mem, "t", 403), (chief, "other", 403), (chief, "none", 403)] {
        assert_eq!(scene.post(who, "/team/member_add", add(team)).await.status, status, "{team}");
    }
    let added = scene.post(chief, "/team/member_add", add("t")).await.ok();
    assert_eq!(added["members_with_roles"].as_array().unwrap().len(), 3);
    assert_eq!(added["updated_team_memberships"][0]["litellm_budget_table"]["max_budget_in_team"], 2.0);
    let change = json!({"team_id": "t", "user_id": "ann", "role": "admin", "rpm_limit": 7, "budget_duration": "30d"});
    let changed = scene.post(chief, "/team/member_update", change).await.ok();
    assert_eq!((&changed["role"], &changed["rpm_limit"]), (&json!("admin"), &json!(7)));
    assert_eq!(changed["max_budget_in_team"], 2.0, "what is not named stays");
    let gone = json!({"team_id": "t", "user_id": "mem"});
    let left = scene.post(ann, "/team/member_delete", gone.clone()).await.ok();
    assert_eq!(left["members_with_roles"].as_array().unwrap().len(), 2, "she administers it now");
    // What somebody could still call for the team would be bounded by nobody as a member.
    assert_eq!(scene.get(&scene.of_team, "/key/info").await.status, 401, "with the keys of it");
    assert_eq!(scene.get(mem, "/key/info").await.status, 200, "and not with their own");
    assert_eq!(scene.post(ann, "/team/member_delete", gone).await.status, 404);
    let unknown = json!({"team_id": "t", "member": {"role": "user", "user_email": "no@body"}});
    assert_eq!(scene.post(chief, "/team/member_add", unknown).await.refusal().0, 400);
    let list = json!({"team_id": "t", "member": [{"user_id": "x", "role": "user"}, {"user_id": "y", "role": "boss"}]});
    assert_eq!(scene.post(chief, "/team/member_add", list).await.mismatch().1, "enum");
}

/// What a key is made with, of the words below.
#[derive(Clone, Debug)]
struct Rights {
    models: Vec<&'static str>,
    seconds: Option<u64>,
    rpm: Option<u64>,
}

impl Rights {
    fn json(&self) -> Value {
        let duration = self.seconds.map(|seconds| format!("{seconds}s"));
        json!({"models": self.models, "duration": duration, "rpm_limit": self.rpm})
    }
}

const NAMES: [&str; 7] = ["a", "ab", "a*", "b", "*", "all-proxy-models", "no-default-models"];

fn rights() -> impl Strategy<Value = Rights> {
    let models = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..3);
    let limit = prop::option::weighted(0.2, 0..9_u64);
    (models, prop::option::of(prop::sample::select(vec![3_600, 86_400_u64])), limit)
        .prop_map(|(models, seconds, rpm)| Rights { models, seconds, rpm })
}

/// Who comes with this key, as the decision sees them.
async fn holder(api: &Api, key: &str) -> Option<KeyHolder> {
    let record = Arc::new(api.store.find(KeyHash::of(key)).await.unwrap()?);
    let user = match &record.user_id {
        Some(id) => Directory::user(&*api.store, id).await.unwrap(),
        None => None,
    };
    Some(KeyHolder { key: record, team: None, user })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a user has and asks for, by making, changing or rotating: the key opens no model that the key in use does
    /// not, lasts no longer, and a key with a limit makes none.
    #[test]
    fn a_grant_is_a_part_of_what_its_maker_has(user in rights(), maker in rights(), asked in rights(), how in 0..3_u8) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let api = Api::new();
            let row = json!({"user_id": "u", "user_role": "internal_user", "models": user.models, "auto_create_key": false});
            api.post("/user/new", row).await.ok();
            let mut fields = maker.json();
            fields["user_id"] = json!("u");
            let maker_key = api.key(fields).await;
            let wide = api.key(json!({"user_id": "u"})).await;
            let (path, mut body) = match how {
                0 => ("/key/generate", asked.json()),
                1 => ("/key/update", asked.json()),
                _ => ("/key/regenerate", asked.json()),
            };
            if how > 0 {
                body["key"] = json!(wide);
            }
            let answer = api.call(Method::POST, path, Some(&maker_key), body.to_string()).await;
            if answer.status != 200 {
                prop_assert_eq!(answer.status.as_u16(), 403, "{}", answer.text);
                return Ok(());
            }
            prop_assert!(maker.rpm.is_none(), "{}", answer.text);
            let made = if how == 1 { wide } else { answer.json()["key"].as_str().unwrap().to_owned() };
            let (has, gives) = (holder(&api, &maker_key).await.unwrap(), holder(&api, &made).await.unwrap());
            if let Some(end) = has.expires {
                prop_assert!(gives.expires.is_some_and(|later| later <= end), "{:?} {:?}", gives.expires, end);
            }
            let (has, gives) = (Principal::Key(has), Principal::Key(gives));
            for model in ["a", "ab", "abc", "b", "c", "all-proxy-models"] {
                let groups = AccessGroups::default();
                prop_assert!(has.allows_model(model, &groups) || !gives.allows_model(model, &groups), "{}", model);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_key_that_ends_makes_keys_that_end_before_it() {
    let scene = Scene::new().await;
    let hour = scene.api.key(json!({"user_id": "ann", "duration": "1h"})).await;
    for (duration, status) in [(json!("30m"), 200), (json!("2h"), 403), (Value::Null, 403)] {
        let answer = scene.post(&hour, "/key/generate", json!({"duration": duration})).await;
        assert_eq!(answer.status, status, "{duration}: {}", answer.text);
    }
    let ends = holder(&scene.api, &hour).await.unwrap().expires.unwrap();
    assert!(ends <= SystemTime::now() + Duration::from_secs(3_600));
}

/// An empty name is nobody's. A key of the team "" would be bounded neither by a team, of which there is none, nor by its
/// owner, whose models do not count for keys of a team.
#[tokio::test]
async fn an_empty_name_of_a_team_leaves_a_key_within_what_its_owner_has() {
    let scene = Scene::new().await;
    scene.api.post("/user/update", json!({"user_id": "ann", "models": ["a"]})).await.ok();
    let update = json!({"key": scene.ann, "team_id": ""});
    assert_eq!(scene.post(&scene.ann, "/key/update", update).await.status, 200, "it changes nothing");
    let made = scene.post(&scene.ann, "/key/generate", json!({"team_id": ""})).await.ok();
    for key in [made["key"].as_str().unwrap(), &scene.ann] {
        let row = scene.api.store.row(key).unwrap();
        assert_eq!((row.user_id.as_deref(), row.team_id), (Some("ann"), None));
        let opens = Principal::Key(holder(&scene.api, key).await.unwrap());
        let groups = AccessGroups::default();
        assert_eq!(["a", "b"].map(|model| opens.allows_model(model, &groups)), [true, false]);
    }
    let nobodys = scene.api.key(json!({"user_id": "", "organization_id": ""})).await;
    let row = scene.api.store.row(&nobodys).unwrap();
    assert_eq!((row.user_id, row.organization_id), (None, None));
}

/// Whom the operator's own code vouches for has the bounds of its answer, and so have the keys that they make.
#[tokio::test]
async fn an_identity_of_own_code_makes_keys_within_what_its_answer_says() {
    let api = Api::new();
    let hour = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3_600;
    for (bounds, asked, status) in [
        (json!({}), json!({}), 200),
        (json!({"models": ["a", "b*"]}), json!({"models": ["a", "bc", "b*"]}), 200),
        (json!({"models": ["a"]}), json!({}), 403),
        (json!({"models": ["a"]}), json!({"models": ["*"]}), 403),
        (json!({"models": ["a"]}), json!({"models": ["all-team-models"]}), 403),
        (json!({"models": ["a"]}), json!({"models": ["no-default-models"]}), 200),
        // The name of an access group, which opens what does not begin with b.
        (json!({"models": ["b*"]}), json!({"models": ["beta"]}), 403),
        (json!({"models": ["beta"]}), json!({"models": ["beta"]}), 200),
        (json!({"models": ["a"], "team_models": ["b"]}), json!({"models": ["a"]}), 403),
        (json!({"allowed_routes": ["/key/generate", "/v1/chat/completions"]}), json!({}), 403),
        (json!({"expires": hour}), json!({}), 403),
        (json!({"expires": hour}), json!({"duration": "30m"}), 200),
        (json!({"rpm_limit": 5}), json!({"rpm_limit": 5}), 403),
        (json!({"max_budget": 5, "spend": 1}), json!({}), 403),
        (json!({"team_max_budget": 5}), json!({}), 403),
        (json!({"rpm_limit_per_model": {"a": 1}}), json!({}), 403),
        (json!({"end_user_max_budget": 5}), json!({}), 403),
    ] {
        let mut said = bounds.clone();
        (said["user_role"], said["user_id"]) = (json!("internal_user"), json!("somebody"));
        let identity = CustomIdentity::read(said.to_string().as_bytes(), Some("theirs")).unwrap();
        let mut request = request(Method::POST, "/key/generate", None, asked.to_string());
        request.extensions_mut().insert(Authenticated(Principal::Custom(identity.principal)));
        let answer = api.send(request).await;
        assert_eq!(answer.status, status, "{bounds} {asked}: {}", answer.text);
    }
}
