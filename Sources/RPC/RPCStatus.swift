/// How a call ended: one of gRPC's seventeen codes and a text for people.
package struct RPCStatus: Sendable, Hashable, CustomStringConvertible {
    /// A gRPC status code. A struct, not an enum: codes of the future pass through unharmed.
    package struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        package let rawValue: Int32

        package init(rawValue: Int32) {
            self.rawValue = rawValue
        }

        package static let ok = Code(rawValue: 0)
        package static let cancelled = Code(rawValue: 1)
        package static let unknown = Code(rawValue: 2)
        package static let invalidArgument = Code(rawValue: 3)
        package static let deadlineExceeded = Code(rawValue: 4)
        package static let notFound = Code(rawValue: 5)
        package static let alreadyExists = Code(rawValue: 6)
        package static let permissionDenied = Code(rawValue: 7)
        package static let resourceExhausted = Code(rawValue: 8)
        package static let failedPrecondition = Code(rawValue: 9)
        package static let aborted = Code(rawValue: 10)
        package static let outOfRange = Code(rawValue: 11)
        package static let unimplemented = Code(rawValue: 12)
        package static let `internal` = Code(rawValue: 13)
        package static let unavailable = Code(rawValue: 14)
        package static let dataLoss = Code(rawValue: 15)
        package static let unauthenticated = Code(rawValue: 16)

        private static let names = [
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
            "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
            "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
        ]

        /// The name gRPC's specification gives the code, e.g. `RESOURCE_EXHAUSTED`.
        package var description: String {
            Self.names.indices.contains(Int(rawValue)) ? Self.names[Int(rawValue)] : "CODE(\(rawValue))"
        }
    }

    package var code: Code
    /// Sent to the peer; empty for `ok`.
    package var message: String

    package init(code: Code, message: String = "") {
        self.code = code
        self.message = message
    }

    /// The call did what was asked.
    package static let ok = RPCStatus(code: .ok)

    package var description: String {
        message.isEmpty ? code.description : "\(code): \(message)"
    }
}

/// Why an operation on a call or a server failed.
package struct RPCError: Error, Sendable, Hashable, CustomStringConvertible {
    package var code: RPCStatus.Code
    package var message: String

    package init(code: RPCStatus.Code, message: String) {
        self.code = code
        self.message = message
    }

    package var description: String {
        "\(code): \(message)"
    }

    /// The status that tells a peer about this error.
    package var status: RPCStatus {
        RPCStatus(code: code, message: message)
    }
}
