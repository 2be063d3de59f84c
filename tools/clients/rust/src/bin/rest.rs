//! Sends an array as a .npy file with ureq and ndarray.
//!
//! `cargo run --bin rest 127.0.0.1:50055`

use std::io::Cursor;

use anyhow::{Context, ensure};
use ndarray::{Array2, array};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

fn echo(address: &str, array: &Array2<f64>) -> anyhow::Result<Array2<f64>> {
    let mut body = Cursor::new(Vec::new());
    array.write_npy(&mut body)?;
    let mut reply = ureq::post(format!("http://{address}/echo_npy"))
        .content_type("application/x-npy")
        .send(body.get_ref())?;
    // ureq reads at most 10 MiB unless told otherwise.
    let reply = reply.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
    Ok(Array2::read_npy(&reply[..])?)
}

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context("usage: rest HOST:PORT")?;
    let sent = array![[1.5, f64::NAN, -0.0], [f64::INFINITY, 0.1, 5e-324]];
    let got = echo(&address, &sent)?;
    ensure!(got.mapv(f64::to_bits) == sent.mapv(f64::to_bits), "sent {sent}, got {got}");
    println!("Rust ureq, .npy: f64 {:?} came back bit for bit", got.shape());
    Ok(())
}
