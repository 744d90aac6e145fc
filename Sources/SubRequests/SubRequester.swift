internal import Bytes

/// Makes sub-requests: requests to model servers on behalf of a client's, bounded in number, time and size.
///
/// Each is one attempt; whether there is another is the caller's business. Cancelling the task that waits closes the connection, so that the model
/// server notices.
package final class SubRequester: Sendable {
    package let limits: SubRequestLimits
    private let client: HTTPClient
    private let current: Lock<SubRequesterSettings>

    package init(client: HTTPClient, settings: SubRequesterSettings = SubRequesterSettings()) {
        self.client = client
        current = Lock(settings)
        limits = SubRequestLimits(maxConcurrent: settings.maxConcurrent, maxPerEndpoint: settings.maxPerEndpoint)
    }

    package var settings: SubRequesterSettings { current.withLock { $0 } }

    /// Sets what holds for sub-requests from now on.
    package func update(_ settings: SubRequesterSettings) {
        current.withLock { $0 = settings }
        limits.update(maxConcurrent: settings.maxConcurrent, maxPerEndpoint: settings.maxPerEndpoint)
    }

    /// Whether a request with these fields is a sub-request that may have none of its own.
    package func isTooDeep(_ headers: ForwardedHeaders) -> Bool {
        headers.depth >= settings.maxDepth
    }

    // MARK: Whole answers

    /// Sends the request and waits for the whole answer.
    package func send(_ request: SubRequest) async -> SubRequestOutcome {
        do {
            return await send(
                request,
                holding: try limits.acquire(request.target.authority, isUrgent: request.isUrgent)
            )
        } catch {
            return .failed(.noPermit(error, request.target))
        }
    }

    /// The same with a permit that the caller has.
    package func send(_ request: SubRequest, holding permit: consuming SubRequestPermit) async -> SubRequestOutcome {
        // Given back when the answer is there, not before.
        let permit = permit
        let start = MonotonicTime.now()
        let time: Attempt
        do {
            time = try attempt(request, start)
        } catch {
            return .failed(error)
        }
        let outcome: SubRequestOutcome
        do throws(HTTPClientError) {
            let (head, body) = try await client.fetch(time.request)
            let response = SubRequestResponse(head: head, body: body)
            outcome = (200..<300).contains(head.status) ? .ok(response) : .failed(.status(response, since: start))
        } catch {
            let seconds = MonotonicTime.now().seconds(since: start)
            outcome = .failed(SubRequestFailure(error, isLastMoment: time.isLastMoment, seconds: seconds))
        }
        _ = consume permit
        return outcome
    }

    // MARK: Streamed answers

    /// Sends the request and waits for the head of the answer. An answer that is no success is read whole.
    package func open(_ request: SubRequest) async -> SubRequestOpening {
        do {
            return await open(
                request,
                holding: try limits.acquire(request.target.authority, isUrgent: request.isUrgent)
            )
        } catch {
            return .failed(.noPermit(error, request.target))
        }
    }

    /// The same with a permit that the caller has; the stream holds it until its end.
    package func open(_ request: SubRequest, holding permit: consuming SubRequestPermit) async -> SubRequestOpening {
        let permit = permit
        let start = MonotonicTime.now()
        let time: Attempt
        do {
            time = try attempt(request, start)
        } catch {
            return .failed(error)
        }
        let settings = settings
        let limits = HTTPStreamLimits(
            headTimeout: time.request.timeout,
            idleTimeout: request.idleTimeout,
            maxResponseBytes: request.maxResponseBytes,
            window: settings.streamWindow
        )
        do throws(HTTPClientError) {
            let stream = try await client.open(time.request, limits: limits)
            if (200..<300).contains(stream.head.status) { return .open(SubRequestStream(stream, permit, start)) }
            stream.end(at: start + time.request.timeout)
            let most =
                (400..<500).contains(stream.head.status) ? time.request.maxResponseBytes : settings.maxErrorBytes
            let (bytes, isCut) = try await stream.collect(upTo: most)
            var head = stream.head
            head.isCut = isCut
            let response = SubRequestResponse(head: head, body: SharedBytes(ByteBuffer(copying: bytes)))
            return .failed(.status(response, since: start))
        } catch {
            let seconds = MonotonicTime.now().seconds(since: start)
            return .failed(SubRequestFailure(error, isLastMoment: time.isLastMoment, seconds: seconds))
        }
    }

    // MARK: One attempt

    private struct Attempt {
        var request: HTTPRequest
        /// Whether its time is what all sub-requests together have left.
        var isLastMoment: Bool
    }

    private func attempt(_ request: SubRequest, _ now: MonotonicTime) throws(SubRequestFailure) -> Attempt {
        let settings = settings
        let left = request.deadline.elapsed(since: now)
        guard left > .zero else { throw .outOfTime }
        guard request.target.isValid, request.path.utf8.first == UInt8(ascii: "/") else {
            throw SubRequestFailure(.refused, "no address: \(request.target)\(request.path)")
        }
        guard !isTooDeep(request.forwarded) else {
            throw SubRequestFailure(.refused, "a sub-request of a sub-request: \(request.forwarded.depth) deep")
        }
        let (own, forwarded) = headers(request)
        let bytes = own.reduce(forwarded.byteCount) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        guard bytes <= settings.maxHeaderBytes else {
            let message = "header fields of \(bytes) bytes exceed \(settings.maxHeaderBytes)"
            throw SubRequestFailure(.refused, message)
        }
        let trust = request.isPlain ? nil : settings.trust
        var plain = HTTPRequest(
            method: request.method,
            url: (trust == nil ? "http://" : "https://") + request.target.authority + request.path,
            headers: own,
            body: request.body,
            connectTimeout: min(settings.connectTimeout, left),
            timeout: min(request.timeout, left),
            maxResponseBytes: request.maxResponseBytes ?? settings.maxResponseBytes,
            trust: trust
        )
        plain.forwarded = forwarded
        plain.maxErrorBytes = settings.maxErrorBytes
        plain.maySendAgain = request.maySendAgain
        return Attempt(request: plain, isLastMoment: left <= request.timeout)
    }

    private func headers(_ request: SubRequest) -> ([HTTPField], ForwardedHeaders) {
        var own = request.extraHeaders
        own.append(HTTPField(ForwardedHeaders.requestIDName, request.requestID))
        if let attempt = request.attempt { own.append(HTTPField("X-Processor-Attempt", String(attempt))) }
        own.append(HTTPField(ForwardedHeaders.depthName, String(request.forwarded.depth + 1)))
        var forwarded = request.forwarded
        if let traceparent = request.traceparent {
            own.append(HTTPField("traceparent", traceparent))
            if forwarded.traceparent.map(TraceID.init) != TraceID(traceparent) { forwarded.remove("tracestate") }
        }
        return (own, forwarded)
    }

    /// The second part of a `traceparent`.
    private struct TraceID: Equatable {
        let text: Substring

        init(_ traceparent: String) {
            let parts = traceparent.split(separator: "-", maxSplits: 2)
            text = parts.count > 1 ? parts[1] : ""
        }
    }
}

extension SubRequestFailure {
    fileprivate static func noPermit(_ missing: NoPermit, _ target: SubRequestTarget) -> SubRequestFailure {
        let message =
            switch missing {
            case .overall: "too many sub-requests under way"
            case .endpoint: "too many sub-requests under way to \(target)"
            }
        var failure = SubRequestFailure(.noPermit, message)
        failure.missingPermit = missing
        return failure
    }

    fileprivate static var outOfTime: SubRequestFailure {
        var failure = SubRequestFailure(.timeout, "no time left for another sub-request")
        failure.isDeadline = true
        return failure
    }

    fileprivate static func status(_ response: SubRequestResponse, since start: MonotonicTime) -> SubRequestFailure {
        var failure = SubRequestFailure(.http(response.status), "status \(response.status)")
        failure.response = response
        failure.responseStarted = true
        failure.seconds = MonotonicTime.now().seconds(since: start)
        return failure
    }
}
