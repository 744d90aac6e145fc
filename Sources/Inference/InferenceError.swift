/// Why a request's body cannot be used. It is always the client's fault.
package struct InferenceError: Error, Equatable, Sendable {
    package enum Code: Sendable {
        /// 400.
        case badRequest
    }

    package let code: Code
    /// What follows `inference error: BadRequest - `.
    package let message: String

    package init(code: Code = .badRequest, message: String) {
        self.code = code
        self.message = message
    }

    static let modelNotFound = InferenceError(message: "model not found in request body")

    static func invalidJSON(_ error: JSONError) -> InferenceError {
        InferenceError(message: "error unmarshaling request bodyMap: \(error)")
    }

    static func duplicate(_ name: RequestMembers.Name) -> InferenceError {
        InferenceError(message: "error unmarshaling request bodyMap: duplicate member \"\(name.text)\"")
    }
}
