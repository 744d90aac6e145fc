import Bytes
import CReference
import FuzzSupport
import Inference

/// Reading agrees with simdjson's own parser; edited bodies read back as what the edits say; nothing else changes.
func checkRequest(_ document: [UInt8], _ generator: inout SeededGenerator) {
    let body = ByteBuffer(copying: document)
    checkValidity(document, body)
    _ = InferenceRequest.readPartial(body)
    for api in InferenceAPI.allCases {
        guard let request = try? InferenceRequest.read(body, api: api) else { continue }
        checkRequest(request, body, document, &generator)
    }
}

private func checkRequest(
    _ request: InferenceRequest,
    _ body: borrowing ByteBuffer,
    _ document: [UInt8],
    _ generator: inout SeededGenerator
) {
    // A generate request need not name a model.
    guard !request.modelRange.isEmpty else { return }
    for range in request.promptRanges + [request.modelRange] {
        check(range.lowerBound > 0 && range.upperBound < document.count, "range \(range)")
    }
    for (name, member) in request.members.present {
        check(member.keyRange.upperBound < member.valueRange.lowerBound, "\(name)")
        check(member.contentRange.upperBound <= member.valueRange.upperBound, "\(name)")
        check(member.numberCount + member.stringCount <= member.valueRange.count, "\(name)")
    }
    check(request.estimatedPromptTokens <= request.promptByteCount, "\(request.estimatedPromptTokens) tokens")
    checkModel(request, document)
    checkPartial(request, document, &generator)
    checkReplacement(request, body, document)
    for _ in 0..<3 { checkMembers(request, body, &generator) }
    for _ in 0..<3 { checkNamedEdits(request, body, &generator) }
    _ = request.pickersOwnMember(in: body)
    checkBlocks(request, body, document, &generator)
}

private func checkValidity(_ document: [UInt8], _ body: borrowing ByteBuffer) {
    var problem: String?
    do {
        _ = try InferenceRequest.read(body, api: .completions)
    } catch {
        problem = error.message
    }
    let duplicate = "error unmarshaling request bodyMap: duplicate"
    let isValid =
        problem?.hasPrefix("error unmarshaling request bodyMap: ") != true || problem?.hasPrefix(duplicate) == true
    guard !document.starts(with: [0xEF, 0xBB, 0xBF]) else { return check(!isValid, "byte order mark") }
    switch reference_parse(document, document.count) {
    case REFERENCE_OBJECT: check(isValid, "refused: \(problem ?? "")")
    case REFERENCE_NUMBER:
        // Exponents and long numbers may overflow there.
        check(!isValid || document.contains { $0 | 0x20 == 0x65 } || hasLongNumber(document), "invalid number accepted")
    case REFERENCE_STRING: check(!isValid || document.contains(0x5C), "invalid string accepted")
    default: check(!isValid, "accepted")
    }
}

private func hasLongNumber(_ document: [UInt8]) -> Bool {
    var run = 0
    return document.contains { byte in
        run = (0x30...0x39).contains(byte) ? run + 1 : 0
        return run > 17
    }
}

private func checkModel(_ request: InferenceRequest, _ document: [UInt8]) {
    guard reference_parse(document, document.count) == REFERENCE_OBJECT else { return }
    let model = [UInt8](unsafeUninitializedCapacity: document.count) { output, count in
        count = max(0, reference_string("model", output.baseAddress, document.count))
    }
    // The reference compares keys as they are written, so an escaped one is not found.
    if reference_has("model") { check(Array(request.model.utf8) == model, "model \(request.model)") }
}

private func checkPartial(_ request: InferenceRequest, _ document: [UInt8], _ generator: inout SeededGenerator) {
    let length = Int.random(in: 0...document.count, using: &generator)
    let found = InferenceRequest.readPartial(ByteBuffer(copying: document.prefix(length)))
    check((found != nil) == (length >= request.modelRange.upperBound), "model in \(length) bytes: \(found != nil)")
    if let found { check(found.model == request.model && found.modelRange == request.modelRange, "\(found)") }
}

private func checkReplacement(_ request: InferenceRequest, _ body: borrowing ByteBuffer, _ document: [UInt8]) {
    let name = "n\"\\\u{1}\n é" + request.model
    var edits = BodyEdits()
    edits.replaceValue(in: request.modelRange, with: JSONValue.quoted(name))
    let output = edits.applied(to: body)
    let bytes = output.bytes.copied()
    check(bytes.starts(with: document[..<request.modelRange.lowerBound]), "bytes before the model")
    check(
        bytes.reversed().starts(with: document[request.modelRange.upperBound...].reversed()),
        "bytes behind the model"
    )
    check((try? InferenceRequest.read(output, api: request.api))?.model == name, "edited model")
}

private func checkMembers(_ request: InferenceRequest, _ body: borrowing ByteBuffer, _ generator: inout SeededGenerator)
{
    var edits = BodyEdits()
    var removed: [RequestMembers.Name] = []
    for (name, member) in request.members.present where member.occurrences == 1 && Bool.random(using: &generator) {
        edits.remove(member)
        removed.append(name)
    }
    let inserts = Bool.random(using: &generator)
    if inserts { edits.insert(name: "inserted by the fuzzer", value: "[1]".utf8) }
    let output = edits.applied(to: body)
    let names = RequestMembers.Name.allCases
    let reader = Readers.all
    guard let found = try? reader.read(output.bytes, { found in (0...names.count).map { found[$0] != nil } }) else {
        check(
            false,
            "removal of \(removed) from \(String(repairing: body.bytes)) gives \(String(repairing: output.bytes))"
        )
        return
    }
    for name in names {
        let expected = request.members[name] != nil && !removed.contains(name)
        check(found[Int(name.rawValue)] == expected, "\(name) after removal of \(removed)")
    }
    if inserts { check(found[names.count], "insertion") }
}

/// Whatever is done to members by name, of each the last edit counts, and none is there twice.
private func checkNamedEdits(
    _ request: InferenceRequest,
    _ body: borrowing ByteBuffer,
    _ generator: inout SeededGenerator
) {
    let names = RequestMembers.Name.allCases
    var edits = BodyEdits()
    var values: [RequestMembers.Name: Bool] = [:]
    for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let name = names.randomElement(using: &generator) ?? .n
        let isThere = values[name] ?? (request.members[name] != nil)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0:
            edits.set(name, to: "7".utf8, in: request)
            values[name] = true
        case 1:
            edits.set(name, "x", "y", to: "7".utf8, in: request)
            values[name] = true
        case 2:
            edits.replace(name, with: "7".utf8, in: request)
            values[name] = isThere
        default:
            edits.remove(name, in: request)
            values[name] = false
        }
    }
    let output = edits.applied(to: body)
    let found = try? Readers.all.read(output.bytes) { found in names.map { found[Int($0.rawValue)]?.occurrences ?? 0 } }
    guard let found else { return check(false, "edits give \(String(repairing: output.bytes))") }
    for (name, isThere) in values {
        let count = found[Int(name.rawValue)]
        let wasThere = request.members[name] != nil
        // What was not there and did not come about was not looked at.
        check(count == (isThere ? 1 : 0) || (!wasThere && count == 0 && !isThere), "\(name): \(count)")
    }
}

private enum Readers {
    static let all = JSONReader(names: RequestMembers.Name.allCases.map(\.text) + ["inserted by the fuzzer"])
}

private func checkBlocks(
    _ request: InferenceRequest,
    _ body: borrowing ByteBuffer,
    _ document: [UInt8],
    _ generator: inout SeededGenerator
) {
    let blockBytes = Int.random(in: 1...80, using: &generator)
    let maxBlocks = Int.random(in: 0...20, using: &generator)
    let hashes = PrefixBlocks.hashes(
        of: request,
        in: body,
        model: "m",
        blockTokens: blockBytes,
        bytesPerToken: 1,
        maxBlocks: maxBlocks
    )
    guard !request.promptIsTokenIDs else {
        // Odd lists have other commas than those between their ids.
        return check(
            hashes.count <= min(maxBlocks, request.estimatedPromptTokens / blockBytes),
            "\(hashes.count) blocks"
        )
    }
    let prompt = request.promptRanges.flatMap { document[$0] }
    check(hashes.count == min(maxBlocks, prompt.count / blockBytes), "\(hashes.count) blocks")
    var hash = XXH3.hash("m")
    if let salt = request.cacheSalt { hash = XXH3.hash(salt, seed: hash) }
    for (index, found) in hashes.enumerated() {
        hash = Array(prompt[index * blockBytes..<(index + 1) * blockBytes]).withRawSpan { XXH3.hash($0, seed: hash) }
        check(hash == found, "block \(index)")
    }
}
