internal import Bytes
internal import ExtProc
internal import Inference
internal import Orchestration
internal import Pool
internal import RPC
internal import Scheduling
internal import Telemetry

// A decode that Apus runs itself: its answer goes through the gateway as Apus's own.
extension Exchange {
    /// Passes an answer on to the client, piece by piece.
    func relay(_ relayed: RelayedDecode, _ active: OrchestratedExchange) async throws {
        take(relayed, active, at: .now())
        // No other decode can follow: the answer has begun.
        active.letGo()
        var reply = Reply(.streamedHeaders(endOfStream: relayed.first == nil))
        for header in responseHead(relayed, isWhole: false) { reply.headers.set(header.name, header.value) }
        do {
            try await send(reply)
            if let rest = relayed.rest {
                try await passOn(relayed.first, rest)
            } else if let first = relayed.first {
                try await passOn(first, isLast: true)
            }
        } catch let failure as LegFailure {
            reportRelayed(relayed, failure.code.rawValue)
            if failure.code == .cancelled { throw RPCError(code: .cancelled, message: "the client hung up") }
            active.orchestrator.decodeEnded(relayed.order, failed: true)
            throw RelayBroken(reason: failure.code.rawValue)
        } catch {
            reportRelayed(relayed, LegFailure.Code.cancelled.rawValue)
            throw error
        }
        reportRelayed(relayed, record.status < 400 ? "ok" : "http_\(record.status)")
        if record.status < 400 { active.orchestrator.decodeEnded(relayed.order, failed: false) }
        finish()
        isAnswered = true
    }

    /// Collects an answer that can only be given as a whole.
    func whole(_ relayed: RelayedDecode, _ active: OrchestratedExchange) async throws -> ImmediateAnswer {
        take(relayed, active, at: .now())
        var collected = ByteBuffer()
        do {
            if let first = relayed.first { append(first, isLast: relayed.rest == nil, to: &collected) }
            if let rest = relayed.rest {
                while let piece = try await rest.next() {
                    append(piece, isLast: false, to: &collected)
                    guard collected.count <= limits.heldResponseBytes else {
                        throw LegFailure(.tooLarge, "response body exceeds \(limits.heldResponseBytes) bytes")
                    }
                }
                append(SharedBytes(ByteBuffer()), isLast: true, to: &collected)
            }
        } catch let failure as LegFailure {
            reportRelayed(relayed, failure.code.rawValue)
            if failure.code == .cancelled { throw RPCError(code: .cancelled, message: "the client hung up") }
            throw PickerError(.badGateway, "the decode's answer broke off: \(failure.code.rawValue)", fault: .upstream)
        }
        reportRelayed(relayed, record.status < 400 ? "ok" : "http_\(record.status)")
        endReading()
        reservation = nil
        concludeLegs(isDecoded: record.status < 400)
        return ImmediateAnswer(
            status: relayed.status,
            headers: responseHead(relayed, isWhole: true),
            body: SharedBytes(collected)
        )
    }

    /// The prefill's own answer, which is the request's: nothing was left to decode.
    func finalAnswer(_ body: SharedBytes) -> ImmediateAnswer {
        record.status = 200
        record.responseHeadersAt = MonotonicTime.now().nanoseconds
        var response = HeaderList()
        response.append("content-type", "application/json")
        beginReading(response)
        var collected = ByteBuffer()
        append(body, isLast: true, to: &collected)
        endReading()
        let head = [("content-type", "application/json"), (ControlHeaders.seen, "true")] + answer.headers
        return ImmediateAnswer(status: 200, headers: head, body: SharedBytes(collected))
    }

    private func take(_ relayed: RelayedDecode, _ active: OrchestratedExchange, at now: MonotonicTime) {
        active.order = relayed.order
        reservation = relayed.order.decode?.reservation.take()
        cachedTokens = relayed.order.cachedTokens
        record.status = relayed.status
        record.responseHeadersAt = now.nanoseconds
        if !(200..<300).contains(relayed.status) { record.errorCode = "ModelServerError" }
        var response = HeaderList()
        for header in relayed.headers { response.append(header.name, header.value) }
        beginReading(response)
    }

    /// The header fields of the client's response.
    private func responseHead(_ relayed: RelayedDecode, isWhole: Bool) -> [(name: String, value: String)] {
        var head: [(name: String, value: String)] = isWhole ? [] : [(":status", String(relayed.status))]
        head += ResponseFields.forwarded(relayed.headers)
        head.append((ControlHeaders.seen, "true"))
        head += answer.headers
        if !isWhole, let attempts = record.attempts { head.append((ControlHeaders.attempts, String(attempts))) }
        return head
    }

    // MARK: Pieces

    private func passOn(_ first: SharedBytes?, _ rest: any LegBody) async throws {
        // Somebody has to listen for the client while the endpoint is waited for.
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [call] in
                if await call.peerHasFinished() { rest.cancel() }
            }
            defer { group.cancelAll() }
            if let first { try await passOn(first, isLast: false) }
            while let piece = try await rest.next() { try await passOn(piece, isLast: false) }
            try await passOn(SharedBytes(ByteBuffer()), isLast: true)
        }
    }

    private func passOn(_ piece: SharedBytes, isLast: Bool) async throws {
        let arrivedAt = MonotonicTime.now()
        read(piece.bytes, at: arrivedAt)
        let edited = edited(piece.bytes, isLast: isLast)
        worked(since: arrivedAt)
        if let edited {
            try await send(Reply.streamedChunks(of: edited.count, isLast: isLast)) { $0(edited.bytes) }
        } else {
            try await send(Reply.streamedChunks(of: piece.count, isLast: isLast)) { $0(piece.bytes) }
        }
    }

    private func append(_ piece: SharedBytes, isLast: Bool, to collected: inout ByteBuffer) {
        read(piece.bytes, at: .now())
        if let edited = edited(piece.bytes, isLast: isLast) {
            collected.append(edited.bytes)
        } else {
            collected.append(piece.bytes)
        }
    }

    private func reportRelayed(_ relayed: RelayedDecode, _ outcome: String) {
        guard let endpoint = relayed.order.endpoint, let journal = orchestrated?.journal else { return }
        let nanoseconds = MonotonicTime.now().nanoseconds - relayed.startedAt.nanoseconds
        journal.ended(
            LegReport(
                stage: .decode,
                endpoint: endpoint.hostPort,
                attempt: relayed.attempt,
                outcome: outcome,
                seconds: Double(nanoseconds) / 1e9
            )
        )
    }
}

/// Which fields of a model server's response go on to the client when Apus passes the response on.
enum ResponseFields {
    /// Those that belong to one connection, or are written anew.
    private static let left: Set<String> = [
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade",
        "proxy-authenticate", "content-length",
    ]

    /// The fields that go along, their names in lower case. What is no field as HTTP has them would make the gateway refuse the whole
    /// response, so it is left out, and so is what the server means for its own connection. Fields of one name become one (RFC 9110 §5.3),
    /// since a gateway takes one of each; of `set-cookie`, which cannot be joined, it is the last.
    static func forwarded(_ fields: [(name: String, value: String)]) -> [(name: String, value: String)] {
        var named: Set<String> = []
        for field in fields where ASCII.equalsIgnoringCase(field.name, "connection") {
            for name in field.value.split(separator: ",") {
                named.insert(ASCII.lowercased(String(ASCII.trimmed(name))))
            }
        }
        var forwarded: [(name: String, value: String)] = []
        var places: [String: Int] = [:]
        for field in fields {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy(isTokenByte),
                field.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 })
            else { continue }
            let name = ASCII.lowercased(field.name)
            guard !left.contains(name), !named.contains(name) else { continue }
            guard let place = places[name] else {
                places[name] = forwarded.count
                forwarded.append((name, field.value))
                continue
            }
            if name == "set-cookie" { forwarded[place].value = "" } else { forwarded[place].value += ", " }
            forwarded[place].value += field.value
        }
        return forwarded
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}
