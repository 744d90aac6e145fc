import Testing

@testable import RoutingSimulation

@Suite("Parts of the routing simulation")
struct PartsTests {
    @Test("Blocks are shared while used, kept afterwards, and forgotten from the least recently used on")
    func memory() {
        var memory = BlockMemory()
        for hash in [1, 2, 3] as [UInt64] { memory.use(hash) }
        memory.use(1)
        #expect((memory.count, memory.pinned) == (3, 3))
        for hash in [3, 2, 1] as [UInt64] { memory.release(hash) }
        #expect((memory.count, memory.pinned) == (3, 1))
        #expect(memory.countOfPrefix([1, 2, 3, 4]) == 3)
        #expect(memory.cost(of: [1, 2, 9]) == 2)
        memory.shrink(to: 2)
        #expect(memory.countOfPrefix([1, 2, 3]) == 2)
        memory.shrink(to: 0)
        // What is used stays.
        #expect((memory.count, memory.pinned) == (1, 1))
    }

    @Test("Many blocks come and go without one being lost")
    func manyBlocks() {
        var memory = BlockMemory()
        for round in 0..<5 {
            for hash in 1...10_000 as ClosedRange<UInt64> { memory.use(hash &* 0x9E37_79B9 &+ UInt64(round)) }
            for hash in 1...10_000 as ClosedRange<UInt64> { memory.release(hash &* 0x9E37_79B9 &+ UInt64(round)) }
            memory.shrink(to: 5_000)
            #expect((memory.count, memory.pinned) == (5_000, 0))
        }
    }

    @Test("Events come in the order of their times, and of one time in the order in which they were put in")
    func queue() {
        var queue = EventQueue<Int>()
        for number in 0..<1_000 { queue.insert(number, at: Double(number * 7_919 % 100)) }
        var last = (time: -1.0, number: -1)
        while let (time, number) = queue.removeFirst() {
            #expect(time > last.time || (time == last.time && number > last.number))
            last = (time, number)
        }
        #expect(queue.isEmpty)
    }

    @Test("Quantiles are within two hundredths of the values")
    func histogram() {
        var histogram = DurationHistogram()
        for value in 1...1_000 { histogram.add(Double(value) / 1_000) }
        for share in [0.1, 0.5, 0.99] { #expect(abs(histogram.quantile(share) / share - 1) < 0.02) }
    }

    @Test("Requests come in order of time, at about the rate, and the same text has the same blocks")
    func workload() throws {
        var workload = try #require(Workloads.make("slow", seed: 1))
        var last = 0.0
        var count = 0
        var first: Set<UInt64> = []
        while let request = workload.next() {
            #expect(request.arrival >= last)
            last = request.arrival
            count += 1
            if let block = request.blocks.first { first.insert(block) }
        }
        #expect(abs(Double(count) / 300 / 28 - 1) < 0.05)
        #expect(first.count == 60)
    }

    @Test("A prompt's blocks cover all of it, whatever their size")
    func promptBlocks() {
        var chain = BlockChain()
        chain.append(1, blocks: 12)
        let request = SimulatedRequest(number: 1, arrival: 0, blocks: chain.blocks, promptTokens: 190, outputTokens: 1)
        #expect(request.promptBlocks(of: 16, limit: 100) == Array(chain.blocks.prefix(11)))
        #expect(request.promptBlocks(of: 64, limit: 100) == [chain.blocks[3], chain.blocks[7]])
        #expect(request.promptBlocks(of: 64, limit: 1) == [chain.blocks[3]])
    }
}
