import Bytes
import Inference
import Testing

@Suite struct PrefixBlocksTests {
    private func hashes(
        _ body: String,
        _ api: InferenceAPI = .completions,
        model: String = "m",
        blockBytes: Int = 4,
        maxBlocks: Int = 256
    ) throws -> [UInt64] {
        let input = buffer(body)
        let request = try InferenceRequest.read(input, api: api)
        return PrefixBlocks.hashes(of: request, in: input, model: model, blockBytes: blockBytes, maxBlocks: maxBlocks)
    }

    private func completion(_ prompt: String, _ more: String = "") -> String {
        #"{"model":"x"\#(more),"prompt":"\#(prompt)"}"#
    }

    @Test("A block's hash is that of its bytes, seeded with the hash before it")
    func chain() throws {
        let start = XXH3.hash("m")
        let first = XXH3.hash("abcd", seed: start)
        let second = XXH3.hash("efgh", seed: first)
        #expect(try hashes(completion("abcdefghij")) == [first, second])
        let salted = XXH3.hash("salt", seed: start)
        #expect(try hashes(completion("abcde", #","cache_salt":"salt""#)) == [XXH3.hash("abcd", seed: salted)])
    }

    @Test("Partial blocks and blocks over the limit are dropped")
    func bounds() throws {
        #expect(try hashes(completion("abc")).isEmpty)
        #expect(try hashes(completion("abcd")).count == 1)
        #expect(try hashes(completion("abcdefg")).count == 1)
        #expect(try hashes(completion("abcdefghijkl"), maxBlocks: 2).count == 2)
        #expect(try hashes(completion("abcdefghijkl"), maxBlocks: 0).isEmpty)
        #expect(try hashes(completion("abcdefghijkl"), blockBytes: 0).isEmpty)
    }

    @Test("Prompts share exactly the hashes of the prefix that they share; models and salts share none")
    func sharing() throws {
        let one = try hashes(completion("abcdefghijkl"))
        let two = try hashes(completion("abcdefgXijkl"))
        #expect(one.count == 3 && two.count == 3)
        #expect(one[0] == two[0] && one[1] != two[1] && one[2] != two[2])
        let others = [
            try hashes(completion("abcdefghijkl"), model: "n"),
            try hashes(completion("abcdefghijkl", #","cache_salt":"a""#)),
            try hashes(completion("abcdefghijkl", #","cache_salt":"""#)),
            try hashes(completion("abcdefghijkl", #","cache_salt":"b""#), model: "ma"),
            try hashes(completion("abcdefghijkl", #","cache_salt":"ab""#)),
        ]
        #expect(Set((others + [one]).flatMap { $0 }).count == 18)
    }

    @Test("The parts of a prompt are hashed as one text, whatever their order in the body", arguments: 1...12)
    func severalRanges(blockBytes: Int) throws {
        let parts = #"{"input":"hijklmnop","model":"x","instructions":"abc","tools":[1,2]}"#
        let whole = completion("abc[1,2]hijklmnop")
        let expected = try hashes(whole, blockBytes: blockBytes)
        #expect(expected.count == 17 / blockBytes)
        #expect(try hashes(parts, .responses, blockBytes: blockBytes) == expected)
        for limit in 0...17 {
            #expect(
                try hashes(parts, .responses, blockBytes: blockBytes, maxBlocks: limit) == Array(expected.prefix(limit))
            )
        }
    }
}
