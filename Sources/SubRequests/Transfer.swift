internal import Bytes
internal import CCurl
internal import Glibc

/// A started request as its owner holds it.
///
/// Thread rule: `request` is the event loop's own once the request has been given to it.
final class PendingRequest: @unchecked Sendable {
    let handle: HTTPTransfer
    var request: HTTPRequest
    let receiver: ResponseReceiver

    init(handle: HTTPTransfer, request: HTTPRequest, receiver: ResponseReceiver) {
        self.handle = handle
        self.request = request
        self.receiver = receiver
    }

    func fail(_ error: HTTPClientError) {
        switch receiver {
        case .lending(let onCompletion): onCompletion(.failure(error), RawSpan())
        case .giving(let onCompletion): onCompletion(.failure(error))
        case .streaming(let buffer): buffer.finish(.failure(error))
        }
    }
}

/// Who takes the response.
enum ResponseReceiver: Sendable {
    /// Lends the body for the call.
    case lending(HTTPCompletion)
    /// Gives the body away.
    case giving(@Sendable (Result<(HTTPResponseHead, SharedBytes), HTTPClientError>) -> Void)
    case streaming(StreamBuffer)
}

/// One easy handle of libcurl with what its callbacks need. Reused for one request after the other; used on the loop's thread only.
final class Transfer {
    /// More header bytes than any engine sends; a server that sends more is not heard out.
    private static let maxHeaderBytes = 64 << 10
    /// A body this long fits one read of the socket and stays allocated for the next request.
    private static let readSize = 64 << 10
    private static let maxKeptBytes = 256 << 10
    /// What libcurl sends in one piece. It keeps a buffer of this size until the response is there, for every request under way.
    private static let sendSize = 16 << 10
    /// The same for reading, where a request has a body: thousands of those may wait for their answers at once.
    private static let waitingReadSize = 4 << 10
    /// A shorter body is copied rather than given away with the room around it.
    private static let leastGivenBytes = 16 << 10

    let easy: UnsafeMutableRawPointer
    /// The loop, as the callbacks get it.
    private let loop: UnsafeMutableRawPointer
    private(set) var pending: PendingRequest?
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var fields: UnsafeMutablePointer<curl_slist>?
    private var connectTo: UnsafeMutablePointer<curl_slist>?
    private var body = ByteBuffer()
    private var headers: [HTTPField] = []
    private var headerBytes = 0
    private var sent = PiecedBytes.Position()
    /// A short body in one piece, which libcurl sends together with the header: one system call and one packet less.
    private var shortBody = ByteBuffer()
    private var timesSentAgain = 0
    /// Something of the body went out: whatever comes after, a server may have had the request.
    private var hasSent = false
    private var startedAt = MonotonicTime(nanoseconds: 0)
    /// Of a streamed response: bytes of its body so far, those behind its head included that nobody waits for any more.
    private var receivedBytes = 0
    /// Whether the head has come to its end.
    private var hasHead = false
    private var isHeadGiven = false
    private var isCut = false
    private(set) var isPaused = false
    private(set) var deadlines = StreamDeadlines()
    /// What the handle is set to; nil before the first request over TLS.
    private var trust: TLSTrust?
    /// Whether another request may have the handle. libcurl keeps what it was about to do in one that ended badly: the next request would
    /// begin by sending its body again.
    private(set) var isReusable = true
    /// Why a callback of ours ended the transfer.
    private var abort: HTTPClientError?

    /// - Parameter loop: the event loop, which owns this and outlives it.
    init?(loop: UnsafeMutableRawPointer) {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        self.loop = loop
        errorText[0] = 0
        let context = Unmanaged.passUnretained(self).toOpaque()
        set(CURLOPT_PRIVATE, context)
        set(CURLOPT_ERRORBUFFER, errorText)
        set(CURLOPT_WRITEDATA, context)
        set(CURLOPT_HEADERDATA, context)
        set(CURLOPT_READDATA, context)
        set(CURLOPT_SEEKDATA, context)
        apus_easy_set_transfer(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            Transfer.from(context)?.receive(bytes, size * count) ?? 0
        }
        apus_easy_set_transfer(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            Transfer.from(context)?.receiveHeader(bytes, size * count) ?? 0
        }
        apus_easy_set_transfer(easy, CURLOPT_READFUNCTION) { bytes, size, count, context in
            Transfer.from(context)?.fill(bytes, size * count) ?? Int(CURL_READFUNC_ABORT)
        }
        apus_easy_set_seek(easy) { context, offset, origin in
            guard origin == SEEK_SET, let transfer = Transfer.from(context) else { return CURL_SEEKFUNC_CANTSEEK }
            guard let position = transfer.pending?.request.body?.pieces.position(at: Int(offset)) else {
                return CURL_SEEKFUNC_CANTSEEK
            }
            return transfer.rewind(to: position)
        }
        set(CURLOPT_PREREQDATA, context)
        apus_easy_set_before(easy) { context, _, _, _, _ in
            Transfer.from(context)?.willSend() ?? CURL_PREREQFUNC_ABORT
        }
        set(CURLOPT_OPENSOCKETDATA, loop)
        set(CURLOPT_CLOSESOCKETDATA, loop)
        apus_easy_set_open(easy, EventLoop.openSocket)
        apus_easy_set_close(easy, EventLoop.closeSocket)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_UPLOAD_BUFFERSIZE, Self.sendSize)
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        set(CURLOPT_PATH_AS_IS, 1)
        // An empty proxy also means: not the environment's.
        "".withCString { set(CURLOPT_PROXY, $0) }
        "http,https".withCString { set(CURLOPT_PROTOCOLS_STR, $0) }
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(fields)
        curl_slist_free_all(connectTo)
        errorText.deallocate()
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> Transfer? {
        context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: Before

    /// Prepares the handle for a request whose `problem` is nil.
    func prepare(_ pending: PendingRequest) {
        self.pending = pending
        let request = pending.request
        request.url.withCString { set(CURLOPT_URL, $0) }
        set(CURLOPT_BUFFERSIZE, request.body == nil ? Self.readSize : Self.waitingReadSize)
        if let wanted = request.trust, wanted != trust {
            wanted.apply(to: easy)
            trust = wanted
        }
        if let rule = request.connectTo {
            connectTo = curl_slist_append(nil, rule)
            set(CURLOPT_CONNECT_TO, connectTo)
        }
        prepareMethod(request)
        prepareBody(pending)
        prepareHeaders(request)
        set(CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.milliseconds)
        if case .streaming(let buffer) = pending.receiver {
            startedAt = .now()
            deadlines = StreamDeadlines(buffer.limits, startedAt: startedAt)
            set(CURLOPT_TIMEOUT_MS, 0)
        } else {
            set(CURLOPT_TIMEOUT_MS, request.timeout.milliseconds)
        }
    }

    private func prepareMethod(_ request: HTTPRequest) {
        switch (request.method, request.body) {
        case ("GET", nil):
            set(CURLOPT_HTTPGET, 1)
            set(CURLOPT_CUSTOMREQUEST, nil)
        case ("HEAD", nil):
            set(CURLOPT_NOBODY, 1)
            set(CURLOPT_CUSTOMREQUEST, nil)
        case (let method, nil):
            set(CURLOPT_HTTPGET, 1)
            method.withCString { set(CURLOPT_CUSTOMREQUEST, $0) }
        case (let method, let body?):
            set(CURLOPT_POST, 1)
            apus_easy_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
            method.withCString { set(CURLOPT_CUSTOMREQUEST, $0) }
        }
    }

    private func prepareBody(_ pending: PendingRequest) {
        guard let body = pending.request.body else { return }
        // How much of a short one went out nobody can say, so it is not for what must not be sent again.
        guard pending.request.maySendAgain, (1...Self.sendSize).contains(body.count) else {
            return set(CURLOPT_POSTFIELDS, nil)
        }
        shortBody = body.pieces.joined()
        shortBody.withUnsafeBytes { set(CURLOPT_POSTFIELDS, $0.baseAddress) }
        pending.request.body = nil
    }

    private func prepareHeaders(_ request: HTTPRequest) {
        for field in request.headers {
            // libcurl reads "name:" as "leave this field out" and "name;" as an empty one.
            let isEmpty = field.value.utf8.allSatisfy(ASCII.isWhitespace)
            append(isEmpty ? "\(field.name);" : "\(field.name): \(field.value)")
        }
        if let forwarded = request.forwarded {
            forwarded.text.withUnsafeBytes { text in
                for line in forwarded.lines where !request.headers.contains(where: { forwarded.isNamed(line, $0.name) })
                {
                    guard let start = text.baseAddress else { continue }
                    let text = (start + line.start).assumingMemoryBound(to: CChar.self)
                    if let grown = curl_slist_append(fields, text) { fields = grown }
                }
            }
        }
        if request.body != nil {
            append("Expect:")
            let hasType =
                request.forwarded?.contains("content-type") == true
                || request.headers.contains { ASCII.equalsIgnoringCase($0.name, "content-type") }
            if !hasType { append("Content-Type:") }
        }
        set(CURLOPT_HTTPHEADER, fields)
    }

    private func append(_ line: String) {
        if let grown = curl_slist_append(fields, line) { fields = grown }
    }

    private func set(_ option: CURLoption, _ value: Int) {
        apus_easy_set_long(easy, option, value)
    }

    private func set(_ option: CURLoption, _ value: UnsafeRawPointer?) {
        apus_easy_set_pointer(easy, option, value)
    }

    // MARK: During

    private func receive(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes, let pending else { return 0 }
        let span = UnsafeRawBufferPointer(start: bytes, count: count)
        if case .streaming(let buffer) = pending.receiver { return receive(span, buffer) }
        let limit = limit(pending.request)
        let room = limit - body.count
        if body.isEmpty {
            let announced = Int(apus_easy_get_offset(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T))
            body.reserve(min(announced, limit, Self.maxKeptBytes))
        }
        body.append(RawSpan(_unsafeStart: UnsafeRawPointer(bytes), byteCount: min(count, room)))
        if count <= room { return count }
        if pending.request.maxErrorBytes != nil, apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE) >= 300 {
            isCut = true
        } else {
            abort = tooLarge(limit)
        }
        return 0
    }

    private func receive(_ bytes: UnsafeRawBufferPointer, _ buffer: StreamBuffer) -> Int {
        if let limit = buffer.limits.maxResponseBytes, bytes.count > limit - receivedBytes {
            abort = tooLarge(limit)
            return 0
        }
        guard buffer.append(bytes) else {
            isPaused = true
            deadlines.pause()
            return Int(CURL_WRITEFUNC_PAUSE)
        }
        receivedBytes += bytes.count
        deadlines.progress(.now())
        return bytes.count
    }

    private func limit(_ request: HTTPRequest) -> Int {
        guard let most = request.maxErrorBytes else { return request.maxResponseBytes }
        let status = apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE)
        return (200..<300).contains(status) || (400..<500).contains(status)
            ? request.maxResponseBytes : min(most, request.maxResponseBytes)
    }

    private func tooLarge(_ limit: Int) -> HTTPClientError {
        HTTPClientError(.tooLarge, "response body exceeds \(limit) bytes", responseStarted: true)
    }

    /// Takes from the socket again. Brings what libcurl has at once.
    func resume() {
        guard isPaused else { return }
        isPaused = false
        deadlines.progress(.now())
        curl_easy_pause(easy, CURLPAUSE_CONT)
    }

    private func receiveHeader(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes, let pending else { return 0 }
        headerBytes += count
        guard headerBytes <= Self.maxHeaderBytes else {
            let message = "response header exceeds \(Self.maxHeaderBytes) bytes"
            abort = HTTPClientError(.badResponse, message, responseStarted: true)
            return 0
        }
        let isEnd = count <= 2 && (bytes[0] == 0x0D || bytes[0] == 0x0A)
        if isEnd, !hasHead { hasHead = apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE) >= 200 }
        let buffer: StreamBuffer? = if case .streaming(let buffer) = pending.receiver { buffer } else { nil }
        guard pending.request.wantsHeaders || buffer != nil else { return count }
        let line = RawSpan(_unsafeStart: bytes, byteCount: count)
        if isEnd {
            if let buffer, hasHead { finishHead(buffer) }
        } else if line.starts(with: "HTTP/"), !hasHead {
            // The fields of an interim response are not those of the final one.
            headers.removeAll(keepingCapacity: true)
        } else if let colon = line.firstOffset(of: UInt8(ascii: ":")) {
            headers.append(HTTPField(Self.text(line, 0..<colon), Self.text(line, colon + 1..<count)))
        }
        return count
    }

    /// A part of a line without the white space around it. A field's value is bytes: what is no UTF-8 is taken for the older Latin-1, of
    /// which nothing gets lost.
    private static func text(_ line: RawSpan, _ part: Range<Int>) -> String {
        var (start, end) = (part.lowerBound, part.upperBound)
        while start < end, ASCII.isWhitespace(line[start]) { start += 1 }
        while start < end, ASCII.isWhitespace(line[end - 1]) { end -= 1 }
        return line.extracting(start..<end).withUnsafeBytes { bytes in
            String(validating: bytes, as: UTF8.self)
                ?? String(String.UnicodeScalarView(bytes.lazy.map { Unicode.Scalar($0) }))
        }
    }

    private func finishHead(_ buffer: StreamBuffer) {
        guard !isHeadGiven else { return }
        isHeadGiven = true
        let status = apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE)
        let now = MonotonicTime.now()
        deadlines.headEnded(now)
        EventLoop.deadlinesChanged(loop, deadlines.next)
        buffer.begin(HTTPResponseHead(status: status, headers: headers, seconds: now.seconds(since: startedAt)))
        // What comes from now on are trailers.
        headers.removeAll()
        // The answer may take minutes, and what was sent whole is not sent again.
        if let body = pending?.request.body, body.pieces.position(at: body.count) == sent {
            pending?.request.body = nil
        }
    }

    func end(at time: MonotonicTime) {
        deadlines.end(at: time)
    }

    /// libcurl is about to send the request; again, if the kept connection turned out to have ended.
    private func willSend() -> Int32 {
        guard shortBody.count > 0 else { return CURL_PREREQFUNC_OK }
        guard hasSent else {
            hasSent = true
            return CURL_PREREQFUNC_OK
        }
        return maySendAgain() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
    }

    /// libcurl sends the body again from there: on a new connection, since the kept one turned out to have ended.
    private func rewind(to position: PiecedBytes.Position) -> Int32 {
        guard maySendAgain() else { return CURL_SEEKFUNC_FAIL }
        sent = position
        return CURL_SEEKFUNC_OK
    }

    private func maySendAgain() -> Bool {
        timesSentAgain += 1
        if let pending, pending.request.maySendAgain, timesSentAgain == 1 { return true }
        abort = HTTPClientError(.reset, "the kept connection ended before a response came")
        return false
    }

    private func fill(_ bytes: UnsafeMutablePointer<CChar>?, _ room: Int) -> Int {
        guard let bytes, let body = pending?.request.body else { return Int(CURL_READFUNC_ABORT) }
        hasSent = true
        return body.pieces.copy(from: &sent, into: UnsafeMutableRawBufferPointer(start: bytes, count: room))
    }

    // MARK: After

    /// Tells the request's owner how it ended, and makes the handle ready for another one.
    func complete(_ code: CURLcode) {
        guard code == CURLE_OK || isCut else { return complete(error(code)) }
        // libcurl takes a head without an end for a whole response.
        guard hasHead else {
            let message = "the connection ended within the response's head"
            return complete(HTTPClientError(.truncated, message, responseStarted: true))
        }
        if let pending {
            switch pending.receiver {
            case .lending(let onCompletion): onCompletion(.success(head), body.bytes)
            case .giving(let onCompletion): onCompletion(.success((head, given())))
            case .streaming(let buffer): buffer.finish(.success(headers))
            }
        }
        reset()
    }

    /// The same for a request that libcurl did not end.
    func complete(_ error: HTTPClientError) {
        isReusable = false
        pending?.fail(error)
        reset()
    }

    private var head: HTTPResponseHead {
        var head = HTTPResponseHead(
            status: apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE),
            headers: headers,
            seconds: Double(apus_easy_get_offset(easy, CURLINFO_TOTAL_TIME_T)) / 1e6
        )
        head.isCut = isCut
        return head
    }

    /// The body, for good.
    private func given() -> SharedBytes {
        if body.count >= Self.leastGivenBytes { return SharedBytes(body.take()) }
        return body.withUnsafeBytes { SharedBytes(ByteBuffer(copying: $0)) }
    }

    /// Makes the handle ready for another request; the owner of this one is told otherwise.
    func abandon() {
        reset()
    }

    /// What a request comes to whose time is over by `deadlines`.
    var timeoutError: HTTPClientError {
        let what = hasHead ? "the response made no progress or did not end in time" : "no response head in time"
        return HTTPClientError(timeoutCode, what, responseStarted: responseStarted)
    }

    private var timeoutCode: HTTPClientError.Code {
        // Set when the request is about to be sent, on a new connection and on a kept one.
        apus_easy_get_offset(easy, CURLINFO_PRETRANSFER_TIME_T) == 0 && !hasSent ? .connectTimeout : .timeout
    }

    /// The same for what the caller or a shutdown ended.
    var responseStarted: Bool { headerBytes > 0 }

    private func reset() {
        // libcurl counts over a handle's whole life how often it sent again, and gives up at the fifth time.
        if timesSentAgain > 0 { isReusable = false }
        pending = nil
        abort = nil
        headerBytes = 0
        sent = PiecedBytes.Position()
        timesSentAgain = 0
        hasSent = false
        receivedBytes = 0
        hasHead = false
        isHeadGiven = false
        isCut = false
        isPaused = false
        deadlines = StreamDeadlines()
        errorText[0] = 0
        headers.removeAll()
        if shortBody.count > 0 {
            set(CURLOPT_POSTFIELDS, nil)
            shortBody = ByteBuffer()
        }
        if fields != nil {
            set(CURLOPT_HTTPHEADER, nil)
            curl_slist_free_all(fields)
            fields = nil
        }
        if connectTo != nil {
            set(CURLOPT_CONNECT_TO, nil)
            curl_slist_free_all(connectTo)
            connectTo = nil
        }
        if body.count > Self.maxKeptBytes { body.removeAll() } else { body.removeAllKeepingCapacity() }
    }

    private func error(_ code: CURLcode) -> HTTPClientError {
        if let abort { return abort }
        let text = errorText[0] == 0 ? String(cString: curl_easy_strerror(code)) : String(cString: errorText)
        let error = HTTPClientError(self.code(of: code), text, responseStarted: responseStarted)
        // It went out over a kept connection, which ended; that no other could be made does not undo it.
        guard hasSent, error.isConnectFailure else { return error }
        return HTTPClientError(.reset, "the kept connection ended before a response came: \(text)")
    }

    private func code(of code: CURLcode) -> HTTPClientError.Code {
        switch code {
        case CURLE_COULDNT_CONNECT:
            switch Int32(truncatingIfNeeded: apus_easy_get_long(easy, CURLINFO_OS_ERRNO)) {
            case ECONNREFUSED: .refused
            case ETIMEDOUT: .connectTimeout
            case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: .failed
            default: .unreachable
            }
        case CURLE_COULDNT_RESOLVE_HOST: .unresolved
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ISSUER_ERROR: .untrusted
        case CURLE_SSL_CONNECT_ERROR: .handshake
        case CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER: .badTrust
        case CURLE_OPERATION_TIMEDOUT: timeoutCode
        case CURLE_PARTIAL_FILE: .truncated
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR: .reset
        case CURLE_RECV_ERROR: responseStarted ? .truncated : .reset
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING, CURLE_WRITE_ERROR:
            .badResponse
        case CURLE_URL_MALFORMAT, CURLE_LOGIN_DENIED: .badRequest
        default: .failed
        }
    }
}

extension Duration {
    /// Whole milliseconds, at least 1 (libcurl reads 0 as "no limit").
    fileprivate var milliseconds: Int {
        max(1, Int(clamping: nanoseconds / 1_000_000))
    }
}
