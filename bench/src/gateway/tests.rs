//! The harness against a stand-in for the gateway: a shell script that says what the gateway says.

use super::setup::with_listeners;
use super::{GatewaySetup, Signal};
use crate::provider::Provider;

const CONFIG: &str = "general_settings:\n  master_key: sk-master-0123456789\n";

/// A gateway whose program is this script; `$2` is the path of its configuration.
fn stand_in(script: &str) -> GatewaySetup {
    GatewaySetup::new("/bin/sh", CONFIG).arg("-c").arg(script).arg("stand-in")
}

const READY: &str = "echo portcullis: ready data=127.0.0.1:1 admin=127.0.0.1:2";

#[test]
fn listeners_are_placed_in_the_products_own_section() {
    let (data, admin) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    let listen = "  listen:\n    data: 127.0.0.1:1\n    admin: 127.0.0.1:2\n";
    let table = [
        ("", format!("\nportcullis:\n{listen}")),
        ("a: 1\n", format!("a: 1\nportcullis:\n{listen}")),
        ("portcullis:\n  cache: {}\n", format!("portcullis:\n{listen}  cache: {{}}\n")),
        ("a: 1\nportcullis:\n  b: 2\nc: 3\n", format!("a: 1\nportcullis:\n{listen}  b: 2\nc: 3\n")),
        ("l: [{data}, {admin}]", "l: [127.0.0.1:1, 127.0.0.1:2]".to_owned()),
    ];
    for (config, expected) in table {
        assert_eq!(with_listeners(config, data, admin), expected);
    }
}

#[tokio::test]
async fn waits_until_ready_and_passes_signals() {
    // Not a shell's traps: a signal that comes just before `wait` would be handled only after it.
    let python = "import signal as s, sys\nboth = {s.SIGHUP, s.SIGTERM}\ns.pthread_sigmask(s.SIG_BLOCK, both)\n\
        print('portcullis: ready data=127.0.0.1:1 admin=127.0.0.1:2', flush=True)\n\
        while s.sigwait(both) == s.SIGHUP: print('again', flush=True)\nprint('bye')\nsys.exit(3)";
    let mut gateway = stand_in(&format!("exec python3 -c \"{python}\"")).start().await;
    assert_eq!((gateway.data_addr().port(), gateway.admin_addr().port()), (1, 2));
    assert!(gateway.rss_bytes() > 0 && gateway.peak_rss_bytes() >= gateway.rss_bytes());
    gateway.signal(Signal::SIGHUP);
    gateway.printed("again").await;
    gateway.signal(Signal::SIGTERM);
    let finished = gateway.wait().await;
    assert_eq!(finished.status.code(), Some(3));
    assert!(finished.output.ends_with("bye\n"), "{finished:?}");
}

#[tokio::test]
async fn tries_other_ports_when_one_is_taken() {
    let script = format!(
        "if [ -e tried ]; then {READY}; exec tail -f /dev/null; fi\ntouch tried; echo address in use >&2; exit 1"
    );
    stand_in(&script).start().await;
}

#[tokio::test]
#[should_panic(expected = "no such thing")]
async fn shows_why_it_did_not_start() {
    stand_in("echo no such thing >&2; exit 78").start().await;
}

#[tokio::test]
async fn runs_one_that_refuses_its_configuration() {
    let finished = stand_in("cat \"$2\"; exit 78").run().await;
    assert_eq!(finished.status.code(), Some(78));
    assert!(finished.output.starts_with(CONFIG), "{finished:?}");
}

#[tokio::test]
#[should_panic(expected = "the gateway's output")]
async fn finds_a_credential_in_the_output() {
    let mut gateway = stand_in(&format!("{READY}; echo sk-master-0123456789")).start().await;
    gateway.wait().await;
}

#[tokio::test]
#[should_panic(expected = "portcullis.db")]
async fn finds_a_credential_in_a_file() {
    let mut gateway = stand_in(&format!("{READY}; echo sk-master-0123456789 >portcullis.db")).start().await;
    gateway.wait().await;
}

#[tokio::test]
#[should_panic(expected = "at the provider, header x-api-key")]
async fn finds_a_credential_at_a_provider_even_when_cleared() {
    let provider = Provider::start().unwrap();
    let gateway = stand_in(&format!("{READY}; exec tail -f /dev/null")).start().await;
    gateway.watch(&provider);
    let request = gateway.client.get(provider.url()).header("x-api-key", "sk-master-0123456789");
    gateway.send(request).await;
    provider.clear();
}

#[tokio::test]
#[should_panic(expected = "/log")]
async fn finds_a_credential_in_a_log_that_goes_to_a_file() {
    let script = format!("{READY}; echo sk-master-0123456789 >&2");
    stand_in(&script).log_to_file().start().await.wait().await;
}

#[tokio::test]
async fn a_log_that_was_cut_begins_anew() {
    let gateway = stand_in(&format!("{READY}; echo before >&2; while sleep 0.01; do echo after >&2; done"));
    let gateway = gateway.log_to_file().start().await;
    let log = || std::fs::read_to_string(gateway.directory().join("log")).unwrap();
    crate::within("the first line", async {
        while !log().contains("before") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.cut_log();
    crate::within("another line", async {
        while log().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(log().starts_with("after\n"), "{:?}", log());
    assert_eq!(gateway.output(), "portcullis: ready data=127.0.0.1:1 admin=127.0.0.1:2\n");
}
