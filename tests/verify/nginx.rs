//! A real nginx that asks with `auth_request`, as `docs/verify.md` shows it, in front of an upstream of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::Method;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;
use serde_json::json;

use crate::scene::{CHAT, gateway, key, limited};

struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Nginx {
    async fn start(gateway: &Gateway, upstream: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, configuration(directory.path(), address, gateway.data_addr(), upstream)).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let nginx = nginx.expect("nginx: scripts/install-deps test");
        let mut command = Command::new(nginx);
        command.arg("-c").arg(&config).arg("-e").arg(directory.path().join("error.log"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        portcullis_bench::within("nginx", async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self { child, address, _directory: directory }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn configuration(directory: &Path, listen: SocketAddr, portcullis: SocketAddr, upstream: &str) -> String {
    let dir = directory.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {dir}/{name};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\nevents {{}}\nhttp {{\n    \
         access_log off;\n{paths}    server {{\n        listen {listen};\n        location / {{\n            \
         auth_request /verify;\n            auth_request_set $user $upstream_http_x_portcullis_user_id;\n            \
         proxy_set_header X-Portcullis-User-Id $user;\n            proxy_set_header Authorization \"\";\n            \
         proxy_pass {upstream};\n        }}\n        location = /verify {{\n            internal;\n            \
         proxy_pass http://{portcullis}/auth/verify;\n            proxy_pass_request_body off;\n            \
         proxy_set_header Content-Length \"\";\n            proxy_set_header X-Original-Method $request_method;\n            \
         proxy_set_header X-Original-URI $request_uri;\n            proxy_set_header X-Forwarded-Method \"\";\n            \
         proxy_set_header X-Forwarded-Uri \"\";\n            proxy_set_header X-Forwarded-For $remote_addr;\n        }}\n    \
         }}\n}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_lets_through_what_is_verified_and_nothing_that_is_forged() {
    let (gateway, upstream) = (gateway(true).await, Provider::start().unwrap());
    let nginx = Nginx::start(&gateway, &upstream.url()).await;
    let any = key(&gateway, json!({"user_id": "ann"})).await;
    let (one, listing) =
        (key(&gateway, limited()).await, key(&gateway, json!({"allowed_routes": ["/v1/models"]})).await);
    let client = portcullis_bench::client::http().build().unwrap();
    let forged = [("x-original-uri", "/v1/models"), ("x-original-method", "GET"), ("x-portcullis-user-id", "root")];
    for (path, credential, fields, status) in [
        (CHAT, Some(&*any), &[][..], 200),
        (CHAT, Some(&any), &forged, 200),
        (CHAT, None, &[], 401),
        (CHAT, Some("sk-unknown-0123456789"), &[], 401),
        (CHAT, Some(&one), &[], 403),
        (CHAT, Some(&listing), &[], 403),
        (CHAT, Some(&listing), &forged, 403),
        (CHAT, Some(&listing), &[("x-forwarded-uri", "/v1/models"), ("x-forwarded-method", "GET")], 403),
        ("/nowhere", Some(&any), &[], 403),
        ("/verify", Some(&any), &[], 404),
    ] {
        let before = upstream.requests().len();
        let mut request = client.request(Method::POST, format!("http://{}{path}", nginx.address));
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {fields:?}");
        let seen = upstream.requests();
        assert_eq!(seen.len() - before, usize::from(status == 200), "{path} {fields:?}");
        if status == 200 {
            let request = seen.last().unwrap();
            assert_eq!((request.header("x-portcullis-user-id"), request.header("authorization")), (Some("ann"), None));
        }
    }
    gateway.stop().await;
}
