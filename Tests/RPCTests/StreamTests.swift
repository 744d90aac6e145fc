import TestSupport
import Testing

@testable import RPC

@Suite("Streams")
struct StreamTests {
    @Test("Messages come back in order, of any size under the limit")
    func echo() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Echo")
                for size in [0, 1, 23, 24, 600, 16_384, 65_536, 1_000_000] {
                    let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: size), count: size)
                    #expect(await call.send(bytes))
                    #expect(await call.receive() == bytes)
                }
                await call.halfClose()
                #expect(await call.receive() == nil)
                #expect(await call.status() == GRPCCallStatus(code: 0, message: ""))
            }
        }
    }
}
