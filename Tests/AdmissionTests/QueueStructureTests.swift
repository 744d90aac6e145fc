import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("What queues are made of")
struct QueueStructureTests {
    @Test("A heap gives requests by key and arrival, also when any of them leave before")
    func heap() {
        var generator = SeededGenerator(seed: 7)
        let time = MonotonicTime(nanoseconds: 1)
        for _ in 0..<50 {
            var heap = RequestHeap()
            var model: [QueuedRequest] = []
            for number in 0..<UInt64(200) {
                let request = QueuedRequest(AdmissionRequest(receivedAt: time), number: number, queuedAt: time)
                request.key = .random(in: 0..<20, using: &generator)
                heap.insert(request)
                model.append(request)
                if Int.random(in: 0..<3, using: &generator) == 0, let gone = model.randomElement(using: &generator) {
                    let (first, second) = (heap.remove(gone), heap.remove(gone))
                    #expect(first && !second)
                    model.removeAll { $0 === gone }
                }
            }
            model.sort { ($0.key, $0.number) < ($1.key, $1.number) }
            var numbers: [UInt64] = []
            while let next = heap.popFirst() { numbers.append(next.number) }
            #expect(numbers == model.map(\.number))
        }
    }

    @Test("A list of arrivals knows its ends and is no longer than what is in it needs")
    func arrivals() {
        var generator = SeededGenerator(seed: 8)
        let time = MonotonicTime(nanoseconds: 1)
        var list = ArrivalList()
        var model: [QueuedRequest] = []
        for number in 0..<UInt64(5_000) {
            let request = QueuedRequest(AdmissionRequest(receivedAt: time), number: number, queuedAt: time)
            list.append(request)
            model.append(request)
            while model.count > 20 || (number > 4_000 && !model.isEmpty && number % 3 == 0) {
                let index = Int.random(in: 0..<model.count, using: &generator)
                list.remove(model.remove(at: index))
                if number > 4_000 { break }
            }
            #expect(list.count == model.count)
            #expect(list.first === model.first && list.last === model.last)
        }
        var numbers: [UInt64] = []
        list.forEach { numbers.append($0.number) }
        #expect(numbers == model.map(\.number))
    }
}
