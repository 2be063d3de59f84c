//! Sends an array over gRPC with tonic.
//!
//! `cargo run --bin grpc 127.0.0.1:50051`

use anyhow::{Context, ensure};
use calculator::NdArray;
use calculator::calculator_client::CalculatorClient;

// A program of your own makes this file in build.rs: tonic_prost_build::compile_protos(...).
#[rustfmt::skip]
#[path = "../../../../../proto/generated.rs"]
mod calculator;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context("usage: grpc HOST:PORT")?;
    // tonic refuses messages of more than 4 MiB unless told otherwise.
    let mut client = CalculatorClient::connect(format!("http://{address}"))
        .await?
        .max_decoding_message_size(usize::MAX);
    let numbers = [1.5, f64::NAN, -0.0, f64::INFINITY, 0.1, 5e-324];
    let buffer = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let sent = NdArray { buffer, dtype: "<f8".to_owned(), shape: vec![2, 3] };
    let got = client.echo(sent.clone()).await?.into_inner();
    ensure!(got == sent, "sent {sent:?}, got {got:?}");
    println!("Rust tonic: {} {:?} came back bit for bit", got.dtype, got.shape);
    Ok(())
}
