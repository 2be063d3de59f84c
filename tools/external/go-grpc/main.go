// Server over gRPC Go with its defaults.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"server/contract"
)

const (
	messageBytesMax = 192 << 20       // the same as for the other servers
	grace           = 5 * time.Second // for calls in flight, after the signal to end
)

type calculator struct {
	contract.UnimplementedCalculatorServer
}

func (calculator) Echo(_ context.Context, array *contract.NDArray) (*contract.NDArray, error) {
	dtype, err := check(array)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &contract.NDArray{Buffer: array.GetBuffer(), Dtype: dtype, Shape: array.GetShape()}, nil
}

func main() {
	port := flag.Int("port", 0, "0 picks a free one")
	flag.Parse()
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatalf("cannot listen on port %d: %v", *port, err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax))
	contract.RegisterCalculatorServer(server, calculator{})
	go func() {
		<-ends
		time.AfterFunc(grace, server.Stop)
		server.GracefulStop()
	}()
	fmt.Printf("ready %s\n", listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatalf("cannot serve on port %d: %v", *port, err)
	}
}
