package import Bytes

/// The answer to a sub-request on its way in, read by one task at a time. Letting go of it closes the connection.
package final class SubRequestStream: Sendable {
    private let stream: HTTPStream
    private let start: MonotonicTime
    /// Held until the last byte is there, or nobody waits for it any more.
    private let permit: Lock<SubRequestPermit?>

    init(_ stream: HTTPStream, _ permit: consuming SubRequestPermit, _ start: MonotonicTime) {
        self.stream = stream
        self.start = start
        self.permit = Lock(permit)
    }

    /// Of status 200 to 299.
    package var head: HTTPResponseHead { stream.head }

    /// What has come since the last call, at least one byte; waits for it. Nil at the end of an answer that is whole. Throws, after all that came
    /// before, when it ends otherwise; cancelling the task ends it.
    package func next() async throws(SubRequestFailure) -> [UInt8]? {
        do throws(HTTPClientError) {
            if let bytes = try await stream.next() { return bytes }
            giveBack()
            return nil
        } catch {
            giveBack()
            let seconds = MonotonicTime.now().seconds(since: start)
            throw SubRequestFailure(error, isLastMoment: false, seconds: seconds)
        }
    }

    /// Ends the answer and closes its connection; nothing once it has ended.
    package func cancel() {
        stream.cancel()
        giveBack()
    }

    /// Ends the answer at that time with `timeout`, if it has not ended.
    package func end(at time: MonotonicTime) {
        stream.end(at: time)
    }

    private func giveBack() {
        permit.withLock { $0 = nil }
    }
}
