// Server over C++ gRPC with the callback API. The library starts its threads as it likes, all on one core.
//
//     server --port N [--cpu N]
#include <grpcpp/grpcpp.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ndecho.grpc.pb.h"

namespace {

constexpr int MESSAGE_BYTES_MAX = 192 << 20;  // the same as for the other servers
constexpr int RANK_MAX = 64;                  // limit of NumPy
constexpr std::chrono::seconds GRACE{5};      // for calls in flight, after the signal to end

// A message that is not an array of the contract. Its text goes to the client.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct DType {
    std::string name;  // canonical
    int64_t item_bytes;
};

// Array whose shape and data lie in the message that it was decoded from.
struct Array {
    DType dtype;
    std::span<const uint64_t> shape;
    std::string_view data;
};

DType parse_dtype(const std::string &name) {
    static constexpr std::string_view ONE_BYTE[] = {"b1", "i1", "u1"};
    static constexpr std::string_view MORE_BYTES[] = {"i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"};
    const auto is_in = [](auto &list, std::string_view code) { return std::ranges::find(list, code) != std::end(list); };
    const char order = name.empty() ? '\0' : name[0];
    const std::string code = name.empty() ? "" : name.substr(1);
    if (std::string_view("|<>=").find(order) != std::string_view::npos && is_in(ONE_BYTE, code)) return {"|" + code, 1};
    if (std::string_view("<>=").find(order) != std::string_view::npos && is_in(MORE_BYTES, code)) {
        return {(order == '>' ? ">" : "<") + code, std::stoi(code.substr(1))};
    }
    throw Refused("dtype '" + name + "' is not supported: expected one like |b1, <i4, >u2, <f8 or <c16");
}

// Returns the number of bytes that an array needs.
size_t byte_length(const DType &dtype, std::span<const uint64_t> shape) {
    if (shape.size() > RANK_MAX) {
        throw Refused("array has " + std::to_string(shape.size()) + " dimensions, at most 64 are supported");
    }
    int64_t partial = dtype.item_bytes;
    bool is_empty = false;
    for (const uint64_t dim : shape) {
        if (dim == 0) is_empty = true;
        else if (__builtin_mul_overflow(partial, dim, &partial)) throw Refused("array size overflows 63 bits");
    }
    return is_empty ? 0 : partial;
}

Array decode(const NDArray &message) {
    const std::span<const uint64_t> shape(message.shape().data(), message.shape_size());
    const Array array{parse_dtype(message.dtype()), shape, message.buffer()};
    const size_t needed = byte_length(array.dtype, shape);
    if (needed != array.data.size()) {
        throw Refused("shape and dtype need " + std::to_string(needed) + " bytes of data, got " +
                      std::to_string(array.data.size()));
    }
    return array;
}

void encode(const Array &array, NDArray &message) {
    message.set_buffer(array.data.data(), array.data.size());
    message.set_dtype(array.dtype.name);
    message.mutable_shape()->Assign(array.shape.begin(), array.shape.end());
}

class Service final : public Calculator::CallbackService {
    grpc::ServerUnaryReactor *Echo(grpc::CallbackServerContext *context, const NDArray *request,
                                   NDArray *reply) override {
        grpc::ServerUnaryReactor *reactor = context->DefaultReactor();
        try {
            encode(decode(*request), *reply);
            reactor->Finish(grpc::Status::OK);
        } catch (const Refused &refused) {
            reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, refused.what()});
        }
        return reactor;
    }
};

// Pins this thread, and so each thread that it starts.
void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) throw std::runtime_error("cannot pin to core " + std::to_string(cpu));
}

void serve(int argc, char **argv) {
    int port = 0;
    for (int at = 1; at + 1 < argc; at += 2) {
        const std::string_view flag = argv[at];
        if (flag == "--port") port = std::stoi(argv[at + 1]);
        else if (flag == "--cpu") pin(std::stoi(argv[at + 1]));
        else throw std::runtime_error("unknown flag " + std::string(flag) + ": expected --port or --cpu");
    }
    // Every thread inherits the mask, so the signals wait for sigwait.
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    Service service;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(MESSAGE_BYTES_MAX);
    builder.SetMaxSendMessageSize(MESSAGE_BYTES_MAX);
    builder.RegisterService(&service);
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server) throw std::runtime_error("cannot listen on 127.0.0.1:" + std::to_string(port));
    std::cout << "ready 127.0.0.1:" << port << std::endl;

    int signal;
    sigwait(&ends, &signal);
    server->Shutdown(std::chrono::system_clock::now() + GRACE);
}

}  // namespace

int main(int argc, char **argv) {
    try {
        serve(argc, argv);
    } catch (const std::exception &error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
