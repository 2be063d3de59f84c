//! ndecho measures the cost of an RPC framework when the payload is a NumPy array.
//!
//! A server under test is a point on four axes: **driver** (moves bytes), **transport** (TCP or
//! Unix socket), **protocol** (rules of a connection) and **codec** (form of an array). Such a
//! point is called a *rung* and has a name, `driver/protocol/codec`, with `@transport` if that is
//! not TCP: `uring/h2/protobuf`, `tokio/tonic/protobuf:prost@unix`. Each rung differs from its
//! parent on exactly one axis, so the difference of the two is the price of one layer. The settings
//! of a borrowed stack (`tokio/tonic:tuned`) count as an axis of their own.
//!
//! # Arrows
//!
//! A room imports only rooms on lower levels. No two files import each other, except that the files
//! of a folder use what its `mod.rs` defines.
//!
//! ```text
//! bin > cli > server experiment report > stack load ladder external > driver service
//!     > wire codec coding sys probe record stats > axis array
//! ```
//!
//! On the same level, `record` imports `probe`, `sys` and `stats`, and `probe` imports `sys`. A
//! room that measures a fact owns its struct. `tests/tidy` checks these rules and the map.
//!
//! # Map
//!
//! Each entry has a folder, its purpose, and its files in brackets, without `.rs`. `mod.rs` and the
//! folders called `tests` are left out.
//!
//! ```text
//! array/                dtype, shape and checked view of the bytes; seeded arrays
//!                       [data_sets seeded]
//! axis/                 enums of the axes with one table each; the only room that spells a name
//!                       [coding data_set driver encoding external layer malloc name protocol
//!                       rung transport]
//! codec/                one implementation of an encoding per file
//!                       [array_codec bound cbor cbor_ciborium cbor_minicbor cursor digits error
//!                       json_binary json_binary_best json_binary_serde json_item json_library
//!                       json_serde json_serde_value json_simd json_sonic kserve kserve_contents
//!                       kserve_http kserve_http_serde kserve_prost kserve_typed
//!                       kserve_typed_prost msgpack msgpack_serde multi_index multipart npy
//!                       packed_numbers planted protobuf protobuf_packed protobuf_packed_prost
//!                       protobuf_prost protobuf_prost_bytes protobuf_wire safetensors
//!                       safetensors_crate transpose]
//!     arrow/            tensors of Arrow IPC, whose metadata is a flatbuffer
//!                       [builder table]
//!     json/             lists of numbers as text
//!                       [error f16 item read scan shape write]
//!     simd/             kernels for AVX2 and AVX-512, each behind a proof token
//!                       [decimal lanes read_integers tokens write_integers]
//!         base64/       base64 in both directions
//!                       [avx2 avx512 portable]
//!         read_floats/  text to doubles
//!                       [avx2 avx512 scale]
//!         write_floats/ doubles to text
//!                       [avx2 avx512 tables]
//! coding/               compression of whole messages, with a bound on what is inflated
//!                       [error gzip lz4 room shuffle zstd]
//! wire/                 own protocols as state machines without clock, socket or thread
//!                       [changing_fields client counts error handler job json_head limits machine
//!                       planted progress response timeouts working]
//!     raw/              length-prefixed frames, both halves
//!                       [client server]
//!     buffers/          pool, shared ranges of a buffer, output and input
//!                       [account detached outbox pool recv slice]
//!     grpc/             status, message prefix and timeout of gRPC
//!                       [message status timeout]
//!     zmtp/             ZMTP, client half of a REQ socket
//!                       [client frame handshake]
//!     h1/               HTTP/1.1, both halves
//!                       [body chunked client encode fields parse]
//!         server/       requests in order, and those whose work is long
//!                       [exchange jobs]
//!     h2/               HTTP/2: frames, windows, settings, limits against abuse
//!                       [abuse error flow frame settings]
//!         client/       calls to events
//!                       [head request request_block response state]
//!         connection/   frames in, events out: shared core of both halves
//!                       [budget control data errors event headers history inbound loan outbound
//!                       outgoing send stage stream streams]
//!         hpack/        compression of header blocks (RFC 7541)
//!                       [huffman integer table]
//!         server/       events to calls
//!                       [expire frames head heads jobs message request response shutdown state
//!                       stream timeouts]
//! sys/                  requests to the machine: cores, sockets, mappings, child processes
//!                       [address affinity child descriptors foreign_sockets kernel listener
//!                       malloc mapping orphans perf_events ready_line socket unsent]
//! probe/                facts from the machine: clocks, scheduler, noise, host, tracing
//!                       [background_load breakpoints build core_speed cpu_clock cpu_clock_sync
//!                       disturbance elf host injected_delay kernel_counts memory neighbours
//!                       os_noise process_tree process_use sched_stats tracer]
//!     profile/          samples of a process, and the layer of each sample
//!                       [c_functions callgrind callgrind_graph classify kernel_symbols modules
//!                       perf_file perf_record program_file python recorder resolve rules
//!                       sampler sampling stacks]
//! stats/                pure numbers: estimates, intervals, verdicts
//!                       [bootstrap components family forecast histogram location model scatter
//!                       student trend verdict]
//! record/               schema of a run, composed of structs of the rooms that measure
//!                       [client lane measurement server stacks trial validity]
//!     trial_spec/       document that describes a trial
//!                       [load nanoseconds server]
//! driver/               sockets and event loops, one policy for all connections
//!                       [addresses error jobs planted planted_bugs poll read_buffer shutdown]
//!     connection/       rules of a connection, its memory, and its end for the sake of others
//!                       [jobs lag leave memory]
//!     tokio/            tokio and tokio-uring
//!                       [epoll loop_time net panics registry sends sleep tokio_uring
//!                       worker]
//!     uring/            own reactor over io_uring
//!                       [acceptor buffers connection core executor iovec jobs kernel linux op
//!                       places reactor ring serve slots stream timers]
//! service/              the work of every rung: echo, routes, health, places of a delay
//!                       [coded codecs echo handler health inference panics planted routes]
//! stack/                borrowed protocol stacks, and the watch over their peers
//!                       [axum drain echo frames grpc h2_crate hyper hyper_h2 input memory
//!                       message standalone tuning watch]
//!     tonic/            tonic, with its health
//!                       [codec health inference packed planted]
//! ladder/               the rungs and their parents, and nothing that runs
//!                       [select table tree]
//! external/             manifests and environments of servers that are not part of this crate
//!                       [advice environment listing manifest]
//! load/                 load generator: connections, schedule, verification of every reply
//!                       [array_file arrivals client coded conformance message net nonce reactor
//!                       run schedule steady_state traffic verify watched worker]
//! server/               builds a rung: matches every axis once
//!                       [bind build usage]
//!     lane/             protocols over a replayed conversation in memory, and codecs alone
//!                       [codec machine peer replies tape]
//!     metrics/          counts of a running server for operators
//!                       [exposition]
//! experiment/           plan, order of launches, child processes, records
//!                       [ab advice any_rung cell client codings concurrency controls group lanes
//!                       launch null_server open_loop options order pace plan planted preflight
//!                       preset profiled records session testbed trial]
//!     child/            child processes: server and load clients
//!                       [commands failure process python]
//!         foreign/      load generators that nobody here wrote
//!                       [h2load wrk]
//! report/               records to text, tables and CSV
//!                       [aggregate background_load ceiling cell clients columns comparable compare
//!                       compare_runs control core_speed counts csv forecast kernel_counts
//!                       lane_counts lanes malloc markdown markup model noise open palette profile
//!                       rivals run scatter seed sockets status summary svg table text units
//!                       warning wrap]
//!     compression/      costs and savings of codings, and the links on which they pay
//!                       [costs crossover picture]
//!     closure/          differences of rungs by layer, and whether their axis explains them
//!                       [costs lanes pair planted text]
//!     answer/           what the main job asks, in tables and sentences
//!                       [bars choice encodings layers load_cells sentences standards]
//!         advice/       server and encoding for one array, and what would change the choice
//!                       [clients decision sentences]
//!         picture/      the tables as an SVG
//!                       [bar choice encodings layers rows]
//!     stacks/           call stacks of profiles for other viewers, and as a picture
//!                       [collapsed firefox icicle tree]
//!     page/             one page of HTML with all that a run shows, and its records
//!                       [cells chart closure dots environment figure heat kind lanes layers
//!                       selector sizes subject text theme waterfall]
//!         icicles/      functions inside each layer, folded until they fit
//!                       [draw element fold]
//!         records/      records packed into a page, and read back
//!                       [columns condense slot]
//! cli/                  flags of the programs, and all output
//!                       [advise alarms compare exec external interrupt ladder lane_children lanes
//!                       load measure ndecho old_names options output panic_messages planted_steps
//!                       profile progress run_folder run_lanes server serving shell snippets
//!                       spec_file stacks values]
//! bin/                  the programs
//!                       [ndecho tonic-server uring-server]
//! ```
//!
//! Not there yet: TLS and streaming calls. Absent on purpose: service discovery.

// Results go to stdout and messages to stderr, both from `cli` only.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod array;
pub mod axis;
pub mod cli;
pub mod codec;
pub mod coding;
pub mod driver;
pub mod experiment;
pub mod external;
#[rustfmt::skip]
#[path = "../proto/generated.rs"]
pub mod generated;
#[rustfmt::skip]
#[path = "../proto/generated_bytes.rs"]
pub mod generated_bytes;
#[rustfmt::skip]
#[path = "../proto/generated_inference.rs"]
pub mod generated_inference;
#[rustfmt::skip]
#[path = "../proto/generated_packed.rs"]
pub mod generated_packed;
pub mod ladder;
pub mod load;
pub mod probe;
pub mod record;
pub mod report;
pub mod server;
pub mod service;
pub mod stack;
pub mod stats;
pub mod sys;
pub mod wire;
