//! Layers of the work that a server does for a request. Every table, picture and rule about where a
//! cost lies uses these names.

use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct LayerSpec {
    pub name: &'static str,
    pub about: &'static str,
}

axis! {
    /// Layer that pays for a piece of work.
    Layer, "layer", LayerSpec;

    CodecDecode { name: "codec decode", about: "from the bytes of an encoding to an array" }
    CodecEncode { name: "codec encode", about: "from an array to the bytes of an encoding" }
    Application { name: "application", about: "the echo and its checks" }
    GrpcSemantics {
        name: "gRPC semantics",
        about: "message prefix, status, metadata, timeout and the life of a call",
    }
    Framework { name: "framework", about: "routing, middleware, boxed services" }
    HttpFraming {
        name: "HTTP framing",
        about: "HTTP/1.1, or frames, HPACK and flow control of HTTP/2",
    }
    Runtime { name: "runtime", about: "executor, wakers, timers, and the code of the ring" }
    Allocator { name: "allocator", about: "malloc, free and their kin" }
    UserCopies { name: "user copies", about: "memcpy and memset in the program" }
    PageFaults { name: "page faults", about: "the kernel maps, clears and returns pages" }
    SystemCallEntry {
        name: "system call entry",
        about: "the way into the kernel and back, and the look-up of descriptors",
    }
    KernelSocket { name: "kernel socket", about: "sockets, TCP and IP in the kernel" }
    KernelCopy { name: "kernel copy", about: "bytes between the program and the socket" }
    KernelRing { name: "kernel ring, epoll", about: "io_uring and epoll in the kernel" }
    Scheduler { name: "scheduler", about: "scheduler, idle and wake-up" }
    Interrupts { name: "interrupts", about: "interrupts and the profiler's own timer" }
    Interpreter { name: "interpreter", about: "the Python interpreter" }
    Unattributed { name: "unattributed", about: "no rule decides" }
}
