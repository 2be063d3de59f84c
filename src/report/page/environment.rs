//! Machine, build and settings of a run.

use std::collections::BTreeMap;

use crate::record::Header;

use super::super::markup::escape;
use super::super::units;

pub(super) fn lists(header: &Header) -> String {
    let Header { host, build, .. } = header;
    let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let cores = host.cores.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let machine = [
        ("Processor", host.cpu_model.clone()),
        ("Virtual machine", yes(host.virtual_machine)),
        ("Cores", cores),
        ("Core of the server", header.cpu_server.to_string()),
        ("Core of the load generator", header.cpu_client.to_string()),
        ("Memory", units::bytes(host.memory_bytes)),
        ("Kernel", host.kernel.clone()),
        ("Kernel command line", host.kernel_command_line.clone()),
        ("Clock source", host.clocksource.clone()),
        ("Governor", host.governor.clone()),
        ("MTU of loopback", host.loopback_mtu.to_string()),
    ];
    let run = [
        ("Started", units::date(header.started_unix_s)),
        ("Command", header.argv.join(" ")),
        ("Preset", header.preset.clone()),
        ("Seed", header.seed.to_string()),
        ("Other load generators", header.client.clone().unwrap_or_default()),
        ("ndecho", build.version.clone()),
        ("Commit", build.commit.clone().unwrap_or_default()),
        ("rustc", build.rustc.clone()),
        ("Profile", build.profile.clone()),
        ("Settings", build.settings.clone()),
        ("Allocator", build.allocator.clone()),
    ];
    let facts = |facts: &[(&str, String)]| {
        let known = facts.iter().filter(|(_, value)| !value.is_empty());
        known.map(|(name, value)| entry(name, value)).collect::<String>()
    };
    let maps = [
        ("Libraries", &build.crates),
        ("Servers of others", &header.external_versions),
        ("Settings of the kernel", &host.sysctl),
        ("Mitigations", &host.mitigations),
    ];
    let maps: String = maps.into_iter().map(|(title, map)| folded(title, map)).collect();
    format!("<dl class=\"facts\">\n{}{}</dl>\n{maps}", facts(&machine), facts(&run))
}

fn folded(title: &str, map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return String::new();
    }
    let entries: String = map.iter().map(|(name, value)| entry(name, value)).collect();
    format!("<details><summary>{title}</summary>\n<dl class=\"facts\">\n{entries}</dl></details>\n")
}

fn entry(name: &str, value: &str) -> String {
    format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
}
