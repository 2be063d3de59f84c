//! h2load of nghttp2: gRPC over HTTP/2, and REST over HTTP/1.1.

use crate::axis::Family;

use super::{Process, Program, Summary, number_before};

pub(super) const H2LOAD: Program = Program {
    name: "h2load",
    package: "nghttp2-client",
    version_flag: "--version",
    script: "",
    arguments,
    parse,
};

fn arguments(process: &Process<'_>) -> Vec<String> {
    let Process { spec, requests, body, field: more, .. } = process;
    let (encoding, authority) = (spec.encoding, spec.target().url.authority());
    let streams = spec.in_flight / spec.connections;
    let (requests, connections) = (requests.to_string(), spec.connections.to_string());
    let streams = streams.to_string();
    let mut arguments: Vec<String> =
        ["-n", &requests, "-t", "1", "-c", &connections, "-m", &streams, "-d", body]
            .map(str::to_owned)
            .into();
    let mut field = |name: &str, value: &str| {
        arguments.extend(["-H".to_owned(), format!("{name}: {value}")]);
    };
    if spec.target().url.family == Family::Rest {
        field("content-type", encoding.content_type());
        arguments.extend(more.iter().flat_map(|field| ["-H", field]).map(str::to_owned));
        arguments.extend(["--h1".to_owned(), format!("http://{authority}{}", encoding.path())]);
        return arguments;
    }
    field("content-type", encoding.grpc_content_type());
    field("te", "trailers");
    let bits = (u32::BITS - (spec.knobs.h2_window_bytes - 1).leading_zeros()).clamp(1, 30);
    let windows = ["-w", "-W"].map(|flag| [flag.to_owned(), bits.to_string()]);
    arguments.extend(windows.into_iter().flatten());
    arguments.extend(["-f".to_owned(), spec.knobs.h2_frame_bytes_max.to_string()]);
    arguments.push(format!("http://{authority}{}", encoding.grpc_path()));
    arguments
}

fn parse(text: &str) -> Option<Summary> {
    let replies = number_before(text, " 2xx,")?;
    let rate_hz = number_before(text, " req/s,").filter(|rate: &f64| *rate > 0.0)?;
    let requests: u64 = number_before(text, " total,")?;
    Some(Summary {
        wall_ns: (requests as f64 * 1e9 / rate_hz) as u64,
        replies,
        reply_bytes: number_before(text, ") data")?,
        bytes_in: number_before(text, ") total")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::axis::Encoding;
    use crate::record::trial_spec::LoadSpec;

    const TEXT: &str = "starting benchmark...\nprogress: 100% done\n\n\
        finished in 11.94ms, 837.45 req/s, 93.64KB/s\n\
        requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 9 2xx, 0 3xx, 1 4xx, 0 5xx\n\
        traffic: 1.12KB (1145) total, 1000B (1000) headers (space savings 10.71%), 0B (270) data\n";

    #[test]
    fn a_summary_is_read() {
        let summary = parse(TEXT).expect("it is whole");
        let expected =
            Summary { wall_ns: 11_941_011, replies: 9, reply_bytes: 270, bytes_in: 1145 };
        assert_eq!(summary, expected);
        assert_eq!(parse("progress: 10% done\n\n"), None);
    }

    #[test]
    fn windows_and_streams_are_those_of_our_own_client() {
        let url = "grpc://127.0.0.1:7".parse().expect("a URL");
        let spec =
            LoadSpec { connections: 2, in_flight: 64, ..LoadSpec::new(url, Encoding::Protobuf) };
        let (requests, timeout) = (100, Duration::from_secs(1));
        let process =
            Process { spec: &spec, requests, body: "body", script: "", field: None, timeout };
        let text = arguments(&process).join(" ");
        assert!(text.starts_with("-n 100 -t 1 -c 2 -m 32 -d body -H content-type: "), "{text}");
        let end = "-w 26 -W 26 -f 1048576 http://127.0.0.1:7/Calculator/Echo";
        assert!(text.ends_with(end), "{text}");
    }
}
