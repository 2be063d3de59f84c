//! `h1`: own HTTP/1.1 (RFC 9112, RFC 9110), server and client half.
