//! The example of an own service with this admission in front: built, started, and asked.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use portcullis_bench::provider::Provider;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_service_lets_in_whom_its_own_code_knows() {
    let provider = Provider::start().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_portcullis")).with_file_name("examples").join("embed");
    let mut command = Command::new(binary);
    command.arg(address.to_string()).arg(provider.url().trim_start_matches("http://"));
    let _running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    portcullis_bench::within("the example", async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let client = portcullis_bench::client::http().build().unwrap();
    let url = format!("http://{address}/v1/chat/completions");
    for (credential, status) in [("tell-nobody", 200), ("told-somebody", 401)] {
        let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let answer = client.post(&url).bearer_auth(credential).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{credential}");
    }
    let seen = provider.requests();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None), "the credential goes no further");
}
