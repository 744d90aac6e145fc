import CGRPC
import Glibc

/// A list of core's channel arguments, which owns the text of its keys.
struct ChannelArguments: ~Copyable {
    private var arguments: [grpc_arg] = []

    deinit {
        for argument in arguments {
            free(argument.key)
        }
    }

    mutating func set(_ key: String, _ value: Int) {
        arguments.append(apus_arg_integer(strdup(key), Int32(clamping: value)))
    }

    mutating func withUnsafePointer<R>(_ body: (UnsafePointer<grpc_channel_args>) -> R) -> R {
        arguments.withUnsafeMutableBufferPointer { buffer in
            var list = grpc_channel_args(num_args: buffer.count, args: buffer.baseAddress)
            return withUnsafeMutablePointer(to: &list) { body($0) }
        }
    }
}

extension ChannelArguments {
    init(_ configuration: ServerConfiguration) {
        self.init()
        // Two processes on one port would share its connections silently.
        set("grpc.so_reuseport", 0)
        set("grpc.max_receive_message_length", configuration.maxReceiveMessageBytes)
        set("grpc.max_send_message_length", configuration.maxSendMessageBytes ?? -1)
        // Only the identity encoding (bit 0): a compressed message of kilobytes could unpack to gigabytes before the
        // limit above sees it. A peer that compresses gets UNIMPLEMENTED.
        set("grpc.compression_enabled_algorithms_bitset", 1)
        set("grpc.per_message_compression", 0)
        set("grpc.per_message_decompression", 0)
        set("grpc.server_handshake_timeout_ms", configuration.handshakeTimeout.milliseconds)
        let keepalive = configuration.keepalive
        set("grpc.keepalive_time_ms", keepalive.time.milliseconds)
        set("grpc.keepalive_timeout_ms", keepalive.timeout.milliseconds)
        set("grpc.keepalive_permit_without_calls", 1)
        set("grpc.http2.min_ping_interval_without_data_ms", keepalive.minPingInterval.milliseconds)
        set("grpc.http2.max_ping_strikes", keepalive.maxPingStrikes)
    }
}

extension Duration {
    /// Whole milliseconds, as many as an `Int32` holds.
    fileprivate var milliseconds: Int {
        Int(
            clamping: components.seconds.multipliedReportingOverflow(by: 1000).overflow
                ? Int64.max : components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
        )
    }
}
