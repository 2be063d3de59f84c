//! wrk: REST over HTTP/1.1.
//!
//! wrk itself loads a server for a number of seconds, and leaves requests without a reply at the
//! end. A script makes it send a number of requests and end with the last reply.

use super::{Process, Program, Summary, number_before};

pub(super) const WRK: Program = Program {
    name: "wrk",
    package: "wrk",
    version_flag: "-v",
    script: include_str!("wrk.lua"),
    arguments,
    parse,
};

fn arguments(process: &Process<'_>) -> Vec<String> {
    let Process { spec, requests, body, script, field, timeout } = process;
    let (encoding, authority) = (spec.encoding, spec.target().url.authority());
    let (requests, connections) = (requests.to_string(), spec.connections.to_string());
    // Both are upper bounds, since the script ends the process.
    let timeout = timeout.as_secs().max(1).to_string();
    let content_type = format!("content-type: {}", encoding.content_type());
    let url = format!("http://{authority}{}", encoding.path());
    let mut arguments = vec!["-t", "1", "-c", &connections, "-d", &timeout, "--timeout", &timeout];
    arguments.extend(["-H", &content_type]);
    arguments.extend(field.iter().flat_map(|field| ["-H", field]));
    arguments.extend(["-s", script, &url, &requests, &connections, body]);
    arguments.into_iter().map(str::to_owned).collect()
}

/// Reads the line of the script.
fn parse(text: &str) -> Option<Summary> {
    let replies: u64 = number_before(text, " replies,")?;
    let failed = number_before(text, " failed,")?;
    let bytes = number_before(text, " B,")?;
    Some(Summary {
        wall_ns: number_before::<u64>(text, " us\n")? * 1000,
        replies: replies.saturating_sub(failed),
        reply_bytes: bytes,
        bytes_in: bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::axis::Encoding;
    use crate::record::trial_spec::LoadSpec;

    const TEXT: &str = "Running 20s test @ http://127.0.0.1:7/echo_npy\n  \
        1 threads and 5 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
        Latency   295.34us   49.93us 584.00us   84.80%\n    \
        Req/Sec     0.00      0.00     0.00      -nan%\n  \
        1000 requests in 61.95ms, 77.15KB read\n  \
        Non-2xx or 3xx responses: 2\n\
        Requests/sec:  16142.05\nTransfer/sec:      1.22MB\n\
        1000 replies, 2 failed, 79000 B, 61950 us\n";

    #[test]
    fn a_summary_is_read() {
        let summary = parse(TEXT).expect("it is whole");
        let expected =
            Summary { wall_ns: 61_950_000, replies: 998, reply_bytes: 79_000, bytes_in: 79_000 };
        assert_eq!(summary, expected);
        let (own, _) = TEXT.split_once("1000 replies").expect("it ends with the script's line");
        assert_eq!(parse(own), None);
    }

    #[test]
    fn the_script_learns_how_many_requests_to_send() {
        let url = "http://127.0.0.1:7".parse().expect("a URL");
        let spec = LoadSpec { connections: 5, in_flight: 5, ..LoadSpec::new(url, Encoding::Npy) };
        let (requests, timeout) = (100, Duration::from_secs(20));
        let process =
            Process { spec: &spec, requests, body: "body", script: "script", field: None, timeout };
        assert_eq!(
            arguments(&process).join(" "),
            "-t 1 -c 5 -d 20 --timeout 20 -H content-type: application/x-npy -s script \
             http://127.0.0.1:7/echo_npy 100 5 body"
        );
    }
}
