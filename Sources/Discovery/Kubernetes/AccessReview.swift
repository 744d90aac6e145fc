internal import Bytes
internal import Inference

/// Asks the API who a bearer token belongs to and whether they may read a path, and remembers the answers for a while.
package final class AccessReview: Sendable {
    package enum Verdict: Sendable, Equatable {
        case allowed
        /// Nobody is known by this token.
        case unauthenticated
        case forbidden(user: String)
        /// The API could not be asked.
        case unknown(String)
    }

    /// What is worth a line in a log; repetitions are not told.
    package enum Event: Sendable, Equatable {
        /// A user may not read a path; told once for as long as that is so.
        case refused(user: String, path: String)
        /// The API does not answer, or more is asked than it can answer. Told once, until it does again.
        case failing(String)
        case recovered
    }

    package struct Lifetimes: Sendable {
        package var authenticated = Duration.seconds(60)
        package var unauthenticated = Duration.seconds(10)
        package var allowed = Duration.seconds(300)
        package var forbidden = Duration.seconds(30)

        package init() {}
    }

    /// The user of a token, with the parts that are passed on as JSON.
    private struct User: Hashable {
        var name: String
        var uid: String
        var groups: [UInt8]
        var extra: [UInt8]
    }

    private struct Question: Hashable {
        let user: User
        let path: String
    }

    private struct State {
        var users: [String: (user: User?, until: MonotonicTime)] = [:]
        var permissions: [Question: (isAllowed: Bool, until: MonotonicTime)] = [:]
        var asking = 0
        var isFailing = false
        /// Whether somebody was turned away since nothing was being asked.
        var isCrowded = false
    }

    /// More answers than readers of metrics have tokens; what a stranger sends must not fill the memory.
    private static let maxAnswers = 1024
    private static let maxTokenBytes = 16 << 10
    /// More questions at once are not asked: they would only wait.
    private static let maxAsking = 32

    private let client: KubernetesClient
    private let lifetimes: Lifetimes
    private let onEvent: @Sendable (Event) -> Void
    private let state = Lock(State())

    /// - Parameters:
    ///   - client: its pace bounds the questions, so it should be one of their own.
    ///   - onEvent: must not block; calls may overlap.
    package init(
        _ client: KubernetesClient,
        lifetimes: Lifetimes = Lifetimes(),
        onEvent: @escaping @Sendable (Event) -> Void = { _ in }
    ) {
        self.client = client
        self.lifetimes = lifetimes
        self.onEvent = onEvent
    }

    /// What to answer somebody who sends this `authorization` field, or none, and wants to GET `path`.
    package func verdict(authorization: String?, path: String) async -> Verdict {
        guard let authorization, authorization.utf8.count <= Self.maxTokenBytes,
            ASCII.lowercased(String(authorization.prefix(7))) == "bearer "
        else { return .unauthenticated }
        let token = String(ASCII.trimmed(authorization.dropFirst(7)))
        guard !token.isEmpty else { return .unauthenticated }
        // Whoever is known waits for nobody, however many strangers ask.
        if let known = remembered(token: token, path: path) { return known }
        let isFree = state.withLock { state in
            guard state.asking < Self.maxAsking else { return false }
            state.asking += 1
            return true
        }
        guard isFree else {
            let problem = "too many questions at once"
            if !state.withLock({ exchange(&$0.isCrowded, with: true) }) { onEvent(.failing(problem)) }
            return .unknown(problem)
        }
        defer {
            let isQuiet = state.withLock { state in
                state.asking -= 1
                return state.asking == 0 && exchange(&state.isCrowded, with: false)
            }
            if isQuiet { onEvent(.recovered) }
        }
        do {
            guard let user = try await user(of: token) else { return .unauthenticated }
            let question = Question(user: user, path: path)
            return Self.verdict(question, isAllowed: try await mayRead(question))
        } catch {
            if !state.withLock({ exchange(&$0.isFailing, with: true) }) { onEvent(.failing(error.message)) }
            return .unknown(error.message)
        }
    }

    /// The verdict, as far as answers that still count tell it.
    private func remembered(token: String, path: String) -> Verdict? {
        let now = MonotonicTime.now()
        return state.withLock { state in
            guard let known = state.users[token], known.until > now else { return nil }
            guard let user = known.user else { return .unauthenticated }
            let question = Question(user: user, path: path)
            guard let permission = state.permissions[question], permission.until > now else { return nil }
            return Self.verdict(question, isAllowed: permission.isAllowed)
        }
    }

    private static func verdict(_ question: Question, isAllowed: Bool) -> Verdict {
        isAllowed ? .allowed : .forbidden(user: question.user.name)
    }

    private func user(of token: String) async throws(KubernetesError) -> User? {
        let now = MonotonicTime.now()
        if let known = state.withLock({ $0.users[token] }), known.until > now { return known.user }
        let answer = try await post(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            kind: "TokenReview",
            group: "authentication.k8s.io",
            spec: Array(#"{"token":"#.utf8) + JSONValue.quoted(token) + Array("}".utf8)
        )
        let status = answer["status"]?.members("authenticated", "user") ?? [nil, nil]
        var user: User?
        if status[0]?.bool == true, let node = status[1] {
            let members = node.members("username", "uid", "groups", "extra")
            user = User(
                name: members[0]?.string ?? "",
                uid: members[1]?.string ?? "",
                groups: members[2].map { Array($0.bytes[$0.range]) } ?? Array("[]".utf8),
                extra: members[3].map { Array($0.bytes[$0.range]) } ?? Array("{}".utf8)
            )
        }
        state.withLock { state in
            state.users = Self.room(in: state.users, at: now) { $0.until }
            state.users[token] = (user, now + (user == nil ? lifetimes.unauthenticated : lifetimes.authenticated))
        }
        return user
    }

    private func mayRead(_ question: Question) async throws(KubernetesError) -> Bool {
        let now = MonotonicTime.now()
        if let known = state.withLock({ $0.permissions[question] }), known.until > now { return known.isAllowed }
        var spec = Array(#"{"user":"#.utf8) + JSONValue.quoted(question.user.name)
        spec += Array(#","uid":"#.utf8) + JSONValue.quoted(question.user.uid)
        spec += Array(#","groups":"#.utf8) + question.user.groups + Array(#","extra":"#.utf8) + question.user.extra
        spec += Array(#","nonResourceAttributes":{"verb":"get","path":"#.utf8) + JSONValue.quoted(question.path)
        spec += Array("}}".utf8)
        let answer = try await post(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            kind: "SubjectAccessReview",
            group: "authorization.k8s.io",
            spec: spec
        )
        let isAllowed = answer["status"]?["allowed"]?.bool == true
        let isNews = state.withLock { state in
            let before = state.permissions[question]?.isAllowed
            state.permissions = Self.room(in: state.permissions, at: now) { $0.until }
            state.permissions[question] = (isAllowed, now + (isAllowed ? lifetimes.allowed : lifetimes.forbidden))
            return before != isAllowed
        }
        if isNews, !isAllowed { onEvent(.refused(user: question.user.name, path: question.path)) }
        return isAllowed
    }

    private func post(_ path: String, kind: String, group: String, spec: [UInt8]) async throws(KubernetesError)
        -> JSONNode
    {
        let head = #"{"apiVersion":"\#(group)/v1","kind":"\#(kind)","spec":"#
        let body = try await client.call("POST", path, body: Array(head.utf8) + spec + Array("}".utf8))
        guard let tree = try? JSONTree(body) else { throw KubernetesError(.malformed, "\(path): no JSON") }
        if state.withLock({ exchange(&$0.isFailing, with: false) }) { onEvent(.recovered) }
        return tree.root
    }

    /// The answers that still count, none of them when even these are too many.
    private static func room<Key, Value>(
        in answers: [Key: Value],
        at now: MonotonicTime,
        _ until: (Value) -> MonotonicTime
    ) -> [Key: Value] {
        guard answers.count >= maxAnswers else { return answers }
        let valid = answers.filter { until($0.value) > now }
        return valid.count >= maxAnswers ? [:] : valid
    }
}
