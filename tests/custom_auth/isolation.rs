//! What a function does badly costs the requests that wait for it, and nobody else.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portcullis_bench::gateway::Signal;
use serde_json::json;

use crate::scene::{Lines, MASTER, Scene};

/// Blocks its whole process for the one credential, and answers for all others.
const BLOCKS: &str = "\
import os, signal, time
from litellm.proxy._types import UserAPIKeyAuth

async def decide(request, api_key):
    if api_key.startswith('blocks'):
        time.sleep(3600)
    if api_key.startswith('kills'):
        os.kill(os.getpid(), signal.SIGKILL)
    if api_key.startswith('sk-'):
        raise Exception('a virtual key')
    return UserAPIKeyAuth(api_key=api_key)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_process_costs_only_who_waits_for_it() {
    let scene = Scene::new(BLOCKS, Lines { own: "    timeout: 2s\n", general: "" }).await;
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    let started = Instant::now();
    let blocked = scene.ask("blocks-for-ever");
    let others = async {
        let mut times = Vec::new();
        for _ in 0..20 {
            let asked = Instant::now();
            let answers = join_all((0..8).map(|n| {
                let credential = format!("good-credential-{n}");
                let scene = &scene;
                async move { scene_ask(scene, &credential).await }
            }))
            .await;
            assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
            times.push(asked.elapsed());
        }
        times
    };
    let (blocked, mut times) = tokio::join!(blocked, others);
    assert_eq!(blocked.status, 503);
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    times.sort();
    eprintln!("eight requests beside a blocked process: median {:?}, longest {:?}", times[10], times[19]);
    scene.until("portcullis_custom_workers_started_total", 3.0).await;
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    eprintln!("whole again after {:?}", started.elapsed());
    scene.gateway.stop().await;
}

async fn scene_ask(scene: &Scene, credential: &str) -> u16 {
    scene.ask(credential).await.status
}

/// Callers can have a function say such things: the claim of a token may hold half a character.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_costs_nobody_else() {
    let scene = Scene::new(
        "import asyncio\nfrom fastapi import HTTPException\nfrom litellm.proxy._types import UserAPIKeyAuth\n\
         async def decide(request, api_key):\n    \
             if api_key.startswith('endless-budget'): return UserAPIKeyAuth(max_budget=float('inf'))\n    \
             if api_key.startswith('half-a-name'): return UserAPIKeyAuth(user_id='a\\ud800')\n    \
             if api_key.startswith('half-a-cause'): raise ValueError('a\\ud800')\n    \
             if api_key.startswith('half-a-sentence'): raise HTTPException(403, 'a\\ud800')\n    \
             if api_key.startswith('much-to-tell'): return UserAPIKeyAuth(metadata={'x': 'a' * (2 << 20)})\n    \
             if api_key.startswith('a-long-cause'): raise ValueError('a' * (2 << 20))\n    \
             if api_key.startswith('cancels-itself'): raise asyncio.CancelledError()\n    \
             return UserAPIKeyAuth()\n",
        Lines { own: "    timeout: 20s\n", general: "" },
    )
    .await;
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    for (credential, status) in [
        ("endless-budget", 503),
        ("half-a-name", 503),
        ("half-a-cause", 401),
        ("half-a-sentence", 403),
        ("much-to-tell", 503),
        ("a-long-cause", 401),
        ("cancels-itself", 503),
    ] {
        let asked = Instant::now();
        assert_eq!(scene_ask(&scene, &format!("{credential}-0123456789")).await, status, "{credential}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{credential} waited for the time-out");
    }
    assert!((scene.figure("portcullis_custom_workers_started_total").await - 2.0).abs() < f64::EPSILON);
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_replaced_and_what_it_had_not_begun_is_answered() {
    let scene = Scene::new(BLOCKS, Lines::default()).await;
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    let killed = Instant::now();
    assert_eq!(scene.ask("kills-its-process").await.status, 503);
    let answers = join_all((0..50).map(|n| {
        let credential = format!("good-credential-{n}");
        let scene = &scene;
        async move { scene_ask(scene, &credential).await }
    }))
    .await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    eprintln!("whole again {:?} after a kill", killed.elapsed());
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_counts_after_a_hangup_and_a_broken_one_does_not() {
    let knows = |name: &str| {
        format!(
            "from litellm.proxy._types import UserAPIKeyAuth\nasync def decide(request, api_key):\n    \
             if not api_key.startswith('{name}'): raise Exception('unknown')\n    return UserAPIKeyAuth()\n"
        )
    };
    let scene = Scene::new(&knows("first"), Lines::default()).await;
    assert_eq!(scene.ask("first-credential").await.status, 200);
    let file = scene.gateway.directory().join("functions.py");
    std::fs::write(&file, knows("second")).unwrap();
    scene.gateway.signal(Signal::SIGHUP);
    portcullis_bench::within("the changed function", async {
        while scene.ask("second-credential").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.until("portcullis_custom_workers_started_total", 4.0).await;
    std::fs::write(&file, "this is not Python\n").unwrap();
    scene.gateway.signal(Signal::SIGHUP);
    scene.gateway.printed("the changed function is not used").await;
    assert_eq!(scene.ask("second-credential").await.status, 200);
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_first_virtual_keys_do_not_wait_for_the_function() {
    let own = "    timeout: 2s\n    keys_first: true\n";
    let scene = Scene::new(BLOCKS, Lines { general: "  custom_auth_settings: {mode: auto}\n", own }).await;
    let key = scene.gateway.generate_key(&json!({"models": ["gpt-4o"]})).await;
    scene.until("portcullis_custom_workers_ready", 2.0).await;
    let both = join_all([scene.ask("blocks-for-ever"), scene.ask("blocks-for-ever")]);
    let keys = async {
        let asked = Instant::now();
        for credential in [&*key, MASTER].repeat(10) {
            assert_eq!(scene.ask(credential).await.status, 200);
        }
        eprintln!("twenty requests with keys beside a blocked pool: {:?}", asked.elapsed());
        asked.elapsed()
    };
    let (blocked, took) = tokio::join!(both, keys);
    assert!(blocked.iter().all(|answer| answer.status == 503));
    assert!(took < Duration::from_secs(2), "{took:?}");
    scene.gateway.stop().await;
}
