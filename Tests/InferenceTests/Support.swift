import Bytes
import Inference

func buffer(_ text: String) -> ByteBuffer { ByteBuffer(copying: text.utf8) }

func text(_ buffer: borrowing ByteBuffer) -> String { String(repairing: buffer.bytes) }

func text(_ body: String, _ range: Range<Int>) -> String {
    String(decoding: Array(body.utf8)[range], as: UTF8.self)
}

func read(_ body: String, _ api: InferenceAPI = .completions) throws -> InferenceRequest {
    try InferenceRequest.read(buffer(body), api: api)
}

/// The message of the error that reading gives, or nil.
func problem(_ body: [UInt8], _ api: InferenceAPI = .completions) -> String? {
    do {
        _ = try InferenceRequest.read(ByteBuffer(copying: body), api: api)
        return nil
    } catch {
        return error.message
    }
}

func problem(_ body: String, _ api: InferenceAPI = .completions) -> String? { problem(Array(body.utf8), api) }

let jsonProblem = "error unmarshaling request bodyMap: "
