import Configuration
import Foundation
import Testing

@Suite struct TextFileTests {
    @Test("A pipe in the place of a file is refused at once, not waited for")
    func pipe() throws {
        let path = NSTemporaryDirectory() + "apus-pipe-\(UUID().uuidString)"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let failure = #expect(throws: TextFile.Failure.self) { try TextFile.read(path) }
        #expect(failure?.description == "is no regular file")
    }
}
