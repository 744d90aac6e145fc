import Bytes
import Foundation
import Inference
import Testing

private func edited(
    _ body: String,
    _ api: InferenceAPI = .completions,
    _ edit: (inout BodyEdits, InferenceRequest) throws -> Void
) throws -> String {
    let input = buffer(body)
    let request = try InferenceRequest.read(input, api: api)
    var edits = BodyEdits()
    try edit(&edits, request)
    let output = text(edits.applied(to: input))
    #expect(text(edits.applied(to: SharedBytes(buffer(body))).joined()) == output)
    return output
}

@Suite("Edits of members by name")
struct MemberEditsTests {
    @Test("An object in the body is edited inside, and made where it is missing")
    func nested() throws {
        let given = #"{"token_ids":[1],"sampling_params": {"x":9007199254740993123, "max_tokens" : 5 ,"min_tokens":2}}"#
        let output = try edited(given, .generate) { edits, request in
            edits.set(.samplingParams, "max_tokens", to: "1".utf8, in: request)
            edits.remove(.samplingParams, "min_tokens", in: request)
            edits.replace(.samplingParams, "n", with: "1".utf8, in: request)
            edits.set(.samplingParams, "extra_args", "kv_transfer_params", to: "{}".utf8, in: request)
        }
        #expect(
            output
                == #"{"token_ids":[1],"sampling_params": {"extra_args":{"kv_transfer_params":{}},"x":9007199254740993123, "max_tokens" : 1 }}"#
        )
        let made = try edited(#"{"token_ids":[1]}"#, .generate) { edits, request in
            edits.set(.samplingParams, "max_tokens", to: "1".utf8, in: request)
            edits.remove(.samplingParams, "min_tokens", in: request)
            edits.set(.samplingParams, "extra_args", "a", to: "2".utf8, in: request)
        }
        #expect(made == #"{"sampling_params":{"max_tokens":1,"extra_args":{"a":2}},"token_ids":[1]}"#)
        let null = try edited(#"{"sampling_params":null,"token_ids":[1]}"#, .generate) { edits, request in
            edits.set(.samplingParams, "extra_args", "a", to: "2".utf8, in: request)
        }
        #expect(null == #"{"sampling_params":{"extra_args":{"a":2}},"token_ids":[1]}"#)
        let untouched = try edited(#"{"sampling_params":null,"token_ids":[1]}"#, .generate) { edits, request in
            edits.remove(.samplingParams, "min_tokens", in: request)
            edits.replace(.samplingParams, "n", with: "1".utf8, in: request)
        }
        #expect(untouched == #"{"sampling_params":null,"token_ids":[1]}"#)
    }

    @Test("The last of several edits of one member counts")
    func lastWins() throws {
        let body = #"{"model":"m","prompt":"p","rid":"client's","max_tokens":7}"#
        let output = try edited(body) { edits, request in
            edits.set(.maxTokens, to: "2".utf8, in: request)
            edits.set(.maxTokens, to: "1".utf8, in: request)
            edits.remove(.rid, in: request)
            edits.set(.rid, to: #""ours""#.utf8, in: request)
            edits.set(.stream, to: "true".utf8, in: request)
            edits.remove(.stream, in: request)
            edits.set(.n, to: "1".utf8, in: request)
            edits.set(.n, to: "2".utf8, in: request)
            edits.replace(.bestOf, with: "1".utf8, in: request)
            edits.replaceValue(in: request.modelRange, with: #""a""#.utf8)
            edits.replaceValue(in: request.modelRange, with: #""b""#.utf8)
        }
        #expect(output == #"{"n":2,"model":"b","prompt":"p","rid":"ours","max_tokens":1}"#)
        let mixed = try edited(body) { edits, request in
            let member = try #require(request.members[.rid])
            edits.remove(member)
            edits.set(.rid, to: "1".utf8, in: request)
            edits.set(.maxTokens, to: "3".utf8, in: request)
            edits.remove(try #require(request.members[.maxTokens]))
            edits.set(.model, to: "4".utf8, in: request)
            edits.replaceValue(in: request.modelRange, with: "5".utf8)
        }
        #expect(mixed == #"{"model":5,"prompt":"p","rid":1}"#)
    }

    @Test("Edits within a value that an earlier edit set change that value")
    func withinEarlier() throws {
        let output = try edited(#"{"token_ids":[1],"sampling_params":{"n":3}}"#, .generate) { edits, request in
            edits.set(.samplingParams, to: #"{"a":1, "b":2}"#.utf8, in: request)
            edits.set(.samplingParams, "b", to: "3".utf8, in: request)
            edits.set(.samplingParams, "c", "d", to: "4".utf8, in: request)
            edits.remove(.samplingParams, "a", in: request)
        }
        #expect(output == #"{"token_ids":[1],"sampling_params":{"c":{"d":4}, "b":3}}"#)
        let removed = try edited(#"{"token_ids":[1],"sampling_params":{"n":3}}"#, .generate) { edits, request in
            edits.remove(.samplingParams, in: request)
            edits.set(.samplingParams, "b", to: "3".utf8, in: request)
        }
        #expect(removed == #"{"token_ids":[1],"sampling_params":{"b":3}}"#)
    }

    @Test("No stale duplicate survives, however its name is written")
    func duplicates() throws {
        let body = #"{"rid":1,"model":"m","\u0072id":2,"prompt":"p" , "rid":3}"#
        #expect(
            try edited(body) { edits, request in edits.set(.rid, to: "9".utf8, in: request) }
                == #"{"model":"m","prompt":"p" , "rid":9}"#
        )
        #expect(
            try edited(body) { edits, request in edits.remove(.rid, in: request) } == #"{"model":"m","prompt":"p" }"#
        )
        let nested = #"{"token_ids":[1],"sampling_params":{"n":5},"sampling_params":{"max_tokens":5,"max_tokens":6}}"#
        #expect(
            try edited(nested, .generate) { edits, request in
                edits.set(.samplingParams, "max_tokens", to: "1".utf8, in: request)
            } == #"{"token_ids":[1],"sampling_params":{"max_tokens":1}}"#
        )
    }

    @Test("Random edits of random bodies give the objects they ought to, and the bytes between survive")
    func random() throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<2_000 { try RandomEdit(&generator).check() }
    }
}

/// A body of random members, edits of some of them, and what must come of it by way of dictionaries.
private struct RandomEdit {
    private static let names: [RequestMembers.Name] = [.n, .rid, .samplingParams, .maxTokens, .stream, .bestOf]
    private static let inner = ["a", "b", "c"]
    private var body = #"{"model":"m","prompt":"p"}"#
    private var expected: [String: AnyHashable] = ["model": "m", "prompt": "p"]
    private var hadObject: Set<RequestMembers.Name> = []
    private var edits = BodyEdits()

    init(_ generator: inout SeededGenerator) throws {
        var members: [(String, String)] = [("model", #""m""#), ("prompt", #""p""#)]
        for name in Self.names where Bool.random(using: &generator) {
            if Bool.random(using: &generator) {
                var inside = Self.inner.shuffled(using: &generator).prefix(Int.random(in: 0...3, using: &generator))
                    .map { ($0, "\(Int.random(in: 0...9, using: &generator))") }
                let value = Dictionary(uniqueKeysWithValues: inside.map { ($0.0, AnyHashable(Int($0.1) ?? 0)) })
                inside.shuffle(using: &generator)
                hadObject.insert(name)
                members.append(("\(name.text)", "{" + Self.joined(inside, &generator) + "}"))
                expected["\(name.text)"] = value
            } else {
                members.append(("\(name.text)", "1234567890123456789"))
                expected["\(name.text)"] = 1_234_567_890_123_456_789
            }
        }
        members.shuffle(using: &generator)
        body = " {" + Self.joined(members, &generator) + "} "
        let request = try InferenceRequest.read(buffer(body), api: .completions)
        for _ in 0..<Int.random(in: 0...8, using: &generator) { edit(request, &generator) }
    }

    private static func joined(_ members: [(String, String)], _ generator: inout SeededGenerator) -> String {
        let spaces = ["", " ", "\n", "\t "]
        var text = ""
        for (index, member) in members.enumerated() {
            let space = (0..<4).map { _ in spaces[Int.random(in: 0..<4, using: &generator)] }
            text +=
                (index == 0 ? "" : ",") + space[0] + "\"\(member.0)\"" + space[1] + ":" + space[2] + member.1 + space[3]
        }
        return text
    }

    private mutating func edit(_ request: InferenceRequest, _ generator: inout SeededGenerator) {
        let name = Self.names[Int.random(in: 0..<Self.names.count, using: &generator)]
        let key = "\(name.text)"
        let digit = Int.random(in: 10...99, using: &generator)
        let path = Self.inner[Int.random(in: 0..<3, using: &generator)]
        let inside = expected[key] as? [String: AnyHashable]
        var changed = inside ?? [:]
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:
            edits.set(name, to: "\(digit)".utf8, in: request)
            expected[key] = digit
        case 1:
            edits.remove(name, in: request)
            expected[key] = nil
        case 2:
            edits.replace(name, with: "\(digit)".utf8, in: request)
            if expected[key] != nil { expected[key] = digit }
        case 3:
            edits.set(name, path, to: "\(digit)".utf8, in: request)
            changed[path] = digit
            expected[key] = changed
        // What was set where there was nothing and then removed leaves nothing.
        case 4 where hadObject.contains(name):
            edits.remove(name, path, in: request)
            changed[path] = nil
            if inside != nil { expected[key] = changed }
        default:
            edits.replace(name, path, with: "\(digit)".utf8, in: request)
            if changed[path] != nil { changed[path] = digit }
            if inside != nil { expected[key] = changed }
        }
    }

    func check() throws {
        let output = text(edits.applied(to: buffer(body)))
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(output.utf8)) as? NSDictionary,
            "\(body) -> \(output)"
        )
        #expect(object == expected as NSDictionary, "\(body) -> \(output)")
        // The reader is stricter than Foundation.
        let request = try InferenceRequest.read(buffer(output), api: .completions)
        #expect(request.members.present.allSatisfy { $0.member.occurrences == 1 })
        #expect(output.hasPrefix(" {") && output.hasSuffix("} "))
    }
}

@Suite("Members that only a picker may set")
struct PickersOwnMemberTests {
    @Test(
        "They are found at the top and where engines take arguments from",
        arguments: [
            (#"{"model":"m","prompt":"p"}"#, nil),
            (#"{"model":"m","prompt":"p","kv_transfer_params":null}"#, "kv_transfer_params"),
            (#"{"model":"m","prompt":"p","bootstrap_room":1}"#, "bootstrap_room"),
            (#"{"model":"m","prompt":"p","vllm_xargs":{"a":1}}"#, nil),
            (#"{"model":"m","prompt":"p","vllm_xargs":{"a":{"kv_transfer_params":1}}}"#, nil),
            (#"{"model":"m","prompt":"p","vllm_xargs":{"kv_transfer_params":1}}"#, "vllm_xargs.kv_transfer_params"),
            (
                #"{"model":"m","prompt":"p","vllm_xargs":{"ec_transfer_params":1},"vllm_xargs":5}"#,
                "vllm_xargs.ec_transfer_params"
            ),
            (#"{"model":"m","prompt":"p","sampling_params":{"kv_transfer_params":1}}"#, nil),
            (
                #"{"model":"m","prompt":"p","sampling_params":{"extra_args":{"kv\u005ftransfer_params":{}}}}"#,
                "sampling_params.extra_args.kv_transfer_params"
            ),
            (
                #"{"model":"m","prompt":"p","sampling_params":{"extra_args":{"kv_transfer_params":{}},"extra_args":1},"sampling_params":null}"#,
                "sampling_params.extra_args.kv_transfer_params"
            ),
        ] as [(String, String?)]
    )
    func found(body: String, name: String?) throws {
        #expect(try read(body).pickersOwnMember(in: buffer(body)) == name)
    }
}
