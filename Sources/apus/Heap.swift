internal import CGlibc
internal import Configuration
internal import Glibc

/// How this program uses the C library's allocator.
enum Heap {
    /// Lets threads share few heaps. The allocator would make up to eight a core, and what one frees the others cannot use: two thousand
    /// held bodies of 100 KB took up to 460 MB instead of 396. To be called before threads start; `MALLOC_ARENA_MAX` is stronger.
    static func share(pollers: Int) {
        guard getenv("MALLOC_ARENA_MAX") == nil else { return }
        mallopt(M_ARENA_MAX, Int32(clamping: max(2, pollers)))
    }

    /// Keeps what is freed at the end of a heap for the next who asks. The allocator would give back more than 128 KB of it at once and fetch it
    /// again page by page: libcurl's buffer of 64 KB, freed and allocated with each scrape, cost up to a third of an idle Apus so. The limit for
    /// mappings has to be set beside it, since the allocator then no longer learns it from the sizes it sees.
    static func keepEnds() {
        if getenv("MALLOC_TRIM_THRESHOLD_") == nil { mallopt(M_TRIM_THRESHOLD, 2 << 20) }
        if getenv("MALLOC_MMAP_THRESHOLD_") == nil { mallopt(M_MMAP_THRESHOLD, 4 << 20) }
    }
}

/// Gives back to the system what a burst of requests has left free inside the heap.
///
/// The allocator returns only what lies at its end, and bodies below its limit for mappings lie anywhere: after two thousand held requests of
/// 100 KB, 16 MB are in use and 400 MB resident.
struct HeapReturn {
    /// How much may stay resident without being in use, in bytes.
    static let slack = 64 << 20
    /// How many looks in a row have to find more than that: the next burst would only fetch it again.
    static let patience = 3
    static let interval = Duration.seconds(10)

    private var looks = 0

    /// Looks until the task is cancelled.
    static func run() async {
        var heap = HeapReturn()
        while (try? await Task.sleep(for: interval)) != nil {
            guard let resident = residentBytes() else { return }
            if heap.isDue(resident: resident, used: Int(mallinfo2().uordblks)) { malloc_trim(0) }
        }
    }

    /// - Parameters:
    ///   - resident: bytes of the process in memory that belong to no file.
    ///   - used: bytes of the heap that are in use.
    mutating func isDue(resident: Int, used: Int) -> Bool {
        looks = resident - used > Self.slack ? looks + 1 : 0
        guard looks >= Self.patience else { return false }
        looks = 0
        return true
    }

    /// Nil where there is no `/proc`.
    private static func residentBytes() -> Int? {
        guard let bytes = try? TextFile.read("/proc/self/statm") else { return nil }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard fields.count > 2, let resident = Int(fields[1]), let shared = Int(fields[2]) else { return nil }
        return (resident - shared) * Int(max(1, sysconf(Int32(_SC_PAGESIZE))))
    }
}
