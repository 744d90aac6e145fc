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
        return PrefixBlocks.hashes(
            of: request,
            in: input,
            model: model,
            blockTokens: blockBytes,
            bytesPerToken: 1,
            maxBlocks: maxBlocks
        )
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

    // MARK: Token ids

    private func blocks(_ prompt: String, blockTokens: Int = 4, maxBlocks: Int = 256) throws -> [UInt64] {
        let input = buffer(#"{"model":"m","prompt":\#(prompt)}"#)
        return PrefixBlocks.hashes(
            of: try InferenceRequest.read(input, api: .completions),
            in: input,
            model: "m",
            blockTokens: blockTokens,
            bytesPerToken: 4,
            maxBlocks: maxBlocks
        )
    }

    private func list(_ ids: some Sequence<Int>, _ separator: String = ",") -> String {
        "[" + ids.map { String($0) }.joined(separator: separator) + "]"
    }

    @Test(
        "A prompt of token ids has as many blocks as its ids fill, however many bytes they are",
        arguments: [1, 3, 16, 64],
        [0..<1000, 100_000..<101_000, 5..<6]
    )
    func tokenBlocks(blockTokens: Int, ids: Range<Int>) throws {
        for separator in [",", ", ", " ,\n"] {
            let all = try blocks(list(ids, separator), blockTokens: blockTokens, maxBlocks: 4096)
            #expect(all.count == ids.count / blockTokens)
            #expect(Set(all).count == all.count)
        }
        #expect(try blocks(list(ids), blockTokens: blockTokens, maxBlocks: 7).count == min(7, ids.count / blockTokens))
    }

    @Test(
        "The blocks of a prompt of ids are the first of every longer one's, wherever it ends",
        arguments: [",", ", ", " , "]
    )
    func tokenPrefixes(separator: String) throws {
        let ids = (0..<200).map { $0 * $0 % 1013 }
        let whole = try blocks(list(ids, separator))
        for count in 1...199 {
            #expect(try blocks(list(ids.prefix(count), separator)) == Array(whole.prefix(count / 4)))
        }
        // One other id changes its block and all after it.
        for changed in [0, 3, 4, 101, 199] {
            var others = ids
            others[changed] += 1
            let found = try blocks(list(others, separator))
            #expect(zip(found, whole).prefix { $0 == $1 }.count == changed / 4)
            #expect(Set(found.dropFirst(changed / 4)).isDisjoint(with: whole))
        }
    }

    @Test("A block of ids is hashed as it stands in the body, seeded with the hash before it")
    func tokenChain() throws {
        let first = XXH3.hash("1, 22,333", seed: XXH3.hash("m"))
        let second = XXH3.hash("-4,[5],6", seed: first)
        #expect(try blocks("[ 1, 22,333,-4,[5],6 ,7]", blockTokens: 3) == [first, second])
        #expect(try blocks("[[1, 22,333],[4]]", blockTokens: 3) == [first])
        #expect(try blocks("[1]", blockTokens: 1) == [XXH3.hash("1", seed: XXH3.hash("m"))])
        #expect(try blocks("[1,2]", blockTokens: 0).isEmpty)
    }
}
