internal import Bytes
internal import CCurl
internal import Glibc

/// A started request as its owner holds it.
struct PendingRequest: Sendable {
    let handle: HTTPTransfer
    let request: HTTPRequest
    let onCompletion: HTTPCompletion
}

/// One easy handle of libcurl with what its callbacks need. Reused for one request after the other; used on the loop's thread only.
final class Transfer {
    /// More header bytes than any engine sends; a server that sends more is not heard out.
    private static let maxHeaderBytes = 64 << 10
    /// A body this long fits one read of the socket and stays allocated for the next request.
    private static let readSize = 64 << 10
    private static let maxKeptBytes = 256 << 10

    let easy: UnsafeMutableRawPointer
    private(set) var pending: PendingRequest?
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var fields: UnsafeMutablePointer<curl_slist>?
    private var body = ByteBuffer()
    private var headers: [HTTPField] = []
    private var headerBytes = 0
    private var sent = PiecedBytes.Position()
    /// What the handle is set to; nil before the first request over TLS.
    private var trust: TLSTrust?
    /// Why a callback of ours ended the transfer.
    private var abort: HTTPClientError?

    /// - Parameter sockets: the loop, handed to the callbacks that open and close sockets.
    init?(sockets: UnsafeMutableRawPointer) {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
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
            transfer.sent = position
            return CURL_SEEKFUNC_OK
        }
        set(CURLOPT_OPENSOCKETDATA, sockets)
        set(CURLOPT_CLOSESOCKETDATA, sockets)
        apus_easy_set_open(easy, EventLoop.openSocket)
        apus_easy_set_close(easy, EventLoop.closeSocket)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_BUFFERSIZE, Self.readSize)
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
        if let wanted = request.trust, wanted != trust {
            wanted.apply(to: easy)
            trust = wanted
        }
        prepareMethod(request)
        for field in request.headers {
            // libcurl reads "name:" as "leave this field out" and "name;" as an empty one.
            append(field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)")
        }
        if request.body != nil {
            append("Expect:")
            if !request.headers.contains(where: { ASCII.equalsIgnoringCase($0.name, "content-type") }) {
                append("Content-Type:")
            }
        }
        set(CURLOPT_HTTPHEADER, fields)
        set(CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.milliseconds)
        set(CURLOPT_TIMEOUT_MS, request.timeout.milliseconds)
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
        let limit = pending.request.maxResponseBytes
        guard count <= limit - body.count else {
            abort = HTTPClientError(.tooLarge, "response body exceeds \(limit) bytes", responseStarted: true)
            return 0
        }
        if body.isEmpty {
            let announced = Int(apus_easy_get_offset(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T))
            body.reserve(min(announced, limit, Self.maxKeptBytes))
        }
        body.append(RawSpan(_unsafeStart: UnsafeRawPointer(bytes), byteCount: count))
        return count
    }

    private func receiveHeader(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes, let pending else { return 0 }
        headerBytes += count
        guard headerBytes <= Self.maxHeaderBytes else {
            let message = "response header exceeds \(Self.maxHeaderBytes) bytes"
            abort = HTTPClientError(.badResponse, message, responseStarted: true)
            return 0
        }
        guard pending.request.wantsHeaders else { return count }
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        if line.utf8.starts(with: "HTTP/".utf8) {
            // The fields of an interim response are not those of the final one.
            headers.removeAll(keepingCapacity: true)
        } else if let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")) {
            let value = ASCII.trimmed(line[line.utf8.index(after: colon)...])
            headers.append(HTTPField(String(ASCII.trimmed(line[..<colon])), String(value)))
        }
        return count
    }

    private func fill(_ bytes: UnsafeMutablePointer<CChar>?, _ room: Int) -> Int {
        guard let bytes, let body = pending?.request.body else { return Int(CURL_READFUNC_ABORT) }
        return body.pieces.copy(from: &sent, into: UnsafeMutableRawBufferPointer(start: bytes, count: room))
    }

    // MARK: After

    /// Tells the request's owner how it ended, and makes the handle ready for another one.
    func complete(_ code: CURLcode) {
        if code == CURLE_OK {
            let head = HTTPResponseHead(
                status: apus_easy_get_long(easy, CURLINFO_RESPONSE_CODE),
                headers: headers,
                seconds: Double(apus_easy_get_offset(easy, CURLINFO_TOTAL_TIME_T)) / 1e6
            )
            pending?.onCompletion(.success(head), body.bytes)
        } else {
            pending?.onCompletion(.failure(error(code)), RawSpan())
        }
        reset()
    }

    /// The same for a request that libcurl did not end.
    func complete(_ error: HTTPClientError) {
        pending?.onCompletion(.failure(error), RawSpan())
        reset()
    }

    /// The same for what the caller or a shutdown ended.
    var responseStarted: Bool { headerBytes > 0 }

    private func reset() {
        pending = nil
        abort = nil
        headerBytes = 0
        sent = PiecedBytes.Position()
        errorText[0] = 0
        headers.removeAll()
        if fields != nil {
            set(CURLOPT_HTTPHEADER, nil)
            curl_slist_free_all(fields)
            fields = nil
        }
        if body.count > Self.maxKeptBytes { body.removeAll() } else { body.removeAllKeepingCapacity() }
    }

    private func error(_ code: CURLcode) -> HTTPClientError {
        if let abort { return abort }
        let text = errorText[0] == 0 ? String(cString: curl_easy_strerror(code)) : String(cString: errorText)
        return HTTPClientError(self.code(of: code), text, responseStarted: responseStarted)
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
        case CURLE_OPERATION_TIMEDOUT:
            // Set when the request is about to be sent, on a new connection and on a kept one.
            apus_easy_get_offset(easy, CURLINFO_PRETRANSFER_TIME_T) == 0 ? .connectTimeout : .timeout
        case CURLE_PARTIAL_FILE: .truncated
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR: .reset
        case CURLE_RECV_ERROR: body.isEmpty ? .reset : .truncated
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
