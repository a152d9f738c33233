//! What every test with real sockets starts from: the built gateway. Everything else that such a test needs is in
//! `portcullis_bench`: `provider` and `raw` to stand behind it, `client` to stand in front, `credentials` to look for leaks.

use portcullis_bench::gateway::GatewaySetup;

/// The gateway of this build with this configuration; its listeners are added. `.start().await` runs it.
pub(crate) fn gateway(config: &str) -> GatewaySetup {
    GatewaySetup::new(env!("CARGO_BIN_EXE_portcullis"), config)
}
