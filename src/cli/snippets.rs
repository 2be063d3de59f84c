//! Commands of an advice: the server, the client, and scripts of both.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::array::{DType, Shape};
use crate::axis::{Family, Rung};
use crate::cli::shell::{self, quoted_path};
use crate::codec::bound::message_bytes_max;
use crate::record::ArrayInfo;
use crate::report::answer::advice::clients::Client;
use crate::wire::limits::BODY_BYTES_MAX;

pub(super) fn usual_address(family: Family) -> &'static str {
    if family == Family::Grpc { "127.0.0.1:50051" } else { "127.0.0.1:50055" }
}

/// Returns the command that serves `rung` on `address`.
pub(super) fn server(rung: Rung, array: &ArrayInfo, address: &str) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let here = std::env::current_dir().unwrap_or_default();
    let program = shell::program(program.strip_prefix(here).unwrap_or(&program));
    Ok(format!("{program} serve {rung} --addr {address}{}", size_flag(rung, array)?))
}

/// Returns the flag for messages above the default limit of a server; empty if none is needed.
fn size_flag(rung: Rung, array: &ArrayInfo) -> anyhow::Result<String> {
    let (dtype, shape) = (DType::parse(&array.dtype)?, Shape::new(&array.shape)?);
    Ok(match message_bytes_max(rung.encoding(), dtype, &shape) {
        need if need > BODY_BYTES_MAX as u64 => {
            format!(" --max-message {}MiB", need.div_ceil(1 << 20))
        }
        _ => String::new(),
    })
}

/// Writes the files of `client` and the two commands. Each command takes another address.
pub(super) fn write(
    folder: &Path,
    rung: Rung,
    array: &ArrayInfo,
    client: &Client,
) -> anyhow::Result<()> {
    let write_file = |path: &str, text: &str| -> anyhow::Result<()> {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        written.with_context(|| format!("cannot write {}", path.display()))
    };
    let address = format!("\"${{1:-{}}}\"", usual_address(rung.family()));
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let (program, size) = (quoted_path(&program), size_flag(rung, array)?);
    let server = format!("#!/bin/sh\nexec {program} serve {rung} --addr {address}{size}\n");
    let command = client.command(&address);
    let client_script = format!(
        "#!/bin/sh\n# Needs {}.\nset -e\ncd \"$(dirname \"$0\")\"\n{command}\n",
        client.needs
    );
    write_file("server.sh", &server)?;
    write_file("client.sh", &client_script)?;
    client.files().iter().try_for_each(|file| write_file(file.path, file.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_a_limit_for_messages_beyond_the_usual_one() {
        let flag = |rung: &str, dtype: &str, shape: &[u64]| {
            let item = DType::parse(dtype).unwrap().item_size() as u64;
            let bytes = shape.iter().product::<u64>() * item;
            let array =
                ArrayInfo { dtype: dtype.into(), shape: shape.to_vec(), bytes, data_set: None };
            size_flag(rung.parse().unwrap(), &array).unwrap()
        };
        let mib = 1 << 20;
        assert_eq!(flag("uring/h1/npy", "<f4", &[16 * mib]), "");
        assert_eq!(flag("uring/h1/npy", "<f4", &[64 * mib]), " --max-message 257MiB");
        assert_eq!(flag("uring/h1/json_binary", "<f4", &[45 * mib]), " --max-message 241MiB");
        assert_eq!(flag("uring/h1/json", "<f2", &[12 * mib]), " --max-message 325MiB");
        assert_eq!(flag("uring/h1/json", "|u1", &[12 * mib]), "");
        // Each item is a list of its own.
        assert_eq!(flag("uring/h1/json", "|u1", &[24 * mib, 1]), " --max-message 217MiB");
    }
}
