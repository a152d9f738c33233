//! TLS to PostgreSQL: what each `sslmode` asks for, against a server with a certificate of its own authority.

use std::net::TcpListener;
use std::path::Path;

use portcullis::store::{Store, StoreSettings, StoreUrl};
use portcullis_bench::postgres::{PostgresServer, as_owner, run};
use portcullis_filters::cache::{CacheSettings, KeyCache};

/// A server on a TCP port of the loopback interface, which refuses connections without TLS; the port.
fn tls_server() -> (PostgresServer, u16) {
    let server = PostgresServer::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls");
    for (from, to, mode) in [("server.pem", "data/server.crt", "644"), ("server.key", "data/server.key", "600")] {
        let content = std::fs::read(files.join(from)).unwrap();
        let to = server.directory.join(to);
        // PostgreSQL insists on the owner and the mode of its key, so its own user copies the files.
        let copy = server.directory.join(from);
        std::fs::write(&copy, content).unwrap();
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        run(as_owner(&server.directory, Path::new("install")).args(["-m", mode]).arg(&copy).arg(&to));
    }
    let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n");
    std::fs::write(server.directory.join("data/postgresql.auto.conf"), settings).unwrap();
    let admission = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
    std::fs::write(server.directory.join("data/pg_hba.conf"), admission).unwrap();
    run(as_owner(&server.directory, &server.programs.join("pg_ctl"))
        .args(["restart", "-w", "-m", "immediate", "--options"])
        .arg(format!("-k {} -c fsync=off", server.directory.display()))
        .arg("-D")
        .arg(server.directory.join("data"))
        .arg("--log")
        .arg(server.directory.join("log")));
    (server, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_checks_what_it_says() {
    let (server, port) = tls_server();
    let authority = format!("{}/tests/support/tls/authority.pem", env!("CARGO_MANIFEST_DIR"));
    let trusted = format!("sslrootcert={authority}");
    let cases = [
        ("localhost", "sslmode=disable".to_owned(), false),
        ("localhost", "sslmode=prefer".to_owned(), true),
        ("localhost", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", format!("sslmode=verify-full&{trusted}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&{trusted}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&{trusted}"), false),
        ("localhost", format!("sslmode=require&{trusted}"), true),
        ("127.0.0.1", format!("sslmode=require&{trusted}"), false),
    ];
    for (host, mode, connects) in cases {
        // The address is given apart, so that no name is looked up.
        let url = format!("postgresql://portcullis@{host}:{port}/postgres?hostaddr=127.0.0.1&{mode}");
        let cache = std::sync::Arc::new(KeyCache::new(CacheSettings::default()));
        let settings = StoreSettings::new(StoreUrl::parse(&url).unwrap());
        let done = match Store::open(settings, cache, tokio::runtime::Handle::current()) {
            Ok(store) => store.migrate().await,
            Err(error) => Err(error),
        };
        assert_eq!(done.is_ok(), connects, "{host} {mode}: {done:?}");
    }
    drop(server);
}
