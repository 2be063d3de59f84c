//! Generates the messages and the service of the contract.

use connectrpc_build::{CodeGenConfig, Config};

fn main() {
    let mut messages = CodeGenConfig::default();
    // A reply has the fields of the contract and no others.
    messages.preserve_unknown_fields = false;
    messages.generate_json = false;
    let config = Config::new()
        .files(&["../../../proto/ndecho.proto"])
        .includes(&["../../../proto"])
        .buffa_config(messages)
        .gate_client_feature(true)
        .include_file("contract.rs");
    if let Err(error) = config.compile() {
        eprintln!("cannot generate code from proto/ndecho.proto: {error}");
        std::process::exit(1);
    }
}
