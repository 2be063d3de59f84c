//! The inference protocol on every stack: the questions of a client, the two forms of a tensor, and
//! the HTTP field that tells the length of the JSON. `tests/clients.rs` has the unmodified client.

use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Codec, Driver, Encoding, Family, Protocol};
use ndecho::codec;
use ndecho::service::codecs::CodecSet;
use ndecho::service::inference::Question;
use ndecho::wire::{Limits, json_head};

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/rest.rs"]
mod rest;
#[path = "peers/server.rs"]
mod server;

const PATH: &str = "/v2/models/echo/infer";

/// Runs `test` with the server of every stack of a family, with our codecs and those of libraries.
fn each_stack(family: Family, test: impl Fn(&server::Running, &str)) {
    each_stack_with(family, &[CodecSet::own(), CodecSet::library()], test);
}

fn each_stack_with(family: Family, sets: &[CodecSet], test: impl Fn(&server::Running, &str)) {
    let of = |driver| Protocol::ALL.into_iter().map(move |protocol| (driver, protocol));
    let pairs = Driver::ALL.into_iter().flat_map(of);
    let runs = |pair: &(Driver, Protocol)| pair.1.runs_on(pair.0) && pair.1.family() == family;
    for (driver, protocol) in pairs.filter(runs) {
        for codecs in sets {
            let Some(server) = server::start(driver, protocol, *codecs, Limits::default()) else {
                continue;
            };
            test(&server, &format!("{driver}/{protocol}"));
            server.stop();
        }
    }
}

fn array(dtype: &str) -> NdArray {
    let shape = Shape::new(&[3]).expect("one dimension");
    let dtype = DType::parse(dtype).expect("on the list");
    NdArray::seeded(dtype, shape, 3).expect("small")
}

/// Returns request and reply of our own codec.
fn exchange(encoding: Encoding, array: &NdArray) -> [Vec<u8>; 2] {
    let codec = codec::implementation(encoding.own()).expect("it has a codec");
    [codec::message(codec, &array.view()), codec::reply(codec, &array.view())]
        .map(|message| message.expect("it has a datatype"))
}

fn request() -> Vec<u8> {
    let [request, _] = exchange(Encoding::KserveHttp, &array("<f4"));
    request
}

fn field(len: usize) -> String {
    format!("{}: {len}\r\n", json_head::FIELD)
}

#[test]
fn every_rest_stack_wants_the_length_of_the_json() {
    let body = request();
    let head_len = body.len() - 12;
    each_stack(Family::Rest, |server, stack| {
        let mut peer = rest::Rest::connect(server.address());
        let right = peer.post_with(PATH, &field(head_len), &body);
        assert_eq!(right.status, 200, "{stack}: {}", String::from_utf8_lossy(&right.body));
        let told = right.field(json_head::FIELD).map(str::parse);
        assert_eq!(told, Some(Ok(right.body.len() - 12)), "{stack}");
        assert_eq!(right.body[right.body.len() - 12..], body[head_len..], "{stack}");
        for (fields, text) in [
            (String::new(), "is missing, but 12 bytes follow the JSON"),
            (field(head_len - 1), "but the JSON has"),
            (field(body.len() + 1), "but the JSON has"),
            (field(head_len).repeat(2), "is not one number"),
            (format!("{}: x\r\n", json_head::FIELD), "is not one number"),
        ] {
            let refused = peer.post_with(PATH, &fields, &body);
            assert_eq!(refused.status, 400, "{stack} {fields}");
            assert_eq!(refused.field("content-type"), Some("application/json"), "{stack}");
            let error: serde_json::Value = serde_json::from_slice(&refused.body).expect("JSON");
            let error = error["error"].as_str().expect("a text");
            assert!(error.contains(text), "{stack}: {error}");
        }
        let refused = peer.post_with(PATH, &field(2), b"{}");
        let text = String::from_utf8_lossy(&refused.body);
        assert_eq!(
            (refused.status, text.starts_with("{\"error\":\"")),
            (400, true),
            "{stack}: {text}"
        );
        assert_eq!(peer.post_with(PATH, &field(head_len), &body).status, 200, "{stack}");
    });
}

#[test]
fn every_rest_stack_answers_the_questions_of_a_client() {
    each_stack(Family::Rest, |server, stack| {
        let mut peer = rest::Rest::connect(server.address());
        for question in Question::ALL {
            let path = question.rest_path();
            peer.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
            let reply = peer.reply();
            assert_eq!(reply.status, 200, "{stack} {path}");
            assert_eq!(reply.field("content-type"), Some("application/json"), "{stack} {path}");
            let want = question.rest(true).expect("it is ready");
            assert_eq!(reply.body, want.as_bytes(), "{stack} {path}");
        }
        let posted = peer.post_with(Question::ModelMetadata.rest_path(), "", b"");
        assert_eq!((posted.status, posted.field("allow").is_some()), (405, true), "{stack}");
    });
}

#[test]
fn every_grpc_stack_answers_the_questions_of_a_client() {
    let model = b"\x0a\x04echo\x12\x011";
    each_stack(Family::Grpc, |server, stack| {
        let mut peer = grpc::Grpc::connect(server.address());
        let mut ask = |question: Question, body: &[u8]| {
            let request = grpc::request_to(question.grpc_path(), "application/grpc");
            peer.call(request, &[&grpc::framed(body)])
        };
        for question in Question::ALL {
            let asks_for_model = matches!(question, Question::ModelReady | Question::ModelMetadata);
            let body = if asks_for_model { &model[..] } else { b"" };
            let reply = ask(question, body);
            assert_eq!(reply.field("grpc-status"), "0", "{stack} {question:?}");
            let want = question.grpc(body, true).expect("it is ready");
            assert_eq!(reply.body, grpc::framed(want), "{stack} {question:?}");
        }
        let other = ask(Question::ModelReady, b"\x0a\x05other");
        assert_eq!(other.field("grpc-status"), "5", "{stack}: {}", other.field("grpc-message"));
    });
}

/// The choice of a codec for one form changes nothing for the other one, also where generated code
/// serves the method.
#[test]
fn every_grpc_stack_answers_in_the_form_of_the_request() {
    let forms = [Encoding::Kserve, Encoding::KserveTyped];
    let libraries = [Codec::KserveProst, Codec::KserveTypedProst];
    let sets = libraries.map(|codec| CodecSet::own().with(codec));
    each_stack_with(Family::Grpc, &sets, |server, stack| {
        let mut peer = grpc::Grpc::connect(server.address());
        let mut infer = |body: &[u8]| {
            let request = grpc::request_to(Encoding::Kserve.grpc_path(), "application/grpc");
            peer.call(request, &[&grpc::framed(body)])
        };
        for dtype in ["<f4", "<i2"] {
            let exchanges = forms.map(|form| exchange(form, &array(dtype)));
            for [request, reply] in &exchanges {
                let got = infer(request);
                assert_eq!(got.field("grpc-status"), "0", "{stack} {dtype}");
                assert_eq!(got.body, grpc::framed(reply), "{stack} {dtype}");
            }
            let [[raw, _], [typed, _]] = &exchanges;
            let raw_contents = &raw[raw.len() - (2 + array(dtype).view().data().len())..];
            let both = infer(&[&typed[..], raw_contents].concat());
            assert_eq!(both.field("grpc-status"), "3", "{stack} {dtype}");
            // tonic also writes a space with a percent sign.
            let text = both.field("grpc-message").replace("%20", " ");
            assert!(text.contains("cannot carry typed contents"), "{stack} {dtype}: {text}");
            let neither = infer(&raw[..raw.len() - raw_contents.len()]);
            assert_eq!(neither.field("grpc-status"), "3", "{stack} {dtype}");
            assert!(neither.field("grpc-message").contains("raw_input_contents"), "{stack}");
        }
    });
}
