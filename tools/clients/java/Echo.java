// Sends an array as a .npy file with the JDK alone.
//
//     java Echo.java 127.0.0.1:50055
import java.net.URI;
import java.net.http.*;
import java.nio.*;
import java.util.Arrays;

public class Echo {
    public static void main(String[] args) throws Exception {
        double[] sent = {1.5, Double.NaN, -0.0, Double.POSITIVE_INFINITY, 0.1, Double.MIN_VALUE};
        var request = HttpRequest.newBuilder(URI.create("http://" + args[0] + "/echo_npy"))
                .header("Content-Type", "application/x-npy")
                .POST(HttpRequest.BodyPublishers.ofByteArray(encode(sent, "(2, 3)"))).build();
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var reply = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        if (reply.statusCode() != 200) throw new Exception(reply + " " + new String(reply.body()));
        var file = ByteBuffer.wrap(reply.body()).order(ByteOrder.LITTLE_ENDIAN);
        file.position(10 + file.getShort(8));
        double[] got = new double[file.remaining() / 8];
        file.asDoubleBuffer().get(got);
        if (!Arrays.equals(bits(got), bits(sent))) throw new Exception(Arrays.toString(got));
        System.out.println("Java HttpClient, .npy: double[" + got.length + "] came back bit for bit");
    }

    static byte[] encode(double[] data, String shape) {
        var head = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }".formatted(shape);
        var file = ByteBuffer.allocate(128 + 8 * data.length).order(ByteOrder.LITTLE_ENDIAN);
        file.put((byte) 0x93).put("NUMPY\1\0".getBytes()).putShort((short) 118);
        file.put("%-117s\n".formatted(head).getBytes()).asDoubleBuffer().put(data);
        return file.array();
    }

    static long[] bits(double[] data) {
        return Arrays.stream(data).mapToLong(Double::doubleToRawLongBits).toArray();
    }
}
