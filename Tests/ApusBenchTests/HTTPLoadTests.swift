import Foundation
import TestSupport
import Testing

@testable import apus_bench

/// Runs what blocks on a thread of its own.
private func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result { try body() }) }.start()
    }
}

private let request = Array("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}".utf8)
private let reply = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

/// Answers every request with the next of `replies`, the last one again and again.
private func server(_ replies: String...) throws -> RawServer {
    try RawServer { connection in
        var rest = replies[...]
        while try await connection.request() != nil {
            try await connection.write(rest.count > 1 ? rest.removeFirst() : rest[rest.startIndex])
        }
    }
}

@Suite("The HTTP load generator")
struct HTTPLoadTests {
    @Test("A closed loop sends as many requests as it may, over as many connections as it is told")
    func closedLoop() async throws {
        let connections = EventLog<Int>()
        let server = try RawServer { connection in
            connections.append(1)
            while try await connection.request() != nil { try await connection.write(reply) }
        }
        let port = server.port
        let result = try await onThread {
            let load = try HTTPLoad(port: port, requests: [request])
            load.expectedBodyBytes = 5
            var result = try load.run(.closed(connections: 3), seconds: 60, limit: 100)
            // The connections of the first run serve the second.
            result.requests += try load.run(.closed(connections: 3), seconds: 60, limit: 50).requests
            return result
        }
        #expect(result.requests == 150)
        #expect(result.latencies.count == 100)
        #expect(result.failures.isEmpty)
        #expect(connections.entries.count == 3)
        withExtendedLifetime(server) {}
    }

    @Test("In an open loop a request that had to wait for its turn is charged for the wait")
    func openLoop() async throws {
        let server = try server(reply)
        let port = server.port
        let result = try await onThread {
            let load = try HTTPLoad(port: port, requests: [request])
            // All are due at once, and one connection takes them one after the other.
            return try load.run(.open(rate: 1e9, connections: 1), seconds: 1, limit: 50)
        }
        #expect(result.requests == 50)
        #expect(result.failures.isEmpty)
        for (latency, lateness) in zip(result.latencies, result.lateness) { #expect(latency >= lateness) }
        // The last was sent after 49 replies.
        #expect(try #require(result.latencies.last) > result.latencies[0])
        withExtendedLifetime(server) {}
    }

    @Test("What is no good reply is counted by what is wrong with it")
    func countsFailures() async throws {
        let server = try server(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nsorry",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            reply
        )
        let port = server.port
        let result = try await onThread {
            let load = try HTTPLoad(port: port, requests: [request])
            load.expectedBodyBytes = 5
            return try load.run(.closed(connections: 1), seconds: 60, limit: 4)
        }
        #expect(result.requests == 4)
        #expect(result.latencies.count == 2)
        #expect(result.failures == ["status 503": 1, "a body of 2 bytes instead of 5": 1])
        withExtendedLifetime(server) {}
    }

    @Test("A connection that ends within a request is a failure, and the next request gets another connection")
    func survivesBrokenConnections() async throws {
        let server = try RawServer { connection in
            guard try await connection.request() != nil else { return }
            try await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")
        }
        let port = server.port
        let result = try await onThread {
            try HTTPLoad(port: port, requests: [request]).run(.closed(connections: 1), seconds: 60, limit: 3)
        }
        #expect(result.requests == 3)
        #expect(result.failures == ["the connection ended within a request": 3])
        withExtendedLifetime(server) {}
    }

    @Test("Requests of an open loop are due evenly, whatever became of those before")
    func schedule() {
        var schedule = OpenSchedule(start: 10, rate: 4, seconds: 1)
        #expect(schedule.count == 4)
        #expect(schedule.end == 10.75)
        #expect(schedule.takeDue(at: 9.9) == nil)
        #expect(schedule.takeDue(at: 10) == 10)
        #expect(schedule.takeDue(at: 10.2) == nil)
        #expect(schedule.next == 10.25)
        // Late by two: both are due, each at its own time.
        #expect(schedule.takeDue(at: 10.6) == 10.25)
        #expect(schedule.takeDue(at: 10.6) == 10.5)
        #expect(schedule.takeDue(at: 10.6) == nil)
        #expect(schedule.takeDue(at: 99) == 10.75)
        #expect(schedule.isOver)
        #expect(schedule.takeDue(at: 99) == nil)
    }
}
