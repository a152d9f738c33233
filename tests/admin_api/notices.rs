//! A web hook hears of keys that are about to end, once for each end.

use std::collections::BTreeSet;

use http::Method;
use portcullis_bench::provider::{Provider, Script};
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::json;
use tempfile::TempDir;

const MASTER: &str = "sk-master-notices-0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_told_once_by_one_of_the_nodes_and_again_where_it_did_not_take_it() {
    let (hook, store) = (Provider::start().unwrap(), TempDir::new().unwrap());
    let taken = Script::whole(204, "");
    hook.script_all(taken);
    hook.script(Script::whole(500, "not now"));
    let config = format!(
        "model_list: []\ngeneral_settings:\n  master_key: {MASTER}\n  database_url: sqlite:///{}/store.db\n\
         portcullis:\n  notices: {{url: '{}/keys', secret: signing-secret-0123, before: 1h}}\n",
        store.path().display(),
        hook.url()
    );
    let (one, other) = (crate::support::gateway(&config).start().await, crate::support::gateway(&config).start().await);
    let soon = one.generate_key(&json!({"duration": "30m", "key_alias": "soon"})).await;
    one.generate_key(&json!({"duration": "3d"})).await;
    one.generate_key(&json!({})).await;
    let notice = async || {
        let told = hook.next_request().await;
        assert_eq!((told.method.clone(), told.path.as_str()), (Method::POST, "/keys"));
        (told.header("x-portcullis-signature").unwrap().to_owned(), told.json())
    };
    let (refused, again) = (notice().await, notice().await);
    assert_eq!(refused, again, "what the hook did not take is told again");
    assert_eq!(again.1["event"], "key_expiring");
    assert_eq!(
        (&again.1["key"]["key_alias"], &again.1["key"]["token"]),
        (&json!("soon"), &json!(KeyHash::of(&soon).to_string()))
    );
    assert!(!again.1.to_string().contains(&soon));
    assert!(again.0.starts_with("sha256="));
    // Another end of the same key is told of; the first is not told of again.
    let longer = json!({"key": KeyHash::of(&soon).to_string(), "duration": "40m"});
    let request = other.request(Method::POST, "/key/update").bearer_auth(MASTER).json(&longer);
    assert_eq!(other.send(request).await.status, 200);
    let (_, next) = notice().await;
    assert_ne!(next["key"]["expires"], again.1["key"]["expires"]);
    let ends: BTreeSet<_> = hook.requests().iter().map(|told| told.body.sha256.clone()).collect();
    assert_eq!((hook.requests().len(), ends.len()), (3, 2));
    one.stop().await;
    other.stop().await;
}
