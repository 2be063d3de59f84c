//! gRPC over HTTP/2 without the HTTP/2: message prefix, status, trailers, timeouts, content types. Shared by own and
//! borrowed HTTP/2. Source: `doc/PROTOCOL-HTTP2.md` of the gRPC project.
