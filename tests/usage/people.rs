//! Limits and budgets of teams, of those who belong to them, and of users.

use portcullis_bench::provider::Script;
use serde_json::{Value, json};

use crate::scene::{MASTER, Scene};

/// An answer that costs 0.3 dollars.
fn dear() -> Script {
    let body = r#"{"choices":[],"usage":{"prompt_tokens":100000,"completion_tokens":100000}}"#;
    Script::whole(200, body).header("content-type", "application/json")
}

impl Scene {
    async fn make(&self, path: &str, body: Value) {
        let answer = self.post(path, MASTER, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    }

    /// The status of each of these calls, one after another.
    async fn statuses(&self, keys: &[&str]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for key in keys {
            statuses.push(self.chat(key).await.status);
        }
        statuses
    }

    async fn key(&self, user: Option<&str>, team: Option<&str>) -> String {
        self.gateway.generate_key(&json!({"user_id": user, "team_id": team})).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_team_spend_one_budget_and_its_end_is_told_as_the_teams() {
    let scene = Scene::new().await;
    scene.provider.script_all(dear());
    scene.make("/team/new", json!({"team_id": "blue", "max_budget": 1})).await;
    scene.make("/team/new", json!({"team_id": "red", "max_budget": 1})).await;
    let (one, two) = (scene.key(None, Some("blue")).await, scene.key(None, Some("blue")).await);
    let red = scene.key(None, Some("red")).await;
    assert_eq!(scene.statuses(&[&one, &two, &one, &two, &one, &two, &red]).await, [200, 200, 200, 200, 429, 429, 200]);
    let refused = scene.chat(&one).await.json();
    assert_eq!(refused["error"]["type"], "budget_exceeded");
    assert_eq!(refused["error"]["code"], "429");
    assert_eq!(refused["error"]["message"], "Budget has been exceeded! It is max_budget of the team.");
    scene.spent(&one, 0.6).await;
    scene.spent(&two, 0.6).await;
    let path = "/team/info?team_id=blue";
    let info = scene.gateway.send(scene.gateway.request(http::Method::GET, path).bearer_auth(MASTER)).await.json();
    assert!((info["team_info"]["spend"].as_f64().unwrap() - 1.2).abs() < 1e-9, "{info}");
    scene.make("/team/update", json!({"team_id": "blue", "max_budget": 2})).await;
    assert_eq!(scene.statuses(&[&one]).await, [200]);
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_for_a_team_spends_its_money_within_their_own_bound() {
    let scene = Scene::new().await;
    scene.provider.script_all(dear());
    scene.make("/user/new", json!({"user_id": "ann", "max_budget": 0.5, "auto_create_key": false})).await;
    let members = json!([{"user_id": "ann", "role": "user"}, {"user_id": "bob", "role": "user"}]);
    let team = json!({"team_id": "t", "max_budget": 10, "team_member_budget": 0.8, "members_with_roles": members});
    scene.make("/team/new", team).await;
    let for_team = scene.key(Some("ann"), Some("t")).await;
    assert_eq!(
        scene.statuses(&[for_team.as_str(); 4]).await,
        [200, 200, 200, 429],
        "0.8 of the team's, not 0.5 of her own"
    );
    let refused = scene.chat(&for_team).await.json();
    assert_eq!(refused["error"]["message"], "Budget has been exceeded! It is max_budget of the team member.");
    let (bobs, nobodys) = (scene.key(Some("bob"), Some("t")).await, scene.key(None, Some("t")).await);
    assert_eq!(scene.statuses(&[&bobs, &nobodys]).await, [200, 200], "each member for themselves");
    // What she spent for the team is hers as well: her own budget is over before her own first call.
    let own = scene.key(Some("ann"), None).await;
    assert_eq!(scene.statuses(&[&own]).await, [429]);
    let refused = scene.chat(&own).await.json();
    assert_eq!(refused["error"]["message"], "Budget has been exceeded! It is max_budget of the user.");
    scene.make("/user/update", json!({"user_id": "ann", "max_budget": 5})).await;
    assert_eq!(scene.statuses(&[&own]).await, [200]);
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_user_and_of_one_team_share_their_minutes() {
    let scene = Scene::new().await;
    let minute = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
    for n in 0.. {
        let (began, user, team) = (minute(), format!("u{n}"), format!("t{n}"));
        scene.make("/user/new", json!({"user_id": user, "rpm_limit": 3, "auto_create_key": false})).await;
        scene.make("/team/new", json!({"team_id": team, "model_rpm_limit": {"m": 2}})).await;
        let (own, for_team) = (scene.key(Some(&user), None).await, scene.key(Some(&user), Some(&team)).await);
        let others = scene.key(None, Some(&team)).await;
        let statuses = scene.statuses(&[&own, &for_team, &own, &own, &others, &others]).await;
        if minute() == began {
            assert_eq!(statuses, [200, 200, 200, 429, 200, 429]);
            break;
        }
    }
    scene.gateway.printed("rpm_limit of the user").await;
    scene.gateway.printed("model_rpm_limit of the team").await;
    scene.gateway.stop().await;
}
