import Bytes
import EngineSimulation

/// What an answer carries for the next leg, beside the answer itself.
struct HandOff: Sendable {
    /// Members of the answer.
    var members: [(String, JSONValue)] = []
    /// Members of its only choice.
    var choice: [(String, JSONValue)] = []

    var text: String { Self.text(members) }
    var choiceText: String { Self.text(choice) }

    private static func text(_ members: [(String, JSONValue)]) -> String {
        members.map { ",\($0.0.quotedAsJSON):\($0.1.text)" }.joined()
    }
}

extension SimulatedServer {
    /// Pins what a prefill leaves behind, and tells how to get it.
    func handOff(_ active: ActiveRequest, _ state: inout State) -> HandOff {
        var result = HandOff()
        let fault = active.fault
        let settings = options.disaggregation
        if settings.engine == .vllm, active.request.api.isOpenAI {
            result.members = [("kv_transfer_params", .null)]
            if settings.ecConnector != .none { result.members.append(("ec_transfer_params", .null)) }
        }
        if role == .encode, !active.request.items.isEmpty {
            embed(active, &result, &state)
        }
        guard case .lease = active.plan.action, let blocks = active.engineID else { return result.with(fault) }
        let isTensorRT = settings.engine == .trtllm
        let number = Int(truncatingIfNeeded: state.random.next() >> 2)
        let random = String(UInt32(truncatingIfNeeded: state.random.next()) | 1 << 31, radix: 16)
        let key = isTensorRT ? "\(number)" : "\(active.format.plainID)-0-\(random)"
        let now = MonotonicTime.now()
        let isExpired = fault?.kind == .parameters(.expired)
        state.ledger.pin(
            key,
            blocks,
            tokens: active.request.promptTokens,
            until: isExpired ? now : now + (isTensorRT ? settings.abortTimeout : settings.lease)
        )
        state.log.change(active.number) { $0.kvID = key }
        count(.lease, &state)
        if isExpired { expire(&state, at: now) }
        let engineID = fault?.kind == .parameters(.wrong) ? Self.newEngineID() : state.ledger.engineID
        if isTensorRT {
            let parameters = KVPlan.tensorRTParameters(
                key: number,
                engineID: engineID,
                firstToken: active.tokens.first.map { Int($0.number) } ?? 0,
                address: state.address
            )
            state.given[key] = parameters.text
            result.choice.append(("disaggregated_params", parameters))
            let prompt = active.request.prompts.flatMap { $0 }.map { JSONValue.integer(Int($0)) }
            result.members.append(("prompt_token_ids", .array(prompt)))
        } else {
            let count = max(state.engine.keptBlocks(blocks), 1)
            let first = Int(blocks.hashValue.magnitude % 100_000)
            let parameters = KVPlan.nixlParameters(
                key: key,
                engineID: engineID,
                blocks: Array(first..<first + count),
                tokens: active.request.promptTokens,
                cachedTokens: active.usage.cachedTokens,
                address: state.address
            )
            state.given[key] = parameters.text
            result.members.removeAll { $0.0 == "kv_transfer_params" }
            result.members.append(("kv_transfer_params", parameters))
        }
        return result.with(fault)
    }
}

extension HandOff {
    private static let names: Set<String> = ["kv_transfer_params", "disaggregated_params", "ec_transfer_params"]

    /// As a fault has it.
    fileprivate func with(_ fault: FaultRule?) -> HandOff {
        var result = self
        switch fault?.kind {
        case .parameters(let fault):
            result.members = members.compactMap { Self.spoil($0, fault) }
            result.choice = choice.compactMap { Self.spoil($0, fault) }
        case .duplicateMembers:
            result.members += members.map { ($0.0, .object([("do_remote_prefill", .bool(true))])) }
            result.members.append(("id", .string("twice")))
        case .deepJSON: result.members.append(("sim_deep", .nested(10_000)))
        default: break
        }
        return result
    }

    private static func spoil(_ member: (String, JSONValue), _ fault: FaultRule.ParameterFault) -> (String, JSONValue)?
    {
        guard names.contains(member.0), !member.1.isNull else { return member }
        return switch fault {
        case .missing: nil
        case .null: (member.0, .null)
        case .malformed: (member.0, .string(member.1.text))
        case .array: (member.0, .array([member.1]))
        case .empty: (member.0, .object([]))
        case .partial:
            (
                member.0,
                .object(
                    (member.1.members ?? []).filter {
                        $0.0 != "remote_block_ids" && $0.0 != "ctx_request_id" && $0.0 != "opaque_state"
                    }
                )
            )
        case .wrong, .expired: member
        }
    }
}

extension JSONValue {
    /// So many arrays in each other; the text is made without recursion.
    static func nested(_ depth: Int) -> JSONValue {
        .raw(String(repeating: "[", count: depth) + String(repeating: "]", count: depth))
    }
}
