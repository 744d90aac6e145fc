internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// From what the scheduler decided to what Envoy is told, and to the load that the endpoints get.
extension Director {
    /// Reserves the request's load on every endpoint that it was given; nil when another request was sent to one of them since its load was
    /// read.
    ///
    /// - Parameter whatever: reserve in any case.
    func reserve(
        _ result: SchedulingResult,
        _ request: SchedulingRequest,
        _ load: InFlightLoad,
        whatever: Bool
    ) -> Reservations? {
        let matches = result.prefixMatches
        let prompt = InFlightLoad.uncachedTokens(request, matches, at: result.primary.index)
        let tokens = prompt + load.outputTokens(request)
        let primary =
            whatever
            ? pool.reserve(result.endpoint, tokens: tokens)
            : pool.reserve(result.primary.candidates, result.primary.picked[0], tokens: tokens)
        guard let primary else { return nil }
        guard result.prefill != nil || result.encode != nil else { return Reservations(primary: primary, stages: nil) }

        let stages = StageReservations()
        if let prefill = result.prefill {
            let tokens = InFlightLoad.uncachedTokens(request, matches, at: prefill.index)
            // The same endpoint for both has just been changed by this very request.
            stages.prefill =
                whatever || prefill.endpoint === result.endpoint
                ? pool.reserve(prefill.endpoint, tokens: tokens)
                : pool.reserve(prefill.candidates, prefill.picked[0], tokens: tokens)
            if stages.prefill == nil { return nil }
        }
        if let encode = result.encode { stages.encode = pool.reserve(encode.endpoint, tokens: prompt) }
        return Reservations(primary: primary, stages: stages)
    }

    /// Clients may not set what the endpoints of one request tell each other.
    static func checkMembers(
        _ request: InferenceRequest,
        in body: borrowing ByteBuffer,
        _ traits: ProfileHandlerTraits
    ) throws(PickerError) {
        guard traits.disaggregates, let name = request.pickersOwnMember(in: body) else { return }
        throw PickerError(.badRequest, "member \"\(name)\" may not be sent by clients", fault: .client)
    }
}

extension SchedulingResult {
    /// `ip:port` of where the request goes, several with commas, the best first.
    var destination: String { destinations.map(\.hostPort).joined(separator: ",") }

    var destinations: [Destination] {
        primary.endpoints.map { endpoint in
            Destination(
                hostPort: primaryPort.map { Endpoint.hostPort(address: endpoint.address, port: $0) }
                    ?? endpoint.hostPort,
                endpoint: endpoint.hostPort
            )
        }
    }

    /// The headers that tell the destination of the request's other endpoints.
    var requestHeaders: [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        if let prefill { headers.append((ControlHeaders.prefiller, prefill.endpoint.hostPort)) }
        if let encode {
            headers.append((ControlHeaders.encoders, encode.endpoints.map(\.hostPort).joined(separator: ",")))
        }
        if primaryPort != nil { headers.append((ControlHeaders.dataParallel, endpoint.hostPort)) }
        return headers
    }
}

extension PickerError {
    /// What a client is told when the scheduler chose nobody.
    init(_ error: SchedulingError) {
        switch error.code {
        case .noEndpoints:
            self = .noEndpoints
        case .profileFailed:
            self = .noEndpoints(error.message)
        case .unknownProfile:
            self.init(.resourceExhausted, "failed to find target endpoint: \(error.message)", fault: .client)
        case .notCached:
            self.init(.preconditionFailed, error.message, fault: .client)
        }
    }
}

/// Where a request is sent, and the endpoint that it reaches there: another port, where a listener passes requests on to its ranks.
struct Destination: Sendable {
    let hostPort: String
    /// `ip:port`
    let endpoint: String
}

/// The load that a decision puts on endpoints.
struct Reservations: ~Copyable {
    /// Where the request goes.
    let primary: Reservation
    let stages: StageReservations?

    consuming func takePrimary() -> Reservation { primary }
}

/// The load on the endpoints that work on a request before its destination does. Dropped when the answer begins: their work is done then.
final class StageReservations {
    var prefill: Reservation?
    fileprivate(set) var encode: Reservation?
}
