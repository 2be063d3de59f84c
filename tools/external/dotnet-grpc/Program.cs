// Server over gRPC for ASP.NET Core on Kestrel, with their defaults: dotnet-grpc PORT

using System.Net;
using Grpc.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core;

const int MessageBytesMax = 192 << 20; // the same as for the other servers
const int GraceSeconds = 5; // for calls in flight, after the signal to end

var port = int.Parse(args[0]);
var builder = WebApplication.CreateBuilder();
builder.Logging.ClearProviders();
builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(GraceSeconds));
builder.Services.AddGrpc(options =>
{
    options.MaxReceiveMessageSize = MessageBytesMax;
    options.MaxSendMessageSize = MessageBytesMax;
});
builder.WebHost.ConfigureKestrel(options =>
{
    options.Limits.MaxRequestBodySize = null; // gRPC has the limit above
    options.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http2);
});

await using var app = builder.Build();
app.MapGrpcService<CalculatorService>();
await app.StartAsync();
Console.WriteLine($"ready {new Uri(app.Urls.Single()).Authority}");
await app.WaitForShutdownAsync();

sealed class CalculatorService : Calculator.CalculatorBase
{
    public override Task<NDArray> Echo(NDArray request, ServerCallContext context)
    {
        try
        {
            var reply = new NDArray { Buffer = request.Buffer, Dtype = Arrays.Check(request) };
            reply.Shape.Add(request.Shape);
            return Task.FromResult(reply);
        }
        catch (RefusedException refused)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, refused.Message));
        }
    }
}
