import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;

/** Server over gRPC Java on Netty, with its defaults. Start it with {@code java Main PORT}. */
final class Main {
    private static final int MESSAGE_BYTES_MAX = 192 << 20; // the same as for the other servers
    private static final int GRACE_S = 5; // for calls in flight, after the signal to end

    private Main() {}

    private static final class Service extends CalculatorGrpc.CalculatorImplBase {
        @Override
        public void echo(Ndecho.NDArray request, StreamObserver<Ndecho.NDArray> reply) {
            try {
                String dtype = Arrays.check(request);
                reply.onNext(Ndecho.NDArray.newBuilder()
                        .setBuffer(request.getBuffer())
                        .setDtype(dtype)
                        .addAllShape(request.getShapeList())
                        .build());
                reply.onCompleted();
            } catch (Arrays.Refused refused) {
                reply.onError(Status.INVALID_ARGUMENT.withDescription(refused.getMessage()).asRuntimeException());
            }
        }
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        Server server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])))
                .maxInboundMessageSize(MESSAGE_BYTES_MAX)
                .addService(new Service())
                .build()
                .start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> end(server)));
        System.out.println("ready 127.0.0.1:" + server.getPort());
        server.awaitTermination();
    }

    /** Ends the process with status 0. Without it, the status of a JVM names the signal. */
    private static void end(Server server) {
        try {
            server.shutdown().awaitTermination(GRACE_S, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        Runtime.getRuntime().halt(0);
    }
}
