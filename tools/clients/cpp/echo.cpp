// Sends an array as a .npy file over a plain socket. A real client uses an HTTP library.
//
//     c++ -std=c++20 echo.cpp -o echo && ./echo 127.0.0.1:50055
#include <netdb.h>
#include <sys/socket.h>

#include <cmath>
#include <iostream>
#include <vector>

static std::string encode(const std::vector<double> &data) {
    std::string file("\x93NUMPY\x01\x00v\x00", 10);  // format 1.0, and 118 bytes ("v") of header
    file += "{'descr': '<f8', 'fortran_order': False, 'shape': (" + std::to_string(data.size()) + ",), }";
    file.resize(127, ' ');
    return (file + "\n").append(reinterpret_cast<const char *>(data.data()), 8 * data.size());
}

static std::string post(const std::string &address, const std::string &path, const std::string &body) {
    size_t colon = address.rfind(':');
    addrinfo hints{.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(address.substr(0, colon).c_str(), &address[colon + 1], &hints, &found)) return "no such host";
    int server = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(server, found->ai_addr, found->ai_addrlen)) return "cannot connect";
    std::string request = "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: close\r\n" +
        "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body, reply;
    for (ssize_t n, at = 0; (n = send(server, &request[at], request.size() - at, 0)) > 0;) at += n;
    for (char piece[4096]; ssize_t n = recv(server, piece, sizeof piece, 0);) reply.append(piece, n);
    return reply;
}

int main(int, char **args) {
    const std::string sent = encode({1.5, NAN, -0.0, INFINITY, 0.1, 5e-324});
    const std::string reply = post(args[1], "/echo_npy", sent);
    const bool is_same = reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("\r\n\r\n" + sent);
    if (is_same) std::cout << "C++ sockets, .npy: 6 doubles came back bit for bit\n";
    else std::cerr << "not what was sent: " << reply << "\n";
    return !is_same;
}
